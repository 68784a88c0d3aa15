package program

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Join gives the program of one pnode: of what all share, the networks that
// its vifaces are in. What Shared and Own refer to is not copied, so that many
// pnodes of one process share it; it takes time in proportion to Own alone, and
// to the number of pnodes where ways between sites are known. Nothing is checked:
// see Fit, and Program.Validate.
func Join(s *Shared, o *Own) *Program {
	p := &Program{Platform: s.Platform, Pnode: o.Pnode, Number: o.Number, Fabric: s.Fabric, Racks: o.Racks,
		Names: s.Names, Remote: s.Places, MACs: s.MACs, Links: s.Links, Overlay: s.Overlay}
	here := map[uint16]bool{}
	for i := range o.Racks {
		for _, f := range o.Racks[i].Vifaces {
			here[f.Network] = true
		}
	}
	if len(here) < len(s.Networks)/8 && slices.IsSortedFunc(s.Networks, compareNetworks) {
		for id := range here {
			if i, ok := slices.BinarySearchFunc(s.Networks, Network{ID: id}, compareNetworks); ok {
				p.Networks = append(p.Networks, s.Networks[i])
			}
		}
		slices.SortFunc(p.Networks, compareNetworks)
	} else {
		for _, n := range s.Networks {
			if here[n.ID] {
				p.Networks = append(p.Networks, n)
			}
		}
	}
	p.Ways = s.waysFrom(o.Number)
	return p
}

func compareNetworks(a, b Network) int { return int(a.ID) - int(b.ID) }

// waysFrom gives the ways from a pnode to all others, by their numbers.
func (s *Shared) waysFrom(number uint32) []time.Duration {
	n := int(s.Sites)
	if len(s.Ways) == 0 || len(s.Ways) != n*n || s.Overlay == nil || uint64(number) >= uint64(len(s.Overlay.Underlay)) {
		return nil
	}
	from := int(s.Overlay.Underlay[number].Site)
	out := make([]time.Duration, len(s.Overlay.Underlay))
	for i := range s.Overlay.Underlay {
		if to := int(s.Overlay.Underlay[i].Site); uint32(i) != number && max(from, to) < n {
			out[i] = s.Ways[from*n+to]
		}
	}
	return out
}

// Validate checks what pnodes share, as Program.Validate does: what comes of it
// for one of them is then checked by Fit, in time that only its own part
// takes.
func (s *Shared) Validate() error {
	c := checker{p: &Program{Platform: s.Platform, Fabric: s.Fabric, Networks: s.Networks, Names: s.Names, Remote: s.Places, MACs: s.MACs}, networks: make(map[uint16]*Network, len(s.Networks))}
	c.platform()
	c.tables()
	c.names()
	c.places()
	c.givenMACs()
	for i, r := range s.Places {
		if c.networks[r.Network] == nil {
			c.bad("place %d: there is no network %d", i, r.Network)
		}
	}
	return errors.Join(append(c.problems, s.Links.Validate(), s.Overlay.validate(), s.validateWays())...)
}

func (s *Shared) validateWays() error {
	n := int(s.Sites)
	if n > MaxSites || len(s.Ways) != 0 && len(s.Ways) != n*n {
		return fmt.Errorf("%d ways between %d sites", len(s.Ways), n)
	}
	for i := range s.Overlay.rows() {
		if site := int(s.Overlay.Underlay[i].Site); site >= n && (n > 0 || site > 0) {
			return fmt.Errorf("pnode %d is at site %d of %d", i, site, n)
		}
	}
	return validWays(s.Ways)
}

func validWays(ways []time.Duration) error {
	for _, d := range ways {
		if d < 0 || d > MaxDelay {
			return fmt.Errorf("a way takes %s, which is not between 0 and %s", d, MaxDelay)
		}
	}
	return nil
}

// Fit is Join for what has passed Shared.Validate, and checks the rest: the
// own part, and that it goes with what is shared.
func Fit(s *Shared, o *Own) (*Program, error) {
	p := Join(s, o)
	c := newChecker(p)
	for i := range p.Networks {
		c.networks[p.Networks[i].ID] = &p.Networks[i]
	}
	c.pnode()
	c.own()
	if err := errors.Join(append(c.problems, s.Overlay.validateNumber(o.Number))...); err != nil {
		return nil, err
	}
	return p, nil
}

// Elsewhere says whether a range of Remote is of interest to the program: it
// is carried by another pnode, and in a network that this one has vifaces in.
// Readers of Remote pass over the others.
func (p *Program) Elsewhere(r *PlaceRange) bool { return r.Pnode != p.Number && p.has(r.Network) }

// has says whether the program has a network, without a table of them: mostly
// there are few.
func (p *Program) has(network uint16) bool {
	if len(p.Networks) <= 8 {
		return slices.ContainsFunc(p.Networks, func(n Network) bool { return n.ID == network })
	}
	_, ok := slices.BinarySearchFunc(p.Networks, Network{ID: network}, compareNetworks)
	return ok
}

// sameRemote says whether two programs of one pnode have the same vifaces
// elsewhere.
func sameRemote(have, want *Program) bool {
	a, b := have.Remote, want.Remote
	if len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) && have.Number == want.Number && slices.EqualFunc(have.Networks, want.Networks, func(x, y Network) bool { return x.ID == y.ID }) {
		return true
	}
	next := func(p *Program, rows []PlaceRange) []PlaceRange {
		for len(rows) > 0 && !p.Elsewhere(&rows[0]) {
			rows = rows[1:]
		}
		return rows
	}
	for {
		a, b = next(have, a), next(want, b)
		if len(a) == 0 || len(b) == 0 {
			return len(a) == len(b)
		}
		if a[0] != b[0] {
			return false
		}
		a, b = a[1:], b[1:]
	}
}
