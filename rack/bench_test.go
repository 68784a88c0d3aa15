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
	benchVnodes = flag.Int("rack.vnodes", 200, "vnodes of the rack in benchmarks")
	benchExe    = flag.String("rack.exe", "", "program that racks are started from in benchmarks; empty: this one")
)

// BenchmarkStart starts rack processes, and measures the time until they
// answer.
func BenchmarkStart(b *testing.B) {
	s := starter(b)
	s.Exe = *benchExe
	s.Version = "any"
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
	learnVersion(b, s)
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

// learnVersion makes a starter take racks of the program that it starts.
func learnVersion(b *testing.B, s *Starter) {
	r, err := s.Start(context.Background(), "p", 0)
	if err != nil {
		b.Fatal(err)
	}
	s.Version = r.(*Client).Version
	if err := r.Close(); err != nil {
		b.Fatal(err)
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

// BenchmarkExec runs true in every vnode of a rack, beside the least that can
// be done: fork, exec and wait, on every core, in the same run, by turns.
func BenchmarkExec(b *testing.B) {
	n := *benchVnodes
	c := open(b, n)
	path, err := exec.LookPath("true")
	if err != nil {
		b.Fatal(err)
	}
	floor(b, path, n)
	run(context.Background(), c, &ExecRequest{Argv: []string{"true"}}).ok(b, n)
	var ours, bare, oursCPU, bareCPU time.Duration
	var before, after runtime.MemStats
	b.ResetTimer()
	for range b.N {
		cpu := cpuTime()
		bare += floor(b, path, n)
		bareCPU += cpuTime() - cpu
		runtime.ReadMemStats(&before)
		cpu = cpuTime()
		began := time.Now()
		run(context.Background(), c, &ExecRequest{Argv: []string{"true"}}).ok(b, n)
		ours += time.Since(began)
		oursCPU += cpuTime() - cpu
		runtime.ReadMemStats(&after)
	}
	each := float64(b.N * n)
	b.ReportMetric(float64(ours.Microseconds())/each, "µs/process")
	b.ReportMetric(float64(bare.Microseconds())/each, "µs/floor")
	b.ReportMetric(float64(ours)/float64(bare), "ratio")
	b.ReportMetric(float64(oursCPU)/float64(bareCPU), "cpu-ratio")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(n), "B/process")
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

// cpuTime is what this process and its children that have ended have used:
// unlike time, it does not depend on what else the machine does.
func cpuTime() time.Duration {
	var sum int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += u.Utime.Nano() + u.Stime.Nano()
		}
	}
	return time.Duration(sum)
}
