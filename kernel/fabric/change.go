package fabric

import (
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"myriad/program"
)

// Change is other conditions, written and not yet in force. Its fabric must
// stay open until it is.
type Change struct {
	f       *Fabric
	flip    uint32   // the parts that have changed
	begin   []uint32 // traces that begin
	entries int      // written
}

// Prepare writes other conditions beside those in force, and leaves to Commit
// only one store. It does not keep l. Only one Change may be under way. It
// fails with ErrPlain or ErrRoom, without having changed anything, where Ensure
// has to be called instead.
func (f *Fabric) Prepare(l *program.Links) (*Change, error) {
	if f.shaping == nil {
		return nil, ErrPlain
	}
	have, err := f.objects.read()
	if err != nil {
		return nil, err
	}
	return f.prepare(have, have.clone(), l)
}

// prepare is Prepare for the hosts of want, of which those that are not among
// have are yet to come. It gives them their link indexes, in want, and gives
// have, and the maps, those of the hosts that are there.
func (f *Fabric) prepare(have, want *tables, l *program.Links) (*Change, error) {
	if l == nil {
		l = &program.Links{}
	}
	fresh := want.assign(l, have)
	next, err := translate(l, want)
	if err != nil {
		return nil, err
	}
	mem, err := f.shaping.maps.open()
	if err != nil {
		return nil, err
	}
	defer mem.close()
	where, err := mem.settle(next)
	if err != nil {
		return nil, err
	}
	c := &Change{f: f, flip: mem.differs(next, where)}
	if !f.shaping.maps.hold(mem, next, c.flip) {
		return nil, ErrRoom
	}
	if c.flip != 0 {
		if err := quiesce(mem.control.Changed, f.grace); err != nil {
			return nil, err
		}
	}
	if err := c.label(mem, have, fresh); err != nil {
		return nil, err
	}
	if err := c.write(mem, next, where); err != nil {
		return nil, err
	}
	f.shaping.pending = c
	return c, nil
}

// differs says which parts of what is in force are not as they should be.
func (mem *memory) differs(next *shapes, where *settled) (parts uint32) {
	pairs := mem.half(partPairs)
	for part, differs := range map[uint32]bool{
		partLinks:      !same(mem.links, mem.half(partLinks), next.links),
		partConditions: !same(mem.conditions, mem.half(partConditions), where.conditions),
		partMatrix:     !same(mem.matrix, mem.half(partMatrix), next.matrix),
		partPairs:      !maps.Equal(mem.pairsOf(pairs), inHalf(pairs, next.pairs)),
		partSeed:       mem.control.Seed[mem.half(partSeed)] != next.seed,
	} {
		if differs {
			parts |= part
		}
	}
	return parts
}

// hold says whether the maps have room for what is to be written. Tables and
// traces have found theirs already.
func (m *shapingMaps) hold(mem *memory, next *shapes, parts uint32) bool {
	pairs := len(mem.pairsOf(mem.half(partPairs))) + len(next.pairs)
	return len(next.links) <= len(mem.links) && len(next.conditions) <= len(mem.conditions) &&
		len(next.matrix) <= len(mem.matrix) && next.stateful <= int(m.PairStates.MaxEntries()) &&
		(parts&partPairs == 0 || pairs <= int(m.Pairs.MaxEntries()))
}

// label gives hosts that are there new link indexes. They mean nothing yet.
func (c *Change) label(mem *memory, have *tables, fresh []labelled) error {
	if len(fresh) == 0 {
		return nil
	}
	half := mem.half(partLinks)
	labelled := have.clone()
	for _, f := range fresh {
		// Somebody who is gone may have had it.
		mem.states[f.index], mem.links[f.index][half] = [2]clock{}, linkRow{}
		if _, ok := have.label(f.network, f.host); ok {
			labelled.setLabel(f.network, f.host, f.index)
		}
	}
	n, err := c.f.objects.write(have, labelled)
	c.entries += n
	*have = *labelled
	return err
}

// write fills the halves that are not in force, of the parts that change.
func (c *Change) write(mem *memory, next *shapes, where *settled) error {
	c.fill(mem, next, where)
	if c.flip&partPairs == 0 {
		return nil
	}
	half := 1 - mem.half(partPairs)
	have, want := mem.pairsOf(half), inHalf(half, next.pairs)
	removed, err := remove(c.f.shaping.maps.Pairs, have, want)
	if err != nil {
		return err
	}
	entered, err := enter(c.f.shaping.maps.Pairs, have, want)
	c.entries += removed + entered
	return err
}

// fill is write for all that is memory.
func (c *Change) fill(mem *memory, next *shapes, where *settled) {
	for slot, table := range where.tables {
		mem.tables[slot] = *table
		c.entries++
	}
	for _, t := range where.traces {
		c.entries += copy(mem.traces[t.first+1:], t.moments)
		c.begin = append(c.begin, t.first)
	}
	if c.flip&partLinks != 0 {
		c.entries += put(mem.links, 1-mem.half(partLinks), next.links)
	}
	if c.flip&partConditions != 0 {
		c.entries += put(mem.conditions, 1-mem.half(partConditions), where.conditions)
	}
	if c.flip&partMatrix != 0 {
		c.entries += put(mem.matrix, 1-mem.half(partMatrix), next.matrix)
	}
	if c.flip&partSeed != 0 {
		mem.control.Seed[1-mem.half(partSeed)] = next.seed
		c.entries++
	}
}

// Commit puts prepared conditions into force, all at the same moment, and
// returns the number of entries written: none where nothing differs.
func (c *Change) Commit() (entries int, err error) {
	s := c.f.shaping
	if s == nil || s.pending != c {
		return 0, errors.New("put conditions into force: others were prepared since, or these are in force")
	}
	s.pending = nil
	if c.flip == 0 {
		return c.entries, nil
	}
	mem := &memory{}
	defer mem.close()
	var all []control
	if err := errors.Join(mapped(mem, s.maps.Control, &all), mapped(mem, s.maps.Traces, &mem.traces)); err != nil {
		return 0, err
	}
	now := monotonic()
	for _, first := range c.begin {
		mem.traces[first] = now
	}
	all[0].Changed = now
	atomic.StoreUint32(&all[0].Halves, all[0].Halves^c.flip)
	return c.entries + 1, nil
}

// settling is the time after a change for which programs that began before it
// may still run, by any measure.
const settling = time.Second

// quiesce waits until no program uses the halves that went out of force with
// the last change: until every CPU has gone through the kernel's scheduler
// (an RCU grace period), if that change is not long ago. sooner, which may be
// nil, is a way to wait that takes less time than the kernel's own.
func quiesce(changed uint64, sooner func() error) error {
	since := time.Duration(monotonic() - changed)
	if since >= settling || sooner != nil && sooner() == nil {
		return nil
	}
	const global = 1 // MEMBARRIER_CMD_GLOBAL
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
	switch errno {
	case 0:
	case unix.EINVAL, unix.ENOSYS: // no such command with nohz_full
		time.Sleep(settling - since)
	default:
		return fmt.Errorf("wait for programs that run: %w", errno)
	}
	return nil
}

// monotonic is the clock of the programs.
func monotonic() uint64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail
	return uint64(t.Nano())
}
