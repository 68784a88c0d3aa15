package kernel

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"myriad/kernel/fabric"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// The kinds of holder: what keeps frames until they are due.
const (
	HolderFQ    = "fq"    // one qdisc of the kernel, for all racks
	HolderWheel = "wheel" // a process of each rack
	HolderNone  = "none"  // of a platform whose links have no conditions
)

// HolderVariable is the environment variable that forces a holder.
const HolderVariable = "MYRIAD_HOLDER"

// What a spine holds while links have conditions, by interface index: with
// wheels the spine's end of each rack's hold device; with fq a pair on whose
// one end it is; and a pair that cuts packets to the wire's size.
//
// Before Linux 6.14, an index that is asked for in a rack must be free in the
// spine, too: none of these is one that a rack has.
const (
	firstHold   = 1 << 17 // h<k>: + k
	shaperIndex = 1 << 18 // sh0
	shaperLeave = shaperIndex + 1
	cutIndex    = shaperIndex + 2 // cut
	cutLeave    = shaperIndex + 3
)

// HoldIndex is the index of the hold device in a rack's namespace: the end of
// the veth pair at which the rack's wheel stands.
const HoldIndex = TrunkIndex + 1

// holdMTU is that of all of them: as much as a trunk's.
const holdMTU = trunkMTU

// shaperFQ is the qdisc that holds the frames of a whole platform. Whoever
// must wait longer than the horizon would be dropped, and so would what finds
// the limits reached: both are beyond what the fabric lets in.
var shaperFQ = rtnl.FQ{
	Limit:      1_000_000,
	FlowLimit:  1_000_000,
	Horizon:    4000 * time.Second,
	Buckets:    14,
	OrphanMask: 1<<14 - 1,
	TimerSlack: time.Microsecond,
}

// Holder says what would hold the frames of a platform that gets conditions
// now, and why.
func Holder() (kind, why string, err error) {
	absent := HaveFQ()
	switch want := os.Getenv(HolderVariable); {
	case want == HolderWheel:
		return HolderWheel, HolderVariable + "=" + want, nil
	case want == HolderFQ && absent == nil:
		return HolderFQ, HolderVariable + "=" + want, nil
	case want == HolderFQ:
		return "", "", &program.Problem{Kind: program.KindUnsupported, Rack: -1, Op: "hold packets by fq, as " + HolderVariable + " says",
			Cause: absent.Error(), Remedy: "modprobe sch_fq where the kernel has it (Linux 5.18 and later); or unset " + HolderVariable + ": wheels do the same"}
	case want != "":
		return "", "", &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "hold packets",
			Cause: fmt.Sprintf("%s=%q is unknown", HolderVariable, want), Remedy: "set it to " + HolderFQ + " or " + HolderWheel + ", or unset it"}
	case absent == nil:
		return HolderFQ, "the kernel has it", nil
	default:
		return HolderWheel, "this kernel has no fq", nil
	}
}

// HaveFQ says, once, why this kernel cannot hold frames by fq; nil: it can.
var HaveFQ = sync.OnceValue(func() error {
	return errors.Join(inScratch(tryFQ)(), tryTimestamp())
})

// holderKind reads back which holder a spine has: empty if it has none.
func (s *spine) holderKind() string {
	if _, ok := s.links["sh0"]; ok {
		return HolderFQ
	}
	if s.hasWheels() {
		return HolderWheel
	}
	return ""
}

func (s *spine) hasWheels() bool {
	for name := range s.links {
		if _, ok := holdOf(name); ok {
			return true
		}
	}
	return false
}

// held says whether a spine has anything of a holder.
func (s *spine) held() bool {
	_, cut := s.links["cut"]
	return cut || s.holderKind() != ""
}

// holdOf reads the name of a hold device's end: of which rack.
func holdOf(name string) (rack uint32, ok bool) {
	digits, ok := strings.CutPrefix(name, "h")
	k, err := strconv.ParseUint(digits, 10, 32)
	return uint32(k), ok && err == nil && name == holdName(uint32(k))
}

func holdName(rack uint32) string { return fmt.Sprintf("h%d", rack) }

// holderLinks says by which links of the spine a kind of holder is reached.
func (p *Pnode) holderLinks(kind string) fabric.Holder {
	h := fabric.Holder{FirstHold: firstHold, Cut: cutIndex, CutLeave: cutLeave}
	if kind == HolderFQ {
		h = fabric.Holder{FQ: true, Enter: shaperIndex, Leave: shaperLeave, Cut: cutIndex, CutLeave: cutLeave}
	}
	if c := p.calibration(); c != nil && c.Holder == kind {
		h.Base = c.Base()
	}
	return h
}

// making makes a spine hold frames: it is one attempt to have every link that
// a kind of holder needs as it should be.
type making struct {
	*spine
	kind   string
	racks  map[uint32]Rack
	writes int
	fresh  map[uint32]bool // racks whose hold device was made now
}

// ensureHolder gives a spine the links of a holder, and each rack that lives
// its hold device if it needs one. It writes nothing where nothing differs. The
// racks that it returns have a new device, on which no wheel stands yet.
func (s *spine) ensureHolder(kind string, racks map[uint32]Rack) (fresh map[uint32]bool, writes int, err error) {
	h := making{spine: s, kind: kind, racks: racks, fresh: map[uint32]bool{}}
	for _, do := range []func() error{h.prune, h.pairs, h.insides, h.offloads, h.qdisc} {
		if err := do(); err != nil {
			return h.fresh, h.writes, err
		}
	}
	return h.fresh, h.writes, nil
}

// removeHolder takes away every link of a holder.
func (s *spine) removeHolder() (writes int, err error) {
	h := making{spine: s}
	err = h.prune()
	return h.writes, err
}

// end is what a link of a holder should be.
type end struct {
	index int32
	peer  string // the first end of a pair; empty: the second
}

// wanted lists the links that the spine should have, by name.
func (h *making) wanted() map[string]end {
	want := map[string]end{}
	if h.kind != "" {
		want["cut"], want["cut1"] = end{cutIndex, "cut1"}, end{index: cutLeave}
	}
	switch h.kind {
	case HolderFQ:
		want["sh0"], want["sh1"] = end{shaperIndex, "sh1"}, end{index: shaperLeave}
	case HolderWheel:
		for index := range h.racks {
			want[holdName(index)] = end{firstHold + int32(index), "hold"}
		}
	}
	return want
}

// ofHolder says whether a link of the spine is a holder's, by its index or its
// name.
func ofHolder(name string, l *rtnl.LinkInfo) bool {
	_, hold := holdOf(name)
	return hold || l.Index >= firstHold && l.Index <= cutLeave ||
		name == "sh0" || name == "sh1" || name == "cut" || name == "cut1"
}

// prune removes what is a holder's and not wanted as it is.
func (h *making) prune() error {
	want := h.wanted()
	var gone []string
	for name, l := range h.links {
		if e, ok := want[name]; ofHolder(name, &l) && (!ok || l.Index != e.index || l.Kind != rtnl.Veth || l.MTU != holdMTU) {
			gone = append(gone, name)
		}
	}
	writes, err := h.remove(gone)
	h.writes += writes
	return err
}

// pairs makes the pairs that are missing, and brings up what is down.
func (h *making) pairs() error {
	var b rtnl.Batch
	var open openRacks
	defer open.close()
	for name, e := range h.wanted() {
		if _, ok := h.links[name]; ok || e.peer == "" {
			continue
		}
		first := rtnl.Link{Index: e.index, Name: name, Kind: rtnl.Veth, MTU: holdMTU,
			Peer: &rtnl.Link{Index: e.index + 1, Name: e.peer, MTU: holdMTU}}
		if rack, ok := holdOf(name); ok {
			ns, err := open.netns(h.racks[rack])
			if err != nil {
				return err
			}
			first.Peer.Index, first.Peer.Netns = HoldIndex, ns
			h.fresh[rack] = true
		}
		b.NewLink(&first)
	}
	h.writes += b.Len()
	if b.Len() > 0 {
		if err := h.conn.Do(&b); err != nil {
			return err
		}
		if err := h.read(); err != nil {
			return err
		}
	}
	// Whichever end comes up last can send at once, the other when the kernel
	// finds the time: that is to be the one by which frames are sent.
	b.Reset()
	for _, second := range []bool{true, false} {
		for name, e := range h.wanted() {
			if l, ok := h.links[name]; ok && (e.peer == "") == second {
				bringUp(&b, &l, h.ipv6)
			}
		}
	}
	h.writes += b.Len()
	return h.conn.Do(&b)
}

// bringUp brings a link up that has no addresses, and says nothing by itself.
func bringUp(b *rtnl.Batch, l *rtnl.LinkInfo, ipv6 bool) {
	if ipv6 && !l.IPv6Quiet {
		b.SetLink(&rtnl.Link{Index: l.Index, IPv6: rtnl.IPv6Quiet, Label: l.Name})
	}
	if !l.Up {
		b.SetLink(&rtnl.Link{Index: l.Index, Up: true, Label: l.Name})
	}
}

// cutting says whether a feature lets a packet leave the spine by cut that is
// greater than the wire's, or without its checksums.
func cutting(feature string) bool {
	begins := func(s string) bool { return strings.HasPrefix(feature, s) }
	return begins("tx-checksum") || begins("tx-scatter-gather") || begins("tx-gso") ||
		begins("tx-") && strings.HasSuffix(feature, "-segmentation")
}

// offloads has cut cut: the kernel does what the link says it cannot do.
func (h *making) offloads() error {
	if h.kind == "" {
		return nil
	}
	on, err := h.conn.Features("cut")
	if err != nil {
		return err
	}
	set := map[string]bool{}
	for name := range on {
		if cutting(name) {
			set[name] = false
		}
	}
	if len(set) == 0 {
		return nil
	}
	h.writes++
	return h.conn.SetFeatures("cut", set)
}

// qdisc has fq at the shaper's root.
func (h *making) qdisc() error {
	if h.kind != HolderFQ {
		return nil
	}
	have, err := h.conn.RootQdisc(shaperIndex)
	if err != nil || shaperFQ.Is(have) {
		return err
	}
	var b rtnl.Batch
	b.SetFQ(shaperIndex, &shaperFQ)
	h.writes++
	return h.conn.Do(&b)
}
