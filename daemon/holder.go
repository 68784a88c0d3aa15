package daemon

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Holder is who has a run directory.
type Holder struct {
	Pid  int    // 0: nobody, or not known
	Role string // one of those below; empty: not known
	Bus  string // of an agent: where its coordinator is
}

// The roles of processes that have a run directory.
const (
	RoleDaemon = "serve"
	RoleAgent  = "agent"
)

// HolderOf tells who has a run directory at this moment; the zero value is
// nobody, or nobody that may be known.
func HolderOf(runDir string) Holder {
	h, _ := holderOf(lockOf(runDir))
	return h
}

// StateHolderOf is HolderOf for a state directory.
func StateHolderOf(stateDir string) Holder {
	h, _ := holderOf(stateLockOf(stateDir))
	return h
}

// Held says whether anybody has a run directory, also one who is ending.
func Held(runDir string) bool {
	_, held := holderOf(lockOf(runDir))
	return held
}

func holderOf(lock string) (h Holder, held bool) {
	f, err := os.Open(lock)
	if err != nil {
		return Holder{}, false
	}
	defer f.Close()
	// A shared lock is no claim: it only finds out whether there is one.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil {
		return Holder{}, false
	}
	return readHolder(f), true
}

// lockOf is the file that whoever has a run directory keeps locked.
func lockOf(runDir string) string { return filepath.Join(runDir, "daemon.pid") }

// stateLockOf is the same for a state directory.
func stateLockOf(stateDir string) string { return filepath.Join(stateDir, "lock") }

// String is what the file says: "PID ROLE BUS".
func (h Holder) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", h.Pid, h.Role, h.Bus))
}

// readHolder reads what String has written. A file that says nothing is one of
// a process that has only just begun, or is ending.
func readHolder(f *os.File) (h Holder) {
	text, _ := io.ReadAll(io.LimitReader(f, 4096))
	words := strings.Fields(string(text))
	for i, to := range []*string{nil, &h.Role, &h.Bus} {
		if i < len(words) && to != nil {
			*to = words[i]
		}
	}
	if len(words) > 0 {
		h.Pid, _ = strconv.Atoi(words[0])
	}
	return h
}
