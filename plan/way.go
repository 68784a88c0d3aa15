package plan

import (
	"time"

	"myriad/program"
)

// Way is what frames from one vnode to another meet.
type Way struct {
	Network       string // the vnetwork that joins the two
	Out, Pair, In program.Condition
}

// Delay is how long frames are delayed on the way, jitter and rates apart.
func (w *Way) Delay() time.Duration { return w.Out.Delay + w.Pair.Delay + w.In.Delay }

// Way gives the conditions of the way from one vnode to another in a vnetwork
// that both are in, the first of the one that sends; ok is false if there is
// none.
func (p *Plan) Way(l *program.Links, from, to string) (way Way, ok bool) {
	a, there := p.names.find(from)
	b, here := p.names.find(to)
	if !there || !here || a == b {
		return Way{}, false
	}
	p.eachShared(a, b, func(network int, x, y uint32) {
		if ok {
			return
		}
		ok = true
		n := &p.networks[network]
		way.Network = n.Name
		if l == nil {
			return
		}
		way.Out = l.Condition(l.Of(n.ID, p.host[x]).Out)
		way.Pair = l.PairCondition(l.Word(n.ID, p.host[x], p.host[y]))
		way.In = l.Condition(l.Of(n.ID, p.host[y]).In)
	})
	return way, ok
}
