package rtnl

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Forward is an entry of a VXLAN link's own forwarding table: frames to a MAC
// are sent to a tunnel's end. All those of the zero MAC get a copy of each
// frame whose MAC is not in the table, and of broadcasts.
type Forward struct {
	Link int32
	MAC  [6]byte
	To   netip.Addr // IPv4
}

// ForwardInfo is such an entry as the kernel has it.
type ForwardInfo struct {
	Forward
	Static bool // added by NewForward, not learned
}

// NewForward adds an entry, beside others of the same MAC.
func (b *Batch) NewForward(f Forward) {
	b.begin("add forwarding entry", f.To.String(), unix.RTM_NEWNEIGH, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_APPEND)
	b.forward(f)
}

// DelForward removes an entry.
func (b *Batch) DelForward(f Forward) {
	b.begin("remove forwarding entry", f.To.String(), unix.RTM_DELNEIGH, unix.NLM_F_REQUEST)
	b.forward(f)
}

func (b *Batch) forward(f Forward) {
	b.buf = append(b.buf, unix.AF_BRIDGE, 0, 0, 0) // struct ndmsg
	b.u32(uint32(f.Link))
	b.u16(unix.NUD_PERMANENT | unix.NUD_NOARP)
	b.buf = append(b.buf, unix.NTF_SELF, 0)
	b.attrBytes(unix.NDA_LLADDR, f.MAC[:])
	b.attrAddr(unix.NDA_DST, f.To)
	b.end()
}

func parseForward(p []byte, f *ForwardInfo) bool {
	if len(p) < unix.SizeofNdMsg || p[0] != unix.AF_BRIDGE {
		return false
	}
	f.Link = int32(u32(p[4:]))
	f.Static = u32(p[8:])&unix.NUD_PERMANENT != 0 // the state is its lower half
	for typ, v := range attrs(p[unix.SizeofNdMsg:]) {
		switch typ {
		case unix.NDA_LLADDR:
			copy(f.MAC[:], v)
		case unix.NDA_DST:
			f.To = addr4(v)
		}
	}
	return f.To.IsValid()
}
