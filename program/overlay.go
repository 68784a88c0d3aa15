package program

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Overlay is what joins the spines of the pnodes of a platform: unicast VXLAN
// from each to each, by tables, without learning or flooding (RFC 7348
// encapsulation only).
type Overlay struct {
	Kind     OverlayKind
	VNI      uint32 // of the platform; with FabricBridge, network n has VNI + n
	Port     uint16 // UDP port of the tunnels
	Underlay []Underlay
	Plain    bool // pnodes of one site reach each other unencrypted, where they have Gates: see Ends
}

// OverlayKind names what frames between pnodes travel by.
type OverlayKind uint8

// The kinds of overlay.
const (
	OverlayUnicast   OverlayKind = iota // tunnel endpoints from the table (the default)
	OverlayMulticast                    // a multicast group for each network, learning bridges: the design of 2014; with FabricBridge only
)

// Underlay is how the others reach a pnode. Rows are by the pnode's number;
// one without an address is of no pnode.
type Underlay struct {
	Pnode string         // its name
	Addr  netip.Addr     // IPv4 address of the tunnel's end
	MTU   uint16         // of the way to it, bytes: a vnetwork's is at least VXLANOverhead less
	Site  uint16         // those of one site are near each other
	Key   [32]byte       // public key of WireGuard; zero: traffic to it is not encrypted
	Gate  netip.AddrPort // where its WireGuard listens; then Addr is the address inside
}

// Ends gives both ends of the tunnel from one pnode to another, by their
// numbers, and whether what goes through it is encrypted. They are invalid if
// one of the two is not reached at all. Frames are encrypted where both have a
// Gate: then the ends are the addresses inside of WireGuard. With Plain, those of one site
// reach each other beside it, at the addresses of their Gates.
func (o *Overlay) Ends(from, to uint32) (local, remote netip.Addr, encrypted bool) {
	if o == nil || uint64(max(from, to)) >= uint64(len(o.Underlay)) {
		return local, remote, false
	}
	a, b := &o.Underlay[from], &o.Underlay[to]
	if a.Gate.IsValid() && b.Gate.IsValid() && !(o.Plain && a.Site == b.Site) {
		return a.Addr, b.Addr, true
	}
	local, remote = a.Outside(), b.Outside()
	if !local.IsValid() || !remote.IsValid() {
		return netip.Addr{}, netip.Addr{}, false
	}
	return local, remote, false
}

// Outside is the address of the pnode itself, be it inside of WireGuard or not.
func (u *Underlay) Outside() netip.Addr {
	if u.Gate.IsValid() {
		return u.Gate.Addr()
	}
	return u.Addr
}

// WireGuardPort is the UDP port of the first platform's WireGuard; each
// platform has a device and a port of its own, of its Slot after this one.
const WireGuardPort = 51820

// Slot is which of its coordinator's platforms an overlay belongs to: the
// second byte of its VNI.
func (o *Overlay) Slot() uint8 { return uint8(o.VNI >> 8) }

// InsideAddr is the address that pnode number has inside of the WireGuard of
// the platform with a VNI: in 240.0.0.0/4, of which nothing else is in use (RFC
// 1112, section 4) and which Linux takes for unicast. One byte is the slot, 20 bits are
// the pnode.
func InsideAddr(vni, number uint32) netip.Addr {
	return addr4(0xf<<28 | vni>>8&0xff<<20 | number&(1<<20-1))
}

// MaxPnodes is how many pnodes a platform has at most.
const MaxPnodes = 1<<20 - 1

// MaxSites is how many sites the pnodes of a platform are at, at most: Shared has
// a row and a column for each.
const MaxSites = 1024

// VXLANOverhead is what a tunnel adds to a packet of a vnetwork: its Ethernet
// header, and VXLAN, UDP and IPv4 (RFC 7348, section 5).
const VXLANOverhead = 14 + 8 + 8 + 20

// WireGuardOverhead is what encryption adds to that: 32 bytes of WireGuard,
// UDP and IPv4, in the worst case of padding.
const WireGuardOverhead = 60

// VXLANPort is the UDP port that is VXLAN's (IANA).
const VXLANPort = 4789

// MaxVNI is the greatest VNI.
const MaxVNI = 1<<24 - 1

// PlatformVNIs is how many VNIs belong to one platform: its own, and one for
// each network of a fabric of bridges.
const PlatformVNIs = 256

// Shared is what the programs of all pnodes of a platform have in common.
type Shared struct {
	Platform string
	Fabric   Fabric
	Networks []Network // all of the platform, by ID
	Names    []NameRange
	Places   []PlaceRange // of every viface; none if there is one pnode
	MACs     []GivenMAC   // of every viface that has one; none if there is one pnode
	Links    *Links
	Overlay  *Overlay
	// Ways is how long a packet takes between the sites by itself, one way, as
	// measured; entry i*Sites+j is from site i to j. Conditions of links are
	// that much shorter. Empty: not known, taken for nothing.
	Sites uint16
	Ways  []time.Duration
}

// Own is what a pnode has for itself.
type Own struct {
	Pnode  string
	Number uint32 // of the pnode: its row in Overlay.Underlay, and what Places call it
	Racks  []Rack
}

// Equal says whether two overlays are the same; nil is one.
func (o *Overlay) Equal(other *Overlay) bool {
	if o == nil || other == nil {
		return o == other
	}
	return o.Kind == other.Kind && o.VNI == other.VNI && o.Port == other.Port && o.Plain == other.Plain && slices.Equal(o.Underlay, other.Underlay)
}

// Validate lists what is wrong with an overlay; nil is valid. number is the
// row of the pnode that has it.
func (o *Overlay) Validate(number uint32) error {
	if o == nil {
		return nil
	}
	return errors.Join(o.validate(), o.validateNumber(number))
}

func (o *Overlay) validateNumber(number uint32) error {
	if o != nil && (uint64(number) >= uint64(len(o.Underlay)) || o.Underlay[number].Pnode == "") {
		return fmt.Errorf("overlay: pnode %d of %d, or of nobody", number, len(o.Underlay))
	}
	return nil
}

func (o *Overlay) validate() error {
	if o == nil {
		return nil
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("overlay: "+format, args...)) }
	if o.Kind > OverlayMulticast {
		bad("kind %d is unknown", o.Kind)
	}
	if o.VNI == 0 || o.VNI > MaxVNI-PlatformVNIs || o.Port == 0 {
		bad("VNI %d, port %d", o.VNI, o.Port)
	}
	if len(o.Underlay) > MaxPnodes {
		bad("%d pnodes, at most %d can be", len(o.Underlay), MaxPnodes)
	}
	seen := make(map[netip.Addr]bool, len(o.Underlay))
	for i := range o.Underlay {
		u := &o.Underlay[i]
		if *u == (Underlay{}) {
			continue // a number that is free
		}
		if u.Gate.IsValid() {
			if !u.Gate.Addr().Is4() || u.Gate.Port() == 0 || u.Key == [32]byte{} || !u.Addr.IsValid() {
				bad("pnode %d (%q) has its WireGuard at %s, and is at %s inside", i, u.Pnode, u.Gate, u.Addr)
			}
		}
		for _, a := range []netip.Addr{u.Addr, u.Gate.Addr()} {
			if a.IsValid() && (!a.Is4() || seen[a]) {
				bad("pnode %d (%q) is at %s, where another is, or nobody can be", i, u.Pnode, a)
			}
			seen[a] = true
		}
		if !ValidPnodeName(u.Pnode) {
			bad("pnode %d is called %.30q", i, u.Pnode)
		}
		if len(errs) >= maxProblems {
			break
		}
	}
	return errors.Join(errs...)
}
