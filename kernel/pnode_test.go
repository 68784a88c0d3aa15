package kernel_test

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// open makes a Pnode of its own, with its racks in this process.
func open(t *testing.T) (*kernel.Pnode, *kernel.LocalRacks) {
	t.Helper()
	kerneltest.RequireRoot(t)
	racks := &kernel.LocalRacks{}
	p, err := kernel.Open(kernel.Config{RunDir: t.TempDir(), Racks: racks})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := p.Sweep(ctx); err != nil {
			t.Error(err)
		}
		left, err := p.Leftovers(ctx)
		if err != nil || len(left) > 0 {
			t.Errorf("after the sweep: %v, %v", left, err)
		}
	})
	return p, racks
}

func TestSuite(t *testing.T) {
	var racks *kernel.LocalRacks
	kerneltest.Run(t, func(t *testing.T) kerneltest.Pnode {
		var p *kernel.Pnode
		p, racks = open(t)
		return p
	}, kerneltest.Options{
		KillRack: func(t *testing.T, _ kerneltest.Pnode, platform string, index uint32) {
			found, err := racks.Find(t.Context(), platform)
			if err != nil {
				t.Fatal(err)
			}
			if err := found[index].Close(); err != nil {
				t.Fatal(err)
			}
		},
	})
}

func closeFD(t *testing.T, fd int) {
	t.Helper()
	if err := unix.Close(fd); err != nil {
		t.Error(err)
	}
}
