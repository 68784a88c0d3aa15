package rehearse

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// memory reads a size from /proc/<pid>/status (proc(5)), in bytes.
func memory(pid int, field string) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if f := strings.Fields(rest); name == field && len(f) > 0 {
			kb, err := strconv.ParseUint(f[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, field)
}

// resetPeak has VmHWM of this process begin anew. Where that is not allowed,
// later steps say too much, never too little.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }
