package coord

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// linkEvent reads a line about links.
func (s *story) linkEvent(f []string, err error) Event {
	switch f[0] {
	case "links":
		settings := f[4:]
		var at time.Time
		if i := slices.Index(settings, "at"); i >= 0 {
			n, _ := strconv.Atoi(settings[i+1])
			settings, at = settings[:i], time.Unix(int64(n), 0)
		}
		return LinksAsked{askerOf(f[1]), f[2], []topo.Change{s.change(f[3], settings...)}, at}
	case "reset":
		return LinksAsked{Asker: askerOf(f[1]), Platform: f[2], Changes: []topo.Change{{Side: topo.SideOut | topo.SideIn, Reset: true}}}
	case "play":
		return PlayAsked{askerOf(f[1]), f[2], s.schedule(f[3:])}
	case "stop":
		return PlayAsked{askerOf(f[1]), f[2], nil}
	case "made":
		made := s.making[f[1]]
		delete(s.making, f[1])
		return makeLinks(made)
	case "kept":
		return LinksSaved{f[1], err}
	case "shaped":
		return LinksShaped{f[1], f[2], s.call(f), program.Shaped{Entries: 1, Took: time.Millisecond}, err}
	case "overload":
		return Overloaded{bus.Overload{Platform: f[1], By: s.from(f[2]), Ended: len(f) > 4, Overload: program.Overload{
			From: s.now().Add(-3 * time.Second), To: s.now(), What: f[3], Detail: "much"}}}
	}
	return Woken{}
}

func (s *story) change(nodes string, settings ...string) topo.Change {
	set, err := nodeset.Parse(nodes, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	patch, err := link.ParsePatch(settings, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return topo.Change{Side: topo.SideOut, Nodes: set, Patch: patch}
}

// schedule reads SECOND=DELAY… [every SECONDS].
func (s *story) schedule(f []string) *Schedule {
	out := &Schedule{File: "steps", Source: &api.Schedule{}}
	if i := slices.Index(f, "every"); i >= 0 {
		n, _ := strconv.Atoi(f[i+1])
		f, out.Repeat = f[:i], time.Duration(n)*time.Second
	}
	for _, step := range f {
		at, delay, _ := strings.Cut(step, "=")
		n, _ := strconv.Atoi(at)
		out.Steps = append(out.Steps, topo.Step{At: time.Duration(n) * time.Second, Changes: []topo.Change{s.change("n1", "delay="+delay)}})
	}
	return out
}

// conditions are tables in a word.
func conditions(l *program.Links) string {
	if l == nil {
		return "plain"
	}
	var out []string
	for _, r := range l.Vifaces {
		if r.Out != 0 {
			out = append(out, fmt.Sprintf("%d-%d:%s", r.Host, r.Host+r.Count-1, l.Condition(r.Out).Delay))
		}
	}
	return strings.Join(out, ",")
}

func recorded(r *LinksRecord) string {
	out := fmt.Sprintf("%s after %d changes", conditions(r.Force), r.Changes)
	if r.Schedule != nil {
		out += fmt.Sprintf(", %s at step %d of round %d", r.Schedule.File, r.Place.Next, r.Place.Round)
	}
	return out
}
