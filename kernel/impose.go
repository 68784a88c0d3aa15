package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"myriad/kernel/fabric"
	"myriad/program"
)

// impose makes a spine and its racks enforce the conditions of a program: the
// links that need it, what holds frames, and the fabric with its tables.
func (p *Pnode) impose(ctx context.Context, s *spine, want *program.Program, racks map[uint32]Rack) (writes int, problems []program.Problem, err error) {
	kind := s.holderKind() // for as long as the platform has conditions, it stays what it is
	if kind == "" {
		if kind, _, err = Holder(); err != nil {
			return 0, nil, err
		}
	}
	alive := make(map[uint32]Rack, len(racks))
	for t := range living(want, racks) {
		alive[t.rack] = racks[t.rack]
	}
	wheeled := s.hasWheels()
	fresh, writes, err := s.ensureHolder(kind, alive)
	if err != nil {
		return writes, nil, fmt.Errorf("make what holds packets: %w", err)
	}
	switch {
	case kind == HolderWheel:
		problems, err = wheels(ctx, alive, &HoldSpec{}, fresh)
	case wheeled: // of a change of holders that broke off
		problems, err = wheels(ctx, alive, nil, nil)
	}
	if err != nil {
		return writes, problems, err
	}
	n, err := p.forward(ctx, s, want, racks)
	return writes + n, problems, err
}

// forward has the trunks run the fabric of a program, with its conditions if
// it has any.
func (p *Pnode) forward(ctx context.Context, s *spine, want *program.Program, racks map[uint32]Rack) (writes int, err error) {
	var shaping *fabric.Shaping
	if want.Links != nil {
		shaping = &fabric.Shaping{Links: want.Links, Holder: p.holderLinks(s.holderKind())}
	}
	do := func() (err error) {
		writes, err = s.forward(want, racks, shaping)
		return err
	}
	k := p.linker(want.Platform)
	err = k.use(ctx, shaping != nil, func() error {
		if err := k.replaced(); err != nil {
			return err
		}
		return do()
	})
	if errors.Is(err, errNeverShaped) {
		err = do()
	}
	return writes, err
}

// unhold takes away what holds frames, once they have left. The fabric must
// not send any there any more.
func (p *Pnode) unhold(ctx context.Context, s *spine, racks map[uint32]Rack) (writes int, err error) {
	if !s.held() {
		return 0, nil
	}
	if err := s.leave(ctx, racks); err != nil {
		return 0, err
	}
	if s.hasWheels() {
		problems, called := wheels(ctx, racks, nil, nil)
		if called != nil {
			return 0, called
		}
		for i := range problems {
			err = errors.Join(err, &problems[i])
		}
	}
	writes, gone := s.removeHolder()
	return writes, errors.Join(gone, err)
}

// arm gives a platform a fabric with conditions, and what holds frames.
func (p *Pnode) arm(ctx context.Context, platform string, l *program.Links) (entries int, err error) {
	err = p.changing(ctx, platform, func(s *spine, want *program.Program, racks map[uint32]Rack) error {
		if want == nil {
			return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: "find the program of " + platform,
				Cause: "it is not on record here", Remedy: "apply the platform again (myriad up FILE)"}
		}
		shaped := *want
		shaped.Links = l
		if err := checkLinks(&shaped); err != nil {
			return err
		}
		writes, problems, err := p.impose(ctx, s, &shaped, racks)
		entries = writes
		for i := range problems {
			err = errors.Join(err, &problems[i])
		}
		return err
	})
	return entries, err
}

// lift takes away what enforces conditions, where there are none any more.
func (p *Pnode) lift(ctx context.Context, platform string) error {
	s, err := p.lookSpine(platform)
	if s == nil {
		return err
	}
	held := s.held()
	s.close()
	if !held {
		return nil
	}
	return p.changing(ctx, platform, func(s *spine, want *program.Program, racks map[uint32]Rack) error {
		if want == nil {
			return nil // it goes with the next Apply; conditions are gone already
		}
		plain := *want
		plain.Links = nil
		_, err := p.forward(ctx, s, &plain, racks)
		if err == nil {
			_, err = p.unhold(ctx, s, racks)
		}
		return err
	})
}

// changing calls fn while nobody else changes the platform, with its spine, the
// program it was last given, and its racks.
func (p *Pnode) changing(ctx context.Context, platform string, fn func(*spine, *program.Program, map[uint32]Rack) error) error {
	unlock, err := p.lockExisting(ctx, platform)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := p.lookSpine(platform)
	if s == nil {
		return errors.Join(err, notUp(platform))
	}
	defer s.close()
	racks, err := p.Racks.Find(ctx, platform)
	if err != nil {
		return err
	}
	want, err := p.wanted(platform)
	if err != nil {
		return err
	}
	return fn(s, want, racks)
}

// lockExisting is lock for a platform that is up; it leaves nothing behind if
// it is not.
func (p *Pnode) lockExisting(ctx context.Context, platform string) (unlock func(), err error) {
	if !p.pinned(platform) {
		return nil, notUp(platform)
	}
	unlock, err = p.lock(ctx, platform)
	if err != nil {
		return nil, err
	}
	if p.pinned(platform) {
		return unlock, nil
	}
	if entries, err := os.ReadDir(p.dir(platform)); err == nil && len(entries) == 1 { // it went while we waited
		os.Remove(filepath.Join(p.dir(platform), lockFile))
		_ = unix.Rmdir(p.dir(platform)) // if it is not empty, somebody else came
	}
	unlock()
	return nil, notUp(platform)
}

func notUp(platform string) error {
	return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: "change links of " + platform, Cause: "no such platform is up"}
}

// checkLinks refuses conditions that nothing would enforce.
func checkLinks(want *program.Program) error {
	if want.Links == nil || want.Fabric == program.FabricEBPF {
		return nil
	}
	return &program.Problem{Kind: program.KindUnsupported, Rack: -1, Op: fmt.Sprintf("set link conditions of %s", want.Platform),
		Cause: "Linux bridges have none", Remedy: "use fabric: ebpf"}
}

// wanted is the program that a platform was last given: by this Pnode, or as
// an agent before this one has journalled it. nil: nobody knows.
func (p *Pnode) wanted(platform string) (*program.Program, error) {
	p.mu.Lock()
	want := p.programs[platform]
	p.mu.Unlock()
	if want != nil {
		return want, nil
	}
	data, err := os.ReadFile(filepath.Join(p.dir(platform), journalFile))
	if absent(err) {
		return nil, nil
	}
	if err == nil {
		want, err = program.Decode(data)
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of %s: %w", platform, err)
	}
	p.knowProgram(want)
	return want, nil
}

// journalFile is where the agent records what it is about to apply.
const journalFile = "program.cbor"

func (p *Pnode) knowProgram(want *program.Program) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.programs[want.Platform] = want
}

// knowLinks notes which conditions a platform has now.
func (p *Pnode) knowLinks(platform string, l *program.Links) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := p.programs[platform]; want != nil {
		changed := *want
		changed.Links = l
		p.programs[platform] = &changed
	}
}

func (p *Pnode) forgetPlatform(platform string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, platform)
	delete(p.programs, platform)
	delete(p.heldMost, platform)
}
