// Package bootstrap puts agents onto machines over SSH, and takes them away
// again.
//
// Machines that are reached help to reach the others: the command goes to the
// first machine of each part of the list, which gets the binary, and passes it
// on to the rest of its part, with the keys of an SSH agent that is forwarded
// to it. What such a machine could not reach is tried from here. So a hundred
// machines cost the first one a handful of connections and of copies of
// the binary.
//
// On a machine everything is in one directory, and a list there says what
// was made, so that undoing it leaves nothing.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"myriad/program"
)

// Options say what to do on which machines. Hosts is required; where agents
// are put, Binary, Join and Token are.
type Options struct {
	Hosts  []string // names or addresses; user@ before and :port after one are allowed
	User   string   // who to be there; empty: what the SSH configuration says, else root
	Binary string   // file of the binary that is copied
	Undo   bool     // take agents, vnodes and files away instead
	Keep   bool     // what an earlier run left there stays: its vnodes live on

	Join   string   // where agents join: tls://host:port
	Token  string   // what they show
	Site   string   // where they are; may be empty
	Args   []string // more arguments of the agent
	Dir    string   // on the machines, for all that is put there; empty: DefaultDir
	RunDir string   // on the machines, of the agent; empty: DefaultRunDir

	Arity     int  // machines that each machine helps to reach; 0: DefaultArity; negative: no tree
	AcceptNew bool // trust machines whose keys are not known, and note their keys
	SSH       SSH

	// Tell is told what happens, by one goroutine at a time. It may be nil.
	Tell func(Event)
}

// DefaultDir is where things are put on a machine, and DefaultRunDir where its
// agent has its sockets.
const (
	DefaultDir    = "/var/lib/myriad"
	DefaultRunDir = "/run/myriad"
)

// DefaultArity is how many machines one machine helps at a time, and
// window how many are worked on at a time where there is no tree.
const (
	DefaultArity = 8
	window       = 16
)

// perHost bounds the work on one machine.
const perHost = 2 * time.Minute

// Event is how far a machine is.
type Event struct {
	Host  string           `json:"host"`
	State State            `json:"state"`
	Via   string           `json:"via,omitempty"` // the machine that reached it; empty: this one
	Took  time.Duration    `json:"took,omitempty"`
	Doing string           `json:"doing,omitempty"`
	Err   *program.Problem `json:"error,omitempty"`
	Key   string           `json:"key,omitempty"` // line for known_hosts, where a key was accepted
}

// State is how a machine is.
type State string

// The states. All but StateWorking are final.
const (
	StateWorking State = "working"
	StateUp      State = "up"      // its agent has joined
	StateRemoved State = "removed" // nothing of Myriad is left
	StateFailed  State = "failed"
)

// Run does it, on all machines, and gives what became of each, in the order of
// Options.Hosts. It fails if the options make no sense, and when ctx ends.
func Run(ctx context.Context, o Options) ([]Event, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	payload, err := newPayload(&o)
	if err != nil {
		return nil, err
	}
	keys, err := o.SSH.open()
	if err != nil {
		return nil, err
	}
	defer keys.close()
	t := &tree{Options: o, payload: payload, keys: keys, ended: map[string]Event{}}
	t.cover(ctx, o.Hosts)
	return t.results(), context.Cause(ctx)
}

func (o *Options) validate() error {
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if o.RunDir == "" {
		o.RunDir = DefaultRunDir
	}
	if o.Arity == 0 {
		o.Arity = DefaultArity
	}
	var errs []error
	bad := func(cause, remedy string) {
		errs = append(errs, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "bootstrap", Cause: cause, Remedy: remedy})
	}
	if len(o.Hosts) == 0 {
		bad("no machines are named", "name some by --hosts")
	}
	for _, dir := range []string{o.Dir, o.RunDir} {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" || strings.ContainsAny(dir, "\"%$\\\n") {
			bad(fmt.Sprintf("%q is no directory for this", dir), "give an absolute path, such as "+DefaultDir)
		}
	}
	seen := map[string]bool{}
	for _, h := range o.Hosts {
		if a, err := parseAddress(h); err != nil {
			bad(err.Error(), "write [user@]host[:port]")
		} else if seen[a.name()] {
			bad(fmt.Sprintf("%s is named twice", a.name()), "name each machine once")
		} else {
			seen[a.name()] = true
		}
	}
	if !o.Undo && (o.Join == "" || o.Token == "") {
		bad("nothing says where agents join", "run \"myriad init\" and \"myriad serve --listen\", or give --join and --token-file")
	}
	return errors.Join(errs...)
}

// tree is one run, on this machine.
type tree struct {
	Options
	payload *payload
	keys    *keys

	mu    sync.Mutex
	ended map[string]Event // by host
}

// tell passes an event on, and remembers the last one of a machine.
func (t *tree) tell(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.State != StateWorking {
		t.ended[e.Host] = e
	}
	if t.Tell != nil {
		t.Tell(e)
	}
}

// results gives the last word of each machine.
func (t *tree) results() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Event, len(t.Hosts))
	for i, h := range t.Hosts {
		e, ok := t.ended[h]
		if !ok {
			e = Event{Host: h, State: StateFailed, Err: unavailable(h, "nobody came to it", "run the same again")}
		}
		out[i] = e
	}
	return out
}

// cover works on some machines: by a tree if there are many, else on each by
// itself.
func (t *tree) cover(ctx context.Context, hosts []string) {
	if t.Arity < 0 || len(hosts) <= t.Arity {
		t.direct(ctx, hosts)
		return
	}
	var parts sync.WaitGroup
	size := (len(hosts) + t.Arity - 1) / t.Arity
	for part := range slices.Chunk(hosts, size) {
		parts.Go(func() { t.part(ctx, part) })
	}
	parts.Wait()
}

// direct works on each of some machines from here.
func (t *tree) direct(ctx context.Context, hosts []string) {
	room := make(chan struct{}, window)
	var all sync.WaitGroup
	for _, h := range hosts {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			if c := t.host(ctx, h); c != nil {
				c.Close()
			}
		})
	}
	all.Wait()
}

// part works on the first machine of a part that can be reached, and has it
// work on the rest. Whatever it did not reach is tried from here.
func (t *tree) part(ctx context.Context, hosts []string) {
	for len(hosts) > 0 {
		c := t.host(ctx, hosts[0])
		hosts = hosts[1:]
		if c == nil {
			continue
		}
		left := t.delegate(ctx, c, hosts)
		c.Close()
		t.direct(ctx, left)
		return
	}
}

// host does the work on one machine. It gives the connection, if the machine
// can help to reach others, and nil if it has failed.
func (t *tree) host(ctx context.Context, host string) *client {
	begun := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, perHost, errors.New("it took more than "+perHost.String()))
	defer cancel()
	say := func(doing string) { t.tell(Event{Host: host, State: StateWorking, Doing: doing}) }
	say("connecting")
	c, err := t.dial(ctx, host)
	if err == nil {
		defer context.AfterFunc(ctx, func() { c.Close() })()
		err = t.payload.deliver(c, say)
		if err != nil {
			c.Close()
		}
	}
	e := Event{Host: host, State: t.goal(), Took: time.Since(begun)}
	if c != nil {
		e.Key = c.accepted
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		e.State, e.Err = StateFailed, problemOf(host, err)
		c = nil
	}
	t.tell(e)
	return c
}

// goal is what a machine is to become.
func (o *Options) goal() State {
	if o.Undo {
		return StateRemoved
	}
	return StateUp
}

func unavailable(host, cause, remedy string) *program.Problem {
	return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "bootstrap " + host, Cause: cause, Remedy: remedy}
}

// problemOf says what went wrong on a machine.
func problemOf(host string, err error) *program.Problem {
	var p *program.Problem
	if errors.As(err, &p) {
		return p
	}
	return unavailable(host, err.Error(), "")
}
