package kernel

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// A gate is a platform's WireGuard device: the way from this pnode to those
// that it encrypts for. It is in the underlay, where the tunnels of the overlay
// begin: those to addresses inside of it go through it. A guard beside it
// keeps them from going anywhere else, whatever becomes of it.
type gate struct {
	name  string
	own   netip.Prefix // address inside, and of all of the platform
	port  int
	mtu   uint32
	guard rtnl.Guard
	key   [32]byte // public, as the others have it
	peers map[wgtypes.Key]gatePeer
}

type gatePeer struct {
	at     netip.AddrPort
	inside netip.Addr
}

// gatePrefix begins the names of links that are Myriad's in the underlay.
const gatePrefix = "myriad"

// insideBits is how long the prefix of a platform's addresses inside is: see
// program.InsideAddr.
const insideBits = 12

// gateTag marks what an instance has in the underlay; gateName and gateMetric
// begin with it.
func (p *Pnode) gateTag() string { return tagOf(p.RunDir, 3) }

// gateName is the name of a platform's gate: at most 15 bytes.
func (p *Pnode) gateName(platform string) string {
	return gatePrefix + p.gateTag() + tagOf(platform, 6)
}

// gateMetric marks a platform's guard: the upper half is the instance's.
func (p *Pnode) gateMetric(platform string) uint32 {
	a, b := sha256.Sum256([]byte(p.RunDir)), sha256.Sum256([]byte(platform))
	return 1<<31 | uint32(binary.BigEndian.Uint16(a[:])&0x7fff)<<16 | uint32(binary.BigEndian.Uint16(b[:]))
}

func tagOf(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:n]
}

// gateOf gives the gate that a program needs, nil if nothing is encrypted.
func (p *Pnode) gateOf(want *program.Program) *gate {
	o := want.Overlay
	if o == nil {
		return nil
	}
	g := &gate{name: p.gateName(want.Platform), peers: map[wgtypes.Key]gatePeer{}}
	for i := range o.Underlay {
		to := &o.Underlay[i]
		if _, inside, encrypted := o.Ends(want.Number, uint32(i)); encrypted && uint32(i) != want.Number {
			g.peers[to.Key] = gatePeer{to.Gate, inside}
		}
	}
	if len(g.peers) == 0 {
		return nil
	}
	own := &o.Underlay[want.Number]
	g.own, g.port, g.key = netip.PrefixFrom(own.Addr, insideBits), int(own.Gate.Port()), own.Key
	g.guard = rtnl.Guard{To: g.own.Masked(), Metric: p.gateMetric(want.Platform)}
	return g
}

// gateFile has, in a platform's directory, where the addresses inside of its
// gate are, from before the gate is made until it is gone.
const gateFile = "gate"

// gateRecord reads it; ok is false if there is none.
func (p *Pnode) gateRecord(platform string) (inside netip.Prefix, ok bool) {
	text, err := os.ReadFile(filepath.Join(p.dir(platform), gateFile))
	if err != nil {
		return inside, false
	}
	inside, _ = netip.ParsePrefix(strings.TrimSpace(string(text)))
	return inside, true
}

// recordGate writes it.
func (p *Pnode) recordGate(platform string, g *gate) error {
	if have, ok := p.gateRecord(platform); ok && have == g.guard.To {
		return nil
	}
	path := filepath.Join(p.dir(platform), gateFile)
	if err := writeSynced(path+".new", []byte(g.guard.To.String()+"\n")); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// gateMoves says whether the addresses inside of a platform's gate are to be
// others than they were.
func (p *Pnode) gateMoves(platform string, g *gate) bool {
	inside, ok := p.gateRecord(platform)
	return ok && inside != g.guard.To
}

// removeGate removes a platform's gate, if it has one.
func (p *Pnode) removeGate(u *underlay, platform string) (writes int, err error) {
	inside, ok := p.gateRecord(platform)
	if !ok {
		return 0, nil
	}
	var b rtnl.Batch
	b.DelLinkName(p.gateName(platform))
	if inside.IsValid() {
		b.DelGuard(rtnl.Guard{To: inside, Metric: p.gateMetric(platform)})
	}
	err = doExcept(u.conn, &b, unix.ENODEV, unix.ESRCH)
	if err == nil {
		err = os.Remove(filepath.Join(p.dir(platform), gateFile))
	}
	if err == nil {
		err = u.read()
	}
	return b.Len(), err
}

// ensureGate makes a platform's gate as it is wanted.
func (p *Pnode) ensureGate(u *underlay, platform string, g *gate) (writes int, err error) {
	private, err := gateKey(p.RunDir)
	if err != nil {
		return 0, err
	}
	if private.PublicKey() != g.key {
		return 0, &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "encrypt what goes to other pnodes",
			Cause: "the key that they have for this pnode is not its key any more", Remedy: "apply the platform again (myriad up FILE)"}
	}
	if p.gateMoves(platform, g) {
		if writes, err = p.removeGate(u, platform); err != nil {
			return writes, err
		}
	}
	if err := p.recordGate(platform, g); err != nil {
		return writes, err
	}
	n, err := u.ensureGateLink(g)
	writes += n
	if err != nil {
		return writes, err
	}
	n, err = u.configureGate(g, private)
	writes += n
	if err != nil {
		return writes, fmt.Errorf("configure %s: %w", g.name, err)
	}
	n, err = u.openGate(g)
	return writes + n, err
}
