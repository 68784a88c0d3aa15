package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/fabric"
	"myriad/kernel/netns"
	"myriad/kernel/wheel"
	"myriad/program"
)

// CalibrateOptions say how to calibrate. The zero value works.
type CalibrateOptions struct {
	Holder   string        // HolderFQ or HolderWheel; empty: what Holder says
	Rounds   int           // how often each round trip is measured at most; 0: 100
	Patience time.Duration // how long all of it may take, once everything is made; 0: 1.2 s
}

// What it is measured with.
const (
	calibrationRounds   = 100
	calibrationPatience = 1200 * time.Millisecond
	calibrationDelay    = 2 * time.Millisecond // of a direction that is held
	calibrationTimer    = time.Millisecond
	leastRounds         = 10                    // fewer are no measurement
	earliest            = 10 * time.Microsecond // that what is held may be early
)

// calibrationKinds are the round trips that are measured, by how many of
// their two directions are held.
const calibrationKinds = 3

// Calibrate measures what the way through this machine costs by itself: in a
// platform of two vnodes that is made for it as any other, outside of the file
// system and of all others, and is gone afterwards, however it ends.
//
// On a machine, one does so at a time: who waits for another gets what that one
// has measured.
func Calibrate(ctx context.Context, o CalibrateOptions) (c *program.Calibration, err error) {
	if o.Holder == "" {
		o.Holder, _, err = Holder()
	}
	if err == nil {
		c, err = inTurn(ctx, calibrationTurn, o.Holder, func() (*program.Calibration, error) { return calibrate(ctx, o) })
	}
	if err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	return c, nil
}

func calibrate(ctx context.Context, o CalibrateOptions) (c *program.Calibration, err error) {
	if o.Rounds <= 0 {
		o.Rounds = calibrationRounds
	}
	if o.Patience <= 0 {
		o.Patience = calibrationPatience
	}
	s, err := newScratch(ctx, o.Holder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	end := time.Now().Add(o.Patience)
	var trips trips
	for { // with half of the time, it can be done again
		trips, err = s.measure(ctx, o.Rounds, time.Now().Add(time.Until(end)*2/3))
		if err != nil {
			return nil, err
		}
		if c = trips.evaluate(); trips.sane() || time.Until(end) < o.Patience/4 {
			break
		}
	}
	if one, least := median(trips.rtt[1]), calibrationDelay-earliest; one < least {
		return nil, fmt.Errorf("packets that are to be held for %v are back after %v: %s does not hold them", calibrationDelay, one, o.Holder)
	}
	c.Holder, c.Kernel, c.Boot, c.When = o.Holder, KernelVersion(), bootID(), time.Now().UTC()
	return c, nil
}

// trips are what was measured.
type trips struct {
	rtt   [calibrationKinds][]time.Duration
	timer []time.Duration
}

// costs are what a frame costs that is held, and the rest of a round trip.
func (t *trips) costs() (hold, end time.Duration) {
	one, both := median(t.rtt[1]), median(t.rtt[2])
	hold = both - one - calibrationDelay
	return hold, one - calibrationDelay - hold
}

// sane says whether what was measured can be.
func (t *trips) sane() bool {
	hold, end := t.costs()
	return hold >= 0 && end >= 0
}

func (t *trips) evaluate() *program.Calibration {
	hold, end := t.costs()
	return &program.Calibration{
		RTT: median(t.rtt[0]), Hold: max(hold, 0), End: max(end, 0),
		TimerP50: median(t.timer), TimerP99: max(quantile(t.timer, 0.99), 0),
	}
}

func median(v []time.Duration) time.Duration { return quantile(v, 0.5) }

// quantile sorts v, which is not empty.
func quantile(v []time.Duration, q float64) time.Duration {
	slices.Sort(v)
	return v[int(q*float64(len(v)-1)+0.5)]
}

// scratch is a platform of one rack with two vnodes, which are in three
// networks: in the first, nothing is held; in the second, what the first vnode
// sends; in the third, what both send.
type scratch struct {
	spine *spine
	rack  Rack
	local *LocalRack
	want  *program.Program
	ping  *pinger
}

const scratchMTU = 1500

// scratchProgram is what a scratch is made of.
func scratchProgram() *program.Program {
	p := &program.Program{Platform: "calibration", Fabric: program.FabricEBPF, Racks: []program.Rack{{}}}
	r := &p.Racks[0]
	l := &program.Links{Conditions: []program.Condition{{Delay: calibrationDelay}}}
	for k := range uint16(calibrationKinds) {
		p.Networks = append(p.Networks, program.Network{ID: k + 1, Name: fmt.Sprintf("n%d", k), MTU: scratchMTU,
			Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(k), 0, 0}), 24)})
		for slot := range uint16(2) {
			host := uint32(slot) + 1
			r.Vifaces = append(r.Vifaces, program.Viface{Slot: slot, Index: k, Name: fmt.Sprintf("eth%d", k), Network: k + 1, Host: host})
			if k > slot {
				l.Vifaces = append(l.Vifaces, program.LinkRange{Network: k + 1, Host: host, Count: 1, Out: 1})
			}
		}
	}
	for slot, name := range []string{"a", "b"} {
		r.Vnodes = append(r.Vnodes, program.Vnode{Slot: uint16(slot), Name: name})
	}
	slices.SortFunc(r.Vifaces, func(a, b program.Viface) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Index, b.Index))
	})
	p.Links = l
	return p
}

// newScratch makes it: everything in it is held by descriptors of this process
// only.
func newScratch(ctx context.Context, holder string) (_ *scratch, err error) {
	s := &scratch{want: scratchProgram()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	ns, err := netns.Make(nil)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ns)
	if s.spine, err = enterSpine(ns); err != nil {
		return nil, err
	}
	var racks LocalRacks
	if s.rack, err = racks.Start(ctx, s.want.Platform, 0); err != nil {
		return nil, err
	}
	s.local = s.rack.(*heldRack).LocalRack
	if err := s.build(ctx, holder); err != nil {
		return nil, err
	}
	s.ping, err = newPinger(s.local, "a")
	return s, err
}

// build makes everything inside, as Apply does.
func (s *scratch) build(ctx context.Context, holder string) error {
	racks := map[uint32]Rack{0: s.rack}
	if _, err := s.spine.join(s.want, racks); err != nil {
		return err
	}
	fresh, _, err := s.spine.ensureHolder(holder, racks)
	if err != nil {
		return err
	}
	var problems []program.Problem
	if holder == HolderWheel {
		if problems, err = wheels(ctx, racks, &HoldSpec{}, fresh); err != nil {
			return err
		}
	}
	// Nothing is subtracted: it is what is to be found out.
	shaping := &fabric.Shaping{Links: s.want.Links, Holder: new(Pnode).holderLinks(holder)}
	if _, err := s.spine.forward(s.want, racks, shaping); err != nil {
		return err
	}
	spec := &RackSpec{Platform: s.want.Platform, Fabric: s.want.Fabric, Networks: s.want.Networks, Rack: s.want.Racks[0]}
	_, more, _, err := s.rack.Apply(ctx, spec, nil)
	for _, p := range append(problems, more...) {
		err = errors.Join(err, &p)
	}
	return err
}

func (s *scratch) close() error {
	var errs []error
	if s.ping != nil {
		errs = append(errs, s.ping.close())
	}
	if s.rack != nil {
		errs = append(errs, s.rack.Close())
	}
	if s.spine != nil {
		s.spine.close()
	}
	return errors.Join(errs...)
}

// measure takes rounds of one round trip of each kind, and sleeps, until there
// are enough or it is time to end.
func (s *scratch) measure(ctx context.Context, rounds int, end time.Time) (t trips, err error) {
	lost := 0
	for round := 0; round < rounds && (round < leastRounds || time.Now().Before(end)); round++ {
		for k := range calibrationKinds {
			if err := ctx.Err(); err != nil {
				return t, err
			}
			next := time.Now().Add(calibrationDelay) // paced alike, whatever is measured
			rtt, err := s.ping.echo(s.want.Networks[k].Addr(2))
			switch {
			case err == nil && (round > 0 || k > 0): // the first has ARP in it
				t.rtt[k] = append(t.rtt[k], rtt)
			case errors.Is(err, errLost) && lost < leastRounds:
				lost++
			case err != nil:
				return t, fmt.Errorf("measure a round trip with %d directions held: %w", k, err)
			}
			time.Sleep(time.Until(next))
		}
		late, err := wheel.Timers(2, calibrationTimer)
		if err != nil {
			return t, err
		}
		t.timer = append(t.timer, late...)
	}
	for k, v := range t.rtt {
		if len(v) < leastRounds/2 {
			return t, fmt.Errorf("only %d round trips with %d directions held came back", len(v), k)
		}
	}
	return t, nil
}
