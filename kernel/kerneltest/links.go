package kerneltest

import (
	"slices"
	"time"

	"myriad/program"
)

// Delays gives conditions under which every frame of a program's vifaces is so
// many milliseconds on its way.
func Delays(p *program.Program, ms int) *program.Links {
	l := &program.Links{Seed: 1, Conditions: []program.Condition{{Delay: time.Duration(ms) * time.Millisecond}}}
	for i := range p.Racks {
		for _, f := range p.Racks[i].Vifaces {
			l.Vifaces = append(l.Vifaces, program.LinkRange{Network: f.Network, Host: f.Host, Count: 1, Out: 1})
		}
	}
	slices.SortFunc(l.Vifaces, func(a, b program.LinkRange) int {
		if a.Network != b.Network {
			return int(a.Network) - int(b.Network)
		}
		return int(a.Host) - int(b.Host)
	})
	return l
}
