package rack

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"myriad/program"
)

var (
	benchVnodes = flag.Int("rack.vnodes", 200, "vnodes of a rack in benchmarks")
	benchRacks  = flag.Int("rack.racks", 1, "racks in benchmarks that use several")
	benchExe    = flag.String("rack.exe", "", "program that racks are started from in benchmarks; empty: this one")
)

// BenchmarkStart starts rack processes, and measures the time until they
// answer.
func BenchmarkStart(b *testing.B) {
	s := starter(b)
	s.Exe = *benchExe
	b.ResetTimer()
	for i := range b.N {
		if _, err := s.Start(context.Background(), "p", uint32(i)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemory holds vnodes in a rack process, and reports its share of
// the machine's memory: just after they were made, and after a command ran
// in all of them.
func BenchmarkMemory(b *testing.B) {
	p, s := pnode(b)
	s.Exe = *benchExe
	for range b.N {
		want := flat(*benchVnodes, program.RackVnodes)
		if report, err := p.Apply(context.Background(), want, nil); err != nil || len(report.Problems) > 0 {
			b.Fatal(err, report)
		}
		found, err := s.Find(context.Background(), "p")
		if err != nil {
			b.Fatal(err)
		}
		c := found[0].(*Client)
		time.Sleep(200 * time.Millisecond)
		b.ReportMetric(pss(b, c.Pid()), "KB-held")
		run(context.Background(), c, &ExecRequest{Argv: []string{"true"}}).ok(b, *benchVnodes)
		b.ReportMetric(pss(b, c.Pid()), "KB-used")
		if err := p.Remove(context.Background(), "p", nil); err != nil {
			b.Fatal(err)
		}
	}
}

// pss is the proportional set size of a process, in KB.
func pss(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	if testing.Verbose() {
		b.Logf("%s", text)
	}
	for line := range strings.Lines(string(text)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "Pss: %f kB", &kb); n == 1 {
			return kb
		}
	}
	b.Fatal("no Pss")
	return 0
}

// BenchmarkExec runs true in every vnode of some racks at once, beside the
// least that can be done: fork, exec and wait, on every core, in the same run,
// by turns.
func BenchmarkExec(b *testing.B) {
	path, err := exec.LookPath("true")
	if err != nil {
		b.Fatal(err)
	}
	n := *benchRacks * *benchVnodes
	s := starter(b)
	var racks []*Client
	for i := range *benchRacks {
		c := startRack(b, s, uint32(i))
		mustApply(b, c, bare(uint32(i), *benchVnodes))
		racks = append(racks, c)
	}
	runAll := func() {
		var calls sync.WaitGroup
		for _, c := range racks {
			calls.Go(func() {
				o := run(context.Background(), c, &ExecRequest{Argv: []string{"true"}})
				if o.err != nil || len(o.exits) != *benchVnodes {
					b.Error(o.err, len(o.exits))
				}
			})
		}
		calls.Wait()
	}
	floor(b, path, n)
	runAll()
	var ours, bare time.Duration
	b.ResetTimer()
	for range b.N {
		bare += floor(b, path, n)
		began := time.Now()
		runAll()
		ours += time.Since(began)
	}
	each := float64(b.N * n)
	b.ReportMetric(float64(ours.Microseconds())/each, "µs/process")
	b.ReportMetric(float64(bare.Microseconds())/each, "µs/floor")
	b.ReportMetric(float64(ours)/float64(bare), "ratio")
}

// floor runs a program n times with nothing around it, a worker per core.
func floor(b *testing.B, path string, n int) time.Duration {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	fd := null.Fd()
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{fd, fd, fd}}
	began := time.Now()
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.NumCPU() {
		workers.Go(func() {
			for next.Add(1) <= int64(n) {
				pid, err := syscall.ForkExec(path, []string{"true"}, attr)
				if err != nil {
					b.Error(err)
					return
				}
				reap(pid, 0)
			}
		})
	}
	workers.Wait()
	return time.Since(began)
}
