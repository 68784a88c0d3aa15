package program

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"
)

// A program travels in two parts: what all pnodes of a platform share, which is
// encoded and stored once however many they are, and what is a pnode's own.

type wireShared struct {
	_        struct{} `cbor:",toarray"`
	Platform string
	Fabric   uint8
	Networks []wireNetwork
	Names    []wireNames
	Places   wirePlaces
	Links    *wireLinks
	Overlay  *wireOverlay
	Sites    uint16
	Ways     []int64
	MACs     wireMACs
}

type wireOverlay struct {
	_     struct{} `cbor:",toarray"`
	Kind  uint8
	VNI   uint32
	Port  uint16
	Names []string
	Addrs []uint32
	MTUs  []uint16
	Sites []uint16
	Keys  []byte // 32 bytes each; none if there is no key at all
	Gates []uint32
	Ports []uint16
	Plain bool
}

type wireOwn struct {
	_      struct{} `cbor:",toarray"`
	Pnode  string
	Number uint32
	Racks  []Rack
}

// EncodeShared gives the bytes of what pnodes share.
func EncodeShared(s *Shared) []byte {
	w := wireShared{Platform: s.Platform, Fabric: uint8(s.Fabric), Networks: encodeNetworks(s.Networks), Names: encodeNames(s.Names),
		Places: encodePlaces(s.Places), Overlay: encodeOverlay(s.Overlay), Sites: s.Sites, MACs: encodeMACs(s.MACs)}
	if s.Links != nil {
		w.Links = wireOf(s.Links)
	}
	for _, d := range s.Ways {
		w.Ways = append(w.Ways, int64(d))
	}
	return marshal(&w)
}

// DecodeShared reads what EncodeShared wrote. It checks the shape only: see
// Shared.Validate.
func DecodeShared(data []byte) (*Shared, error) {
	var w wireShared
	if err := unmarshal("the part of a program that pnodes share", data, &w); err != nil {
		return nil, err
	}
	s := &Shared{Platform: w.Platform, Fabric: Fabric(w.Fabric), Networks: decodeNetworks(w.Networks), Names: decodeNames(w.Names), Sites: w.Sites}
	var err error
	if s.Places, err = w.Places.places(); err == nil && w.Links != nil {
		s.Links, err = w.Links.links()
	}
	if err == nil {
		s.Overlay, err = w.Overlay.overlay()
	}
	if err == nil {
		s.MACs, err = w.MACs.macs()
	}
	if err != nil {
		return nil, fmt.Errorf("decode program: %w", err)
	}
	for _, d := range w.Ways {
		s.Ways = append(s.Ways, time.Duration(d))
	}
	return s, nil
}

func (o *Overlay) rows() int {
	if o == nil {
		return 0
	}
	return len(o.Underlay)
}

// EncodeOwn gives the bytes of what is a pnode's own.
func EncodeOwn(o *Own) []byte {
	return marshal(&wireOwn{Pnode: o.Pnode, Number: o.Number, Racks: o.Racks})
}

// DecodeOwn reads what EncodeOwn wrote. It checks the shape only: see Fit.
func DecodeOwn(data []byte) (*Own, error) {
	var w wireOwn
	if err := unmarshal("the part of a program that is a pnode's own", data, &w); err != nil {
		return nil, err
	}
	o := &Own{Pnode: w.Pnode, Number: w.Number}
	if len(w.Racks) > 0 {
		o.Racks = w.Racks
	}
	return o, nil
}

func encodeOverlay(o *Overlay) *wireOverlay {
	if o == nil {
		return nil
	}
	n := len(o.Underlay)
	w := &wireOverlay{Kind: uint8(o.Kind), VNI: o.VNI, Port: o.Port, Names: make([]string, n), Addrs: make([]uint32, n), MTUs: make([]uint16, n),
		Sites: make([]uint16, n), Gates: make([]uint32, n), Ports: make([]uint16, n), Plain: o.Plain}
	var keys bytes.Buffer
	keyed := false
	for i, u := range o.Underlay {
		w.Names[i], w.Addrs[i], w.MTUs[i], w.Sites[i] = u.Pnode, number(u.Addr), u.MTU, u.Site
		w.Gates[i], w.Ports[i] = number(u.Gate.Addr()), u.Gate.Port()
		keys.Write(u.Key[:])
		keyed = keyed || u.Key != [32]byte{}
	}
	if keyed {
		w.Keys = keys.Bytes()
	}
	return w
}

func (w *wireOverlay) overlay() (*Overlay, error) {
	if w == nil {
		return nil, nil
	}
	n := len(w.Names)
	if err := sameLength("the underlay", n, len(w.Addrs), len(w.MTUs), len(w.Sites), len(w.Gates), len(w.Ports)); err != nil {
		return nil, err
	}
	if len(w.Keys) != 0 && len(w.Keys) != 32*n {
		return nil, fmt.Errorf("%d pnodes have %d bytes of keys", n, len(w.Keys))
	}
	o := &Overlay{Kind: OverlayKind(w.Kind), VNI: w.VNI, Port: w.Port, Plain: w.Plain}
	if n > 0 {
		o.Underlay = make([]Underlay, n)
	}
	for i := range o.Underlay {
		u := Underlay{Pnode: w.Names[i], Addr: address(w.Addrs[i]), MTU: w.MTUs[i], Site: w.Sites[i]}
		if a := address(w.Gates[i]); a.IsValid() {
			u.Gate = netip.AddrPortFrom(a, w.Ports[i])
		}
		if len(w.Keys) != 0 {
			u.Key = [32]byte(w.Keys[32*i:])
		}
		o.Underlay[i] = u
	}
	return o, nil
}
