package coord

import (
	"time"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// Event is something that the machine is told.
type Event interface{ event() }

// Asker is whoever waits for the end of a request.
type Asker uint64

// Source is a topology file that was read and is sound.
type Source struct {
	File     string // its name
	Text     string
	Files    map[string][]byte // that it refers to, by the names it uses
	Digest   string            // of text and files
	Force    bool              // also if it will not fit
	Topology *topo.Topology
}

// The events.
type (
	// Restored gives what the store remembers. It comes first. Links are the
	// conditions of links, by platform, where they are not simply the plan's.
	Restored struct {
		Platforms []store.Platform
		Links     map[string]*LinksRecord
		Pnodes    []store.Pnode
		Epoch     uint64 // of this coordinator
		Ways      []plan.SiteWay
	}
	// UpAsked asks that a platform be as its file says.
	UpAsked struct {
		Asker  Asker
		Source *Source
	}
	// DownAsked asks that a platform be taken away.
	DownAsked struct {
		Asker    Asker
		Platform string
	}
	// Gone says that an asker waits no more.
	Gone struct{ Asker Asker }
	// Planned answers MakePlan. Source is what was remembered, where the machine
	// gave none.
	Planned struct {
		Platform string
		Source   *Source
		Plan     *plan.Plan
		Err      error
	}
	// Saved answers SavePlan.
	Saved struct {
		Platform string
		Err      error
	}
	// Counted is progress of Apply or Remove; with Doing, it is busy with
	// something else.
	Counted struct {
		Platform, Pnode string
		Call            uint64
		Count           int
		Doing           string
	}
	// Applied answers Apply. Report is what is, if that is known.
	Applied struct {
		Platform, Pnode string
		Call            uint64
		Said            *bus.From // what the agent had said before; nil: not known
		Report          *program.Report
		Err             error
	}
	// Removed answers Remove. Report is what is left, if Err says why.
	Removed struct {
		Platform, Pnode string
		Call            uint64
		Said            *bus.From
		Report          *program.Report
		Err             error
	}
	// Came says that an agent is there. With a ticket, Greet answers it.
	Came struct {
		Hello  bus.Hello
		Ticket uint64
	}
	// Heard says of which agents there were signs of life.
	Heard []Beat
	// Went says that an agent has ended.
	Went struct{ From bus.From }
	// Changed says that racks have changed by themselves.
	Changed struct{ bus.Racks }
	// Deaf says whether the coordinator is cut off from the bus.
	Deaf bool
	// DrainAsked asks that no vnodes be on a pnode, or that some may be again.
	DrainAsked struct {
		Asker Asker
		Pnode string
		Undo  bool
	}
	// ForgetAsked asks that nothing be known of a pnode that is not there.
	ForgetAsked struct {
		Asker Asker
		Pnode string
	}
	// PnodesSaved answers SavePnodes with Asker set.
	PnodesSaved struct {
		Asker Asker
		Err   error
	}
	// Measured answers Measure.
	Measured struct {
		From, To string // sites
		Takes    time.Duration
		Err      error
	}
	// Checked answers Check.
	Checked struct {
		Platform string
		Problems []program.Problem
	}
	// LinksAsked asks for other conditions of links, at once or, with At, at a
	// time to come.
	LinksAsked struct {
		Asker    Asker
		Platform string
		Changes  []topo.Change
		At       time.Time
	}
	// PlayAsked asks that a schedule begin, or, with nil, that the one under way
	// end.
	PlayAsked struct {
		Asker    Asker
		Platform string
		Schedule *Schedule
	}
	// LinksMade answers MakeLinks. There is an entry for each part: how much it
	// is about, or what is wrong with it, in which case it is not part of Next.
	LinksMade struct {
		Platform string
		Next     *program.Links
		Parts    []Made
	}
	// LinksSaved answers SaveLinks with Answer set.
	LinksSaved struct {
		Platform string
		Err      error
	}
	// LinksShaped answers Shape.
	LinksShaped struct {
		Platform, Pnode string
		Call            uint64
		Shaped          program.Shaped
		Err             error
	}
	// Overloaded says that a pnode could not keep what it promised of links.
	Overloaded struct{ bus.Overload }
	// Woken says that Wake has come.
	Woken struct{}
	// Tick says that it is time to tell askers how far things are.
	Tick struct{}
	// Pulse comes every PulseEvery, and says that it is time to look who is silent.
	Pulse struct{}
	// Ending says that the coordinator is about to end.
	Ending struct{}
)

func (Restored) event()    {}
func (UpAsked) event()     {}
func (DownAsked) event()   {}
func (Gone) event()        {}
func (Planned) event()     {}
func (Saved) event()       {}
func (Counted) event()     {}
func (Applied) event()     {}
func (Removed) event()     {}
func (Came) event()        {}
func (Heard) event()       {}
func (Deaf) event()        {}
func (DrainAsked) event()  {}
func (ForgetAsked) event() {}
func (PnodesSaved) event() {}
func (Measured) event()    {}
func (Checked) event()     {}
func (Pulse) event()       {}
func (Went) event()        {}
func (Changed) event()     {}
func (LinksAsked) event()  {}
func (PlayAsked) event()   {}
func (LinksMade) event()   {}
func (LinksSaved) event()  {}
func (LinksShaped) event() {}
func (Overloaded) event()  {}
func (Woken) event()       {}
func (Tick) event()        {}
func (Ending) event()      {}
