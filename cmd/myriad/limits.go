package main

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"myriad/program"
)

// finding is one thing that doctor looked at.
type finding struct {
	Name   string  `json:"name"`
	Level  verdict `json:"level"`
	Value  string  `json:"value"`            // what is
	Why    string  `json:"why"`              // what it is for
	Remedy string  `json:"remedy,omitempty"` // what to do, unless all is well
}

// verdict is how bad a finding is.
type verdict string

const (
	levelOK   verdict = "ok"
	levelWarn verdict = "warning" // up works, with less
	levelFail verdict = "failure" // up cannot work
)

const (
	vnodeMemory = 270_000                  // kernel memory of a vnode with one viface
	rackFiles   = program.RackVnodes + 100 // descriptors that a full rack holds
)

// machine is where doctor reads what this machine has.
type machine struct {
	root fs.FS                       // its file system: /proc and /sys
	file func() (unix.Rlimit, error) // RLIMIT_NOFILE
}

// number reads a file that holds one number.
func (m *machine) number(path string) (uint64, bool) {
	b, err := fs.ReadFile(m.root, path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// limits are the findings about what bounds the number of vnodes.
func (m *machine) limits() []finding {
	found := []finding{m.memory(), m.files()}
	for _, s := range sysctls {
		if f, ok := s.look(m); ok {
			found = append(found, f)
		}
	}
	return found
}

func (m *machine) memory() finding {
	f := finding{Name: "memory", Level: levelOK, Why: "a vnode takes about 270 KB of kernel memory"}
	free := m.meminfo("MemAvailable")
	n := free / vnodeMemory
	f.Value = fmt.Sprintf("%s of %s available: about %s vnodes", size(free), size(m.meminfo("MemTotal")), count(n/100*100))
	if n < 100 {
		f.Level, f.Remedy = levelWarn, "free some memory, or use a larger machine"
	}
	return f
}

// meminfo reads a line of /proc/meminfo, in bytes.
func (m *machine) meminfo(key string) uint64 {
	b, _ := fs.ReadFile(m.root, "proc/meminfo") // absent: nothing is known to be available
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kb, _ := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// waited is how long some process has waited for a CPU since the machine was
// started; 0 where the kernel does not tell (PSI).
func (m *machine) waited() time.Duration {
	b, _ := fs.ReadFile(m.root, "proc/pressure/cpu") // absent: it is not known
	for line := range strings.Lines(string(b)) {
		if _, total, ok := strings.Cut(line, "total="); ok && strings.HasPrefix(line, "some ") {
			us, _ := strconv.ParseInt(strings.TrimSpace(total), 10, 64)
			return time.Duration(us) * time.Microsecond
		}
	}
	return 0
}

func (m *machine) files() finding {
	f := finding{Name: "RLIMIT_NOFILE", Level: levelOK, Why: fmt.Sprintf("a rack of %s vnodes holds a descriptor for each", count(program.RackVnodes))}
	lim, err := m.file()
	if err != nil {
		f.Level, f.Value = levelWarn, err.Error()
		return f
	}
	f.Value = count(lim.Max) + " descriptors in a process, of which a rack needs one per vnode"
	if lim.Max < rackFiles {
		f.Level, f.Remedy = levelFail, fmt.Sprintf("ulimit -Hn %d, or LimitNOFILE= in the unit, or /etc/security/limits.conf", rackFiles*2)
	}
	return f
}

// sysctl is a setting of the kernel that matters, and from which value on.
type sysctl struct {
	name   string
	why    string
	enough uint64
	level  verdict // when it is less
	value  func(n uint64) string
	remedy string
}

var sysctls = []sysctl{
	{name: "user.max_net_namespaces", enough: 1100, level: levelFail,
		why:   "a vnode has a network namespace, and so has a rack",
		value: func(n uint64) string { return "at most " + count(n) + " vnodes" }, remedy: "sysctl -w user.max_net_namespaces=1000000"},
	{name: "kernel.pid_max", enough: 32768, level: levelWarn,
		value: func(n uint64) string { return count(n) + " processes at a time, in all vnodes together" },
		why:   "each vnode in which something runs has at least one", remedy: "sysctl -w kernel.pid_max=4194304"},
	{name: "kernel.threads-max", enough: 32768, level: levelWarn,
		value: func(n uint64) string { return count(n) + " threads at a time, in all vnodes together" },
		why:   "each process has at least one", remedy: "sysctl -w kernel.threads-max=1000000"},
	{name: "net.ipv4.neigh.default.gc_thresh3", level: levelOK,
		why:   "neighbours of all vnodes together",
		value: func(n uint64) string { return count(n) + " neighbours; raised while a platform is up" }},
	{name: "net.core.netdev_max_backlog", level: levelOK,
		why:   "frames that came through veth pairs",
		value: func(n uint64) string { return count(n) + " frames waiting on a CPU; raised while a platform is up" }},
	{name: "net.core.bpf_jit_enable", enough: 1, level: levelWarn,
		why: "the fabric's programs run several times slower without", remedy: "sysctl -w net.core.bpf_jit_enable=1",
		value: func(n uint64) string {
			return map[bool]string{true: "eBPF is compiled", false: "eBPF is interpreted"}[n > 0]
		}},
}

// look reads the setting; one that this kernel does not have is left out.
func (s *sysctl) look(m *machine) (finding, bool) {
	n, ok := m.number("proc/sys/" + strings.ReplaceAll(s.name, ".", "/"))
	if !ok {
		return finding{}, false
	}
	f := finding{Name: s.name, Level: levelOK, Value: count(n), Why: s.why}
	if s.value != nil {
		f.Value = s.value(n)
	}
	if n < s.enough {
		f.Level, f.Remedy = s.level, s.remedy
	}
	return f, true
}

// nofile reads this process's limit of open files.
func nofile() (unix.Rlimit, error) {
	var lim unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim)
	return lim, err
}

// thisMachine reads what is.
func thisMachine() *machine { return &machine{root: os.DirFS("/"), file: nofile} }
