package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/program"
)

// raised are the sysctls that are raised while any platform is up, because
// they are one for all network namespaces:
//
//   - The IPv4 neighbour table: its default of 1,024 entries is less than one
//     per vnode (kernel net/core/neighbour.c, neigh_alloc). Entries are
//     allocated only when used, about 500 bytes each.
//   - The backlog of each CPU, where frames wait that came through a veth pair:
//     a frame for 2,000 members, or a few of 64 KB that are cut into packets,
//     find no room in 1,000 entries, and nobody would say what was dropped
//     (net/core/dev.c, enqueue_to_backlog).
var raised = map[string]int{
	"net/core/netdev_max_backlog":       1 << 16,
	"net/ipv4/neigh/default/gc_thresh1": 1 << 20,
	"net/ipv4/neigh/default/gc_thresh2": 2 << 20,
	"net/ipv4/neigh/default/gc_thresh3": 4 << 20,
}

// sysctls raises and restores machine-wide settings for holders that come and
// go. What the settings were, and who holds them raised, is on record before
// the first one is changed, so that no crash can lose them.
type sysctls struct {
	record string // file of the record, one for the machine
	proc   string // /proc/sys, but in tests
	others string // pattern of processes in whose network namespaces they may be; empty: none
	raise  map[string]int
}

// machineSysctls are those of this machine. Only its first network namespace
// shows them (net/core/sysctl_net_core.c, sysctl_core_net_init).
func machineSysctls() *sysctls {
	return &sysctls{record: "/run/myriad-sysctl.json", proc: "/proc/sys", others: "/proc/[0-9]*", raise: raised}
}

// errHidden says that no network namespace that this process may enter shows
// the settings: they are another's to raise.
var errHidden = errors.New("no network namespace that shows the settings of the machine can be entered")

// atHome calls fn where the settings are to be seen: here; where the machine's
// first process is; or, where that may not be looked at, where another is.
func (s *sysctls) atHome(fn func() error) error {
	if s.shown() {
		return fn()
	}
	tried := map[netns.ID]bool{}
	for _, path := range append([]string{"/proc/1"}, s.processes()...) {
		path += "/ns/net"
		id, err := netns.IDAt(path)
		if err != nil || tried[id] {
			continue // it may not be looked at, or has ended
		}
		tried[id] = true
		if err := s.visit(path, fn); err != errHidden {
			return err
		}
	}
	return errHidden
}

// visit calls fn in the network namespace at a path, if the settings are there.
func (s *sysctls) visit(path string, fn func() error) error {
	ns, err := netns.Open(path)
	if err != nil {
		return errHidden
	}
	defer unix.Close(ns)
	entered := false
	err = netns.Do(ns, func() error {
		if entered = true; !s.shown() {
			return errHidden
		}
		return fn()
	})
	if !entered {
		return errHidden
	}
	return err
}

// shown says whether any of the settings are seen from here.
func (s *sysctls) shown() bool {
	for name := range s.raise {
		if _, err := os.Stat(filepath.Join(s.proc, name)); err == nil {
			return true
		}
	}
	return false
}

// processes are those whose network namespaces may be looked into.
func (s *sysctls) processes() []string {
	if s.others == "" {
		return nil
	}
	all, _ := filepath.Glob(s.others)
	return all
}

// sysctlRecord is what the record says.
type sysctlRecord struct {
	Was     map[string]string `json:"was"`     // values before the first holder came
	Holders []string          `json:"holders"` // instance/platform
}

// hold raises the settings on behalf of a holder. It writes nothing when the
// holder is known and the settings are high enough, and says how many it wrote.
func (s *sysctls) hold(holder string) (writes int, err error) {
	err = s.locked(func(r *sysctlRecord) error {
		err := s.atHome(func() error { return s.raiseFor(r, holder, &writes) })
		if err == errHidden {
			return nil // as with settings that a container does not have; see Features
		}
		return err
	})
	return writes, err
}

func (s *sysctls) raiseFor(r *sysctlRecord, holder string, writes *int) error {
	if !slices.Contains(r.Holders, holder) {
		r.Holders = append(r.Holders, holder)
	}
	low, err := s.low(r)
	if err != nil {
		return err
	}
	if err := s.save(r); err != nil {
		return err
	}
	for name, value := range low {
		if err := s.write(name, strconv.Itoa(value)); err != nil {
			return err
		}
		*writes++
	}
	return nil
}

// low gives the settings that must be raised, and notes what they were.
// Settings that this kernel or container does not have are left out.
func (s *sysctls) low(r *sysctlRecord) (map[string]int, error) {
	low := map[string]int{}
	for name, want := range s.raise {
		text, err := os.ReadFile(filepath.Join(s.proc, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read sysctl %s: %w", name, err)
		}
		was := strings.TrimSpace(string(text))
		if value, err := strconv.Atoi(was); err != nil || value >= want {
			continue
		}
		low[name] = want
		if _, ok := r.Was[name]; !ok {
			r.Was[name] = was
		}
	}
	return low, nil
}

// release takes holders back, and restores the settings after the last. Those
// that somebody else changed meanwhile are left as they are.
func (s *sysctls) release(gone func(holder string) bool) error {
	if _, err := os.Stat(s.record); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return s.locked(func(r *sysctlRecord) error {
		r.Holders = slices.DeleteFunc(r.Holders, gone)
		if len(r.Holders) > 0 {
			return s.save(r)
		}
		if len(r.Was) > 0 {
			if err := s.atHome(func() error { return s.restore(r) }); err != nil {
				return err // the record stays: another sweep may succeed
			}
		}
		if err := os.Remove(s.record); !errors.Is(err, fs.ErrNotExist) { // somebody was faster
			return err
		}
		return nil
	})
}

// restore writes back what settings were, but for those that somebody else
// changed meanwhile.
func (s *sysctls) restore(r *sysctlRecord) error {
	var problems []error
	for name, was := range r.Was {
		now, err := os.ReadFile(filepath.Join(s.proc, name))
		if err == nil && strings.TrimSpace(string(now)) == strconv.Itoa(s.raise[name]) {
			err = s.write(name, was)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// holders lists who holds the settings raised.
func (s *sysctls) holders() ([]string, error) {
	r, err := s.load()
	if err != nil {
		return nil, err
	}
	return r.Holders, nil
}

// locked gives fn the record while nobody else has it.
func (s *sysctls) locked(fn func(*sysctlRecord) error) error {
	dir, err := os.Open(filepath.Dir(s.record))
	if err != nil {
		return fmt.Errorf("lock the record of sysctls: %w", err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock the record of sysctls: %w", err)
	}
	r, err := s.load()
	if err != nil {
		return err
	}
	return fn(r)
}

func (s *sysctls) load() (*sysctlRecord, error) {
	r := &sysctlRecord{Was: map[string]string{}}
	text, err := os.ReadFile(s.record)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of sysctls %s: %w", s.record, err)
	}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, &program.Problem{Rack: -1, Op: "read the record of sysctls " + s.record, Cause: err.Error(),
			Remedy: "remove that file, and set net.ipv4.neigh.default.gc_thresh1 to 3 and net.core.netdev_max_backlog as they were (128, 512, 1024 and 1000 unless somebody changed them)"}
	}
	if r.Was == nil {
		r.Was = map[string]string{}
	}
	for name := range r.Was { // a record is input: it can only restore what we raise
		if _, ours := s.raise[name]; !ours {
			delete(r.Was, name)
		}
	}
	return r, nil
}

// save replaces the record atomically, and returns when it is on the disk.
func (s *sysctls) save(r *sysctlRecord) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := s.record + ".new"
	if err := writeSynced(tmp, text); err != nil {
		return fmt.Errorf("record sysctls: %w", err)
	}
	return os.Rename(tmp, s.record)
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Sync()
}

func (s *sysctls) write(name, value string) error {
	if err := os.WriteFile(filepath.Join(s.proc, name), []byte(value), 0o644); err != nil {
		return fmt.Errorf("write sysctl %s: %w", strings.ReplaceAll(name, "/", "."), err)
	}
	return nil
}
