package kernel

import (
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"myriad/kernel/kerneltest"
)

// TestPulse: what waits for programs that run does wait for them, on this
// kernel. A program runs again and again, for some milliseconds, and says when:
// it counts at its begin and at its end, so that the count is odd between.
func TestPulse(t *testing.T) {
	kerneltest.RequireRoot(t)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	count := func() asm.Instructions {
		return asm.Instructions{
			asm.LoadMapValue(asm.R7, m.FD(), 0),
			asm.LoadMem(asm.R1, asm.R7, 0, asm.DWord),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R7, 0, asm.R1, asm.DWord),
		}
	}
	const rounds = 100_000
	body := append(count(), asm.Mov.Imm(asm.R6, rounds), asm.FnKtimeGetNs.Call().WithSymbol("again"),
		asm.Sub.Imm(asm.R6, 1), asm.JNE.Imm(asm.R6, 0, "again"))
	body = append(append(body, count()...), asm.Mov.Imm(asm.R0, 0), asm.Return())
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: body})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	mem, err := unix.Mmap(m.FD(), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mem) }()
	now := (*uint64)(unsafe.Pointer(&mem[0]))

	var stop atomic.Bool
	done := make(chan error)
	go func() {
		var err error
		for err == nil && !stop.Load() {
			_, err = prog.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
		}
		done <- err
	}()
	var u pulse
	defer u.close()
	met := 0
	for end := time.Now().Add(5 * time.Second); met < 50 && time.Now().Before(end); {
		was := atomic.LoadUint64(now)
		if was%2 == 0 {
			time.Sleep(100 * time.Microsecond)
			continue
		}
		if err := u.wait(); err != nil {
			t.Fatal(err)
		}
		if atomic.LoadUint64(now) == was {
			t.Errorf("run %d has not ended", was)
		}
		met++
	}
	stop.Store(true)
	if err := <-done; err != nil || met == 0 {
		t.Errorf("%d runs were met, %v", met, err)
	}
}
