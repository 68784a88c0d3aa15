package rtnl

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// VXLANLink describes what is particular to a link of kind VXLAN. It is
// comparable: what was read back equals what was asked for, where the kernel
// has all of it.
type VXLANLink struct {
	VNI       uint32     // 0 with External
	Port      uint16     // UDP port, to which it sends and at which it receives
	TTL       uint8      // of the outer packets
	Local     netip.Addr // IPv4 source address of the outer packets; invalid: by the route
	Group     netip.Addr // IPv4 multicast group that unknown frames are sent to; invalid: none
	Device    int32      // link by which it sends, in the namespace that it was made from; needed with Group
	External  bool       // whoever sends says VNI and addresses (collect metadata)
	VNIFilter bool       // with External: only VNIs that NewVNI gave it come in, Linux 5.18 and later
	Learning  bool       // addresses of senders are kept, as a bridge does
}

// VNI is one VNI that comes in at a link with VNIFilter, or a range of them.
type VNI struct {
	Link        int32
	First, Last uint32
}

// Values of linux/if_link.h and linux/rtnetlink.h that the unix package lacks.
const (
	vxlanVNIEntry      = 1 // VXLAN_VNIFILTER_ENTRY
	vxlanVNIEntryStart = 1 // VXLAN_VNIFILTER_ENTRY_START
	vxlanVNIEntryEnd   = 2 // VXLAN_VNIFILTER_ENTRY_END
	rtmDelTunnel       = 121
	sizeofTunnelMsg    = 8 // struct tunnel_msg
	nlaNested          = 1 << 15
)

// vxlan appends the settings of a new link (drivers/net/vxlan/vxlan_core.c,
// vxlan_nl2conf). Outer UDP checksums are left out, as RFC 7348 has it.
func (b *Batch) vxlan(v *VXLANLink) {
	data := b.nest(unix.IFLA_INFO_DATA)
	if !v.External {
		b.attrU32(unix.IFLA_VXLAN_ID, v.VNI)
	}
	b.attr(unix.IFLA_VXLAN_PORT, 2)
	b.buf = binary.BigEndian.AppendUint16(b.buf, v.Port)
	b.pad()
	if v.TTL != 0 {
		b.attrU8(unix.IFLA_VXLAN_TTL, v.TTL)
	}
	b.attrAddr(unix.IFLA_VXLAN_LOCAL, v.Local)
	b.attrAddr(unix.IFLA_VXLAN_GROUP, v.Group)
	if v.Device != 0 {
		b.attrU32(unix.IFLA_VXLAN_LINK, uint32(v.Device))
	}
	b.attrFlag(unix.IFLA_VXLAN_LEARNING, v.Learning)
	b.attrU8(unix.IFLA_VXLAN_UDP_CSUM, 0)
	if v.External {
		b.attrFlag(unix.IFLA_VXLAN_COLLECT_METADATA, true)
	}
	if v.VNIFilter {
		b.attrFlag(unix.IFLA_VXLAN_VNIFILTER, true)
	}
	b.unnest(data)
}

func (b *Batch) attrFlag(typ uint16, on bool) {
	v := byte(0)
	if on {
		v = 1
	}
	b.attrU8(typ, v)
}

// attrAddr appends an IPv4 address, if there is one.
func (b *Batch) attrAddr(typ uint16, a netip.Addr) {
	if a.Is4() {
		v := a.As4()
		b.attrBytes(typ, v[:])
	}
}

// NewVNI has frames with a VNI come in at a link with VNIFilter. One that
// another link of the same namespace and port has is refused with EEXIST
// (drivers/net/vxlan/vxlan_vnifilter.c, vxlan_vni_add). name is for errors.
func (b *Batch) NewVNI(link int32, vni uint32, name string) {
	b.begin("add VNI to", name, unix.RTM_NEWTUNNEL, unix.NLM_F_REQUEST|unix.NLM_F_CREATE)
	b.vni(VNI{link, vni, vni})
}

// DelVNI ends that for some VNIs.
func (b *Batch) DelVNI(v VNI, name string) {
	b.begin("remove VNI from", name, rtmDelTunnel, unix.NLM_F_REQUEST)
	b.vni(v)
}

func (b *Batch) vni(v VNI) {
	b.tunnel(v.Link)
	entry := b.nest(vxlanVNIEntry | nlaNested)
	b.attrU32(vxlanVNIEntryStart, v.First)
	b.attrU32(vxlanVNIEntryEnd, v.Last)
	b.unnest(entry)
	b.end()
}

// tunnel appends struct tunnel_msg.
func (b *Batch) tunnel(link int32) {
	b.buf = append(b.buf, unix.AF_BRIDGE, 0, 0, 0)
	b.u32(uint32(link))
}

// parseVXLAN reads IFLA_INFO_DATA of a link of that kind.
func parseVXLAN(p []byte) *VXLANLink {
	l := &VXLANLink{}
	for typ, v := range attrs(p) {
		on := len(v) > 0 && v[0] != 0
		switch typ {
		case unix.IFLA_VXLAN_ID:
			l.VNI = u32(v)
		case unix.IFLA_VXLAN_PORT:
			if len(v) >= 2 {
				l.Port = binary.BigEndian.Uint16(v)
			}
		case unix.IFLA_VXLAN_TTL:
			if len(v) > 0 {
				l.TTL = v[0]
			}
		case unix.IFLA_VXLAN_LOCAL:
			l.Local = addr4(v)
		case unix.IFLA_VXLAN_GROUP:
			l.Group = addr4(v)
		case unix.IFLA_VXLAN_LINK:
			l.Device = int32(u32(v))
		case unix.IFLA_VXLAN_LEARNING:
			l.Learning = on
		case unix.IFLA_VXLAN_COLLECT_METADATA:
			l.External = on
		case unix.IFLA_VXLAN_VNIFILTER:
			l.VNIFilter = on
		}
	}
	return l
}

// addr4 reads an IPv4 address; anything else, and 0.0.0.0, is none.
func addr4(v []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(v)
	if !ok || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// giveVNIs gives out what one answer of RTM_GETTUNNEL says.
func giveVNIs(d *Dump, p []byte) {
	if len(p) < sizeofTunnelMsg {
		return
	}
	link := int32(u32(p[4:]))
	if d.VNILink != 0 && link != d.VNILink {
		return
	}
	for typ, v := range attrs(p[sizeofTunnelMsg:]) {
		if typ != vxlanVNIEntry {
			continue
		}
		vni := VNI{Link: link}
		for typ, v := range attrs(v) {
			switch typ {
			case vxlanVNIEntryStart:
				vni.First = u32(v)
			case vxlanVNIEntryEnd:
				vni.Last = u32(v)
			}
		}
		vni.Last = max(vni.Last, vni.First)
		d.VNIs(&vni)
	}
}
