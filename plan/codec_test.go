package plan

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"myriad/nodeset"
)

func TestDecodeRefuses(t *testing.T) {
	p, err := Make(lab(), []Pnode{{Name: "p1"}, {Name: "p2"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	good := p.Encode()
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":       {nil, "no data"},
		"newer version": {append([]byte{9}, good[1:]...), "version 9, this is version 2"},
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
		"apart": {spoil(t, good, func(w *wirePlan) { w.Complete, w.Kinds[1].Gateway = true, false }), "no chain"},
	} {
		_, err := Decode(test.data)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, test.want)
		}
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
	to := lab()
	to.Complete = true
	p, err := Make(to, []Pnode{{Name: "p1"}, {Name: "p2"}}, Options{})
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
			_ = p.Program(i).String()
		}
		_ = p.Forecast().String()
	})
}
