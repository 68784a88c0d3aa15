package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"myriad/bus"
	"myriad/program"
)

// How an agent finds whoever coordinates.
const (
	helloPatience = 5 * time.Second        // for an answer
	helloFirst    = 100 * time.Millisecond // between two while nobody answers, at first
	helloLast     = 2 * time.Second        // and after a while
	refusedEvery  = 10 * time.Second       // where it was refused, and carries vnodes all the same
	lookEvery     = time.Second            // at the address, and whether anybody leads
	leadPatience  = 3 * bus.LeadEvery      // without a word of the coordinator, until that is said
	aloneFor      = time.Second            // without an answer, until that is said
	beatEvery     = 500 * time.Millisecond // unless the coordinator says otherwise
	helloProblems = 10                     // of each platform, in a hello: it must fit one message
)

// answer is what became of a hello.
type answer struct {
	bus.Welcome
	err  error
	news uint64 // the state of racks that the hello told
}

// join says hello when there is reason to, until ctx ends or a coordinator
// refuses the agent for good.
func (a *agent) join() error {
	j := &joining{agent: a, answers: make(chan answer, 1), next: time.NewTimer(0), pause: helloFirst}
	defer j.next.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return nil
		case <-look.C:
			j.lookAround()
		case <-a.again:
			j.pause = helloFirst
			j.hello()
		case <-j.next.C:
			j.hello()
		case w := <-j.answers:
			j.asking = false
			if err := j.answered(w); err != nil {
				return err
			}
		}
	}
}

// joining is where join is. It belongs to its goroutine.
type joining struct {
	*agent
	answers chan answer
	next    *time.Timer   // for the next hello
	pause   time.Duration // between hellos
	asking  bool          // a hello is under way
	missed  bool          // another is to follow it
	told    string        // what was complained about last
	wasIn   bool          // the agent was taken in, once
	quiet   bool          // it was said that nobody is to be heard
	alone   time.Time     // since when nobody answers; zero: somebody does
	address netip.Addr    // as told
	mtu     uint16
}

// hello tells the coordinator who is here, and with what. The answer arrives
// in answers.
func (j *joining) hello() {
	if j.asking {
		j.missed = true
		return
	}
	j.asking, j.missed = true, false
	j.next.Stop()
	a := j.agent
	h := bus.Hello{Protocol: bus.Protocol, Version: a.Version, Machine: a.Machine, Site: a.Site, Key: a.Key}
	machine(&h)
	if a.Address != nil {
		j.address, j.mtu = a.Address()
	}
	h.Address, h.MTU = j.address, j.mtu
	a.watch.Go(func() { j.answers <- a.greet(h) })
}

// greet says hello and waits for the answer.
func (a *agent) greet(h bus.Hello) answer {
	ctx, cancel := context.WithTimeout(a.ctx, helloPatience)
	defer cancel()
	a.waiting.Store(&cancel)
	if a.carries() {
		h.Coordinator = a.leader.claims()
	}
	h.Epoch = a.leader.epoch()
	a.voice.mu.Lock()
	h.From, h.Now = a.from(), a.Clock()
	news := a.voice.news
	h.Platforms = a.reports() // after the number is drawn: what changes from now on has a greater one
	wait, err := bus.Ask[bus.Hello, bus.Welcome](a.conn, bus.SubjectHello, h)
	a.voice.mu.Unlock()
	if err != nil {
		return answer{err: err}
	}
	w, err := wait(ctx)
	return answer{w, err, news}
}

// reports gives what the pnode carries, as a hello tells it.
func (a *agent) reports() []program.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []program.Report
	for _, name := range slices.Sorted(maps.Keys(a.platforms)) {
		if last := a.platforms[name].last(); last != nil {
			r := *last
			r.Problems = r.Problems[:min(len(r.Problems), helloProblems)]
			out = append(out, r)
		}
	}
	return out
}

// carries tells whether the pnode has something of a platform, or ought to.
func (a *agent) carries() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.platforms {
		if r := h.last(); r != nil && len(r.Racks) > 0 {
			return true
		}
	}
	return false
}

// answered takes in what became of a hello. An error is one that trying again
// does not mend.
func (j *joining) answered(w answer) error {
	if w.err != nil {
		return j.unanswered(w.err)
	}
	refused := w.Refused
	var err error
	if refused == nil {
		refused, err = j.agent.follow(w.Welcome)
	}
	switch {
	case refused != nil:
		return j.refused(w.Welcome, refused)
	case err != nil:
		return j.unanswered(err)
	}
	j.wasIn, j.told, j.pause, j.alone = true, "", helloFirst, time.Time{}
	beat := w.Beat
	if beat <= 0 {
		beat = beatEvery
	}
	j.setPace(beat)
	if j.quiet {
		j.quiet = false
		j.Logf("agent %s: the coordinator is back", j.Name)
	}
	j.voice.mu.Lock()
	stale := j.voice.news != w.news // it may have been passed over, as said before the hello was heard
	j.voice.mu.Unlock()
	if j.missed || stale {
		j.next.Reset(0)
	}
	return nil
}

// unanswered has hello said again, later and later.
func (j *joining) unanswered(err error) error {
	p := bus.ProblemOf(err)
	if p.Kind == program.KindInvalid && !j.wasIn { // one of the two does not understand the other
		return p
	}
	if j.alone.IsZero() {
		j.alone = time.Now()
	}
	// A coordinator that starts beside its agent is soon there, and the loss of
	// the connection is told of elsewhere.
	if time.Since(j.alone) > aloneFor && !errors.Is(err, context.Canceled) {
		j.tell("nobody takes this pnode in yet: " + p.Error())
	}
	j.next.Reset(j.pause/2 + rand.N(j.pause))
	j.pause = min(2*j.pause, helloLast)
	return nil
}

// refused ends the agent, unless it carries vnodes for one who has taken it in
// before: then it waits for better times.
func (j *joining) refused(w bus.Welcome, p *program.Problem) error {
	j.leader.part(w.Lead)
	j.setPace(0)
	if p.Kind == program.KindUnsupported || !j.wasIn || !j.carries() {
		return p
	}
	j.tell("a coordinator refuses this pnode; its vnodes stay as they are: " + p.Error())
	j.next.Reset(refusedEvery)
	return nil
}

// tell says something unless it was the last that was said.
func (j *joining) tell(what string) {
	if j.told != what {
		j.told = what
		j.Logf("agent %s: %s", j.Name, what)
	}
}

// lookAround looks at what nobody tells: whether the address is another, and
// whether anybody leads.
func (j *joining) lookAround() {
	if j.Address != nil && j.leader.isJoined() {
		if address, mtu := j.Address(); address != j.address || mtu != j.mtu {
			j.Logf("agent %s: the underlay address is %s, MTU %d; it was %s, MTU %d", j.Name, address, mtu, j.address, j.mtu)
			j.hello()
		}
	}
	if j.quiet || !j.leader.silent(leadPatience) {
		return
	}
	j.quiet = true
	why := "the coordinator is not heard any more"
	if j.voice.off.Load() {
		why = errUnheard.Error()
	}
	j.Logf("agent %s: %s; vnodes stay as they are", j.Name, why)
}

// follow makes the one who welcomes the agent its coordinator. It is refused
// if the pnode carries another one's platforms; the error is that it has been
// superseded.
func (a *agent) follow(w bus.Welcome) (refused *program.Problem, err error) {
	if former := a.leader.claims(); former != "" && former != w.Coordinator && a.carries() {
		return &program.Problem{Kind: program.KindConflict, Rack: -1, Op: fmt.Sprintf("join coordinator %s", w.Coordinator),
			Cause:  fmt.Sprintf("pnode %s carries platforms of coordinator %s", a.Name, former),
			Remedy: "take them down there, or let go of them with: myriad agent --take-over"}, nil
	}
	anew, err := a.leader.join(w.Lead)
	if err != nil || !anew {
		return nil, err
	}
	a.mu.Lock()
	clear(a.orders)
	a.mu.Unlock()
	a.complain(a.keepLeader())
	a.Logf("agent %s: joined coordinator %s, epoch %d", a.Name, w.Coordinator, w.Epoch)
	if a.Joined != nil {
		a.Joined(w.Lead)
	}
	return nil, nil
}

// led hears that there is a coordinator.
func (a *agent) led(l bus.Lead, err error) {
	if err == nil && a.leader.hear(l) {
		signal(a.again)
	}
}

// hail hears that the coordinator knows too little of this agent.
func (a *agent) hail(_ context.Context, l bus.Lead) (bus.None, error) {
	if a.leader.minds(l) {
		signal(a.again)
	}
	return bus.None{}, nil
}

// connected hears that the connection is lost, or back.
func (a *agent) connected(is bool) {
	a.voice.off.Store(!is)
	if is {
		signal(a.again)
	} else if cancel := a.waiting.Load(); cancel != nil {
		(*cancel)() // no answer comes over the connection that was
	}
}
