package bench

import (
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stealMeter samples /proc/stat while figures are taken: what a hypervisor
// gives to others meanwhile (steal) is missing here, and no figure says so by
// itself.
type stealMeter struct {
	mutex   sync.Mutex
	samples []cpuSample
	stop    chan struct{}
	done    chan struct{}
}

// cpuSample is the first line of /proc/stat at a moment of CLOCK_MONOTONIC.
type cpuSample struct {
	at                 int64
	total, idle, steal uint64 // in ticks of 10 ms, over all CPUs
}

// stealWindow is how often /proc/stat is read, and how exactly it is known
// when something was stolen.
const stealWindow = 100 * time.Millisecond

func newStealMeter() *stealMeter {
	m := &stealMeter{stop: make(chan struct{}), done: make(chan struct{})}
	m.look()
	go m.run()
	return m
}

func (m *stealMeter) run() {
	defer close(m.done)
	tick := time.NewTicker(stealWindow)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.look()
		case <-m.stop:
			return
		}
	}
}

func (m *stealMeter) close() {
	close(m.stop)
	<-m.done
}

func (m *stealMeter) look() {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return
	}
	s := parseStat(string(text))
	s.at = monotonic()
	m.mutex.Lock()
	m.samples = append(m.samples, s)
	m.mutex.Unlock()
}

// parseStat reads the line of all CPUs (Linux Documentation/filesystems/proc.rst).
func parseStat(text string) cpuSample {
	line, _, _ := strings.Cut(text, "\n")
	var s cpuSample
	for i, f := range strings.Fields(line) {
		if i == 0 || i > 8 { // what guests use is part of what users use
			continue
		}
		v, _ := strconv.ParseUint(f, 10, 64)
		s.total += v
		switch i {
		case 4, 5:
			s.idle += v
		case 8:
			s.steal = v
		}
	}
	return s
}

func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it is always there
	return ts.Nano()
}

// since gives the shares of CPU time that were stolen and used since a moment.
func (m *stealMeter) since(at int64) (steal, busy float64) {
	m.look()
	m.mutex.Lock()
	defer m.mutex.Unlock()
	first, last := m.samples[max(0, m.after(at)-1)], m.samples[len(m.samples)-1]
	total := float64(last.total - first.total)
	if total == 0 {
		return 0, 0
	}
	steal = float64(last.steal-first.steal) / total
	return steal, 1 - steal - float64(last.idle-first.idle)/total
}

// during tells whether anything was stolen in a window that touches a stretch
// of time.
func (m *stealMeter) during(from, to int64) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	first, last := max(0, m.after(from)-1), min(m.after(to), len(m.samples)-1)
	return m.samples[last].steal != m.samples[first].steal
}

// after is the index of the first sample later than a moment.
func (m *stealMeter) after(at int64) int {
	return sort.Search(len(m.samples), func(i int) bool { return m.samples[i].at > at })
}
