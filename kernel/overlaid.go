package kernel

import (
	"fmt"
	"strings"

	"myriad/kernel/fabric"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// observeOverlay reads back which overlay a platform's spine is in, nil if in
// none: one whose device does not work is none.
func (p *Pnode) observeOverlay(platform string) (*program.Overlay, error) {
	s, err := p.lookSpine(platform)
	if s == nil || err != nil {
		return nil, err
	}
	defer s.close()
	if s.overlaid() {
		l := s.links[overlayName]
		o := &program.Overlay{Port: l.VXLAN.Port}
		if l.VXLAN.VNIFilter {
			err = s.conn.Read(&rtnl.Dump{VNILink: fabric.OverlayIndex, VNIs: func(v *rtnl.VNI) { o.VNI = v.First }})
		}
		return o, err
	}
	for name, l := range s.links {
		if l.Kind != rtnl.VXLAN || !l.Up || l.Index < firstOverlay || !strings.HasPrefix(name, overlayName) {
			continue
		}
		o := &program.Overlay{Port: l.VXLAN.Port, VNI: l.VXLAN.VNI - uint32(l.Index-firstOverlay)}
		if l.VXLAN.Group.IsValid() {
			o.Kind = program.OverlayMulticast
		}
		return o, nil
	}
	return nil, nil
}

// overlayStatus says what is missing that joins a platform to other pnodes, as
// far as this process knows that it should be.
func (p *Pnode) overlayStatus(platform string) []program.Problem {
	p.mu.Lock()
	want := p.programs[platform]
	p.mu.Unlock()
	if want == nil || want.Overlay == nil {
		return nil
	}
	have, err := p.observeOverlay(platform)
	if err == nil && have == nil && (want.Fabric == program.FabricEBPF || needsOverlay(want)) {
		err = fmt.Errorf("its overlay device is gone")
	}
	if err == nil {
		return nil
	}
	q := problemOf(-1, "", "join "+platform+" to other pnodes", err)
	q.Kind, q.Remedy = program.KindUnavailable, "apply the platform again (myriad up FILE)"
	return []program.Problem{q}
}

// needsOverlay says whether a program has vifaces elsewhere.
func needsOverlay(want *program.Program) bool {
	for i := range want.Remote {
		if want.Elsewhere(&want.Remote[i]) {
			return true
		}
	}
	return false
}
