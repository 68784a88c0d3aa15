package fabric

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"

	"myriad/kernel/rtnl"
)

// Find looks at the filters on trunks, links of the spine that c belongs to,
// and gets back to the fabric that they run: of this version, and the one that
// most of them have. It returns nil if there is none, and the trunks that do
// not run it.
func Find(c *rtnl.Conn, trunks []int32) (f *Fabric, without []int32, err error) {
	best, name, without, err := elect(c, trunks, filterName, shapedName)
	if err != nil || best == 0 {
		return nil, without, err
	}
	f = &Fabric{}
	o := &f.objects
	names := map[string]**ebpf.Map{
		trunkMapNets: &o.Nets, trunkMapPlaces: &o.Places, trunkMapOthers: &o.Others,
		trunkMapMembers: &o.Members, trunkMapPnodes: &o.Pnodes, trunkMapCounts: &o.Counts,
	}
	if name == shapedName {
		f.shaping = &shaping{}
		maps.Copy(names, f.shaping.maps.byName())
	}
	o.Trunk, err = adopt(best, names)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, without, nil
}

// elect finds the program that most of the links run, by filters of one of
// some names, and the links that do not run it; 0 if there is none.
func elect(c *rtnl.Conn, links []int32, names ...string) (best ebpf.ProgramID, name string, without []int32, err error) {
	runs := make([]ebpf.ProgramID, len(links))
	votes := map[ebpf.ProgramID]int{}
	for i, link := range links {
		var its string
		err := c.Read(&rtnl.Dump{FilterLink: link, FilterHook: rtnl.Ingress, Filters: func(info *rtnl.FilterInfo) {
			if slices.Contains(names, info.Name) {
				runs[i], its = ebpf.ProgramID(info.ProgID), info.Name
			}
		}})
		if err != nil {
			return 0, "", nil, err
		}
		if id := runs[i]; id != 0 {
			if votes[id]++; votes[id] > votes[best] {
				best, name = id, its
			}
		}
	}
	for i, link := range links {
		if best == 0 || runs[i] != best {
			without = append(without, link)
		}
	}
	return best, name, without, nil
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
