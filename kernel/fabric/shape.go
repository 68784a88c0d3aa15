package fabric

import (
	"errors"
	"time"

	"github.com/cilium/ebpf"

	"myriad/program"
)

// Holder says what keeps frames until they are due, and by which links of the
// spine. The zero value holds nothing: links have no conditions then.
type Holder struct {
	// FQ is set where one fq qdisc holds everything: Enter is the link whose
	// root it is, Leave its peer, where frames come out.
	FQ           bool
	Enter, Leave int32
	// Else each rack has a wheel: rack k's frames go to its hold device by the
	// spine's link FirstHold + k, and come out there.
	FirstHold int32
	// Cut is the link through which frames that must be seen one by one go, to
	// be cut into packets of the wire's size with their checksums made; they
	// come out at CutLeave. 0: there is none.
	Cut, CutLeave int32
	// Base is subtracted of the delay of each frame that is held.
	Base time.Duration
}

// Shaping is the conditions of a platform's links, and what enforces them.
type Shaping struct {
	Links  *program.Links
	Holder Holder
}

// ErrRoom says that the maps of a fabric have no room for other conditions:
// Ensure makes bigger ones.
var ErrRoom = errors.New("the maps have no room for the conditions")

// ErrPlain says that a fabric runs without conditions, and must be put in
// place by Ensure with some before they can be changed.
var ErrPlain = errors.New("the fabric has no conditions")

// shaping is what a fabric with conditions has besides.
type shaping struct {
	maps    shapingMaps
	release *ebpf.Program // runs where frames leave the holder
	pending *Change
}

// wanted says whether links have conditions at all.
func (s *Shaping) wanted() bool { return s != nil && s.Links != nil }

// Kinds of holder, as the map control has them.
const (
	kindWheel = 1 + iota
	kindFQ
)

// fill writes what the programs must know of the holder, and returns the
// number of words that differ.
func (h *Holder) fill(c *control) (writes int) {
	want := control{Base: uint64(max(h.Base, 0)), Cut: uint32(h.Cut), Shard: uint32(h.CutLeave)}
	if h.FQ {
		want.Kind, want.Entry, want.Exit = kindFQ, uint32(h.Enter), uint32(h.Leave)
	} else {
		want.Kind, want.Entry, want.Exit = kindWheel, uint32(h.FirstHold), uint32(h.FirstHold)
	}
	for _, w := range [][2]*uint32{
		{&c.Entry, &want.Entry}, {&c.Exit, &want.Exit}, {&c.Cut, &want.Cut}, {&c.Shard, &want.Shard}, {&c.Kind, &want.Kind},
	} {
		if *w[0] != *w[1] {
			*w[0] = *w[1]
			writes++
		}
	}
	if c.Base != want.Base {
		c.Base = want.Base
		writes++
	}
	return writes
}

// exits lists the links where frames leave the holder, for racks with trunks.
func (h *Holder) exits(trunks []int32) []int32 {
	if h.FQ {
		return []int32{h.Leave}
	}
	var out []int32
	for _, trunk := range trunks {
		out = append(out, h.FirstHold+trunk-firstTrunk)
	}
	return out
}
