package rtnl

import (
	"encoding/binary"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// Values of linux/pkt_sched.h and linux/gen_stats.h that the unix package lacks.
const (
	rootParent = 0xffffffff // TC_H_ROOT
	fqHandle   = 1 << 16    // 1:

	tcaFQLimit      = 1
	tcaFQFlowLimit  = 2
	tcaFQBucketsLog = 8
	tcaFQOrphanMask = 10
	tcaFQTimerSlack = 13
	tcaFQHorizon    = 14

	tcaStats2   = 7
	statsBasic  = 1
	statsQueue  = 3
	statsPacket = 8 // TCA_STATS_PKT64
)

// FQ describes an fq qdisc, which holds each packet until the time that its
// timestamp says. Zero fields are left to the kernel.
type FQ struct {
	Limit      uint32        // packets in all
	FlowLimit  uint32        // packets of a flow
	Horizon    time.Duration // how far ahead a departure may be, at most 4,294 s; Linux 5.8 and later
	Buckets    uint8         // logarithm of the number of hash buckets of flows
	OrphanMask uint32        // of the hash that tells flows without a socket apart
	TimerSlack time.Duration // how late a timer may be, to be one with others; Linux 5.9 and later
}

// kept gives what of f a kernel that has g took from it: settings of which an
// older kernel knows nothing are not read back.
func (f FQ) kept(g FQ) FQ {
	if g.Horizon == 0 {
		f.Horizon = 0
	}
	if g.TimerSlack == 0 {
		f.TimerSlack = 0
	}
	return f
}

// Is says whether a qdisc that was read back is an fq with the settings of f,
// as far as its kernel knows them.
func (f FQ) Is(q *QdiscInfo) bool {
	return q.Kind == "fq" && q.FQ == f.kept(q.FQ)
}

// SetFQ makes fq a link's root qdisc, or gives the one that is there other
// settings. What waits in a root qdisc of another kind is dropped.
func (b *Batch) SetFQ(link int32, f *FQ) {
	b.begin("make fq", "", unix.RTM_NEWQDISC, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	b.tc(link, fqHandle, rootParent, 0)
	b.attrString(unix.TCA_KIND, "fq")
	opts := b.nest(unix.TCA_OPTIONS)
	b.attrSet(tcaFQLimit, f.Limit)
	b.attrSet(tcaFQFlowLimit, f.FlowLimit)
	b.attrSet(tcaFQBucketsLog, uint32(f.Buckets))
	b.attrSet(tcaFQOrphanMask, f.OrphanMask)
	b.attrSet(tcaFQTimerSlack, uint32(f.TimerSlack))
	b.attrSet(tcaFQHorizon, uint32(min(f.Horizon/time.Microsecond, math.MaxUint32)))
	b.unnest(opts)
	b.end()
}

// attrSet appends a number, if there is one.
func (b *Batch) attrSet(typ uint16, v uint32) {
	if v != 0 {
		b.attrU32(typ, v)
	}
}

// QdiscInfo is a qdisc as the kernel has it, with what passed through it.
type QdiscInfo struct {
	Kind    string
	Handle  uint32
	FQ      FQ     // settings of an fq
	Packets uint64 // that left it
	Drops   uint64
	Queued  uint32 // packets that wait in it
	Backlog uint32 // bytes of those
}

// RootQdisc reads the root qdisc of a link. Its kind is empty, or "noqueue",
// where nothing was put there.
func (c *Conn) RootQdisc(link int32) (*QdiscInfo, error) {
	c.out.Reset()
	// Older kernels answer as they notify: whoever asked only if he wants it.
	c.out.begin("read root qdisc", "", unix.RTM_GETQDISC, unix.NLM_F_REQUEST|unix.NLM_F_ECHO)
	c.out.tc(link, 0, rootParent, 0)
	c.out.end()
	q := &QdiscInfo{}
	return q, c.get(unix.RTM_NEWQDISC, func(p []byte) { parseQdisc(p, q) })
}

// Link reads one link.
func (c *Conn) Link(index int32) (*LinkInfo, error) {
	c.out.Reset()
	c.out.begin("read link", "", unix.RTM_GETLINK, unix.NLM_F_REQUEST)
	c.out.ifinfo(unix.AF_UNSPEC, index, 0, 0)
	c.out.attrU32(unix.IFLA_EXT_MASK, rtextFilterSkipStat)
	c.out.end()
	l := &LinkInfo{}
	return l, c.get(unix.RTM_NEWLINK, func(p []byte) { parseLink(p, l) })
}

// get sends the one request in c.out, which is not a dump, and gives the
// answers of a type to take.
func (c *Conn) get(typ uint16, take func([]byte)) error {
	refused := func(err error) error {
		return &OpError{Op: c.out.msgs[0].op, Name: c.out.msgs[0].name, Errno: errno(err)}
	}
	m := c.out.message(0)
	c.seq++
	binary.NativeEndian.PutUint32(m[8:], c.seq)
	setAck(m)
	if debug {
		debugSend(&c.out, 0, 1)
	}
	if err := c.write(m); err != nil {
		return refused(err)
	}
	for {
		n, err := c.read()
		if err != nil {
			return refused(err)
		}
		for m, rest := next(c.buf[:n]); m.raw != nil; m, rest = next(rest) {
			switch {
			case m.Seq != c.seq:
			case m.Type == typ:
				take(m.Body)
			case m.Type == unix.NLMSG_ERROR:
				if e := m.failure(); e != nil {
					e.Op, e.Name = c.out.msgs[0].op, c.out.msgs[0].name
					return e
				}
				return nil
			}
		}
	}
}

func parseQdisc(p []byte, q *QdiscInfo) {
	const size = 20 // struct tcmsg
	if len(p) < size {
		return
	}
	q.Handle = u32(p[8:])
	for typ, v := range attrs(p[size:]) {
		switch typ {
		case unix.TCA_KIND:
			q.Kind = text(v)
		case unix.TCA_OPTIONS:
			if q.Kind == "fq" {
				q.FQ.parse(v)
			}
		case tcaStats2:
			q.stats(v)
		}
	}
}

func (f *FQ) parse(p []byte) {
	for typ, v := range attrs(p) {
		switch typ {
		case tcaFQLimit:
			f.Limit = u32(v)
		case tcaFQFlowLimit:
			f.FlowLimit = u32(v)
		case tcaFQBucketsLog:
			f.Buckets = uint8(u32(v))
		case tcaFQOrphanMask:
			f.OrphanMask = u32(v)
		case tcaFQTimerSlack:
			f.TimerSlack = time.Duration(u32(v))
		case tcaFQHorizon:
			f.Horizon = time.Duration(u32(v)) * time.Microsecond
		}
	}
}

// stats reads struct gnet_stats_basic and struct gnet_stats_queue.
func (q *QdiscInfo) stats(p []byte) {
	for typ, v := range attrs(p) {
		switch {
		case typ == statsBasic && len(v) >= 12:
			q.Packets = max(q.Packets, uint64(u32(v[8:])))
		case typ == statsPacket && len(v) >= 8:
			q.Packets = binary.NativeEndian.Uint64(v)
		case typ == statsQueue && len(v) >= 12:
			q.Queued, q.Backlog, q.Drops = u32(v), u32(v[4:]), uint64(u32(v[8:]))
		}
	}
}
