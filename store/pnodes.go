package store

import (
	"context"

	"myriad/bus"
	"myriad/plan"
)

// Pnode is what is remembered of a pnode.
type Pnode struct {
	Name    string
	Machine string // its identity
	Boot    string // of that machine, when its agent was heard last
	Site    string
	Drained bool             // no vnodes are placed there
	Absent  string           `cbor:",omitempty"` // lost or left; empty: it was there
	Owes    map[string]uint8 `cbor:",omitempty"` // platforms that are to be removed there when it is back, and their slots of VNIs
}

// pnodesObject is where pnodes are.
const pnodesObject = "pnodes"

type pnodes struct {
	Pnodes []Pnode
	Ways   []plan.SiteWay
}

// PutPnodes remembers all pnodes, and the ways between sites.
func (s *Store) PutPnodes(ctx context.Context, all []Pnode, ways []plan.SiteWay) error {
	b, err := bus.Encode(pnodes{all, ways})
	if err != nil {
		return err
	}
	return s.objects.Put(ctx, pnodesObject, b)
}

// Pnodes gives the pnodes that are remembered, and the ways between sites.
func (s *Store) Pnodes(ctx context.Context) ([]Pnode, []plan.SiteWay, error) {
	b, err := s.objects.Get(ctx, pnodesObject)
	if absent(err) {
		return nil, nil, nil
	}
	var all pnodes
	if err == nil {
		err = bus.Decode(b, &all)
	}
	return all.Pnodes, all.Ways, err
}
