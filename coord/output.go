package coord

import (
	"time"

	"myriad/api"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// Effect is something that the machine wants done.
type Effect interface{ effect() }

// The effects.
type (
	// MakePlan has a plan made; Planned answers.
	MakePlan struct {
		Platform string
		Source   *Source // nil: the one that is remembered
		Force    bool    // without Source
		Previous *plan.Plan
		Pnodes   []plan.Pnode
		Others   []*plan.Plan // that are there too
		Slot     uint8        // of VNIs
		Ways     []plan.SiteWay
	}
	// SavePlan has a platform remembered with its plan; Saved answers.
	SavePlan struct {
		Record store.Record
		Source string
		Files  map[string][]byte
		Plan   *plan.Plan
	}
	// Save has a platform remembered.
	Save struct{ Record store.Record }
	// Forget has a platform forgotten.
	Forget struct{ Platform string }
	// Apply has a pnode made to match its part of a plan; Applied answers.
	Apply struct {
		Platform, Pnode string
		Call            uint64 // greater than that of any call before
		Plan            *plan.Plan
		Links           *program.Links // that are in force
	}
	// Stop ends an Apply early. It is answered as it would have been.
	Stop struct {
		Platform, Pnode string
		Call            uint64
	}
	// Remove has a platform removed from a pnode; Removed answers.
	Remove struct {
		Platform, Pnode string
		Call            uint64
	}
	// Tidy says that no pnode is at work on a platform any more.
	Tidy struct{ Platform string }
	// Check has it looked whether packets of a size arrive whole at the next of a
	// ring of pnodes; Checked answers.
	Check struct {
		Platform string
		Plan     *plan.Plan
		Ring     []string
		Size     int // bytes of the IPv4 packets between pnodes
	}
	// Measure has the way between two sites measured, by a pnode of each;
	// Measured answers.
	Measure struct {
		From, To     string // sites
		Pnode, Other string
	}
	// Greet answers a hello. Refused says why a pnode is not taken in.
	Greet struct {
		Ticket  uint64
		Refused *program.Problem
	}
	// Meet says that calls to a pnode may begin.
	Meet struct{ Pnode string }
	// Lose ends all calls to a pnode. Those of the machine's own are not answered.
	Lose struct {
		Pnode string
		Why   *program.Problem
	}
	// Hail asks an agent to say hello again.
	Hail struct{ Pnode string }
	// SavePnodes has pnodes, and the ways between sites, remembered; with Asker,
	// PnodesSaved answers.
	SavePnodes struct {
		Pnodes []store.Pnode
		Ways   []plan.SiteWay
		Asker  Asker
	}
	// MakeLinks has tables changed; LinksMade answers.
	MakeLinks struct {
		Platform string
		Plan     *plan.Plan
		Current  *program.Links
		Parts    [][]topo.Change
	}
	// SaveLinks has the conditions of links remembered; with Answer, LinksSaved
	// answers.
	SaveLinks struct {
		Platform string
		Record   LinksRecord
		Answer   bool
	}
	// ForgetLinks has them forgotten: they are the plan's.
	ForgetLinks struct{ Platform string }
	// Shape has a pnode put conditions of links into force, at once or at a
	// time; LinksShaped answers.
	Shape struct {
		Platform, Pnode string
		Call            uint64
		Links           *program.Links
		At              time.Time
	}
	// StopShape says that a Shape is not wanted any more, if it is not in force
	// yet. It is answered as it would have been.
	StopShape struct {
		Platform, Pnode string
		Call            uint64
	}
	// Tell tells askers something. After Last they wait no more.
	Tell struct {
		Askers []Asker
		Event  api.Event
		Last   bool
	}
	// Note makes something known to whoever follows events.
	Note struct{ Event api.Event }
)

func (MakePlan) effect()    {}
func (SavePlan) effect()    {}
func (Save) effect()        {}
func (Forget) effect()      {}
func (Apply) effect()       {}
func (Stop) effect()        {}
func (Remove) effect()      {}
func (Tidy) effect()        {}
func (Check) effect()       {}
func (Measure) effect()     {}
func (Greet) effect()       {}
func (Meet) effect()        {}
func (Lose) effect()        {}
func (Hail) effect()        {}
func (SavePnodes) effect()  {}
func (MakeLinks) effect()   {}
func (SaveLinks) effect()   {}
func (ForgetLinks) effect() {}
func (Shape) effect()       {}
func (StopShape) effect()   {}
func (Tell) effect()        {}
func (Note) effect()        {}
