package kernel

import (
	"context"
	"errors"
	"maps"
	"slices"

	"myriad/kernel/fabric"
	"myriad/program"
)

// SetCalibration says what the way through this pnode costs by itself. Apply
// and Shape subtract it from the conditions they put into force from then on;
// nil: nothing is known.
func (p *Pnode) SetCalibration(c *program.Calibration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calibrated = c
}

func (p *Pnode) calibration() *program.Calibration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calibrated
}

// LinkStats tells how true the links of a platform are on this pnode.
func (p *Pnode) LinkStats(ctx context.Context, platform string) (*program.LinkStats, error) {
	out := &program.LinkStats{Holder: HolderNone, Calibration: p.calibration()}
	s, err := p.lookSpine(platform)
	if err != nil {
		return nil, problemError("look at links of "+platform, err)
	}
	if s == nil {
		return nil, notUp(platform)
	}
	defer s.close()
	if kind := s.holderKind(); kind != "" {
		out.Holder = kind
	}
	switch out.Holder {
	case HolderWheel:
		err = p.wheelStats(ctx, platform, out)
	case HolderFQ:
		err = p.fqStats(s, platform, out)
	}
	if err == nil {
		err = p.fabricStats(ctx, s, platform, out)
	}
	if err != nil {
		return nil, problemError("look at links of "+platform, err)
	}
	return out, nil
}

// wheelStats adds up what the racks say. One that has just died says nothing.
func (p *Pnode) wheelStats(ctx context.Context, platform string, out *program.LinkStats) error {
	racks, err := p.Racks.Find(ctx, platform)
	if err != nil {
		return err
	}
	for _, index := range slices.Sorted(maps.Keys(racks)) {
		st, err := held(ctx, racks[index])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || st == nil {
			continue
		}
		out.Held += st.Held
		out.HeldMost += st.HeldMost
		out.Bytes += st.Bytes
		out.Lost += st.Full + st.Missed + st.Failed
	}
	return nil
}

func (p *Pnode) fqStats(s *spine, platform string, out *program.LinkStats) error {
	q, err := s.conn.RootQdisc(shaperIndex)
	if err != nil {
		return err
	}
	out.Held, out.Bytes, out.Lost = uint64(q.Queued), uint64(q.Backlog), q.Drops
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heldMost[platform] = max(p.heldMost[platform], out.Held)
	out.HeldMost = p.heldMost[platform] // that anybody has seen
	return nil
}

// fabricStats asks the fabric: the one that is kept open, or else the one that
// is there.
func (p *Pnode) fabricStats(ctx context.Context, s *spine, platform string, out *program.LinkStats) error {
	read := func(f *fabric.Fabric) (err error) {
		if f == nil {
			return nil
		}
		if out.Counters, err = f.Counters(); err == nil {
			out.Lateness, err = f.Lateness()
		}
		return err
	}
	k := p.linker(platform)
	err := k.use(ctx, false, func() error {
		f, err := k.fabric(p, platform)
		if err != nil {
			return err
		}
		return read(f)
	})
	if !errors.Is(err, errNeverShaped) {
		return err
	}
	f, _, err := fabric.Find(s.conn, s.trunkEnds())
	if f == nil {
		return err
	}
	defer f.Close()
	return read(f)
}
