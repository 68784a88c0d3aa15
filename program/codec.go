package program

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// The encoding of a program is one byte, the version, and then one CBOR item:
// nested arrays without names, in the order of the fields below. A rack is a
// handful of columns rather than rows: a column of small numbers is a byte an
// entry, names share one allocation, and no byte of input asks for more than
// a few bytes of memory, which is what makes hostile input harmless.

// Version is the version of the encoding. Coordinator and agent are the same
// binary, so there is no need to read another.
const Version = 4

// MaxEncoded is the greatest length that Decode reads.
const MaxEncoded = 512 << 20

var encMode, decMode = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	enc, err := cbor.EncOptions{
		NilContainers: cbor.NilContainerAsEmpty,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
	}.EncMode()
	if err != nil {
		panic(err)
	}
	dec, err := cbor.DecOptions{
		MaxNestedLevels:  8,
		MaxArrayElements: 1 << 26,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return enc, dec
}

type wireProgram struct {
	_        struct{} `cbor:",toarray"`
	Platform string
	Pnode    string
	Fabric   uint8
	Networks []wireNetwork
	Racks    []Rack
	Names    []wireNames
	Remote   wirePlaces
	Links    *wireLinks
	Number   uint32
	Overlay  *wireOverlay
	Ways     []int64
	MACs     wireMACs
}

type wireMACs struct {
	_       struct{} `cbor:",toarray"`
	Network []uint16
	Host    []uint32
	MAC     []byte // six bytes each
}

type wireNetwork struct {
	_         struct{} `cbor:",toarray"`
	ID        uint16
	Name      string
	Subnet    uint32
	Bits      uint8
	MTU       uint16
	Broadcast bool
}

type wireNames struct {
	_              struct{} `cbor:",toarray"`
	Prefix, Suffix string
	First          uint64
	Width          uint8
	Count          uint32
	Literal        bool
	Addr           uint32
}

type wirePlaces struct {
	_       struct{} `cbor:",toarray"`
	Network []uint16
	Host    []uint32
	Count   []uint32
	Pnode   []uint32
}

type wireRack struct {
	_       struct{} `cbor:",toarray"`
	Index   uint32
	Slots   []uint16
	Names   string // joined by newlines
	Kinds   []byte // weight × 2, + 1 if it forwards
	Vifaces wireVifaces
	Routes  wireRoutes
}

type wireVifaces struct {
	_       struct{} `cbor:",toarray"`
	Slot    []uint16
	Index   []uint16
	Names   []string // the different ones, in order of first use
	Name    []uint32 // index into Names
	Network []uint16
	Host    []uint32
	MAC     []byte // six bytes each; none if every MAC is computed
	Attach  []byte // none if every one is AttachMacvlan
}

type wireRoutes struct {
	_    struct{} `cbor:",toarray"`
	Slot []uint16
	To   []uint32
	Bits []byte
	Via  []uint32
}

// Encode gives the bytes of a valid program. Equal programs have equal bytes.
func (p *Program) Encode() []byte {
	w := wireProgram{
		Platform: p.Platform,
		Pnode:    p.Pnode,
		Fabric:   uint8(p.Fabric),
		Networks: encodeNetworks(p.Networks),
		Racks:    p.Racks,
		Names:    encodeNames(p.Names),
		Remote:   encodePlaces(p.Remote),
		Number:   p.Number,
		Overlay:  encodeOverlay(p.Overlay),
		MACs:     encodeMACs(p.MACs),
	}
	for _, d := range p.Ways {
		w.Ways = append(w.Ways, int64(d))
	}
	if p.Links != nil {
		w.Links = wireOf(p.Links)
	}
	return marshal(&w)
}

func marshal(w any) []byte {
	data, err := encMode.Marshal(w)
	if err != nil {
		panic(fmt.Sprintf("encode program: %v", err)) // plain data always encodes
	}
	return append([]byte{Version}, data...)
}

func encodeNetworks(networks []Network) []wireNetwork {
	out := make([]wireNetwork, len(networks))
	for i, n := range networks {
		out[i] = wireNetwork{ID: n.ID, Name: n.Name, Subnet: number(n.Subnet.Addr()),
			Bits: uint8(n.Subnet.Bits()), MTU: n.MTU, Broadcast: n.Broadcast}
	}
	return out
}

func decodeNetworks(networks []wireNetwork) []Network {
	var out []Network
	for _, n := range networks {
		out = append(out, Network{ID: n.ID, Name: n.Name,
			Subnet: prefix(n.Subnet, n.Bits), MTU: n.MTU, Broadcast: n.Broadcast})
	}
	return out
}

func encodeNames(names []NameRange) []wireNames {
	out := make([]wireNames, len(names))
	for i, n := range names {
		out[i] = wireNames{Prefix: n.Prefix, Suffix: n.Suffix, First: n.First, Width: n.Width,
			Count: n.Count, Literal: n.Literal, Addr: number(n.Addr)}
	}
	return out
}

func decodeNames(names []wireNames) []NameRange {
	if len(names) == 0 {
		return nil
	}
	out := make([]NameRange, len(names))
	for i, n := range names {
		out[i] = NameRange{Prefix: n.Prefix, Suffix: n.Suffix, First: n.First, Width: n.Width,
			Count: n.Count, Literal: n.Literal, Addr: address(n.Addr)}
	}
	return out
}

// Decode reads what Encode wrote. What it returns has passed Validate.
func Decode(data []byte) (*Program, error) {
	var w wireProgram
	if err := unmarshal("program", data, &w); err != nil {
		return nil, err
	}
	p, err := w.program()
	if err != nil {
		return nil, fmt.Errorf("decode program: %w", err)
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("decode program: %w", err)
	}
	return p, nil
}

// unmarshal reads what marshal wrote.
func unmarshal(what string, data []byte, w any) error {
	switch {
	case len(data) == 0:
		return fmt.Errorf("decode %s: no data", what)
	case data[0] != Version:
		return fmt.Errorf("decode %s: it is of version %d, this is version %d (run the same build of myriad everywhere)", what, data[0], Version)
	case len(data) > MaxEncoded:
		return fmt.Errorf("decode %s: %d bytes, at most %d are read", what, len(data), MaxEncoded)
	}
	if err := decMode.Unmarshal(data[1:], w); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}

func (w *wireProgram) program() (*Program, error) {
	p := &Program{Platform: w.Platform, Pnode: w.Pnode, Number: w.Number, Fabric: Fabric(w.Fabric),
		Networks: decodeNetworks(w.Networks), Names: decodeNames(w.Names)}
	if len(w.Racks) > 0 {
		p.Racks = w.Racks
	}
	for _, d := range w.Ways {
		p.Ways = append(p.Ways, time.Duration(d))
	}
	var err error
	if p.Remote, err = w.Remote.places(); err == nil && w.Links != nil {
		p.Links, err = w.Links.links()
	}
	if err == nil {
		p.Overlay, err = w.Overlay.overlay()
	}
	if err == nil {
		p.MACs, err = w.MACs.macs()
	}
	return p, err
}

func encodeMACs(macs []GivenMAC) wireMACs {
	w := wireMACs{Network: make([]uint16, len(macs)), Host: make([]uint32, len(macs))}
	for i, m := range macs {
		w.Network[i], w.Host[i], w.MAC = m.Network, m.Host, append(w.MAC, m.MAC[:]...)
	}
	return w
}

func (w *wireMACs) macs() ([]GivenMAC, error) {
	n := len(w.Network)
	if err := sameLength("Ethernet addresses", 6*n, 6*len(w.Host), len(w.MAC)); n == 0 || err != nil {
		return nil, err
	}
	macs := make([]GivenMAC, n)
	for i := range macs {
		macs[i] = GivenMAC{Network: w.Network[i], Host: w.Host[i], MAC: MAC(w.MAC[6*i:])}
	}
	return macs, nil
}

func encodePlaces(places []PlaceRange) wirePlaces {
	n := len(places)
	w := wirePlaces{Network: make([]uint16, n), Host: make([]uint32, n), Count: make([]uint32, n), Pnode: make([]uint32, n)}
	for i, p := range places {
		w.Network[i], w.Host[i], w.Count[i], w.Pnode[i] = p.Network, p.Host, p.Count, p.Pnode
	}
	return w
}

func (w *wirePlaces) places() ([]PlaceRange, error) {
	n := len(w.Network)
	if err := sameLength("remote places", n, len(w.Host), len(w.Count), len(w.Pnode)); n == 0 || err != nil {
		return nil, err
	}
	places := make([]PlaceRange, n)
	for i := range places {
		places[i] = PlaceRange{Network: w.Network[i], Host: w.Host[i], Count: w.Count[i], Pnode: w.Pnode[i]}
	}
	return places, nil
}

// MarshalCBOR writes the rack as columns, inside a program or by itself.
func (r Rack) MarshalCBOR() ([]byte, error) {
	w := wireRack{Index: r.Index, Slots: make([]uint16, len(r.Vnodes)), Kinds: make([]byte, len(r.Vnodes)),
		Vifaces: encodeVifaces(r.Vifaces), Routes: encodeRoutes(r.Routes)}
	var names strings.Builder
	for i, v := range r.Vnodes {
		w.Slots[i] = v.Slot
		w.Kinds[i] = byte(v.Weight) << 1
		if v.Forward {
			w.Kinds[i] |= 1
		}
		if i > 0 {
			names.WriteByte('\n')
		}
		names.WriteString(v.Name)
	}
	w.Names = names.String()
	return encMode.Marshal(&w)
}

// UnmarshalCBOR reads a rack written by MarshalCBOR. It checks the shape
// only; see Program.Validate.
func (r *Rack) UnmarshalCBOR(data []byte) error {
	var w wireRack
	if err := decMode.Unmarshal(data, &w); err != nil {
		return err
	}
	*r = Rack{Index: w.Index}
	if err := w.vnodes(r); err != nil {
		return err
	}
	if err := w.Vifaces.vifaces(r); err != nil {
		return err
	}
	return w.Routes.routes(r)
}

func (w *wireRack) vnodes(r *Rack) error {
	n := len(w.Slots)
	if err := sameLength("vnodes", n, len(w.Kinds)); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	if names := strings.Count(w.Names, "\n") + 1; names != n {
		return fmt.Errorf("%d vnodes have %d names", n, names)
	}
	r.Vnodes = make([]Vnode, n)
	rest := w.Names
	for i := range r.Vnodes {
		var name string
		name, rest, _ = strings.Cut(rest, "\n")
		r.Vnodes[i] = Vnode{Slot: w.Slots[i], Name: name, Weight: Weight(w.Kinds[i] >> 1), Forward: w.Kinds[i]&1 != 0}
	}
	return nil
}

func encodeVifaces(vifaces []Viface) wireVifaces {
	n := len(vifaces)
	w := wireVifaces{Slot: make([]uint16, n), Index: make([]uint16, n), Name: make([]uint32, n), Network: make([]uint16, n), Host: make([]uint32, n)}
	seen := map[string]uint32{}
	macs, attaches := false, false
	for i, v := range vifaces {
		at, ok := seen[v.Name]
		if !ok {
			at = uint32(len(w.Names))
			seen[v.Name] = at
			w.Names = append(w.Names, v.Name)
		}
		w.Slot[i], w.Index[i], w.Name[i], w.Network[i], w.Host[i] = v.Slot, v.Index, at, v.Network, v.Host
		macs = macs || v.MAC != MAC{}
		attaches = attaches || v.Attach != AttachMacvlan
	}
	for _, v := range vifaces {
		if macs {
			w.MAC = append(w.MAC, v.MAC[:]...)
		}
		if attaches {
			w.Attach = append(w.Attach, byte(v.Attach))
		}
	}
	return w
}

func (w *wireVifaces) vifaces(r *Rack) error {
	n := len(w.Slot)
	if err := sameLength("vifaces", n, len(w.Index), len(w.Name), len(w.Network), len(w.Host)); n == 0 || err != nil {
		return err
	}
	if len(w.MAC) != 0 && len(w.MAC) != 6*n || len(w.Attach) != 0 && len(w.Attach) != n {
		return fmt.Errorf("%d vifaces have %d bytes of MAC and %d of attachment", n, len(w.MAC), len(w.Attach))
	}
	r.Vifaces = make([]Viface, n)
	for i := range r.Vifaces {
		if int(w.Name[i]) >= len(w.Names) {
			return fmt.Errorf("viface %d has name %d of %d", i, w.Name[i], len(w.Names))
		}
		v := Viface{Slot: w.Slot[i], Index: w.Index[i], Name: w.Names[w.Name[i]], Network: w.Network[i], Host: w.Host[i]}
		if len(w.MAC) != 0 {
			v.MAC = MAC(w.MAC[6*i:])
		}
		if len(w.Attach) != 0 {
			v.Attach = Attach(w.Attach[i])
		}
		r.Vifaces[i] = v
	}
	return nil
}

func encodeRoutes(routes []Route) wireRoutes {
	n := len(routes)
	w := wireRoutes{Slot: make([]uint16, n), To: make([]uint32, n), Bits: make([]byte, n), Via: make([]uint32, n)}
	for i, r := range routes {
		w.Slot[i], w.To[i], w.Bits[i], w.Via[i] = r.Slot, number(r.To.Addr()), byte(r.To.Bits()), number(r.Via)
	}
	return w
}

func (w *wireRoutes) routes(r *Rack) error {
	n := len(w.Slot)
	if err := sameLength("routes", n, len(w.To), len(w.Bits), len(w.Via)); n == 0 || err != nil {
		return err
	}
	r.Routes = make([]Route, n)
	for i := range r.Routes {
		r.Routes[i] = Route{Slot: w.Slot[i], To: prefix(w.To[i], w.Bits[i]), Via: address(w.Via[i])}
	}
	return nil
}

func sameLength(what string, want int, got ...int) error {
	for _, n := range got {
		if n != want {
			return fmt.Errorf("the columns of %s have lengths %d and %d", what, want, n)
		}
	}
	return nil
}

// number is an IPv4 address as a number; 0 stands for the invalid address,
// as 0.0.0.0 is nobody's.
func number(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	if n == 0 {
		return netip.Addr{}
	}
	return addr4(n)
}

func addr4(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// prefix is the inverse of number for prefixes; a length that is none gives
// the invalid prefix.
func prefix(n uint32, bits uint8) netip.Prefix {
	if bits > 32 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr4(n), int(bits))
}
