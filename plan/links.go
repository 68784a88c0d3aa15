package plan

import (
	"time"

	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// Links gives the tables of link conditions that the topology asks for, nil
// if it asks for none.
func (p *Plan) Links() *program.Links { return nil }

// Schedule gives the changes that the topology asks for, and after which time
// they begin again (0: never).
func (p *Plan) Schedule() (steps []topo.Step, repeat time.Duration) { return nil, 0 }

// Change gives the tables that changes make of current ones (nil: there are
// no conditions), and says how many vifaces and pairs they are about. It
// leaves current as it is.
func (p *Plan) Change(current *program.Links, changes []topo.Change) (next *program.Links, vifaces, pairs int, err error) {
	return current, 0, 0, nil
}

// Way is what frames from one vnode to another meet.
type Way struct {
	Network       string // the vnetwork that joins the two
	Out, Pair, In program.Condition
}

// Delay is how long frames are delayed on the way, jitter and rates apart.
func (w *Way) Delay() time.Duration { return w.Out.Delay + w.Pair.Delay + w.In.Delay }

// Way gives the conditions of the way from one vnode to another in a vnetwork
// that both are in; ok is false if there is none.
func (p *Plan) Way(l *program.Links, from, to string) (way Way, ok bool) { return Way{}, false }

// LinkRow is one or more vifaces, or pairs, of the same conditions.
type LinkRow struct {
	Nodes   *nodeset.Set
	To      *nodeset.Set // of pairs
	Network string
	Side    topo.Side
	Asked   program.Condition
	Count   int
}

// LinkRows lists the conditions of the vifaces of nodes, or with to those of
// the pairs from nodes to it, with like ones in one row. Those without
// conditions are listed too.
func (p *Plan) LinkRows(l *program.Links, nodes, to *nodeset.Set) []LinkRow { return nil }
