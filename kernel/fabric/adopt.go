package fabric

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// Find looks at the filters on trunks, links of the spine that c belongs to,
// and gets back to the fabric that they run: of this version, and the one that
// most of them have. It returns nil if there is none, and the trunks that do
// not run it.
func Find(c *rtnl.Conn, trunks []int32) (f *Fabric, without []int32, err error) {
	runs := make([]uint32, len(trunks)) // IDs of programs
	votes := map[uint32]int{}
	var best uint32
	for i, link := range trunks {
		err := c.Read(&rtnl.Dump{FilterLink: link, FilterHook: rtnl.Ingress, Filters: func(info *rtnl.FilterInfo) {
			if info.Name == filterName {
				runs[i] = info.ProgID
			}
		}})
		if err != nil {
			return nil, nil, err
		}
		if id := runs[i]; id != 0 {
			if votes[id]++; votes[id] > votes[best] {
				best = id
			}
		}
	}
	for i, link := range trunks {
		if best == 0 || runs[i] != best {
			without = append(without, link)
		}
	}
	if best == 0 {
		return nil, without, nil
	}
	f = &Fabric{}
	o := &f.objects
	o.Trunk, err = adopt(ebpf.ProgramID(best), map[string]**ebpf.Map{
		trunkMapNets: &o.Nets, trunkMapPlaces: &o.Places, trunkMapOthers: &o.Others,
		trunkMapMembers: &o.Members, trunkMapCounts: &o.Counts,
	})
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, without, nil
}

// adopt opens a program by its ID, and its maps by their names.
func adopt(id ebpf.ProgramID, maps map[string]**ebpf.Map) (*ebpf.Program, error) {
	prog, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return nil, fmt.Errorf("open program %d: %w", id, err)
	}
	if err := openMaps(prog, maps); err != nil {
		return prog, fmt.Errorf("open the maps of program %d: %w", id, err)
	}
	return prog, nil
}

func openMaps(prog *ebpf.Program, maps map[string]**ebpf.Map) error {
	info, err := prog.Info()
	if err != nil {
		return err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return err
		}
		info, err := m.Info()
		if err != nil {
			return errors.Join(err, m.Close())
		}
		if slot := maps[info.Name]; slot != nil && *slot == nil {
			*slot = m
		} else if err := m.Close(); err != nil { // of constants
			return err
		}
	}
	for name, slot := range maps {
		if *slot == nil {
			return fmt.Errorf("it has no map %q", name)
		}
	}
	return nil
}

// Ensure makes the trunks, links of the spine that c belongs to, run the
// fabric of a program: the one that is there, changed in place, or else a new
// one. It returns the number of writes: none where all is as it should be.
// With conditions in s, the fabric enforces them, and s.Holder's links run the
// parts of it that belong to them; without, links have none.
func Ensure(c *rtnl.Conn, trunks []int32, p *program.Program, s *Shaping) (*Fabric, int, error) {
	old, without, err := Find(c, trunks)
	if err != nil {
		return nil, 0, err
	}
	if old == nil {
		f, err := load(p, nil)
		if err != nil {
			return nil, 0, err
		}
		return f.onto(c, trunks, nil)
	}
	f, writes, err := old.update(p)
	switch {
	case err != nil:
		return nil, writes, errors.Join(err, old.Close())
	case f != old:
		return f.onto(c, trunks, old)
	}
	f, attached, err := f.onto(c, without, nil)
	return f, writes + attached, err
}

// onto attaches f to trunks, in place of old.
func (f *Fabric) onto(c *rtnl.Conn, trunks []int32, old *Fabric) (*Fabric, int, error) {
	var b rtnl.Batch
	for _, link := range trunks {
		f.Attach(&b, link)
	}
	writes, err := attach(c, &b)
	if old != nil {
		err = errors.Join(err, old.Close())
	}
	if err != nil {
		return nil, writes, errors.Join(err, f.Close())
	}
	return f, writes, nil
}
