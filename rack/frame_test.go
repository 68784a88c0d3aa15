package rack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"myriad/kernel"
	"myriad/program"
)

func TestFramesRoundTrip(t *testing.T) {
	want := []any{
		&Request{Hello: &Hello{}},
		&Request{Observe: &struct{}{}},
		&Request{Close: &struct{}{}},
		&Request{Exec: &ExecRequest{Vnodes: []string{"a", "b"}, Argv: []string{"printf", "\xff\x00\xfe"}, Timeout: 5}},
		&Request{Apply: &kernel.RackSpec{
			Platform: "p",
			Networks: []program.Network{{ID: 1, Subnet: netip.MustParsePrefix("10.0.0.0/8")}},
			Rack: program.Rack{
				Index:   3,
				Vnodes:  []program.Vnode{{Slot: 1, Name: "n1", Forward: true}},
				Vifaces: []program.Viface{{Slot: 1, Name: "eth0", Network: 1, Host: 7, MAC: program.MAC{2, 3}}},
				Routes:  []program.Route{{Slot: 1, To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1")}},
			},
		}},
		&Reply{Outputs: []Output{{Vnode: "a", Data: []byte("x\n")}}, Exits: []Exit{{Vnode: "a", Code: 143, Signal: 15, Took: 9}}},
		&Reply{Err: &program.Problem{Kind: program.KindInvalid, Op: "do"}, Done: true},
		&Input{Resize: &[2]uint16{24, 80}},
	}
	var pipe bytes.Buffer
	f := NewFrames(&pipe)
	for _, v := range want {
		if err := f.Send(v); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range want {
		var got any
		switch v.(type) {
		case *Request:
			got = &Request{}
		case *Reply:
			got = &Reply{}
		case *Input:
			got = &Input{}
		}
		if err := f.Receive(got); err != nil {
			t.Fatal(err)
		}
		same := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
		addr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
		if d := cmp.Diff(v, got, same, addr); d != "" {
			t.Errorf("came back otherwise (-sent +received):\n%s", d)
		}
	}
	if err := f.Receive(&Reply{}); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
}

func TestFramesRefuse(t *testing.T) {
	length := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	for _, test := range []struct{ name, in, want string }{
		{"too long", length(MaxFrame + 1), "more than"},
		{"cut in the length", "\x00\x00", "unexpected EOF"},
		{"cut in the body", length(9) + "abc", "unexpected EOF"},
		{"announced and not sent", length(MaxFrame) + "abc", "unexpected EOF"},
		{"no CBOR", length(3) + "\xff\xff\xff", "decode frame"},
		{"another type", length(2) + "\x61x", "decode frame"},
		{"two values", length(2) + "\xa0\xa0", "decode frame"},
		{"a deep nest", length(64) + strings.Repeat("\x81", 63) + "\x00", "decode frame"},
		{"an endless array", length(4) + "\x9f\x00\x00\xff", "decode frame"},
	} {
		f := NewFrames(bytes.NewBufferString(test.in))
		err := f.Receive(&Request{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", test.name, err, test.want)
		}
	}
	f := NewFrames(&bytes.Buffer{})
	if err := f.Send(&Input{Data: make([]byte, MaxFrame)}); err == nil {
		t.Error("a frame of more than MaxFrame was sent")
	}
}

// TestFramesMemory: buffers of large frames are not kept, and a length that
// was only announced costs nothing.
func TestFramesMemory(t *testing.T) {
	var pipe bytes.Buffer
	f := NewFrames(&pipe)
	if err := f.Send(&Input{Data: make([]byte, 8<<20)}); err != nil {
		t.Fatal(err)
	}
	if err := f.Receive(&Input{}); err != nil {
		t.Fatal(err)
	}
	if cap(f.body) > keepBuffer || f.out.Cap() > keepBuffer {
		t.Errorf("kept %d and %d bytes, want at most %d each", cap(f.body), f.out.Cap(), keepBuffer)
	}
	pipe.Reset()
	pipe.Write(binary.BigEndian.AppendUint32(nil, MaxFrame))
	if err := f.Receive(&Input{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v, want an unexpected end", err)
	}
	if cap(f.body) > 1<<20 {
		t.Errorf("%d bytes for a frame of which nothing came", cap(f.body))
	}
}

func FuzzFrames(f *testing.F) {
	var seed bytes.Buffer
	s := NewFrames(&seed)
	for _, v := range []any{&Request{Exec: &ExecRequest{Argv: []string{"true"}}}, &Reply{Exits: []Exit{{Vnode: "n"}}}, &Input{Data: []byte("x")}} {
		if err := s.Send(v); err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(seed.Bytes()))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, v := range []func() any{func() any { return &Request{} }, func() any { return &Reply{} }, func() any { return &Input{} }} {
			r := NewFrames(bytes.NewBuffer(bytes.Clone(in)))
			for {
				got := v()
				if r.Receive(got) != nil {
					break
				}
				if err := NewFrames(&bytes.Buffer{}).Send(got); err != nil {
					t.Fatalf("received and cannot be sent: %v", err)
				}
			}
		}
	})
}

// TestFrameOfManyRoutes: a full rack whose vnodes have some hundred routes each
// is said in one frame.
func TestFrameOfManyRoutes(t *testing.T) {
	const each = 200
	spec := &kernel.RackSpec{Platform: "p", Rack: program.Rack{Routes: make([]program.Route, 0, each*program.RackVnodes)}}
	for slot := range uint16(program.RackVnodes) {
		spec.Rack.Vnodes = append(spec.Rack.Vnodes, program.Vnode{Slot: slot, Name: "n"})
		for k := range byte(each) {
			to := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, k, 0, 0}), 16)
			spec.Rack.Routes = append(spec.Rack.Routes, program.Route{Slot: slot, To: to, Via: netip.AddrFrom4([4]byte{10, 255, 0, 1})})
		}
	}
	var pipe bytes.Buffer
	f := NewFrames(&pipe)
	if err := f.Send(&Request{Apply: spec}); err != nil {
		t.Fatal(err)
	}
	var got Request
	if err := f.Receive(&got); err != nil {
		t.Fatal(err)
	}
	if n := len(got.Apply.Rack.Routes); n != each*program.RackVnodes {
		t.Errorf("%d routes arrive of %d", n, each*program.RackVnodes)
	}
}
