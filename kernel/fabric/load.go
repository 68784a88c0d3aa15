package fabric

import (
	"errors"

	"github.com/cilium/ebpf"

	"myriad/program"
)

// load puts a new fabric into the kernel, with the tables of a program and
// some room to grow, and without conditions. It goes on with the counts of
// old, if there is one, and with all that old's maps have room for; and if
// both have conditions, with old's, in maps that have room for those of s.
func load(p *program.Program, s *Shaping, old *Fabric) (*Fabric, error) {
	l := loader{old: old, replace: map[string]*ebpf.Map{}}
	spec, err := loadTrunk()
	if s.wanted() {
		spec, err = loadShaped()
	}
	if err != nil {
		return nil, err
	}
	if err := l.tables(p, spec); err != nil {
		return nil, err
	}
	if !s.wanted() {
		f := &Fabric{}
		if err := spec.LoadAndAssign(&f.objects, &ebpf.CollectionOptions{MapReplacements: l.replace}); err != nil {
			return nil, unsupported("load the fabric's program", err)
		}
		return f, l.fill(f)
	}
	if err := l.shaping(s, spec); err != nil {
		return nil, err
	}
	var o struct {
		trunkObjects
		shapingMaps
		Release *ebpf.Program `ebpf:"release"`
	}
	if err := spec.LoadAndAssign(&o, &ebpf.CollectionOptions{MapReplacements: l.replace}); err != nil {
		return nil, unsupported("load the fabric's programs for link conditions", err)
	}
	f := &Fabric{objects: o.trunkObjects, shaping: &shaping{maps: o.shapingMaps, release: o.Release}}
	if err := l.fill(f); err != nil { // which has closed it
		return nil, err
	}
	return f, l.inherit(f, &s.Holder)
}

// loader is the state of one load.
type loader struct {
	old     *Fabric
	replace map[string]*ebpf.Map
	want    *tables
	have    *tables // those that update will find: old's if they have room, else want
	share   bool    // old's tables have room
}

// tables decides whether the new fabric has old's tables or new ones.
func (l *loader) tables(p *program.Program, spec *ebpf.CollectionSpec) error {
	var have *tables
	if l.old != nil {
		l.replace[trunkMapCounts] = l.old.objects.Counts
		var err error
		if have, err = l.old.objects.read(); err != nil {
			return err
		}
		if l.want, err = build(p, have); err == nil {
			l.share, l.have = true, have
			l.want.carry(have)
			o := &l.old.objects
			for name, m := range map[string]*ebpf.Map{
				trunkMapNets: o.Nets, trunkMapPlaces: o.Places, trunkMapOthers: o.Others, trunkMapMembers: o.Members,
				trunkMapPnodes: o.Pnodes,
			} {
				l.replace[name] = m
				spec.Maps[name].MaxEntries = m.MaxEntries()
			}
			return nil
		} else if !errors.Is(err, errRoom) {
			return err
		}
	}
	var err error
	if l.want, err = build(p, nil); err != nil {
		return err
	}
	l.want.carry(have)
	l.have = l.want
	l.want.extend(spec)
	return nil
}

// fill writes new tables. Those of old are for update to change, once the new
// fabric is in its place.
func (l *loader) fill(f *Fabric) error {
	if l.share {
		return nil
	}
	_, err := f.objects.write(l.want.empty(), l.want)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// shaping makes room for conditions: for those that are wanted beside those
// that are.
func (l *loader) shaping(s *Shaping, spec *ebpf.CollectionSpec) error {
	if s.Holder.FQ {
		if err := spec.Variables[shapedVarFq].Set(uint32(1)); err != nil {
			return err
		}
	}
	t := l.want.clone()
	t.assign(s.Links, l.have)
	next, err := translate(s.Links, t)
	if err != nil {
		return err
	}
	var had *shapingMaps
	var in use
	if l.old != nil && l.old.shaping != nil {
		had = &l.old.shaping.maps
		l.replace[shapedMapBehind] = had.Behind
		if in, err = had.use(); err != nil {
			return err
		}
	}
	moments := 0
	for _, tr := range next.traces {
		moments += len(tr.moments) + 1
	}
	for name, size := range map[string]struct{ need, more int }{
		shapedMapLinks:      {len(next.links), len(next.links)/4 + 256},
		shapedMapStates:     {len(next.links), len(next.links)/4 + 256},
		shapedMapConditions: {len(next.conditions), len(next.conditions)/4 + 64},
		shapedMapMatrix:     {len(next.matrix), 16},
		shapedMapPairs:      {len(next.pairs) + max(len(next.pairs), in.pairs), len(next.pairs)/2 + 256},
		shapedMapTables:     {len(next.tables) + max(len(next.tables), in.tables), 2},
		shapedMapTraces:     {moments + max(moments, in.traces), 1024},
		shapedMapPairStates: {next.stateful, 64 + min(next.stateful, 1)*4096},
	} {
		room := size.need + size.more
		if m := had.get(name); m != nil {
			have := int(m.MaxEntries())
			room = max(room, have)
			remembers := name == shapedMapStates || name == shapedMapPairStates
			if remembers && have >= size.need {
				l.replace[name], room = m, have
			}
		}
		spec.Maps[name].MaxEntries = uint32(room)
	}
	// The two have the same index.
	spec.Maps[shapedMapLinks].MaxEntries = spec.Maps[shapedMapStates].MaxEntries
	return nil
}

// use is how much of the maps without halves what is in force takes; it keeps
// its places in those of tables and traces.
type use struct{ pairs, tables, traces int }

func (m *shapingMaps) use() (in use, err error) {
	mem, err := m.open()
	if err != nil {
		return in, err
	}
	defer mem.close()
	in.pairs = len(mem.pairsOf(mem.half(partPairs)))
	slots, traces := mem.referred()
	for slot := range slots {
		in.tables = max(in.tables, int(slot)+1)
	}
	for _, t := range traces {
		in.traces = max(in.traces, int(t.first)+1+len(t.moments))
	}
	return in, nil
}

// get gives the map of a name, nil if there are none.
func (m *shapingMaps) get(name string) *ebpf.Map {
	if m == nil {
		return nil
	}
	return *m.byName()[name]
}

// inherit makes the new fabric go on where old is: with its conditions, in
// their first halves, and with what its links remember.
func (l *loader) inherit(f *Fabric, h *Holder) error {
	mem, err := f.shaping.maps.open()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer mem.close()
	h.fill(mem.control)
	if l.old == nil || l.old.shaping == nil {
		return nil
	}
	was, err := l.old.shaping.maps.open()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer was.close()
	mem.control.Seed[0] = was.control.Seed[was.half(partSeed)]
	first(mem.links, was.links, was.half(partLinks))
	first(mem.conditions, was.conditions, was.half(partConditions))
	first(mem.matrix, was.matrix, was.half(partMatrix))
	if _, shared := l.replace[shapedMapStates]; !shared {
		copy(mem.states, was.states)
	}
	copy(mem.tables, was.tables)
	copy(mem.traces, was.traces)
	half := was.half(partPairs)
	pairs := map[uint64]uint32{}
	for key, word := range was.pairsOf(half) {
		pairs[key&^(1<<63)] = word
	}
	if _, err := enter(f.shaping.maps.Pairs, nil, pairs); err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// first copies the half that is in force to the first half of bigger tables.
func first[T any](to, from [][2]T, half int) {
	for i := range from {
		to[i][0] = from[i][half]
	}
}
