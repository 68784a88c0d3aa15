package plan

import (
	"myriad/program"
	"myriad/topo"
)

// Changed is how much a change is about.
type Changed struct {
	Vifaces, Pairs int
}

// ChangeParts is Change for several changes at once, one after the other: it
// opens and closes the tables but once, and says how much each part is about.
// If anything is wrong with any part, nothing comes of all.
func (p *Plan) ChangeParts(current *program.Links, parts [][]topo.Change) (next *program.Links, about []Changed, err error) {
	c := changer{shaper: newShaper(p, current)}
	for _, part := range parts {
		c.vifaces, c.pairs = nil, 0
		for i := range part {
			if err := c.apply(&part[i]); err != nil {
				return nil, nil, err
			}
		}
		about = append(about, Changed{Vifaces: total(joinRows(c.vifaces)), Pairs: c.pairs})
	}
	next, err = c.finish()
	return next, about, err
}
