package wheel

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// urgentThread finds the wheel's thread: the only one with SCHED_FIFO.
func urgentThread(t testing.TB) int {
	t.Helper()
	for range 100 {
		tasks, _ := filepath.Glob("/proc/self/task/*")
		for _, task := range tasks {
			tid, _ := strconv.Atoi(filepath.Base(task))
			if a, err := unix.SchedGetAttr(tid, 0); err == nil && a.Policy == unix.SCHED_FIFO {
				return tid
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Skip("no thread has SCHED_FIFO")
	panic("unreachable")
}

// cpuOf is the time that a thread has run.
func cpuOf(t testing.TB, tid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/schedstat", tid))
	if err != nil {
		t.Fatal(err)
	}
	ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ns)
}

// BenchmarkThroughput sends frames through a wheel as fast as it takes them,
// each held for a while, and reports how many a second of its thread's CPU is
// enough for; with their delivery into a socket at the other end.
func BenchmarkThroughput(b *testing.B) {
	for _, c := range []struct{ size, flow int }{{60, 40_000}, {1514, 40_000}, {60, 1_000_000}, {65000, 1_000_000}} {
		b.Run(fmt.Sprintf("%dB/flow=%d", c.size, c.flow), func(b *testing.B) {
			l := newLab(b, mtu, &Options{})
			tid := urgentThread(b)
			const count = 40_000
			n := count
			if c.size > 10000 {
				n = 10_000
			}
			for b.Loop() {
				l.flood(b, tid, c.size, n, c.flow)
			}
		})
	}
}

// flood sends frames, at most rate of them in a second.
func (l *lab) flood(b *testing.B, tid, size, n, rate int) {
	b.Helper()
	before, start := cpuOf(b, tid), time.Now()
	was := l.wheel.Stats()
	var came atomic.Int64
	done := make(chan bool)
	go func() { l.drain(n, &came); close(done) }()
	out := newMessages()
	var bufs [batch][]byte
	template := frame(size, 0, 0)
	vnet := plain
	if size > 10000 {
		template = tcpFrame(size-minFrame, 0)
		vnet = gsoHeader(54)
	}
	for i := range bufs {
		bufs[i] = append(slices.Clone(vnet[:]), template...)
		out.set(i, unsafe.Pointer(&bufs[i][0]), len(bufs[i]))
	}
	const at = 32 // frames at once
	for sent := 0; sent < n; {
		due := monotonic() + int64(5*time.Millisecond)
		for i := range at {
			h := header{Due: due, From: uint32(sent + i)}
			h.put(bufs[i][vnetSize:])
		}
		k := min(at, n-sent)
		for i := 0; i < k; {
			if done, errno := out.send(l.far, i, k); errno == 0 {
				i += done
			}
		}
		sent += k
		if ahead := time.Duration(sent)*time.Second/time.Duration(rate) - time.Since(start); ahead > 0 {
			time.Sleep(ahead)
		}
		for size > 10000 && int64(sent)-came.Load() > 300 { // as a TCP window does
			time.Sleep(50 * time.Microsecond)
		}
	}
	<-done
	s := l.wheel.Stats()
	cpu := cpuOf(b, tid) - before
	took := time.Since(start)
	frames := s.Frames - was.Frames
	b.ReportMetric(float64(frames)/cpu.Seconds()/1000, "kframes/cpu-s")
	b.ReportMetric(float64(came.Load())/took.Seconds()/1000, "kframes/s")
	b.ReportMetric(float64(frames)*float64(size)*8/cpu.Seconds()/1e9, "Gbit/cpu-s")
	b.ReportMetric(float64(s.Missed-was.Missed+s.Failed-was.Failed+s.Full-was.Full)/float64(n), "lost/frame")
	b.ReportMetric(float64(s.Late-was.Late)/float64(n), "late/frame")
}

func gsoHeader(headers uint16) (h [vnetSize]byte) {
	h[0], h[1] = 1, 1
	for i, v := range []uint16{headers, 1448, minFrame + 20, 16} {
		binary.NativeEndian.PutUint16(h[2+2*i:], v)
	}
	return h
}

// drain reads until n frames have come, or none for a while.
func (l *lab) drain(n int, came *atomic.Int64) {
	in := newMessages()
	buf := make([]byte, batch*bufferSize)
	for i := range batch {
		in.set(i, unsafe.Pointer(&buf[i*bufferSize]), 64) // the beginnings are enough
	}
	for idle := 0; came.Load() < int64(n) && idle < 100; {
		k, errno := in.receive(l.far)
		if errno != 0 {
			fds := []unix.PollFd{{Fd: int32(l.far), Events: unix.POLLIN}}
			if k, _ := unix.Poll(fds, 10); k == 0 {
				idle++
			}
			continue
		}
		idle = 0
		came.Add(int64(k))
	}
}

// BenchmarkLateness has single frames held for some time, and reports how late
// they reach the other end (by the kernel's clock there), beside how late the
// same thread's timers are, in the same minutes.
func BenchmarkLateness(b *testing.B) {
	for _, delay := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		b.Run(delay.String(), func(b *testing.B) {
			l := newLab(b, mtu, &Options{})
			l.must(unix.SetsockoptInt(l.far, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
			var late, timer []time.Duration
			for b.Loop() {
				for range 20 { // they take turns
					for range 10 {
						late = append(late, l.lateness(delay))
					}
					more, err := Timers(10, time.Millisecond)
					l.must(err)
					timer = append(timer, more...)
				}
			}
			report(b, "hold", late)
			report(b, "timer", timer)
		})
	}
}

func report(b *testing.B, what string, v []time.Duration) {
	slices.Sort(v)
	b.ReportMetric(float64(v[len(v)/2].Nanoseconds())/1000, what+"-p50-µs")
	b.ReportMetric(float64(v[len(v)*99/100].Nanoseconds())/1000, what+"-p99-µs")
}

// lateness sends one frame, and says how late it came out.
func (l *lab) lateness(delay time.Duration) time.Duration {
	f := frame(100, delay, 0)
	l.push(f)
	due := dueIn(f, monotonic())
	oob := make([]byte, 64)
	for {
		fds := []unix.PollFd{{Fd: int32(l.far), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 2000); n == 0 || err != nil {
			if err == unix.EINTR {
				continue
			}
			l.Fatalf("it does not come back: %v", err)
		}
		_, n, _, _, err := unix.Recvmsg(l.far, l.buf, oob, 0)
		l.must(err)
		msgs, err := unix.ParseSocketControlMessage(oob[:n])
		l.must(err)
		var mono, real unix.Timespec
		l.must(unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono))
		l.must(unix.ClockGettime(unix.CLOCK_REALTIME, &real))
		at := *(*unix.Timespec)(unsafe.Pointer(&msgs[0].Data[0]))
		return time.Duration(at.Nano() + mono.Nano() - real.Nano() - due)
	}
}

// BenchmarkIdle reports what a wheel costs that has nothing to do, also after
// it had: memory of this process, time of its CPU, and wakes in a second.
func BenchmarkIdle(b *testing.B) {
	for b.Loop() {
		l := newLab(b, mtu, &Options{})
		wheels := []*Wheel{l.wheel}
		before, _ := rss(b)
		const more = 20
		for range more {
			l.start(&Options{Netns: l.rack, Device: holdIndex})
			wheels = append(wheels, l.wheel)
		}
		time.Sleep(200 * time.Millisecond)
		started, _ := rss(b)
		b.ReportMetric(float64(started-before)/more/1024, "KiB-new/wheel")
		for i := range uint32(20) {
			l.push(frame(1500, time.Millisecond, i)) // each of them holds it
		}
		time.Sleep(time.Duration(trimEvery) + 500*time.Millisecond)
		used, cpu := rss(b)
		b.ReportMetric(float64(used-before)/more/1024, "KiB-used/wheel")
		wakes := -sumWakes(wheels)
		time.Sleep(2 * time.Second)
		_, later := rss(b)
		b.ReportMetric(float64(wakes+sumWakes(wheels))/2/(more+1), "wakes/s/wheel")
		b.ReportMetric((later-cpu).Seconds()*1000/2, "ms-CPU/s")
	}
}

func sumWakes(wheels []*Wheel) (n int64) {
	for _, w := range wheels {
		n += int64(w.Stats().Wakes)
	}
	return n
}

// rss is the memory of this process, and the time that it has run.
func rss(b *testing.B) (int, time.Duration) {
	b.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize(), time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
