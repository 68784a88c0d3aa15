package mem

import (
	"context"
	"time"

	"myriad/program"
)

// Shape puts other link conditions into force. See kernel.Pnode.
func (p *Pnode) Shape(ctx context.Context, platform string, l *program.Links, at time.Time) (*program.Shaped, error) {
	return &program.Shaped{}, nil
}

// LinkStats tells how true the links of a platform are. See kernel.Pnode.
func (p *Pnode) LinkStats(ctx context.Context, platform string) (*program.LinkStats, error) {
	return &program.LinkStats{Holder: "none"}, nil
}
