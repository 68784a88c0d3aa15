package agent

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"myriad/program"
)

// From these values on, a second counts as one in which the pnode could not
// keep what it promised.
const (
	busyLimit   = 0.95             // of all CPUs' time, with what a hypervisor took
	waitLimit   = 0.90             // of the time, some process waited for a CPU (PSI)
	stealLimit  = 0.05             // of all CPUs' time was taken by a hypervisor
	lateLimit   = time.Millisecond // by which the latest 1 % of frames left the holder
	lateLeast   = 20               // frames, of fewer nothing is said
	overQuiet   = 2 * time.Second  // a stretch goes on if it is this long in between
	overKept    = 100              // stretches that are remembered
	announceGap = time.Minute      // between two that are announced, of one kind
)

// load is what a machine has done since it was started.
type load struct {
	total, busy, steal uint64        // of all CPUs, in ticks
	waited             time.Duration // some process waited for a CPU; 0 where the kernel does not tell
	dropped            uint64        // frames between devices, for which the kernel's backlog had no room
	at                 time.Time
}

// readLoad reads /proc.
func readLoad(proc fs.FS, now time.Time) (load, error) {
	b, err := fs.ReadFile(proc, "stat")
	if err != nil {
		return load{}, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	const user, idle, iowait, steal = 1, 4, 5, 8 // proc(5)
	if len(f) <= steal || f[0] != "cpu" {
		return load{}, fmt.Errorf("/proc/stat begins with %q", line)
	}
	l := load{at: now}
	for i := user; i <= steal; i++ {
		n, _ := strconv.ParseUint(f[i], 10, 64)
		l.total += n
		switch i {
		case idle, iowait:
		case steal:
			l.steal = n
		default:
			l.busy += n
		}
	}
	l.waited = pressure(proc)
	l.dropped = backlogDrops(proc)
	return l, nil
}

// backlogDrops is how many frames that went from one device to another found
// the backlog of a CPU full (net.core.netdev_max_backlog). Nobody else counts
// them. It begins again at 0 after 2^32 on one CPU.
func backlogDrops(proc fs.FS) (n uint64) {
	b, _ := fs.ReadFile(proc, "net/softnet_stat") // absent: it is not known
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 {
			dropped, _ := strconv.ParseUint(f[1], 16, 64)
			n += dropped
		}
	}
	return n
}

// pressure is how long some process has waited for a CPU.
func pressure(proc fs.FS) time.Duration {
	b, _ := fs.ReadFile(proc, "pressure/cpu") // absent: it is not known
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "some "); ok {
			_, total, _ := strings.Cut(rest, "total=")
			us, _ := strconv.ParseInt(strings.TrimSpace(total), 10, 64)
			return time.Duration(us) * time.Microsecond
		}
	}
	return 0
}

// sign is one thing that says that a pnode was overloaded.
type sign struct {
	what   string
	bad    bool
	much   float64 // how bad it is, to compare with the same thing at other times
	detail string
}

// since compares two readings.
func (l load) since(was load) []sign {
	total := float64(l.total - was.total)
	took := l.at.Sub(was.at)
	if was.total == 0 || total <= 0 || took <= 0 {
		return nil
	}
	busy, steal := float64(l.busy-was.busy)/total, float64(l.steal-was.steal)/total
	wait := float64(l.waited-was.waited) / float64(took)
	lost := float64(l.dropped-min(l.dropped, was.dropped)) / took.Seconds()
	detail := fmt.Sprintf("CPUs are busy %.0f %% of the time", 100*(busy+steal))
	if l.waited > 0 {
		detail += fmt.Sprintf(", some process waits for one %.0f %%", 100*wait)
	}
	return []sign{
		{"cpu", busy+steal >= busyLimit || wait >= waitLimit, max(busy+steal, wait), detail},
		{"steal", steal >= stealLimit, steal, fmt.Sprintf("the hypervisor takes %.0f %% of the CPUs' time", 100*steal)},
		{"backlog", lost > 0, lost, fmt.Sprintf("the kernel has no room for %.0f frames a second between devices (net.core.netdev_max_backlog)", lost)},
	}
}

// holding compares two readings of a holder.
func holding(l, was *program.LinkStats) []sign {
	since := difference(l.Lateness, was.Lateness)
	late, frames := program.LatenessQuantile(since, 0.99), sum(since)
	lost := l.Lost - min(l.Lost, was.Lost)
	for _, name := range []string{"drop_no_holder", "drop_no_state"} {
		n := counted(l, name)
		lost += n - min(n, counted(was, name))
	}
	return []sign{
		{"holder late", frames >= lateLeast && late > lateLimit, float64(late), fmt.Sprintf("1 %% of frames leave the holder more than %.1f ms late", late.Seconds()*1e3)},
		{"holder full", lost > 0, float64(lost), fmt.Sprintf("the holder has no room for %d frames a second", lost)},
	}
}

// counted gives one of the fabric's counters.
func counted(l *program.LinkStats, name string) uint64 {
	for _, c := range l.Counters {
		if c.Name == name {
			return c.Packets
		}
	}
	return 0
}

func sum(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// difference subtracts counts of before; a holder made anew counts from 0.
func difference(counts, was []uint64) []uint64 {
	if sum(counts) < sum(was) {
		return counts
	}
	out := make([]uint64, len(counts))
	for i, n := range counts {
		out[i] = n
		if i < len(was) {
			out[i] -= min(n, was[i])
		}
	}
	return out
}
