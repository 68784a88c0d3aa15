package bus_test

import (
	"context"
	"io"
	"testing"

	"myriad/bus"
	"myriad/program"
)

func TestCalls(t *testing.T) {
	a, b := pair(t, "")
	calls := bus.NewCalls(a)
	bus.On(calls, "add", func(_ context.Context, q []int) (int, error) { return q[0] + q[1], nil })
	bus.OnStream(calls, "echo", echo)
	must(t, calls.Subscribe("n.example"))
	flush(t, a)
	if sum, err := bus.Request[[]int, int](t.Context(), b, bus.SubjectOf("n.example", "add"), []int{20, 22}); err != nil || sum != 42 {
		t.Errorf("sum %d, %v", sum, err)
	}
	s, err := bus.Open(t.Context(), b, bus.SubjectOf("n.example", "echo"), "")
	must(t, err)
	must(t, s.Send("x"))
	must(t, s.CloseSend())
	var got string
	must(t, s.Recv(&got))
	if err := s.Recv(&got); err != io.EOF || got != "x" {
		t.Errorf("echo %q, then %v", got, err)
	}
	_, err = bus.Request[int, int](t.Context(), b, bus.SubjectOf("n.example", "fly"), 1)
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindUnsupported {
		t.Errorf("an unknown call: %v", err)
	}
	_, err = bus.Request[int, int](t.Context(), b, bus.SubjectOf("n", "add"), 1)
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindUnavailable {
		t.Errorf("a call to another: %v", err)
	}
}
