package fabric

import (
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
