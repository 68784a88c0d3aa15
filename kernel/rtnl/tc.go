package rtnl

import (
	"golang.org/x/sys/unix"
)

// Hook is a place of a link where filters are run.
type Hook uint32

// The hooks of a clsact qdisc (linux/pkt_sched.h, TC_H_CLSACT and its parts).
const (
	Ingress Hook = 0xfffffff2
	Egress  Hook = 0xfffffff3
)

// Values of linux/pkt_cls.h and linux/pkt_sched.h that the unix package lacks.
const (
	clsactParent    = 0xfffffff1 // TC_H_CLSACT, and TC_H_INGRESS
	clsactHandle    = 0xffff0000
	tcaIngressBlock = 13
	tcaBPFFD        = 6
	tcaBPFName      = 7
	tcaBPFFlags     = 8
	tcaBPFID        = 11
	bpfFlagDA       = 1 // TCA_BPF_FLAG_ACT_DIRECT
)

// Filter is a cls_bpf program in direct-action mode on a hook of a link.
type Filter struct {
	Link     int32
	Hook     Hook
	Prog     int    // descriptor of the loaded program
	Name     string // shown by tc
	Priority uint16 // 0: 1
}

// NewClsact gives a link the qdisc that filters are attached to.
func (b *Batch) NewClsact(link int32) {
	b.begin("make clsact", "", unix.RTM_NEWQDISC, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b.tc(link, clsactHandle, clsactParent, 0)
	b.attrString(unix.TCA_KIND, "clsact")
	b.end()
}

// NewIngress gives a link an ingress qdisc that shares the filters of a block:
// one filter for any number of links, at a fraction of the memory and time.
// The first link to have it makes the block.
func (b *Batch) NewIngress(link int32, block uint32) {
	b.begin("make ingress", "", unix.RTM_NEWQDISC, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b.tc(link, clsactHandle, clsactParent, 0)
	b.attrString(unix.TCA_KIND, "ingress")
	b.attrU32(tcaIngressBlock, block)
	b.end()
}

// BlockLink is the Link of a Filter that belongs to a block; its Hook is the
// block's number.
const BlockLink int32 = -1

// DelClsact removes the clsact qdisc of a link and every filter on it.
func (b *Batch) DelClsact(link int32) {
	b.begin("remove clsact", "", unix.RTM_DELQDISC, unix.NLM_F_REQUEST)
	b.tc(link, clsactHandle, clsactParent, 0)
	b.attrString(unix.TCA_KIND, "clsact")
	b.end()
}

// SetFilter attaches a program. One of the same hook and priority is replaced
// without a packet passing in between.
func (b *Batch) SetFilter(f *Filter) {
	b.begin("attach filter", f.Name, unix.RTM_NEWTFILTER, unix.NLM_F_REQUEST|unix.NLM_F_CREATE)
	b.filter(f, 1)
	b.attrString(unix.TCA_KIND, "bpf")
	opts := b.nest(unix.TCA_OPTIONS)
	b.attrU32(tcaBPFFD, uint32(f.Prog))
	b.attrString(tcaBPFName, f.Name)
	b.attrU32(tcaBPFFlags, bpfFlagDA)
	b.unnest(opts)
	b.end()
}

// DelFilter detaches the program of a hook and priority.
func (b *Batch) DelFilter(f *Filter) {
	b.begin("detach filter", f.Name, unix.RTM_DELTFILTER, unix.NLM_F_REQUEST)
	b.filter(f, 0)
	b.attrString(unix.TCA_KIND, "bpf")
	b.end()
}

// filter appends struct tcmsg: the priority is the upper half of its info,
// the protocol (all of them), in network order, the lower.
func (b *Batch) filter(f *Filter, handle uint32) {
	prio := uint32(f.Priority)
	if prio == 0 {
		prio = 1
	}
	b.tc(f.Link, handle, uint32(f.Hook), prio<<16|uint32(htons(unix.ETH_P_ALL)))
}

func (b *Batch) tc(link int32, handle, parent, info uint32) {
	b.buf = append(b.buf, unix.AF_UNSPEC, 0, 0, 0)
	b.u32(uint32(link))
	b.u32(handle)
	b.u32(parent)
	b.u32(info)
}
