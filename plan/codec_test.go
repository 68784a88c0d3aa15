package plan

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

func TestDecodeRefuses(t *testing.T) {
	p, err := Make(shaped(t), named("p1", "p2"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	good := p.Encode()
	elsewhere := program.EncodeLinks(&program.Links{Conditions: []program.Condition{{Delay: 1}}, Vifaces: []program.LinkRange{{Network: 1, Host: 1, Count: 9, Out: 1}}})
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":       {nil, "no data"},
		"newer version": {append([]byte{9}, good[1:]...), "version 9, this is version 3"},
		"cut short":     {good[:len(good)-1], "EOF"},
		"rubbish":       {[]byte("\x01rubbish"), "decode plan"},
		"name":          {spoil(t, good, func(w *wirePlan) { w.Nodes = "a[1-" }), "parse node set"},
		"more vnodes":   {spoil(t, good, func(w *wirePlan) { w.Nodes = "a[1-9]" }), "want 9"},
		"far too many":  {spoil(t, good, func(w *wirePlan) { w.Nodes = "a[1-99999999]" }), "more than"},
		"kind":          {spoil(t, good, func(w *wirePlan) { w.Kind = runs{7, 0, 5} }), "is 7, want less than 3"},
		"pnode":         {spoil(t, good, func(w *wirePlan) { w.Pnode = runs{0, 1, 5} }), "is 2, want less than 2"},
		"slot":          {spoil(t, good, func(w *wirePlan) { w.Slot = runs{0, -1, 5} }), "is -1"},
		"same slot":     {spoil(t, good, func(w *wirePlan) { w.Slot = runs{0, 0, 5} }), "are in one slot"},
		"same host":     {spoil(t, good, func(w *wirePlan) { w.Host = runs{1, 0, 6} }), "given twice"},
		"host":          {spoil(t, good, func(w *wirePlan) { w.Host = runs{7, 1, 6} }), "has host number"},
		"endless run":   {spoil(t, good, func(w *wirePlan) { w.Host = runs{1, 1, 1 << 62} }), "hosts"},
		"run behind":    {spoil(t, good, func(w *wirePlan) { w.Host = append(w.Host, 1, 0, 1<<50) }), "hosts"},
		"run of none":   {spoil(t, good, func(w *wirePlan) { w.HopOf, w.HopsUpTo = runs{0, 0, 0}, runs{0, 0, 5} }), "routes"},
		"subnet":        {spoil(t, good, func(w *wirePlan) { w.Networks[0].Bits = 31 }), "cannot be"},
		"network":       {spoil(t, good, func(w *wirePlan) { w.Kinds[0].Networks[0] = 9 }), "network 9 of 2"},
		"nameless":      {spoil(t, good, func(w *wirePlan) { w.Pnodes[0].Name = "" }), "has no name"},
		"MAC":           {spoil(t, good, func(w *wirePlan) { w.Given = []uint32{1} }), "incomplete"},
		"empty gateway": {spoil(t, good, func(w *wirePlan) {
			w.Complete, w.Kinds[1].Gateway = true, false
			w.Kinds = append(w.Kinds, wireKind{Gateway: true, Vifaces: []string{"a", "b"}, Networks: []uint32{0, 1}})
		}), "no chain"},
		"links of nobody":  {spoil(t, good, func(w *wirePlan) { w.Links.Tables[len(w.Links.Tables)-1]++ }), "links"},
		"links elsewhere":  {spoil(t, good, func(w *wirePlan) { w.Links.Tables = elsewhere }), "9 vifaces have link conditions"},
		"set of a change":  {spoil(t, good, func(w *wirePlan) { w.Links.Steps[0].Changes[0].Nodes = 9 }), "set 9 of"},
		"patch":            {spoil(t, good, func(w *wirePlan) { w.Links.Patches[0] = []byte("{") }), "decode patch"},
		"matrix":           {spoil(t, good, func(w *wirePlan) { w.Links.Matrices[0].Delay = nil }), "too few"},
		"longer matrix":    {spoil(t, good, func(w *wirePlan) { w.Links.Matrices[0].Delay = make([]byte, 9) }), "too many"},
		"set of a matrix":  {spoil(t, good, func(w *wirePlan) { w.Links.Matrices[0].Sets[0] = 77 }), "set 77"},
		"name of a change": {spoil(t, good, func(w *wirePlan) { w.Links.Sets[0] = "a[" }), "parse node set"},
		"steps":            {spoil(t, good, func(w *wirePlan) { w.Links.Steps[0].At = 1 << 40 }), "not in order"},
		"way to nowhere":   {spoil(t, good, func(w *wirePlan) { w.Ways = []wireWay{{From: "", To: "x", Takes: 1}} }), "to \"x\""},
		"way of no time":   {spoil(t, good, func(w *wirePlan) { w.Ways = []wireWay{{Takes: 0}} }), "takes 0s"},
		"port":             {spoil(t, good, func(w *wirePlan) { w.Port = 0 }), "port 0"},
		"VNI":              {spoil(t, good, func(w *wirePlan) { w.VNI = 1 << 24 }), "VNI"},
		"overlay":          {spoil(t, good, func(w *wirePlan) { w.Overlay = 9 }), "kind 9"},
		"no key":           {spoil(t, good, func(w *wirePlan) { w.Encryption = 2 }), "WireGuard"},
		"IPv6":             {spoil(t, good, func(w *wirePlan) { w.Pnodes[0].Address = make([]byte, 16) }), "nobody can be"},
		"apart":            {spoil(t, good, func(w *wirePlan) { w.Complete, w.Kinds[1].Gateway = true, false }), "no chain"},
	} {
		_, err := Decode(test.data)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, test.want)
		}
	}
}

// shaped is the lab with conditions and a schedule.
func shaped(t testing.TB) *topo.Topology {
	to := lab()
	to.Seed, to.Repeat = 5, time.Minute
	to.Vnodes[0].Vifaces[0].Out = &link.Conditions{Trace: testTrace}
	to.Links = []topo.LinkRule{{From: nodeset.Of("a1"), To: mustParse("a[2-3],gw"), Conditions: &link.Conditions{Delay: time.Millisecond}}}
	matrix := &topo.Matrix{Sets: []*nodeset.Set{nodeset.Of("a1"), nodeset.Of("gw", "w1")}, Delay: []time.Duration{0, 5 * time.Millisecond, -1, 7 * time.Millisecond}}
	same := *matrix
	to.Schedule = []topo.Step{
		{At: time.Second, Changes: []topo.Change{
			{Side: topo.SideOut | topo.SideIn, Nodes: mustParse("a[1-3]"), Patch: patchOf(t, "delay=20ms loss=none")},
			{Side: topo.SidePair, Nodes: mustParse("a[1-3]"), To: nodeset.Of("gw"), Patch: link.PatchOf(link.Conditions{Trace: testTrace}, "trace")},
			{Matrix: matrix}}},
		{At: 2 * time.Second, Changes: []topo.Change{{Matrix: &same}, {Side: topo.SidePair, Nodes: mustParse("a1"), To: nodeset.Of("gw"), Patch: patchOf(t, "delay=20ms loss=none")}}},
		{At: 2 * time.Second, Changes: []topo.Change{{Reset: true}}},
	}
	return to
}

// A schedule that is read back does the same, and is written once where it
// says the same twice.
func TestScheduleCodec(t *testing.T) {
	p := mustPlan(t, shaped(t))
	again, err := Decode(p.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if w := p.encodeLinks(); len(w.Matrices) != 1 || len(w.Patches) != 2 || len(w.Sets) != 4 {
		t.Errorf("%d matrices, %d patches and sets %q are written", len(w.Matrices), len(w.Patches), w.Sets)
	}
	steps, repeat := p.Schedule()
	got, repeats := again.Schedule()
	if repeat != time.Minute || repeats != repeat || len(got) != len(steps) || !bytes.Equal(again.Encode(), p.Encode()) {
		t.Fatalf("read back are %d steps, repeated after %s", len(got), repeats)
	}
	l, m := p.Links(), again.Links()
	for i := range steps {
		if l, _, _, err = p.Change(l, steps[i].Changes); err != nil {
			t.Fatal(err)
		}
		if m, _, _, err = again.Change(m, got[i].Changes); err != nil || !m.Equal(l) || got[i].At != steps[i].At {
			t.Errorf("step %d (%v) gives\n%s\nwant\n%s", i, err, textOf(p, m), textOf(p, l))
		}
	}
	if !l.Equal(p.Links()) {
		t.Error("at the end, links are not reset")
	}
}

// spoil changes an encoded plan.
func spoil(t *testing.T, data []byte, change func(w *wirePlan)) []byte {
	t.Helper()
	var w wirePlan
	if err := cbor.Unmarshal(data[1:], &w); err != nil {
		t.Fatal(err)
	}
	change(&w)
	out, err := cbor.Marshal(&w)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{Version}, out...)
}

func FuzzDecode(f *testing.F) {
	to := shaped(f)
	to.Complete = true
	p, err := Make(to, named("p1", "p2"), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		var w wirePlan
		if len(data) > 1 && cbor.Unmarshal(data[1:], &w) == nil {
			if set, err := nodeset.Parse(w.Nodes, nil); err == nil && set.Len() > 10_000 {
				t.Skip("too large to fuzz quickly")
			}
		}
		p, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(p.Encode())
		if err != nil || !bytes.Equal(again.Encode(), p.Encode()) {
			t.Fatalf("decoded, encoded and decoded, it is another plan: %v", err)
		}
		for i := range p.Pnodes() {
			if q := p.Program(i); q != nil {
				_ = q.String()
			}
		}
		_ = p.Forecast().String()
	})
}
