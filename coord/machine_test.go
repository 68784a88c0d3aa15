package coord

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

var update = flag.Bool("update", false, "write what the machine does into the stories")

// TestStories has the machine live through testdata/*.txt. A story is told in
// scenes: lines that happen, ----, and what the machine does about each of
// them, ended by an empty line. The lines:
//
//	up ASKER PLATFORM VNODES [force]     another number is another file
//	down ASKER PLATFORM
//	gone ASKER
//	planned PLATFORM [ERROR]             the plan that was asked for
//	saved PLATFORM [ERROR]
//	count PLATFORM PNODE N
//	applied PLATFORM PNODE RACK=UP/WANTED… [ERROR]
//	removed PLATFORM PNODE RACK=UP/WANTED… [ERROR]
//	came PNODE BOOT [PLATFORM RACK=UP/WANTED…; …]
//	changed PLATFORM PNODE RACK=UP/WANTED…
//	went PNODE
//	links ASKER PLATFORM VNODES SETTING… [at SECOND]
//	reset ASKER PLATFORM
//	play ASKER PLATFORM SECOND=DELAY… [every SECONDS]   VNODES are all of them
//	stop ASKER PLATFORM                  the schedule
//	made PLATFORM                        the tables that were asked for
//	kept PLATFORM [ERROR]                they are remembered
//	shaped PLATFORM PNODE [ERROR]
//	overload PLATFORM PNODE WHAT [end]
//	wake                                 as the machine wants to be, which takes until then
//	sleep SECONDS
//	tick
//	ending
//	restart                              the machine, of which the store is left
//
// A rack of which 0 are up is lost. Each line takes a second, but for answers
// about links, and lines that begin with "meanwhile".
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			told, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := retell(t, string(told))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(told) {
				t.Errorf("the story now goes otherwise (-before +now):\n%s", cmp.Diff(strings.Split(string(told), "\n"), strings.Split(got, "\n")))
			}
		})
	}
}

// retell lives through a story and tells it again.
func retell(t *testing.T, text string) string {
	s := &story{t: t, m: NewMachine(), plans: map[string]MakePlan{}, stored: map[string]store.Platform{}, links: map[string]*LinksRecord{}, making: map[string]MakeLinks{}}
	var out strings.Builder
	happening := true
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			happening = true
			out.WriteString("\n")
		case line[0] == '#':
			out.WriteString(line + "\n")
		case line == "----":
			happening = false
			out.WriteString("----\n" + s.does.String())
			s.does.Reset()
		case happening:
			out.WriteString(line + "\n")
			s.happens(line)
		}
	}
	return out.String()
}

type story struct {
	t      *testing.T
	m      *Machine
	clock  int
	plans  map[string]MakePlan
	stored map[string]store.Platform
	links  map[string]*LinksRecord
	making map[string]MakeLinks
	does   strings.Builder
}

func (s *story) happens(line string) {
	f := strings.Fields(line)
	switch f[0] {
	case "meanwhile":
		f = f[1:]
	case "wake":
		s.clock = max(s.clock, int(s.m.Wake().Unix()))
	case "sleep":
		n, _ := strconv.Atoi(f[1])
		s.clock += n
		s.show(nil)
		return
	case "made", "kept", "shaped": // at once
	default:
		s.clock++
	}
	now := time.Unix(int64(s.clock), 0)
	if line == "restart" {
		s.m = NewMachine()
		var all []store.Platform
		for _, name := range slices.Sorted(keys(s.stored)) {
			all = append(all, s.stored[name])
		}
		s.show(s.m.Step(now, Restored{all, maps.Clone(s.links)}))
		return
	}
	s.show(s.m.Step(now, s.event(f)))
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// event reads a line.
func (s *story) event(f []string) Event {
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	var err error
	fails := func(from int) []string {
		if from < len(f) {
			err = errors.New(strings.Join(f[from:], " "))
			return f[:from]
		}
		return f
	}
	switch f[0] {
	case "up":
		return UpAsked{askerOf(f[1]), s.source(f[2], f[3], arg(4) == "force")}
	case "down":
		return DownAsked{askerOf(f[1]), f[2]}
	case "gone":
		return Gone{askerOf(f[1])}
	case "planned":
		fails(2)
		p := s.plans[f[1]]
		delete(s.plans, f[1])
		if err != nil {
			return Planned{Platform: f[1], Err: err}
		}
		made, err := plan.Make(p.Source.Topology, p.Pnodes, plan.Options{Previous: p.Previous})
		return Planned{f[1], made, err}
	case "saved":
		fails(2)
		return Saved{f[1], err}
	case "count":
		n, _ := strconv.Atoi(f[3])
		return Counted{Platform: f[1], Pnode: f[2], Count: n}
	case "applied", "removed", "changed":
		last := len(f)
		for i := 3; i < len(f); i++ {
			if !strings.Contains(f[i], "=") {
				last = i
				break
			}
		}
		fails(last)
		r := report(f[1], f[2], f[3:last])
		switch f[0] {
		case "applied":
			return Applied{f[1], f[2], r, err}
		case "removed":
			return Removed{f[1], f[2], r, err}
		}
		return Changed{*r}
	case "came":
		h := bus.Hello{From: bus.From{Pnode: f[1]}, Boot: arg(2)}
		for _, p := range strings.Split(strings.Join(f[min(3, len(f)):], " "), ";") {
			if w := strings.Fields(p); len(w) > 0 {
				h.Platforms = append(h.Platforms, *report(w[0], f[1], w[1:]))
			}
		}
		return Came{h}
	case "links", "reset", "play", "stop", "made", "kept", "shaped", "overload", "wake":
		if from, ok := map[string]int{"kept": 2, "shaped": 3}[f[0]]; ok {
			fails(from)
		}
		return s.linkEvent(f, err)
	case "went":
		return Went{f[1]}
	case "tick":
		return Tick{}
	case "ending":
		return Ending{}
	}
	s.t.Fatalf("a story says %q", f)
	return nil
}

func askerOf(name string) Asker { return Asker(name[0]) }

func (s *story) source(platform, vnodes string, force bool) *Source {
	text := fmt.Sprintf("platform: %s\nvnetworks: {lan: 10.0.0.0/16}\nvnodes: [{nodes: 'n[1-%s]', vifaces: [lan]}]\n", platform, vnodes)
	top, err := topo.Parse(platform, []byte(text))
	if err != nil {
		s.t.Fatal(err)
	}
	return &Source{File: platform, Text: text, Digest: store.Digest(text, nil), Topology: top, Force: force}
}

// report reads RACK=UP/WANTED.
func report(platform, pnode string, racks []string) *program.Report {
	r := &program.Report{Platform: platform, Pnode: pnode}
	for _, text := range racks {
		var k program.RackReport
		if _, err := fmt.Sscanf(text, "%d=%d/%d", &k.Index, &k.Vnodes, &k.Wanted); err != nil {
			panic(text)
		}
		switch k.Vnodes {
		case k.Wanted:
			k.State = program.RackUp
		case 0:
			k.State = program.RackLost
		default:
			k.State = program.RackPartial
		}
		r.Racks = append(r.Racks, k)
		r.Writes += uint64(k.Vnodes)
	}
	return r
}

// show tells what the machine wants done, and how the platforms are.
func (s *story) show(effects []Effect) {
	say := func(format string, args ...any) { fmt.Fprintf(&s.does, format+"\n", args...) }
	for _, e := range effects {
		switch e := e.(type) {
		case MakePlan:
			s.plans[e.Platform] = e
			say("plan %s for %d pnodes, with one before: %v", e.Platform, len(e.Pnodes), e.Previous != nil)
		case SavePlan:
			s.stored[e.Record.Name] = store.Platform{Record: e.Record, Plan: e.Plan}
			say("save %s with its plan", e.Record.Name)
		case Save:
			s.stored[e.Record.Name] = store.Platform{Record: e.Record, Plan: s.stored[e.Record.Name].Plan}
			say("save %s", e.Record.Name)
		case Forget:
			delete(s.stored, e.Platform)
			delete(s.links, e.Platform)
			say("forget %s", e.Platform)
		case MakeLinks:
			s.making[e.Platform] = e
			say("change links of %s: %d parts", e.Platform, len(e.Parts))
		case SaveLinks:
			s.links[e.Platform] = &e.Record
			say("save links of %s: %s", e.Platform, recorded(&e.Record))
		case ForgetLinks:
			delete(s.links, e.Platform)
			say("forget links of %s", e.Platform)
		case Shape:
			when := ""
			if !e.At.IsZero() {
				when = fmt.Sprintf(" at second %d", e.At.Unix())
			}
			say("shape %s at %s%s: %s", e.Platform, e.Pnode, when, conditions(e.Links))
		case StopShape:
			say("no longer shape %s at %s", e.Platform, e.Pnode)
		case Apply:
			say("apply %s at %s", e.Platform, e.Pnode)
		case Stop:
			say("stop %s at %s", e.Platform, e.Pnode)
		case Remove:
			say("remove %s from %s", e.Platform, e.Pnode)
		case Note:
			say("note %s %s: %s", e.Event.Type, e.Event.Platform, e.Event.Message)
		case Tell:
			say("%s", told(e))
		}
	}
	var states []string
	for _, p := range s.m.sorted() {
		v := s.m.view(p)
		state := fmt.Sprintf("%s %s %d/%d", v.Name, v.State, v.Up, v.Vnodes)
		if p.links.state.force != nil || p.links.state.changes > 0 {
			state += fmt.Sprintf(" %s after %d changes", conditions(p.links.state.force), p.links.state.changes)
		}
		states = append(states, state)
	}
	say("  [%s]", strings.Join(states, ", "))
}

func told(e Tell) string {
	var b strings.Builder
	b.WriteString("tell ")
	for _, a := range e.Askers {
		b.WriteRune(rune(a))
	}
	fmt.Fprintf(&b, ": %s %s", e.Event.Type, e.Event.Platform)
	if e.Event.Total > 0 {
		fmt.Fprintf(&b, " %d of %d", e.Event.Done, e.Event.Total)
	}
	if e.Event.Message != "" {
		b.WriteString(" " + e.Event.Message)
	}
	if r := e.Event.Result; r != nil {
		fmt.Fprintf(&b, " %s %d/%d in %v", r.State, r.Up, r.Vnodes, r.Took)
	}
	if c := e.Event.Changed; c != nil {
		fmt.Fprintf(&b, " %d vifaces, %d pairs, %d steps", c.Vifaces, c.Pairs, c.Steps)
	}
	if e.Event.Error != nil {
		fmt.Fprintf(&b, " %v: %v", e.Event.Error.Kind, e.Event.Error)
	}
	if e.Last {
		b.WriteString(". end")
	}
	return b.String()
}
