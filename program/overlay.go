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

// Join gives the program of one pnode: of what all share, the networks that
// its vifaces are in, and where the others of those networks are. What Shared
// and Own refer to is not copied.
func Join(s *Shared, o *Own) *Program {
	p := &Program{Platform: s.Platform, Pnode: o.Pnode, Number: o.Number, Fabric: s.Fabric, Racks: o.Racks, Names: s.Names, Links: s.Links, Overlay: s.Overlay}
	here := map[uint16]bool{}
	for i := range o.Racks {
		for _, f := range o.Racks[i].Vifaces {
			here[f.Network] = true
		}
	}
	for _, n := range s.Networks {
		if here[n.ID] {
			p.Networks = append(p.Networks, n)
		}
	}
	for _, r := range s.Places {
		if r.Pnode != o.Number && here[r.Network] {
			p.Remote = append(p.Remote, r)
		}
	}
	p.Ways = s.waysFrom(o.Number)
	return p
}

// waysFrom gives the ways from a pnode to all others, by their numbers.
func (s *Shared) waysFrom(number uint32) []time.Duration {
	if len(s.Ways) == 0 || s.Overlay == nil || int(number) >= len(s.Overlay.Underlay) {
		return nil
	}
	from := int(s.Overlay.Underlay[number].Site)
	out := make([]time.Duration, len(s.Overlay.Underlay))
	for i, u := range s.Overlay.Underlay {
		if uint32(i) != number {
			out[i] = s.Ways[from*int(s.Sites)+int(u.Site)]
		}
	}
	return out
}

// Equal says whether two overlays are the same; nil is one.
func (o *Overlay) Equal(other *Overlay) bool {
	if o == nil || other == nil {
		return o == other
	}
	return o.Kind == other.Kind && o.VNI == other.VNI && o.Port == other.Port && slices.Equal(o.Underlay, other.Underlay)
}

// Validate lists what is wrong with an overlay; nil is valid. number is the
// row of the pnode that has it.
func (o *Overlay) Validate(number uint32) error {
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
	if int(number) >= len(o.Underlay) {
		bad("pnode %d of %d", number, len(o.Underlay))
	}
	seen := map[netip.Addr]bool{}
	for i, u := range o.Underlay {
		if u.Pnode == "" && u == (Underlay{}) {
			continue // a number that is free
		}
		if !plain(u.Pnode) || u.Addr.IsValid() && !u.Addr.Is4() || seen[u.Addr] {
			bad("pnode %d (%q) at %s", i, u.Pnode, u.Addr)
		}
		seen[u.Addr] = u.Addr.IsValid()
		if len(errs) >= maxProblems {
			break
		}
	}
	return errors.Join(errs...)
}
