package program

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := programs().Draw(t, "program")
		data := want.Encode()
		got, err := Decode(data)
		if err != nil {
			t.Fatalf("%v\n%s", err, want)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("read back as\n%s\nwant\n%s", got, want)
		}
		if !bytes.Equal(got.Encode(), data) {
			t.Fatal("equal programs have different bytes")
		}
	})
}

// TestCodecGolden pins the encoding: whoever changes it must count Version up
// and put the new bytes here.
func TestCodecGolden(t *testing.T) {
	lan := netip.MustParsePrefix("10.0.0.0/24")
	p := &Program{
		Platform: "demo", Pnode: "p1",
		Networks: []Network{{ID: 1, Name: "lan", Subnet: lan, MTU: 1500, Broadcast: true}},
		Racks: []Rack{{
			Vnodes:  []Vnode{{Slot: 0, Name: "a1", Forward: true}, {Slot: 1, Name: "a2", Weight: WeightLight}},
			Vifaces: []Viface{{Slot: 0, Name: "eth0", Network: 1, Host: 1}, {Slot: 1, Name: "eth0", Network: 1, Host: 2, MAC: MAC{6, 0, 0, 0, 0, 9}, Attach: AttachVeth}},
			Routes:  []Route{{Slot: 1, To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1")}},
		}},
		Names:  []NameRange{{Prefix: "a", First: 1, Count: 2, Addr: netip.MustParseAddr("10.0.0.1")}},
		Remote: []PlaceRange{{Network: 1, Host: 3, Count: 4, Pnode: 1}},
		Links: &Links{Seed: 7, Conditions: []Condition{{Delay: 9, Rate: 300, ECN: true}}, Classes: 1, Matrix: []PairWord{5},
			Vifaces: []LinkRange{{Network: 1, Host: 1, Count: 2, Class: 1, Out: 1}, {Network: 1, Host: 4, Count: 1}},
			Pairs:   []Pair{{Network: 1, From: 1, To: 4, Word: PairIndexed | 1}},
			Traces:  []Trace{{Name: "t", Period: 300, At: []uint32{1, 300}}}},
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	const want = "048c6464656d6f62703100818601636c616e1a0a00000018181905dcf5818600820001" +
		"6561310a6132420104888200018200008164657468308200008201018201024c000000000000060000000009420001" +
		"84810181004100811a0a0000018187616160010002f41a0a000001848101810381048101" +
		"880782018f410940404040404040404042ac024040404102870242010042010142010042010042010040014405000000850141014101410445818080800880" +
		"8183617419012c4301ab0200f68083808040"
	got := hex.EncodeToString(p.Encode())
	if got != want {
		t.Errorf("encoding is now\n%s\nwant\n%s", got, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := large(2).Encode()
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":       {nil, "no data"},
		"newer version": {append([]byte{Version + 1}, good[1:]...), fmt.Sprintf("version %d, this is version %d", Version+1, Version)},
		"cut short":     {good[:len(good)-1], "EOF"},
		"more behind":   {append(bytes.Clone(good), 0), "extraneous"},
		"not a program": {[]byte{Version, 0x80}, "array"},
		"rubbish":       {[]byte("\x01rubbish"), "decode program"},
		"huge array":    {[]byte{Version, 0x9b, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff}, "exceeded"},
		"empty":         {(&Program{}).Encode(), "platform"},
	} {
		_, err := Decode(test.data)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, test.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(large(3).Encode())
	for i := range 5 {
		f.Add(programs().Example(i).Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(p.Encode())
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("decoded, encoded and decoded, it is (%v)\n%s\nwant\n%s", err, again, p)
		}
		_ = WriteHosts(limited{1 << 20}, p)
	})
}

// limited is a writer that fails after some bytes: a hosts file may be huge.
type limited struct{ left int }

func (l limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, fmt.Errorf("enough")
	}
	return len(b), nil
}

func BenchmarkEncode(b *testing.B) {
	p := large(40_000)
	b.ReportAllocs()
	for b.Loop() {
		b.ReportMetric(float64(len(p.Encode()))/40_000, "B/vnode")
	}
}

func BenchmarkDecode(b *testing.B) {
	data := large(40_000).Encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	p := large(40_000)
	for b.Loop() {
		if err := p.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
