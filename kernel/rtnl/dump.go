package rtnl

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dump says what to read back: the tables whose functions are set. What a
// function is given is only valid while it runs.
type Dump struct {
	Links  func(*LinkInfo)
	Addrs  func(*AddrInfo)
	Routes func(*RouteInfo)
	Guards func(*Guard)
	// Filters are those of one hook of one link.
	Filters    func(*FilterInfo)
	FilterLink int32
	FilterHook Hook
	// VNIs are those of one link with VNIFilter.
	VNIs    func(*VNI)
	VNILink int32
	// Forwards are those of one VXLAN link, static and learned.
	Forwards    func(*ForwardInfo)
	ForwardLink int32
}

// LinkInfo is a link as the kernel has it.
type LinkInfo struct {
	Index     int32
	Name      string
	Kind      string
	Up        bool
	MTU       uint32
	MAC       [6]byte
	Group     uint32
	Parent    int32 // link below, or the peer of a veth; its index where it is
	Master    int32
	VEPA      bool       // of a macvlan: mode
	IPv6Quiet bool       // no address of its own; also where the link has no IPv6 at all
	Forward   bool       // IPv4 packets that come in may be forwarded
	Home      int32      // number, in this namespace, of the one that it was made from: where a VXLAN has its sockets, a veth its peer; NoNumber: this one
	VXLAN     *VXLANLink // of a link of that kind
}

// AddrInfo is an IPv4 address of a link.
type AddrInfo struct {
	Link int32
	Addr netip.Prefix
}

// RouteInfo is an IPv4 route of the main table.
type RouteInfo struct {
	Route
	Link   int32
	Static bool // added by NewRoute, not by the kernel
}

// FilterInfo is a filter on a hook.
type FilterInfo struct {
	Priority uint16
	Kind     string
	Name     string
	ProgID   uint32
}

// ErrChanged says that a table changed while it was read: what was given out
// may have gaps or duplicates, and must be read again.
var ErrChanged = errors.New("table changed while it was read")

// table is one kind of dump.
type table struct {
	op   string
	typ  uint16
	body func(*Batch, *Dump)
	want func(*Dump) bool
	take func(*Dump, []byte)
}

var tables = [...]table{
	{"list links", unix.RTM_GETLINK,
		func(b *Batch, _ *Dump) {
			b.ifinfo(unix.AF_UNSPEC, 0, 0, 0)
			b.attrU32(unix.IFLA_EXT_MASK, rtextFilterSkipStat)
		},
		func(d *Dump) bool { return d.Links != nil },
		func(d *Dump, p []byte) { give(p, parseLink, d.Links) }},
	{"list addresses", unix.RTM_GETADDR,
		func(b *Batch, _ *Dump) { b.buf = append(b.buf, unix.AF_INET, 0, 0, 0, 0, 0, 0, 0) },
		func(d *Dump) bool { return d.Addrs != nil },
		func(d *Dump, p []byte) { give(p, parseAddr, d.Addrs) }},
	{"list routes", unix.RTM_GETROUTE,
		func(b *Batch, _ *Dump) { b.buf = append(b.buf, unix.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) },
		func(d *Dump) bool { return d.Routes != nil },
		func(d *Dump, p []byte) { give(p, parseRoute, d.Routes) }},
	{"list guard routes", unix.RTM_GETROUTE,
		func(b *Batch, _ *Dump) { b.buf = append(b.buf, unix.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) },
		func(d *Dump) bool { return d.Guards != nil },
		func(d *Dump, p []byte) { give(p, parseGuard, d.Guards) }},
	{"list filters", unix.RTM_GETTFILTER,
		func(b *Batch, d *Dump) { b.tc(d.FilterLink, 0, uint32(d.FilterHook), 0) },
		func(d *Dump) bool { return d.Filters != nil },
		func(d *Dump, p []byte) { give(p, parseFilter, d.Filters) }},
	{"list VNIs", unix.RTM_GETTUNNEL,
		func(b *Batch, d *Dump) { b.tunnel(d.VNILink) },
		func(d *Dump) bool { return d.VNIs != nil },
		giveVNIs},
	// With the longer header of links, the kernel lists those of one link
	// (net/core/rtnetlink.c, valid_fdb_dump_legacy).
	{"list forwarding entries", unix.RTM_GETNEIGH,
		func(b *Batch, d *Dump) { b.ifinfo(unix.AF_BRIDGE, d.ForwardLink, 0, 0) },
		func(d *Dump) bool { return d.Forwards != nil },
		func(d *Dump, p []byte) { give(p, parseForward, d.Forwards) }},
}

// give parses one entry and passes it on, if it is a whole one of interest.
func give[T any](p []byte, parse func([]byte, *T) bool, fn func(*T)) {
	var v T
	if parse(p, &v) {
		fn(&v)
	}
}

// Read reads the tables that d asks for, in one request where they are short.
func (c *Conn) Read(d *Dump) error {
	var open [len(tables)]bool
	for i := range tables {
		open[i] = tables[i].want(d)
	}
	for {
		more, err := c.readTables(d, &open)
		if err != nil || !more {
			return err
		}
	}
}

// readTables asks for every open table at once, and reads until each has
// ended or was refused because one before it takes more than a datagram; these
// stay open for the next call.
func (c *Conn) readTables(d *Dump, open *[len(tables)]bool) (more bool, err error) {
	c.out.Reset()
	var which [len(tables)]int
	base := c.seq + 1
	for i := range tables {
		if open[i] {
			c.seq++
			which[c.out.Len()] = i
			c.out.begin(tables[i].op, "", tables[i].typ, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
			tables[i].body(&c.out, d)
			c.out.end()
			binary.NativeEndian.PutUint32(c.out.message(c.out.Len() - 1)[8:], c.seq)
		}
	}
	waiting := c.out.Len()
	if waiting == 0 {
		return false, nil
	}
	if debug {
		debugSend(&c.out, 0, waiting)
	}
	if err := c.write(c.out.buf); err != nil {
		return false, &OpError{Op: c.out.msgs[0].op, Errno: errno(err)}
	}
	asked := waiting
	for waiting > 0 {
		n, err := c.read()
		if err != nil {
			return false, &OpError{Op: c.out.msgs[0].op, Errno: errno(err)}
		}
		for m, rest := next(c.buf[:n]); m.raw != nil; m, rest = next(rest) {
			i := int(m.Seq - base)
			if i < 0 || i >= asked {
				continue
			}
			t := &tables[which[i]]
			switch {
			case m.Flags&unix.NLM_F_DUMP_INTR != 0:
				return false, ErrChanged
			case m.Type == unix.NLMSG_DONE || m.Type == unix.NLMSG_ERROR:
				waiting--
				e := m.failure()
				if e != nil && e.Errno == syscall.EBUSY {
					more = true
					continue
				}
				if e != nil {
					e.Op = t.op
					return false, e
				}
				open[which[i]] = false
			default:
				t.take(d, m.Body)
			}
		}
	}
	return more, nil
}
