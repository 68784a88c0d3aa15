package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	h, held := holderOf(lockOf(runDir))
	if held {
		h.readSign(runDir)
	}
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

// lockOf is the file that whoever has a run directory keeps locked. It has the
// pid alone, as people expect of such a file.
func lockOf(runDir string) string { return filepath.Join(runDir, "daemon.pid") }

// stateLockOf is the same for a state directory.
func stateLockOf(stateDir string) string { return filepath.Join(stateDir, "lock") }

// signOf is where an agent says for whom it has a run directory. A daemon has
// none there.
func signOf(runDir string) string { return filepath.Join(runDir, "agent") }

// sign says who has the directory, of which c is the claim.
func (c *claim) sign(dir string, who Holder) error {
	if who.Role == RoleAgent {
		return os.WriteFile(signOf(dir), []byte(who.Bus+"\n"), 0o600)
	}
	if err := os.Remove(signOf(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readSign finds the role of whoever has a run directory.
func (h *Holder) readSign(runDir string) {
	h.Role = RoleDaemon
	if text, err := os.ReadFile(signOf(runDir)); err == nil {
		h.Role, h.Bus = RoleAgent, strings.TrimSpace(string(text))
	}
}

// String is what a lock says: "PID ROLE BUS".
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
