package agent

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"myriad/bus"
)

// machine fills in what this machine has to carry vnodes with. What cannot be
// found out remains zero: not known.
func machine(h *bus.Hello) {
	h.CPUs = runtime.NumCPU()
	h.Kernel = setting("kernel/osrelease")
	h.Boot = setting("kernel/random/boot_id")
	h.Namespaces, _ = strconv.ParseUint(setting("user/max_net_namespaces"), 10, 64)
	h.Pids, _ = strconv.ParseUint(setting("kernel/pid_max"), 10, 64)
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		h.Memory = info.Totalram * uint64(info.Unit)
	}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		h.Files = files.Max // a process may raise its own so far
	}
}

// setting reads one of the kernel's settings; empty: there is none.
func setting(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
