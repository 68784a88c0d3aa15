package kernel

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/cgroup"
	"myriad/program"
)

// DefaultRunDir is where the instance "default" keeps what lives as long as
// its platforms.
const DefaultRunDir = "/run/myriad"

// Config says where a Pnode is. The zero value is the instance "default" with
// its racks in this process.
type Config struct {
	RunDir string // empty: DefaultRunDir
	Racks  Racks  // nil: LocalRacks
	// Underlay is a path of the network namespace that joins this pnode to
	// others; empty: the one that this process was started in.
	Underlay string
}

// Pnode makes this machine match programs. Its methods may be called by
// several goroutines, and by several processes, at once: what changes a
// platform waits for what changes it elsewhere.
type Pnode struct {
	Config
	instance string
	group    *cgroup.Group // of the instance; nil: no hierarchy is mounted
	sysctls  *sysctls
	pulse    pulse

	mu    sync.Mutex
	known map[string]map[uint32]program.RackReport // as of the last Apply

	programs   map[string]*program.Program // that platforms were last given; never changed
	linkers    map[string]*linker
	calibrated *program.Calibration
	heldMost   map[string]uint64 // frames in the fq of a platform that were seen
}

// Open looks at the machine and changes nothing.
func Open(c Config) (*Pnode, error) {
	if c.RunDir == "" {
		c.RunDir = DefaultRunDir
	}
	dir, err := filepath.Abs(c.RunDir)
	if err != nil {
		return nil, err
	}
	c.RunDir = dir
	if c.Racks == nil {
		c.Racks = &LocalRacks{}
	}
	p := &Pnode{Config: c, instance: Instance(c.RunDir), sysctls: machineSysctls(), known: map[string]map[uint32]program.RackReport{},
		programs: map[string]*program.Program{}, linkers: map[string]*linker{}, heldMost: map[string]uint64{}}
	switch tree, err := cgroup.Find(); {
	case err == nil:
		g := tree.Instance(p.instance)
		p.group = &g
	case !errors.Is(err, cgroup.ErrNone):
		return nil, err
	}
	return p, nil
}

// Instance names what belongs to a run directory, an absolute path: its
// cgroups, and its part of machine-wide records.
func Instance(runDir string) string {
	if runDir = filepath.Clean(runDir); runDir == DefaultRunDir {
		return "default"
	}
	return fmt.Sprintf("%.4x", sha256.Sum256([]byte(runDir)))
}

func (p *Pnode) dir(platform string) string { return filepath.Join(p.RunDir, platform) }

// spine is where the namespace of a platform's spine is pinned.
func (p *Pnode) spine(platform string) string { return filepath.Join(p.dir(platform), "spine") }

// holder names a platform in the machine-wide record of settings.
func (p *Pnode) holder(platform string) string { return p.instance + "/" + platform }

// release lets go of the settings that were raised for a platform.
func (p *Pnode) release(platform string) error {
	return p.sysctls.release(func(h string) bool { return h == p.holder(platform) })
}

// platformGroup is the cgroup of a platform, if there are cgroups at all.
func (p *Pnode) platformGroup(platform string) (cgroup.Group, bool) {
	if p.group == nil {
		return cgroup.Group{}, false
	}
	return p.group.Child(platform), true
}

// Platforms lists what exists here, whether whole or in part: what has a
// spine, a cgroup, or racks.
func (p *Pnode) Platforms() ([]string, error) {
	var names []string
	entries, err := os.ReadDir(p.RunDir)
	if err != nil && !absent(err) {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() && program.ValidPlatformName(e.Name()) && p.inhabited(e.Name()) {
			names = append(names, e.Name())
		}
	}
	if p.group != nil {
		groups, err := p.group.Children()
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			names = append(names, filepath.Base(g.Path))
		}
	}
	if l, ok := p.Racks.(interface{ Platforms() []string }); ok {
		names = append(names, l.Platforms()...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// absent says whether an error means that a directory is not there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) }

// inhabited says whether a directory in the run directory is a platform's.
func (p *Pnode) inhabited(platform string) bool {
	entries, err := os.ReadDir(p.dir(platform))
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return platformFile(e.Name()) })
}

// platformFile says whether a file in a platform's directory is Myriad's.
func platformFile(name string) bool {
	for _, own := range []string{"spine", "hosts", journalFile, "links.cbor", linksFile, gateFile, "rack-"} {
		if name == own || strings.HasPrefix(name, own) && (strings.HasSuffix(own, "-") || strings.HasPrefix(name, own+".")) {
			return true
		}
	}
	return name == lockFile
}

// lockFile is held locked, in a platform's directory, by whoever changes the
// platform.
const lockFile = "lock"

// lock waits until nobody else changes the platform, and keeps others from it.
// It makes the platform's directory.
func (p *Pnode) lock(ctx context.Context, platform string) (unlock func(), err error) {
	path := filepath.Join(p.dir(platform), lockFile)
	for {
		if err := os.MkdirAll(p.dir(platform), 0o755); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the directory went away with the platform, just now
		}
		if errors.Is(err, unix.EISDIR) && os.Remove(path) == nil {
			continue // whoever made it, nobody can lock it
		}
		if err != nil {
			return nil, err
		}
		if err := flock(ctx, f, lockPause); err != nil {
			f.Close()
			return nil, fmt.Errorf("wait for whoever else changes %s: %w", platform, err)
		}
		if sameFile(f, path) {
			return func() { f.Close() }, nil
		}
		f.Close() // a Remove took it away while we waited
	}
}

// flock locks a file against everybody else, unless ctx ends before.
func flock(ctx context.Context, f *os.File, pause time.Duration) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// sameFile says whether an open file is still the one at a path.
func sameFile(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}

// Status says which racks of a platform live, without looking inside where
// this process knows already what they hold.
func (p *Pnode) Status(ctx context.Context, platform string) (*program.Report, error) {
	racks, err := p.Racks.Find(ctx, platform)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	known := make(map[uint32]program.RackReport, len(p.known[platform]))
	for index, r := range p.known[platform] {
		known[index] = r
	}
	p.mu.Unlock()
	for _, index := range p.madeRacks(platform) {
		if _, ok := known[index]; !ok {
			known[index] = program.RackReport{Index: index, State: program.RackLost}
		}
	}
	out := &program.Report{Platform: platform}
	for index := range racks {
		if _, ok := known[index]; !ok {
			known[index] = program.RackReport{Index: index}
		}
	}
	for index, r := range known {
		out.Racks = append(out.Racks, p.rackStatus(ctx, racks[index], r))
	}
	slices.SortFunc(out.Racks, func(a, b program.RackReport) int { return cmp.Compare(a.Index, b.Index) })
	out.Problems = p.overlayStatus(platform)
	return out, nil
}

// rackStatus brings what is known of a rack up to date.
func (p *Pnode) rackStatus(ctx context.Context, live Rack, r program.RackReport) program.RackReport {
	if live == nil {
		r.Pid, r.Vnodes = 0, 0
		if r.State != program.RackDown {
			r.State = program.RackLost
		}
		return r
	}
	if r.Pid == live.Pid() {
		return r
	}
	r.Pid, r.State = live.Pid(), program.RackUp
	if have, err := live.Observe(ctx); err == nil {
		r.Vnodes = len(have.Vnodes)
	}
	if r.Wanted == 0 {
		r.Wanted = r.Vnodes // nobody here knows better
	}
	if r.Vnodes != r.Wanted {
		r.State = program.RackPartial
	}
	return r
}

// madeRacks lists the racks that have a cgroup: those that were started, and
// not removed since.
func (p *Pnode) madeRacks(platform string) []uint32 {
	g, ok := p.platformGroup(platform)
	if !ok {
		return nil
	}
	children, err := g.Children()
	if err != nil {
		return nil
	}
	var out []uint32
	for _, c := range children {
		var index uint32
		if n, err := fmt.Sscanf(filepath.Base(c.Path), "rack-%d", &index); n == 1 && err == nil {
			out = append(out, index)
		}
	}
	return out
}

// Observe reads a platform back from the kernel. A platform that is not there
// is one without racks. Of an overlay it gives what its devices say: not where
// the others are.
func (p *Pnode) Observe(ctx context.Context, platform string) (*program.Program, error) {
	racks, err := p.Racks.Find(ctx, platform)
	if err != nil {
		return nil, err
	}
	out := &program.Program{Platform: platform}
	for index, r := range racks {
		have, err := r.Observe(ctx)
		if err != nil {
			return nil, fmt.Errorf("observe rack %d: %w", index, err)
		}
		have.Index = index
		out.Racks = append(out.Racks, *have)
	}
	slices.SortFunc(out.Racks, func(a, b program.Rack) int { return cmp.Compare(a.Index, b.Index) })
	out.Overlay, err = p.observeOverlay(platform)
	return out, err
}
