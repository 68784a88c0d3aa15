package fabric

import (
	"errors"
	"time"

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

// Change is other conditions, written and not yet in force.
type Change struct{}

// Prepare writes other conditions beside those in force, and leaves to Commit
// only one store. Only one Change may be under way. It fails with ErrPlain or
// ErrRoom where Ensure has to be called instead.
func (f *Fabric) Prepare(l *program.Links) (*Change, error) { return nil, ErrPlain }

// Commit puts prepared conditions into force, all at the same moment, and
// returns the number of entries that differ: none where nothing does.
func (c *Change) Commit() (entries int, err error) { return 0, nil }

// Lateness counts the frames by how late they left the holder, in
// program.LatenessBuckets; nil where nothing is held.
func (f *Fabric) Lateness() ([]uint64, error) { return nil, nil }
