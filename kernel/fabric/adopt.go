package fabric

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

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
	if best != 0 {
		f, err = adopt(ebpf.ProgramID(best))
	}
	return f, without, err
}

// adopt opens a program and its maps.
func adopt(id ebpf.ProgramID) (*Fabric, error) {
	f := &Fabric{}
	if err := f.open(id); err != nil {
		return nil, errors.Join(fmt.Errorf("adopt program %d: %w", id, err), f.Close())
	}
	return f, nil
}

func (f *Fabric) open(id ebpf.ProgramID) error {
	o := &f.objects
	var err error
	if o.Trunk, err = ebpf.NewProgramFromID(id); err != nil {
		return err
	}
	info, err := o.Trunk.Info()
	if err != nil {
		return err
	}
	maps, _ := info.MapIDs()
	slots := map[string]**ebpf.Map{
		trunkMapNets: &o.Nets, trunkMapPlaces: &o.Places, trunkMapOthers: &o.Others,
		trunkMapMembers: &o.Members, trunkMapCounts: &o.Counts,
	}
	for _, id := range maps {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return err
		}
		info, err := m.Info()
		if err != nil {
			return errors.Join(err, m.Close())
		}
		slot := slots[info.Name]
		if slot == nil || *slot != nil {
			return errors.Join(fmt.Errorf("map %q is not the fabric's", info.Name), m.Close())
		}
		*slot = m
	}
	for name, slot := range slots {
		if *slot == nil {
			return fmt.Errorf("it has no map %q", name)
		}
	}
	return nil
}

// Ensure makes the trunks, links of the spine that c belongs to, run the
// fabric of a program: the one that is there, changed in place, or else a new
// one. It returns the number of writes: none where all is as it should be.
func Ensure(c *rtnl.Conn, trunks []int32, p *program.Program) (*Fabric, int, error) {
	old, without, err := Find(c, trunks)
	if err != nil {
		return nil, 0, err
	}
	if old == nil {
		f, err := Load(p)
		if err != nil {
			return nil, 0, err
		}
		return f.onto(c, trunks, nil)
	}
	f, writes, err := old.Update(p)
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
	writes := b.Len()
	var refused error
	err := c.DoEach(&b, func(i int, err *rtnl.OpError) {
		writes--
		if qdisc := i%2 == 0; qdisc && errors.Is(err, unix.EEXIST) {
			return
		}
		refused = errors.Join(refused, err)
	})
	if old != nil {
		err = errors.Join(err, old.Close())
	}
	if err = errors.Join(err, refused); err != nil {
		return nil, writes, errors.Join(err, f.Close())
	}
	return f, writes, nil
}
