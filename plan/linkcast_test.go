package plan

import (
	"strings"
	"testing"
	"time"

	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// What cannot be met is said, with whom it is about, a figure and a remedy.
func TestLinkNotes(t *testing.T) {
	fast := &program.Calibration{Hold: 4 * time.Microsecond, End: 4 * time.Microsecond, TimerP50: 2 * time.Microsecond}
	out := func(c link.Conditions) func(t *topo.Topology) {
		return func(t *topo.Topology) { t.Vnodes[0].Vifaces[0].Out = &c }
	}
	for _, test := range []struct {
		name  string
		ask   func(t *topo.Topology)
		pnode Pnode
		want  string // "" for no note
	}{
		{"nothing", func(t *topo.Topology) {}, Pnode{}, ""},
		{"an honest delay", out(link.Conditions{Delay: 20 * time.Millisecond}), Pnode{}, ""},
		{"a short delay", out(link.Conditions{Delay: time.Microsecond}), Pnode{},
			"peer[1-20]: a delay of 1us is asked for, the way itself takes 20us (typical, not measured here); ask for 20us or more, or for none"},
		{"the same, measured", out(link.Conditions{Delay: time.Microsecond}), Pnode{Calibration: fast},
			"peer[1-20]: a delay of 1us is asked for, the way itself takes 6us (measured here); ask for 6us or more, or for none"},
		{"what is short here is long enough there", out(link.Conditions{Delay: 7 * time.Microsecond}), Pnode{Calibration: fast}, ""},
		{"both ends together", func(t *topo.Topology) {
			c := &link.Conditions{Delay: 15 * time.Microsecond}
			t.Vnodes[0].Vifaces[0].Out, t.Vnodes[0].Vifaces[0].In = c, c
		}, Pnode{}, ""},
		{"a short matrix", func(t *topo.Topology) {
			t.Links = []topo.LinkRule{{From: mustParse("peer[1-10]"), To: mustParse("peer[11-20]"), Conditions: &link.Conditions{Delay: 3 * time.Microsecond}}}
		}, Pnode{}, "peer[1-10] to peer[11-20]: a delay of 3us is asked for"},
		{"a short pair", func(t *topo.Topology) {
			t.Links = []topo.LinkRule{{From: nodeset.Of("peer7"), To: nodeset.Of("peer9"), Conditions: &link.Conditions{Delay: 3 * time.Microsecond, Loss: 0.1}}}
		}, Pnode{}, "peer7 to peer9: a delay of 3us is asked for"},
		{"a high rate", out(link.Conditions{Rate: 1_000_000_000}), Pnode{},
			"peer[1-20]: at 1gbit a packet takes 12.112us, and timers are 60us late (typical, not measured here): packets leave about 5 at a time; nothing"},
		{"a high rate where timers are good", out(link.Conditions{Rate: 1_000_000_000}), Pnode{Calibration: fast}, ""},
		{"a short queue", out(link.Conditions{Rate: 1_000_000, Queue: link.Queue{Time: 5 * time.Millisecond}}), Pnode{},
			"peer[1-20]: in a queue of 5ms, at 1mbit, no full packet has room"},
		{"a small queue", out(link.Conditions{Rate: 1_000_000, Queue: link.Queue{Bytes: 1000}}), Pnode{}, "in a queue of 1kB, at 1mbit, no full packet has room"},
		{"a queue of a packet", out(link.Conditions{Rate: 1_000_000, Queue: link.Queue{Packets: 1}}), Pnode{}, ""},
		{"wild jitter", out(link.Conditions{Jitter: time.Second}), Pnode{}, "peer[1-20]: jitter=1s: jitter is larger than delay"},
		{"far away", out(link.Conditions{Delay: 10 * time.Minute, Jitter: 10 * time.Minute}), Pnode{}, "a packet may be on its way for 20m0s; one that would be held for more than 16m40s is dropped"},
		{"too much for one", out(link.Conditions{Rate: 150_000_000}), Pnode{Name: "p1", CPUs: 1},
			"peer[1-20]: together their rates are 3gbit; p1 holds about 1.8gbit with 1 CPU, so that about 12 of them may be in full use at once; let fewer send"},
		{"enough for many", out(link.Conditions{Rate: 150_000_000}), Pnode{Name: "p1", CPUs: 2}, ""},
	} {
		to := flat(20)
		test.ask(to)
		if test.pnode.Name == "" {
			test.pnode.Name = "p1"
		}
		p, err := Make(to, []Pnode{test.pnode}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		f := p.Forecast().Links
		if f == nil {
			if p.Links() != nil {
				t.Errorf("%s: nothing is said of links", test.name)
			}
			continue
		}
		var got []string
		for i := range f.Notes {
			got = append(got, f.Notes[i].String())
		}
		if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)) {
			t.Errorf("%s: notes are\n%s\nwant\n%s", test.name, strings.Join(got, "\n"), test.want)
		}
	}
}

// Unmet goes by the conditions in force, whatever the file says.
func TestUnmet(t *testing.T) {
	p := mustPlan(t, flat(20))
	k := &program.Calibration{Hold: 15 * time.Microsecond, End: 30 * time.Microsecond}
	l := &program.Links{
		Conditions: []program.Condition{{Delay: 5 * time.Microsecond}, {Delay: time.Second}}, Classes: 1, Matrix: []program.PairWord{100},
		Vifaces: []program.LinkRange{{Network: 1, Host: 1, Count: 10, Class: 1}, {Network: 1, Host: 11, Count: 5, Out: 1}, {Network: 1, Host: 16, Count: 5, Out: 2}},
	}
	var got []string
	for _, note := range p.Unmet(l, k) {
		got = append(got, note.String())
	}
	const own, pairs = "peer[11-15]: a delay of 5us is asked for, the way itself takes 30us (measured here)", "peer[1-10] to peer[1-10]: a delay of 6.4us is asked for"
	if len(got) != 2 || !strings.HasPrefix(got[0], own) || !strings.HasPrefix(got[1], pairs) {
		t.Errorf("unmet:\n%s\nwant\n%s\n%s", strings.Join(got, "\n"), own, pairs)
	}
	if got := p.Unmet(l, nil); got != nil {
		t.Errorf("where nothing is known of the path: %v", got)
	}
	if got := p.Unmet(nil, k); got != nil {
		t.Errorf("of no conditions: %v", got)
	}
}

// Of many pnodes, the one with most to hold is named.
func TestLinkLoadOfMany(t *testing.T) {
	to := flat(3000)
	to.Vnodes[0].Vifaces[0].Out = &link.Conditions{Rate: 100_000_000}
	p, err := Make(to, []Pnode{{Name: "p1", CPUs: 2, Address: addressOf("p1")}, {Name: "p2", CPUs: 4, Address: addressOf("p2")}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	notes := p.Forecast().Links.Notes
	const want = "p1, the worst of 2 such pnodes, holds about 3.6gbit with 2 CPUs, so that about 36 of them"
	if len(notes) != 1 || !strings.Contains(notes[0].String(), want) {
		t.Errorf("notes are %+v, want one that says %q", notes, want)
	}
}

// The tables' memory counts.
func TestLinkMemory(t *testing.T) {
	p := mustPlan(t, clusters(2700, 2700, 0))
	f := p.Forecast()
	if f.Links.Tables < 58e6 || f.Links.Tables > 70e6 {
		t.Errorf("2,700 vnodes with a matrix take %d bytes of tables, want about 58 MB", f.Links.Tables)
	}
	if without := mustPlan(t, flat(2700)).Forecast(); f.Load.KernelMemory != without.Load.KernelMemory+f.Links.Tables {
		t.Errorf("kernel memory is %d, without links %d", f.Load.KernelMemory, without.Load.KernelMemory)
	}
	if s := f.Links.Conditions; len(s) != 3 || s[2].Side != "pair" || s[2].Count != 2700*2699 || s[2].Asked != "delay=1ms to 90.999ms" {
		t.Errorf("conditions are %+v", s)
	}
}

func BenchmarkLinkForecast(b *testing.B) {
	p := mustPlan(b, clusters(2700, 2700, 0))
	for b.Loop() {
		p.Forecast()
	}
}
