package agent

import (
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"myriad/bus"
	"myriad/program"
)

// watchEvery is how often the pnode is looked at while links have conditions.
const watchEvery = time.Second

// overloads are the stretches of time in which a pnode could not keep what it
// promised. They are for several goroutines.
type overloads struct {
	mu        sync.Mutex
	open      map[string]*stretch // by what
	past      []program.Overload  // by their ends
	announced map[string]time.Time
}

// stretch is one that may go on.
type stretch struct {
	program.Overload
	much float64 // how bad it was at worst
	said bool    // it was announced
}

// note takes what one look between from and to has found, and gives what is
// to be announced.
func (o *overloads) note(from, to time.Time, signs []sign) (say []bus.Overload) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open, o.announced = map[string]*stretch{}, map[string]time.Time{}
	}
	for _, s := range signs {
		if !s.bad {
			continue
		}
		k := o.open[s.what]
		if k == nil {
			k = &stretch{Overload: program.Overload{From: from, What: s.what}}
			o.open[s.what] = k
		}
		k.To = to
		if s.much >= k.much {
			k.much, k.Detail = s.much, s.detail
		}
		if last, ok := o.announced[s.what]; !k.said && (!ok || to.Sub(last) >= announceGap) {
			k.said, o.announced[s.what] = true, to
			say = append(say, bus.Overload{Overload: k.Overload})
		}
	}
	return append(say, o.close(to)...)
}

// close ends the stretches that have not gone on for a while.
func (o *overloads) close(now time.Time) (say []bus.Overload) {
	for _, what := range slices.Sorted(maps.Keys(o.open)) {
		k := o.open[what]
		if now.Sub(k.To) <= overQuiet {
			continue
		}
		delete(o.open, what)
		o.past = append(o.past, k.Overload)
		if len(o.past) > overKept {
			o.past = slices.Delete(o.past, 0, len(o.past)-overKept)
		}
		if k.said {
			say = append(say, bus.Overload{Overload: k.Overload, Ended: true})
		}
	}
	return say
}

// list gives the stretches, the one that began last at the end.
func (o *overloads) list() []program.Overload {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := slices.Clone(o.past)
	for _, k := range o.open {
		out = append(out, k.Overload)
	}
	slices.SortFunc(out, func(a, b program.Overload) int { return a.From.Compare(b.From) })
	return out
}

// watchLinks looks again and again whether this pnode keeps what it promises
// of links, while some have conditions.
func (a *agent) watchLinks() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	w := linkWatch{agent: a, proc: os.DirFS("/proc"), holders: map[string]*program.LinkStats{}}
	for {
		shaped := a.shapedPlatforms()
		if len(shaped) == 0 {
			w.machine = load{}
			clear(w.holders)
			tick.Stop()
			select {
			case <-a.ctx.Done():
				return
			case <-a.shaped:
				tick.Reset(watchEvery)
			}
			continue
		}
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
			w.look(shaped)
		}
	}
}

// linkWatch is what was found at the last look.
type linkWatch struct {
	*agent
	proc    fs.FS
	machine load
	holders map[string]*program.LinkStats
}

func (w *linkWatch) look(shaped []*held) {
	now := time.Now()
	l, err := readLoad(w.proc, now)
	w.complain(err)
	signs := l.since(w.machine)
	from := now.Add(-watchEvery)
	if !w.machine.at.IsZero() {
		from = w.machine.at
	}
	w.machine = l
	for _, h := range shaped {
		w.announce(h.name, h.loads.note(from, now, append(slices.Clip(signs), w.heldSigns(h, w.holders)...)))
	}
	maps.DeleteFunc(w.holders, func(name string, _ *program.LinkStats) bool {
		return !slices.ContainsFunc(shaped, func(h *held) bool { return h.name == name })
	})
}

// shapedPlatforms gives the platforms whose links have conditions.
func (a *agent) shapedPlatforms() []*held {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*held
	for _, h := range a.platforms {
		h.mu.Lock()
		if h.shaped {
			out = append(out, h)
		}
		h.mu.Unlock()
	}
	return out
}

// heldSigns tells how a platform's holder has done since the last look.
func (a *agent) heldSigns(h *held, before map[string]*program.LinkStats) []sign {
	stats, err := a.Pnode.LinkStats(a.ctx, h.name)
	if err != nil {
		delete(before, h.name) // it is changed, or removed, at this moment
		return nil
	}
	was := before[h.name]
	before[h.name] = stats
	if was == nil {
		return nil
	}
	return holding(stats, was)
}

func (a *agent) announce(platform string, announced []bus.Overload) {
	for _, o := range announced {
		err := say(a, bus.SubjectOverload, func(f bus.From) bus.Overload {
			o.Platform, o.By = platform, f
			return o
		})
		if err != errUnheard {
			a.complain(err)
		}
	}
}
