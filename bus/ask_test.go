package bus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"myriad/bus"
	"myriad/program"
)

// TestAsk: a question is on its way before what is published after it, however
// long its answer takes.
func TestAsk(t *testing.T) {
	a, b := pair(t, "")
	heard := make(chan string, 2)
	must(t, bus.Subscribe(a, "said", func(s string, _ error) { heard <- s }))
	free := make(chan struct{})
	must(t, bus.Handle(a, "asked", func(_ context.Context, n int) (int, error) {
		<-free
		if n < 0 {
			return 0, &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "answer"}
		}
		return n + 1, nil
	}))
	flush(t, a)
	wait, err := bus.Ask[int, int](b, "asked", 1)
	must(t, err)
	must(t, bus.Publish(b, "said", "later"))
	if s := <-heard; s != "later" {
		t.Errorf("heard %q", s)
	}
	close(free)
	if n, err := wait(t.Context()); n != 2 || err != nil {
		t.Errorf("answer %d, %v, want 2", n, err)
	}
	wait, err = bus.Ask[int, int](b, "asked", -1)
	must(t, err)
	if _, err := wait(t.Context()); bus.ProblemOf(err).Kind != program.KindConflict {
		t.Errorf("a refusal: %v", err)
	}
	wait, err = bus.Ask[int, int](b, "nobody", 1)
	must(t, err)
	if _, err := wait(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody answers") {
		t.Errorf("nobody: %v", err)
	}
	must(t, bus.Handle(a, "slow", func(ctx context.Context, n int) (int, error) { <-ctx.Done(); return 0, nil }))
	flush(t, a)
	wait, err = bus.Ask[int, int](b, "slow", 1)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := wait(ctx); bus.ProblemOf(err).Kind != program.KindUnavailable {
		t.Errorf("no answer in time: %v", err)
	}
}
