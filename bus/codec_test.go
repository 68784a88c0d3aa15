package bus

import (
	"bytes"
	"testing"

	"myriad/program"
)

// FuzzDecode: whatever comes in place of a message is an error, or a message
// that can be sent on and comes out the same.
func FuzzDecode(f *testing.F) {
	for _, v := range []any{
		answer{Err: &program.Problem{Kind: 3, Op: "x"}}, answer{Body: []byte{1}}, opening{Inbox: "_INBOX.x", Body: []byte{2}},
		Lead{Coordinator: "c", Epoch: 4}, Hello{From: From{Pnode: "p", Seq: 9}, MTU: 1500}, Welcome{Refused: &program.Problem{Op: "y"}},
		Beat{From: From{Session: "s"}}, Racks{}, Apply{Name: "n", Shared: "d"}, Progress{Count: 3}, Shape{}, Echo{}, Echoing{}, Reach{}, Reached{}, Overload{}, Platform{}, Share{},
	} {
		b, err := Encode(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []func() any{
			func() any { return new(answer) }, func() any { return new(opening) }, func() any { return new(Lead) }, func() any { return new(Hello) },
			func() any { return new(Welcome) }, func() any { return new(Beat) }, func() any { return new(From) }, func() any { return new(Racks) },
			func() any { return new(Overload) }, func() any { return new(Apply) }, func() any { return new(Platform) }, func() any { return new(Progress) },
			func() any { return new(Shape) }, func() any { return new(Echo) }, func() any { return new(Echoing) }, func() any { return new(Reach) },
			func() any { return new(Reached) }, func() any { return new(Share) },
		} {
			first := v()
			if Decode(b, first) != nil {
				continue
			}
			one, err := Encode(first)
			if err != nil {
				continue // a time, say, that is beyond what can be written
			}
			second := v()
			if err := Decode(one, second); err != nil {
				t.Fatalf("%T: what was decoded and encoded does not decode: %v", first, err)
			}
			if two, err := Encode(second); err != nil || !bytes.Equal(one, two) {
				t.Fatalf("%T: %x, then %x (%v)", first, one, two, err)
			}
		}
		if info, err := parseInfo(b); err == nil && info == nil {
			t.Fatal("neither description nor error")
		}
	})
}

// TestMemory: what was heard is known, for a while, and does not grow for
// ever.
func TestMemory(t *testing.T) {
	var m memory
	if m.again("a") || !m.again("a") || m.again("b") {
		t.Error("a question is not told from another")
	}
	for i := range 3 * rememberMost {
		m.again(string(rune(i)) + "x")
	}
	if n := len(m.now) + len(m.before); n > 2*rememberMost {
		t.Errorf("%d are remembered", n)
	}
}
