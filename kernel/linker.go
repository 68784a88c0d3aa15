package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/fabric"
	"myriad/kernel/netns"
)

// linksFile is held locked, in a platform's directory, by whoever changes the
// conditions of its links: for a moment only, also while the platform itself is
// locked for long. It counts how often its fabric was replaced, so that who
// keeps a fabric open knows whether it is still the one.
const linksFile = "links.lock"

// linker is how conditions of a platform's links are changed: again and again
// without looking for its fabric each time. What it keeps open holds on to no
// namespace, and is closed when nobody asks for some time.
type linker struct {
	path  string
	turn  chan struct{} // holds one token: one user at a time
	file  *os.File
	age   uint64         // of the fabric, as the file has it
	kept  *fabric.Fabric // nil: to be found
	grace func() error   // waits for programs that run
	took  atomic.Int64   // how long a change took to prepare, the last time
	idle  *time.Timer
}

// keepOpen is how long a linker keeps open what nobody asks for.
const keepOpen = 2 * time.Second

func (p *Pnode) linker(platform string) *linker {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.linkers[platform]
	if k == nil {
		k = &linker{path: filepath.Join(p.dir(platform), linksFile), turn: make(chan struct{}, 1), grace: p.pulse.wait}
		p.linkers[platform] = k
	}
	return k
}

// use calls fn while nobody else, here or in another process, changes links of
// the platform or replaces its fabric. Where the platform was never shaped,
// there is no file, and it fails unless told to make one.
func (k *linker) use(ctx context.Context, create bool, fn func() error) error {
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-k.turn }()
	if k.idle != nil {
		k.idle.Stop()
	}
	if err := k.lock(ctx, create); err != nil {
		k.close()
		return err
	}
	defer k.rest()
	return fn()
}

// rest lets others have the file, and closes all if nobody comes back.
func (k *linker) rest() {
	if k.file == nil {
		return
	}
	_ = unix.Flock(int(k.file.Fd()), unix.LOCK_UN) // closing does it too
	if k.idle != nil {
		k.idle.Reset(keepOpen)
		return
	}
	k.idle = time.AfterFunc(keepOpen, func() {
		select {
		case k.turn <- struct{}{}:
			k.close()
			<-k.turn
		default: // somebody uses it, and sets the timer again
		}
	})
}

func (k *linker) lock(ctx context.Context, create bool) error {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	for {
		if k.file == nil {
			f, err := os.OpenFile(k.path, flags, 0o600)
			if absent(err) {
				return errNeverShaped
			}
			if err != nil {
				return err
			}
			k.file = f
		}
		if err := flock(ctx, k.file, linksPause); err != nil {
			return fmt.Errorf("wait for whoever else changes links: %w", err)
		}
		if sameFile(k.file, k.path) {
			break
		}
		k.close() // the platform went, and perhaps came back
	}
	var age [8]byte
	_, _ = k.file.ReadAt(age[:], 0) // a new file is empty: 0
	if now := binary.LittleEndian.Uint64(age[:]); now != k.age {
		k.forget()
		k.age = now
	}
	return nil
}

// errNeverShaped says that a platform's links never had conditions.
var errNeverShaped = errors.New("its links never had conditions")

// linksPause is how often a lock that others have for a moment is tried again.
const linksPause = time.Millisecond

// replaced notes, before the fabric is replaced, that it is.
func (k *linker) replaced() error {
	k.forget()
	k.age++
	_, err := k.file.WriteAt(binary.LittleEndian.AppendUint64(nil, k.age), 0)
	return err
}

func (k *linker) forget() {
	if k.kept != nil {
		_ = k.kept.Close() // nothing was written that could be lost
	}
	k.kept = nil
}

func (k *linker) close() {
	k.forget()
	if k.file != nil {
		k.file.Close()
	}
	k.file = nil
}

// fabric gives the platform's fabric, nil if it has none on every trunk.
func (k *linker) fabric(p *Pnode, platform string) (*fabric.Fabric, error) {
	if k.kept != nil {
		return k.kept, nil
	}
	s, err := p.lookSpine(platform)
	if s == nil {
		return nil, err
	}
	defer s.close()
	f, without, err := fabric.Find(s.conn, s.trunkEnds())
	if err == nil && f != nil && len(without) > 0 {
		return nil, f.Close()
	}
	if k.kept = f; f != nil {
		f.Grace(k.grace)
	}
	return f, err
}

// lookSpine opens a platform's spine if it has one, nil if not.
func (p *Pnode) lookSpine(platform string) (*spine, error) {
	if !p.pinned(platform) {
		return nil, nil
	}
	ns, err := netns.Open(p.spine(platform))
	if err != nil {
		return nil, err
	}
	defer unix.Close(ns)
	return enterSpine(ns)
}

// trunkEnds lists the trunks' ends of an eBPF fabric.
func (s *spine) trunkEnds() []int32 {
	var ends []int32
	for name, l := range s.links {
		if _, network, ok := trunkOf(name); ok && network == 0 {
			ends = append(ends, l.Index)
		}
	}
	return ends
}

// dropLinks ends what changes links of a platform that goes.
func (p *Pnode) dropLinks(ctx context.Context, platform string) error {
	k := p.linker(platform)
	err := k.use(ctx, false, func() error {
		defer k.close()
		return os.Remove(k.path)
	})
	p.mu.Lock()
	delete(p.linkers, platform)
	p.mu.Unlock()
	if errors.Is(err, errNeverShaped) {
		return nil
	}
	return err
}
