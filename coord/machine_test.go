package coord

import (
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
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

var update = flag.Bool("update", false, "write what the machine does into the stories")

// TestStories has the machine live through testdata/*.txt. A story is told in
// scenes: lines that happen, ----, and what the machine does about each of
// them, ended by an empty line. The lines:
//
//	up ASKER PLATFORM VNODES [force] [POLICY]   another number is another file
//	down ASKER PLATFORM
//	gone ASKER
//	planned PLATFORM [ERROR]             the plan that was asked for
//	saved PLATFORM [ERROR]
//	count PLATFORM PNODE N
//	applied PLATFORM PNODE RACK=UP/WANTED… [ERROR]
//	removed PLATFORM PNODE RACK=UP/WANTED… [ERROR]
//	came PNODE BOOT [KEY=VALUE…] [PLATFORM RACK=UP/WANTED…; …]   keys are those of hello
//	changed PLATFORM PNODE RACK=UP/WANTED…
//	went PNODE
//	silent PNODES SECONDS                no word of them, while others beat; also "nobody"
//	stalled SECONDS                      the coordinator itself
//	deaf, hears                          it is cut off from the bus, and not any more
//	beat PNODE SESSION SEQ
//	drain ASKER PNODE, undrain ASKER PNODE, forget ASKER PNODE
//	stored [ERROR]                       the pnodes
//	checks                               from now on they take until "checked PLATFORM [PROBLEM]"
//	measured SITE SITE MICROSECONDS|ERROR
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
// The error "broken" is that of a call which came to no end. A rack of which 0 are up is lost. Each line takes a second, but for answers
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
	s := newStory(t)
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
	t       *testing.T
	m       *Machine
	clock   time.Duration
	plans   map[string]MakePlan
	stored  map[string]store.Platform
	sources map[string]*Source
	links   map[string]*LinksRecord
	pnodes  SavePnodes
	making  map[string]MakeLinks
	calls   map[string]uint64 // by platform and pnode
	agents  map[string]*bus.Hello
	checks  bool // take their time
	does    strings.Builder
}

func newStory(t *testing.T) *story {
	return &story{t: t, m: NewMachine("me", "v1"), plans: map[string]MakePlan{}, stored: map[string]store.Platform{}, sources: map[string]*Source{},
		links: map[string]*LinksRecord{}, making: map[string]MakeLinks{}, calls: map[string]uint64{}, agents: map[string]*bus.Hello{}}
}

func (s *story) now() time.Time { return time.Unix(0, 0).Add(s.clock) }

func (s *story) happens(line string) {
	f := strings.Fields(line)
	switch f[0] {
	case "meanwhile":
		f = f[1:]
	case "wake":
		s.clock = max(s.clock, s.m.Wake().Sub(time.Unix(0, 0)))
	case "sleep":
		n, _ := strconv.Atoi(f[1])
		s.clock += time.Duration(n) * time.Second
		s.show(nil)
		return
	case "silent":
		s.silent(f[1], f[2])
		return
	case "checks":
		s.checks = true
		return
	case "made", "kept", "shaped": // at once
	case "stalled":
		n, _ := strconv.Atoi(f[1])
		s.clock += time.Duration(n) * time.Second
		s.show(s.m.Step(s.now(), Pulse{}))
		return
	default:
		s.clock += time.Second
	}
	if line == "restart" {
		s.m = NewMachine("me", "v1")
		clear(s.calls)
		var all []store.Platform
		for _, name := range slices.Sorted(keys(s.stored)) {
			all = append(all, s.stored[name])
		}
		s.show(s.m.Step(s.now(), Restored{all, maps.Clone(s.links), s.pnodes.Pnodes, 0, s.pnodes.Ways}))
		return
	}
	s.show(s.m.Step(s.now(), s.event(f)))
}

// silent has time go by in which the agents but some say that they live.
func (s *story) silent(pnodes, seconds string) {
	n, _ := strconv.ParseFloat(seconds, 64)
	var all []Effect
	for range int(n * float64(time.Second/PulseEvery)) {
		s.clock += PulseEvery
		var beats Heard
		for _, name := range slices.Sorted(maps.Keys(s.agents)) {
			if h := s.agents[name]; !slices.Contains(strings.Split(pnodes, ","), name) {
				h.Seq++
				beats = append(beats, Beat{From: h.From, At: s.now()})
			}
		}
		all = append(all, s.m.Step(s.now(), beats)...)
		all = append(all, s.m.Step(s.now(), Pulse{})...)
	}
	s.show(all)
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
	for i := 0; i < len(effects); i++ {
		switch e := effects[i].(type) {
		case MakePlan:
			s.plans[e.Platform] = e
			say("plan %s for %d pnodes, with one before: %v", e.Platform, len(e.Pnodes), e.Previous != nil)
		case SavePlan:
			s.sources[e.Record.Name] = s.planned(e)
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
			s.calls[e.Platform+" "+e.Pnode] = e.Call
			say("shape %s at %s%s: %s", e.Platform, e.Pnode, when, conditions(e.Links))
		case StopShape:
			say("no longer shape %s at %s", e.Platform, e.Pnode)
		case Apply:
			s.calls[e.Platform+" "+e.Pnode] = e.Call
			say("apply %s at %s", e.Platform, e.Pnode)
		case Stop:
			say("stop %s at %s", e.Platform, e.Pnode)
		case SavePnodes:
			s.pnodes = e
			if e.Asker != 0 {
				say("save pnodes for %c: %s", e.Asker, pnodesSaid(e.Pnodes))
			}
		case Check:
			if s.checks {
				say("check %s around %v with %d bytes", e.Platform, e.Ring, e.Size)
				continue
			}
			effects = append(effects, s.m.Step(s.now(), Checked{Platform: e.Platform})...)
		case Measure:
			say("measure from site %q to %q, at %s and %s", e.From, e.To, e.Pnode, e.Other)
		case Lose:
			say("end calls to %s", e.Pnode)
		case Hail:
			say("hail %s", e.Pnode)
		case Remove:
			s.calls[e.Platform+" "+e.Pnode] = e.Call
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

// planned gives the source of a plan that is saved.
func (s *story) planned(e SavePlan) *Source {
	top, err := topo.Parse(e.Record.File, []byte(e.Source))
	if err != nil {
		s.t.Fatal(err)
	}
	return &Source{File: e.Record.File, Text: e.Source, Digest: e.Record.Digest, Topology: top, Force: e.Record.Force}
}

func pnodesSaid(all []store.Pnode) string {
	var out []string
	for _, n := range all {
		says := n.Name
		if n.Drained {
			says += " drained"
		}
		if n.Absent != "" {
			says += " " + n.Absent
		}
		if len(n.Owes) > 0 {
			says += fmt.Sprintf(" owes %v", slices.Sorted(maps.Keys(n.Owes)))
		}
		out = append(out, says)
	}
	return strings.Join(out, ", ")
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
