package mem

import (
	"math/rand/v2"
	"strings"
	"testing"

	"myriad/kernel/kerneltest"
	"myriad/program"
)

func TestSuite(t *testing.T) {
	kerneltest.Run(t, func(*testing.T) kerneltest.Pnode { return New(Options{}) }, kerneltest.Options{
		KillRack: func(_ *testing.T, p kerneltest.Pnode, platform string, index uint32) {
			p.(*Pnode).Kill(platform, index)
		},
	})
}

func TestLimit(t *testing.T) {
	p := New(Options{MaxVnodes: 3})
	want := kerneltest.Shapes[0].Program("a", rand.New(rand.NewPCG(1, 1)))
	report, err := p.Apply(t.Context(), want, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Up() != 3 || len(report.Problems) == 0 {
		t.Fatalf("%d up with %d problems, want 3 up and the rest as problems", report.Up(), len(report.Problems))
	}
	for _, problem := range report.Problems {
		if problem.Kind != program.KindExhausted || problem.Vnode == "" {
			t.Errorf("problem %+v: want kind exhausted and a vnode", problem)
		}
	}
}

func TestString(t *testing.T) {
	p := New(Options{})
	if _, err := p.Apply(t.Context(), kerneltest.Shapes[0].Program("a", rand.New(rand.NewPCG(1, 1))), nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"platform a\n", "netns add n0-0", "addr add 10.", "link add eth0"} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("print lacks %q:\n%s", want, p)
		}
	}
}
