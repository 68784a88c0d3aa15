package rtnl

import (
	"golang.org/x/sys/unix"
)

// The kinds of link that are made here.
const (
	Veth    = "veth"
	Macvlan = "macvlan"
	Bridge  = "bridge"
	VXLAN   = "vxlan"
	// WireGuard links are given keys and peers by generic netlink.
	WireGuard = "wireguard"
)

// Link describes a link to be made or changed. Zero fields are left to the
// kernel, or as they are.
type Link struct {
	Index  int32
	Name   string
	Kind   string // of a new link: Veth, Macvlan, Bridge, VXLAN, WireGuard
	Peer   *Link  // the other end of a Veth
	VXLAN  *VXLANLink
	Parent int32    // the link below, in the namespace of the socket (Macvlan, in VEPA mode)
	Netns  int      // descriptor of the namespace that the link is made in or moved to; 0: the socket's own
	Into   int32    // of an existing link that is moved: its index there; Linux 5.13 and later
	Master int32    // bridge that it is a port of
	MTU    uint32   // bytes
	MAC    [6]byte  // Ethernet address
	Group  uint32   // for DelGroup
	Up     bool     // set it up
	Down   bool     // of an existing link: set it down
	IPv6   IPv6Mode // of an existing link: before it goes up
	IPv4   []Conf   // of an existing link
	Label  string   // what errors call an existing link
}

// IPv6Mode says what a link does about IPv6 by itself.
type IPv6Mode uint8

// The modes.
const (
	IPv6Default IPv6Mode = iota // as the kernel does: address, detection of duplicates, router solicitation
	IPv6Quiet                   // no address of its own, hence no packet
)

// Conf is one setting of a link's IPv4 configuration: one of the IPv4Conf
// constants, and its value.
type Conf struct {
	Setting uint16
	Value   uint32
}

// Settings of a link's IPv4 configuration (linux/ip.h, IPV4_DEVCONF_…).
const (
	IPv4Forwarding uint16 = 1
	IPv4RPFilter   uint16 = 8
)

// Values of linux/if_link.h that the unix package does not have.
const (
	addrGenModeNone     = 1 // IN6_ADDR_GEN_MODE_NONE
	macvlanModeVEPA     = 2 // MACVLAN_MODE_VEPA
	vethInfoPeer        = 1 // VETH_INFO_PEER
	rtextFilterSkipStat = 1 << 3
)

// NewLink makes a link, and says what it wants of it in one message. A peer
// in another namespace cannot be made up; IPv6 and IPv4 are not looked at in
// a new link: follow with SetLink.
func (b *Batch) NewLink(l *Link) {
	op := "make link"
	switch l.Kind {
	case Macvlan:
		op = "make macvlan"
	case Veth:
		op = "make veth"
	case Bridge:
		op = "make bridge"
	case VXLAN:
		op = "make VXLAN device"
	}
	b.begin(op, l.Name, unix.RTM_NEWLINK, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b.link(l)
	info := b.nest(unix.IFLA_LINKINFO)
	b.attrString(unix.IFLA_INFO_KIND, l.Kind)
	switch l.Kind {
	case Macvlan:
		data := b.nest(unix.IFLA_INFO_DATA)
		b.attrU32(unix.IFLA_MACVLAN_MODE, macvlanModeVEPA)
		b.unnest(data)
	case Veth:
		data := b.nest(unix.IFLA_INFO_DATA)
		peer := b.nest(vethInfoPeer)
		b.link(l.Peer)
		b.unnest(peer)
		b.unnest(data)
	case Bridge:
		data := b.nest(unix.IFLA_INFO_DATA)
		b.attrU32(unix.IFLA_BR_STP_STATE, 0)
		b.attrU32(unix.IFLA_BR_FORWARD_DELAY, 0)
		b.attrU8(unix.IFLA_BR_MCAST_SNOOPING, 0)
		b.unnest(data)
	case VXLAN:
		b.vxlan(l.VXLAN)
	}
	b.unnest(info)
	b.end()
}

// link appends the part of a new link that its peer has too.
func (b *Batch) link(l *Link) {
	b.ifinfo(unix.AF_UNSPEC, l.Index, upFlag(l), upFlag(l))
	if l.Name != "" {
		b.attrString(unix.IFLA_IFNAME, l.Name)
	}
	if l.Parent != 0 {
		b.attrU32(unix.IFLA_LINK, uint32(l.Parent))
	}
	b.common(l)
	b.attrU32(unix.IFLA_NUM_TX_QUEUES, 1)
	b.attrU32(unix.IFLA_NUM_RX_QUEUES, 1)
}

// SetLink changes the link of l.Index. With a Name, it is renamed.
func (b *Batch) SetLink(l *Link) {
	b.begin("set link", l.Label, unix.RTM_SETLINK, unix.NLM_F_REQUEST)
	change := upFlag(l)
	if l.Down {
		change = unix.IFF_UP
	}
	b.ifinfo(unix.AF_UNSPEC, l.Index, upFlag(l), change)
	if l.Name != "" {
		b.attrString(unix.IFLA_IFNAME, l.Name)
	}
	b.common(l)
	b.conf(l)
	b.end()
}

// common appends what new and existing links share.
func (b *Batch) common(l *Link) {
	if l.MAC != [6]byte{} {
		b.attrBytes(unix.IFLA_ADDRESS, l.MAC[:])
	}
	if l.MTU != 0 {
		b.attrU32(unix.IFLA_MTU, l.MTU)
	}
	if l.Group != 0 {
		b.attrU32(unix.IFLA_GROUP, l.Group)
	}
	if l.Master != 0 {
		b.attrU32(unix.IFLA_MASTER, uint32(l.Master))
	}
	if l.Netns != 0 {
		b.attrU32(unix.IFLA_NET_NS_FD, uint32(l.Netns))
	}
	if l.Into != 0 {
		b.attrU32(unix.IFLA_NEW_IFINDEX, uint32(l.Into))
	}
}

// conf appends the settings of the address families.
func (b *Batch) conf(l *Link) {
	if l.IPv6 == IPv6Default && len(l.IPv4) == 0 {
		return
	}
	spec := b.nest(unix.IFLA_AF_SPEC)
	if l.IPv6 == IPv6Quiet {
		family := b.nest(unix.AF_INET6)
		b.attrU8(unix.IFLA_INET6_ADDR_GEN_MODE, addrGenModeNone)
		b.unnest(family)
	}
	if len(l.IPv4) > 0 {
		family := b.nest(unix.AF_INET)
		conf := b.nest(unix.IFLA_INET_CONF)
		for _, c := range l.IPv4 {
			b.attrU32(c.Setting, c.Value)
		}
		b.unnest(conf)
		b.unnest(family)
	}
	b.unnest(spec)
}

func upFlag(l *Link) uint32 {
	if l.Up {
		return unix.IFF_UP
	}
	return 0
}

// DelLink removes a link by its index; name is for the error only.
func (b *Batch) DelLink(index int32, name string) {
	b.begin("remove link", name, unix.RTM_DELLINK, unix.NLM_F_REQUEST)
	b.ifinfo(unix.AF_UNSPEC, index, 0, 0)
	b.end()
}

// DelLinkName removes a link by its name.
func (b *Batch) DelLinkName(name string) {
	b.begin("remove link", name, unix.RTM_DELLINK, unix.NLM_F_REQUEST)
	b.ifinfo(unix.AF_UNSPEC, 0, 0, 0)
	b.attrString(unix.IFLA_IFNAME, name)
	b.end()
}

// DelGroup removes every link of a group at once, at about the cost of one.
func (b *Batch) DelGroup(group uint32) {
	b.begin("remove links of group", "", unix.RTM_DELLINK, unix.NLM_F_REQUEST)
	b.ifinfo(unix.AF_UNSPEC, 0, 0, 0)
	b.attrU32(unix.IFLA_GROUP, group)
	b.end()
}
