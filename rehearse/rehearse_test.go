package rehearse_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"myriad/api"
	"myriad/rehearse"
)

// TestMain lets the test binary be the process of the agents, too.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{"rehearse", "agents"}) {
		if err := rehearse.Agents(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func options(t *testing.T) rehearse.Options {
	return rehearse.Options{Exe: os.Args[0], Version: "test", Pnodes: 32, Vnodes: 3200, Steps: 2, Idle: 10 * time.Millisecond,
		Say: func(line string) { t.Log(line) }}
}

func TestRun(t *testing.T) {
	var steps []rehearse.Step
	joined := 0
	o := options(t)
	o.Progress = func(doing string, done, total int) {
		if doing == "join" {
			joined = max(joined, done)
		}
	}
	if err := rehearse.Run(t.Context(), o, func(s rehearse.Step) { steps = append(steps, s) }); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 2 || steps[0].Pnodes != 8 || steps[1].Pnodes != 32 || steps[0].Vnodes != 800 || steps[1].Vnodes != 3200 || joined != 32 {
		t.Fatalf("steps %+v, %d joined", steps, joined)
	}
	for _, s := range steps {
		if s.Join <= 0 || s.Up <= 0 || s.Down <= 0 || s.Messages < s.Pnodes || s.Bytes < 1000*s.Pnodes/2 || s.Memory < 1<<20 || s.AgentMemory < 1<<20 {
			t.Errorf("step %+v", s)
		}
	}
	few, _ := steps[0].PerPnode()
	many, _ := steps[1].PerPnode()
	if many > 2*few {
		t.Errorf("a pnode of 32 takes %.1f messages, one of 8 takes %.1f", many, few)
	}
}

func TestRunFile(t *testing.T) {
	o := options(t)
	o.Steps = 1
	o.File = &api.UpRequest{File: "x.yaml", Source: "platform: x\nvnetworks: {a: 10.0.0.0/8}\nvnodes: [{nodes: \"n[1-99]\", vifaces: [a]}]\n"}
	vnodes := 0
	if err := rehearse.Run(t.Context(), o, func(s rehearse.Step) { vnodes = s.Vnodes }); err != nil || vnodes != 99 {
		t.Errorf("%d vnodes, %v", vnodes, err)
	}
	o.File.Source = "platform: x\n"
	if err := rehearse.Run(t.Context(), o, func(rehearse.Step) {}); err == nil {
		t.Error("a file without vnodes is rehearsed")
	}
}

func TestRunCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	o := options(t)
	o.Progress = func(string, int, int) { cancel(enough) }
	if err := rehearse.Run(ctx, o, func(rehearse.Step) {}); !errors.Is(err, enough) {
		t.Errorf("called off, it says %v", err)
	}
}
