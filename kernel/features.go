package kernel

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"myriad/kernel/cgroup"
	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// Presence says whether the kernel has something.
type Presence uint8

// The answers of a probe.
const (
	Unknown Presence = iota // it cannot be told without privileges
	Present
	Absent
)

// String prints the answer in a word.
func (p Presence) String() string { return [...]string{"unknown", "present", "absent"}[p] }

// MarshalText writes the same word.
func (p Presence) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Feature is something of the kernel that Myriad uses.
type Feature struct {
	Name     string   `json:"name"`
	Since    string   `json:"since"` // first kernel that has it
	For      string   `json:"for"`   // what Myriad does with it
	Needed   bool     `json:"needed"`
	Presence Presence `json:"presence"`
	Detail   string   `json:"detail,omitempty"` // why it is unknown, or what the kernel said
	Remedy   string   `json:"remedy,omitempty"` // what to do without it
}

// probe is a feature with the way to find out: by doing it, in a namespace
// that is gone a moment later.
type probe struct {
	Feature
	try func() error
}

var probes = []probe{
	{Feature{Name: "network namespaces", Since: "3.8", Needed: true, For: "vnodes, racks and spines",
		Remedy: "a kernel with CONFIG_NET_NS"}, inScratch(func(*rtnl.Conn) error { return nil })},
	{Feature{Name: "veth", Since: "2.6.24", Needed: true, For: "trunks between racks and spine; attach: veth",
		Remedy: "modprobe veth, or a kernel with CONFIG_VETH"}, inScratch(tryVeth)},
	{Feature{Name: "macvlan", Since: "2.6.23", For: "vifaces on their rack's trunk",
		Remedy: "modprobe macvlan; or use attach: veth"}, inScratch(tryMacvlan)},
	{Feature{Name: "bridge", Since: "2.2", For: "fabric: bridge",
		Remedy: "modprobe bridge; fabric: ebpf does not need it"}, inScratch(tryBridge)},
	{Feature{Name: "clsact qdisc", Since: "4.5", Needed: true, For: "the hook of the fabric's programs",
		Remedy: "modprobe sch_ingress; or use fabric: bridge"}, inScratch(tryClsact)},
	{Feature{Name: "eBPF with redirect_peer and loops", Since: "5.17", Needed: true, For: "the fabric",
		Remedy: "a newer kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF; or use fabric: bridge"}, tryBPF},
	{Feature{Name: "fq qdisc", Since: "5.8", For: "holding packets until they are due, for all racks in one place",
		Remedy: "modprobe sch_fq; else a wheel in each rack process holds them"}, inScratch(tryFQ)},
	{Feature{Name: "VXLAN", Since: "3.12", For: "joining several pnodes",
		Remedy: "modprobe vxlan, or a kernel with CONFIG_VXLAN; one pnode alone does without"}, inScratch(tryVXLAN)},
	{Feature{Name: "VXLAN with a filter of VNIs", Since: "5.18", For: "several platforms at one UDP port of a pnode",
		Remedy: "a newer kernel; else one platform at a time is joined to other pnodes, or each has a port of its own (overlay: {port: N})"}, inScratch(tryVNIFilter)},
	{Feature{Name: "WireGuard", Since: "5.6", For: "encryption between pnodes",
		Remedy: "modprobe wireguard, or a kernel with CONFIG_WIREGUARD; without encryption, nothing needs it"}, inScratch(tryWireGuard)},
	{Feature{Name: "bpf_skb_set_tstamp", Since: "5.18", For: "telling fq when a packet is due",
		Remedy: "a newer kernel; else a wheel in each rack process holds packets"}, tryTimestamp},
	{Feature{Name: "packets with virtio-net headers", Since: "2.6.27", For: "holding packets by wheels, those of segmentation offload whole",
		Remedy: "a kernel with CONFIG_PACKET; else packets can be held by fq only"}, tryPacket},
	{Feature{Name: "SCHED_FIFO", Since: "2.0", For: "wheels that are on time beside other work",
		Remedy: "allow real-time scheduling (CAP_SYS_NICE; with cgroup v1, cpu.rt_runtime_us); else wheels run as any other process, and later"}, tryFIFO},
	{Feature{Name: "membarrier", Since: "4.3", For: "changing conditions again within a second",
		Remedy: "a kernel with CONFIG_MEMBARRIER; else such a change waits until the one before is some time ago"}, tryMembarrier},
	{Feature{Name: "settings of the machine", Since: "2.6.24", For: "neighbour tables and backlogs with room for thousands of vnodes",
		Remedy: "on the machine itself: sysctl -w net.ipv4.neigh.default.gc_thresh1=1048576 net.ipv4.neigh.default.gc_thresh2=2097152 net.ipv4.neigh.default.gc_thresh3=4194304 net.core.netdev_max_backlog=65536; platforms of some hundred vnodes do without"}, trySysctls},
	{Feature{Name: "cgroup v2", Since: "4.5", For: "finding and ending everything that is ours",
		Remedy: "a v1 hierarchy serves, with a slower loop"}, tryCgroup},
}

// Features probes this kernel. Without privileges, what cannot be tried is
// unknown.
func Features() []Feature {
	out := make([]Feature, 0, len(probes))
	for _, p := range probes {
		f := p.Feature
		switch err := p.try(); {
		case err == nil:
			f.Presence, f.Remedy = Present, ""
		case os.Geteuid() != 0 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)):
			f.Presence, f.Detail, f.Remedy = Unknown, "cannot be tried without root", "run myriad doctor as root"
		default:
			f.Presence, f.Detail = Absent, err.Error()
		}
		out = append(out, f)
	}
	return out
}

// KernelVersion is the running kernel's release, as uname -r prints it.
func KernelVersion() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// inScratch makes a probe of something that is tried in a new namespace,
// through a socket of it.
func inScratch(try func(*rtnl.Conn) error) func() error {
	return func() error {
		var conn *rtnl.Conn
		fd, err := netns.Make(func() (err error) {
			conn, err = rtnl.Open()
			return err
		})
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		defer conn.Close()
		return try(conn)
	}
}

func tryVeth(c *rtnl.Conn) error {
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Name: "a", Kind: rtnl.Veth, Peer: &rtnl.Link{Name: "b"}})
	return c.Do(&b)
}

func tryMacvlan(c *rtnl.Conn) error {
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Index: 10, Name: "a", Kind: rtnl.Veth, Peer: &rtnl.Link{Name: "b"}})
	b.NewLink(&rtnl.Link{Name: "m", Kind: rtnl.Macvlan, Parent: 10})
	return c.Do(&b)
}

func tryBridge(c *rtnl.Conn) error {
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Name: "br", Kind: rtnl.Bridge})
	return c.Do(&b)
}

func tryVXLAN(c *rtnl.Conn) error {
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Name: "ov", Kind: rtnl.VXLAN, VXLAN: &rtnl.VXLANLink{Port: program.VXLANPort, External: true}})
	return c.Do(&b)
}

// tryVNIFilter looks at what became of the wish: a kernel that does not know
// of it takes no notice.
func tryVNIFilter(c *rtnl.Conn) error {
	const index = 2
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Index: index, Name: "ov", Kind: rtnl.VXLAN, VXLAN: &rtnl.VXLANLink{Port: program.VXLANPort, External: true, VNIFilter: true}})
	if err := c.Do(&b); err != nil {
		return err
	}
	l, err := c.Link(index)
	if err == nil && !l.VXLAN.VNIFilter {
		err = unix.EOPNOTSUPP
	}
	return err
}

func tryWireGuard(c *rtnl.Conn) error {
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Name: "wg", Kind: rtnl.WireGuard})
	return c.Do(&b)
}

// tryClsact uses the loopback link, which every namespace has.
func tryClsact(c *rtnl.Conn) error {
	var b rtnl.Batch
	b.NewClsact(1)
	return c.Do(&b)
}

// tryBPF asks for the newest helpers that the fabric's programs call.
func tryBPF() error {
	for _, helper := range []asm.BuiltinFunc{asm.FnRedirectPeer, asm.FnCloneRedirect, asm.FnLoop} {
		if err := features.HaveProgramHelper(ebpf.SchedCLS, helper); err != nil {
			return fmt.Errorf("%s: %w", helper, err)
		}
	}
	return nil
}

func tryFQ(c *rtnl.Conn) error {
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Index: 10, Name: "a", Kind: rtnl.Veth, Peer: &rtnl.Link{Name: "b"}})
	b.SetFQ(10, &shaperFQ)
	return c.Do(&b)
}

func tryTimestamp() error {
	err := features.HaveProgramHelper(ebpf.SchedCLS, asm.FnSkbSetTstamp)
	if err != nil {
		err = fmt.Errorf("%s: %w", asm.FnSkbSetTstamp, err)
	}
	return err
}

// tryPacket asks for what a wheel asks for.
func tryPacket() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1)
}

// tryFIFO has a thread scheduled as a wheel's is, for a moment.
func tryFIFO() error {
	return netns.Run(func(*netns.Thread) error {
		was, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			return err
		}
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0); err != nil {
			return err
		}
		return unix.SchedSetAttr(0, was, 0)
	})
}

// tryMembarrier asks for the command that waits for programs that run.
func tryMembarrier() error {
	const query, global = 0, 1
	commands, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, query, 0, 0)
	switch {
	case errno != 0:
		return errno
	case commands&global == 0:
		return unix.EOPNOTSUPP
	}
	return nil
}

func trySysctls() error { return machineSysctls().atHome(func() error { return nil }) }

func tryCgroup() error {
	tree, err := cgroup.Find()
	if err == nil && !tree.V2 {
		err = fmt.Errorf("only v1 hierarchies are mounted (%s serves)", strings.TrimPrefix(tree.Root, "/sys/fs/cgroup/"))
	}
	return err
}
