package program

import (
	"cmp"
	"iter"
	"slices"
)

// RackDiff is what turns one rack into another. Its tables are those of a
// Rack, and sorted like them. It is to be carried out from top to bottom:
// what goes makes room for what comes.
//
// A vnode is the same one for as long as its slot, name and weight are; a
// viface for as long as its whole row is, else it is removed and added.
type RackDiff struct {
	Index         uint32
	Remove        []Vnode  // vnodes that end, with all they have
	RemoveRoutes  []Route  // destinations that vnodes which stay no longer route
	RemoveVifaces []Viface // of vnodes that stay, as they are
	AddVifaces    []Viface // of vnodes that stay, as they are to be
	AddRoutes     []Route  // of vnodes that stay; they replace any route to the same destination
	Forward       []Vnode  // vnodes that stay and whose Forward changes, as they are to be
	Make          Rack     // vnodes that begin, with all they have
}

// Empty says whether there is nothing to do.
func (d *RackDiff) Empty() bool {
	return len(d.Remove)+len(d.RemoveRoutes)+len(d.RemoveVifaces)+len(d.AddVifaces)+
		len(d.AddRoutes)+len(d.Forward)+len(d.Make.Vnodes) == 0
}

// Diff gives what turns have into want. Both must be sorted; have may be what
// a kernel was found to have, and its rows need not be valid otherwise.
//
// Where a viface of a vnode is removed or replaced, AddRoutes has all routes
// of that vnode, even those that do not change: the kernel drops the routes
// of a device with the device.
func Diff(have, want *Rack) RackDiff { return diffRack(have, want, nil) }

// diffRack is Diff where no viface in a network of stale is as it should be.
func diffRack(have, want *Rack, stale map[uint16]bool) RackDiff {
	d := RackDiff{Index: want.Index, Make: Rack{Index: want.Index}}
	for h, w := range pairs(have.Vnodes, want.Vnodes, compareVnodes) {
		stays := h != nil && w != nil && h.Name == w.Name && h.Weight == w.Weight
		if stays {
			d.change(have, want, w, h.Forward, stale)
			continue
		}
		if h != nil {
			d.Remove = append(d.Remove, *h)
		}
		if w != nil {
			d.Make.Vnodes = append(d.Make.Vnodes, *w)
			d.Make.Vifaces = append(d.Make.Vifaces, want.VifacesOf(w.Slot)...)
			d.Make.Routes = append(d.Make.Routes, want.RoutesOf(w.Slot)...)
		}
	}
	return d
}

// change adds what turns a vnode of have, which forwards or not, into v.
func (d *RackDiff) change(have, want *Rack, v *Vnode, forwards bool, stale map[uint16]bool) {
	lost := false // routes may have gone with a device
	for h, w := range pairs(have.VifacesOf(v.Slot), want.VifacesOf(v.Slot), compareVifaces) {
		if h != nil && w != nil && *h == *w && !stale[w.Network] {
			continue
		}
		if h != nil {
			d.RemoveVifaces = append(d.RemoveVifaces, *h)
			lost = true
		}
		if w != nil {
			d.AddVifaces = append(d.AddVifaces, *w)
		}
	}
	for h, w := range pairs(have.RoutesOf(v.Slot), want.RoutesOf(v.Slot), compareRoutes) {
		switch {
		case w == nil:
			d.RemoveRoutes = append(d.RemoveRoutes, *h)
		case h == nil || *h != *w || lost:
			d.AddRoutes = append(d.AddRoutes, *w)
		}
	}
	if forwards != v.Forward {
		d.Forward = append(d.Forward, *v)
	}
}

// Apply gives what have becomes when d is carried out on it:
// Apply(have, Diff(have, want)) equals want. The result shares no table with
// have.
func Apply(have *Rack, d *RackDiff) *Rack {
	gone := make(map[uint16]bool, len(d.Remove))
	for _, v := range d.Remove {
		gone[v.Slot] = true
	}
	return &Rack{
		Index: d.Index,
		Vnodes: update(slices.DeleteFunc(slices.Clone(have.Vnodes), func(v Vnode) bool { return gone[v.Slot] }),
			compareVnodes, nil, d.Forward, d.Make.Vnodes),
		Vifaces: update(slices.DeleteFunc(slices.Clone(have.Vifaces), func(v Viface) bool { return gone[v.Slot] }),
			compareVifaces, d.RemoveVifaces, d.AddVifaces, d.Make.Vifaces),
		Routes: update(slices.DeleteFunc(slices.Clone(have.Routes), func(r Route) bool { return gone[r.Slot] }),
			compareRoutes, d.RemoveRoutes, d.AddRoutes, d.Make.Routes),
	}
}

// update takes remove out of rows, which it owns, and puts set and add in;
// all are sorted. A row of set replaces the one that compares equal to it.
func update[T any](rows []T, compare func(T, T) int, remove, set, add []T) []T {
	var out []T
	for row, r := range pairs(rows, remove, compare) {
		if row != nil && r == nil {
			out = append(out, *row)
		}
	}
	for _, more := range [][]T{set, add} {
		rows, out = out, nil
		for row, m := range pairs(rows, more, compare) {
			if m == nil {
				m = row
			}
			out = append(out, *m)
		}
	}
	return out
}

// pairs yields the rows of two sorted tables, side by side where they compare
// equal, and otherwise with nil for the other.
func pairs[T any](a, b []T, compare func(T, T) int) iter.Seq2[*T, *T] {
	return func(yield func(*T, *T) bool) {
		for i, j := 0, 0; i < len(a) || j < len(b); {
			c := -1
			if i == len(a) {
				c = 1
			} else if j < len(b) {
				c = compare(a[i], b[j])
			}
			var x, y *T
			if c <= 0 {
				x = &a[i]
				i++
			}
			if c >= 0 {
				y = &b[j]
				j++
			}
			if !yield(x, y) {
				return
			}
		}
	}
}

func compareVnodes(a, b Vnode) int { return cmp.Compare(a.Slot, b.Slot) }

func compareVifaces(a, b Viface) int {
	return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Index, b.Index))
}

func compareRoutes(a, b Route) int {
	return cmp.Or(cmp.Compare(a.Slot, b.Slot), a.To.Compare(b.To))
}

// VifacesOf gives the vifaces of the vnode in a slot.
func (r *Rack) VifacesOf(slot uint16) []Viface {
	return rowsOf(r.Vifaces, slot, func(v *Viface) uint16 { return v.Slot })
}

// RoutesOf gives the routes of the vnode in a slot.
func (r *Rack) RoutesOf(slot uint16) []Route {
	return rowsOf(r.Routes, slot, func(r *Route) uint16 { return r.Slot })
}

// rowsOf finds the run of rows with a slot, in rows sorted by slot.
func rowsOf[T any](rows []T, slot uint16, of func(*T) uint16) []T {
	lo, hi := 0, len(rows)
	for lo < hi {
		if mid := int(uint(lo+hi) / 2); of(&rows[mid]) < slot {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for hi < len(rows) && of(&rows[hi]) == slot {
		hi++
	}
	return rows[lo:hi:hi]
}

// ProgramDiff is what turns one program of a platform into another.
type ProgramDiff struct {
	RemoveNetworks []Network
	ChangeNetworks []Network // as they are to be
	MakeNetworks   []Network
	RemoveRacks    []uint32
	Racks          []RackDiff // of racks that change or begin
	Fabric         bool       // the forwarding plane itself is another: nothing can stay
	Names          bool       // the hosts file changes
	Remote         bool       // the places or Ethernet addresses of other pnodes' vifaces change
	Links          bool       // the conditions of links change
	Overlay        bool       // how other pnodes are reached changes
}

// Empty says whether there is nothing to do.
func (d *ProgramDiff) Empty() bool {
	return len(d.RemoveNetworks)+len(d.ChangeNetworks)+len(d.MakeNetworks)+len(d.RemoveRacks)+len(d.Racks) == 0 &&
		!d.Fabric && !d.Names && !d.Remote && !d.Links && !d.Overlay
}

// DiffPrograms gives what turns have into want. A network is the same one for
// as long as its ID is; where its subnet or MTU changes, its vifaces are
// removed and added.
func DiffPrograms(have, want *Program) ProgramDiff {
	d := ProgramDiff{
		Fabric: have.Fabric != want.Fabric,
		Names:  !slices.Equal(have.Names, want.Names),
		Remote: !sameRemote(have, want) || !slices.Equal(have.MACs, want.MACs),
		Links:  !have.Links.Equal(want.Links),

		Overlay: have.Number != want.Number || !have.Overlay.Equal(want.Overlay) || !slices.Equal(have.Ways, want.Ways),
	}
	stale := map[uint16]bool{}
	for h, w := range pairs(have.Networks, want.Networks, func(a, b Network) int { return cmp.Compare(a.ID, b.ID) }) {
		switch {
		case w == nil:
			d.RemoveNetworks = append(d.RemoveNetworks, *h)
		case h == nil:
			d.MakeNetworks = append(d.MakeNetworks, *w)
		case *h != *w:
			d.ChangeNetworks = append(d.ChangeNetworks, *w)
			stale[w.ID] = h.Subnet != w.Subnet || h.MTU != w.MTU
		}
	}
	for h, w := range pairs(have.Racks, want.Racks, func(a, b Rack) int { return cmp.Compare(a.Index, b.Index) }) {
		if w == nil {
			d.RemoveRacks = append(d.RemoveRacks, h.Index)
			continue
		}
		begins := h == nil
		if begins {
			h = &Rack{Index: w.Index}
		}
		if rack := diffRack(h, w, stale); begins || !rack.Empty() {
			d.Racks = append(d.Racks, rack)
		}
	}
	return d
}
