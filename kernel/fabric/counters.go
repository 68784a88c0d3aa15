package fabric

import (
	"fmt"

	"github.com/cilium/ebpf"

	"myriad/program"
)

// reasons are what can become of a frame, in the order of enum reason
// (bpf/fabric.h). broadcast_copy and drop_broadcast_copy count beside
// broadcast, one for each member; all others are for different frames.
var reasons = [...]string{
	"unicast",                  // passed on to its receiver
	"arp_answered",             // request turned into its reply
	"broadcast",                // for all of a small network: copied to each
	"drop_spoofed_source",      // from an address that the sender does not have
	"drop_unknown_destination", // to an address that nobody has
	"drop_other_network",       // to somebody in another network
	"drop_other_pnode",         // to a pnode that cannot be reached
	"drop_arp_unknown",         // request for an IP address that nobody has
	"drop_arp_announcement",    // gratuitous ARP: the fabric knows already
	"drop_broadcast",           // for all of a network that does not deliver such
	"drop_ipv6",                // IPv6 multicast in such a network
	"drop_malformed",           // cut short, or ARP of an unknown kind
	"broadcast_copy",           // delivered to one member
	"drop_broadcast_copy",      // lost on the way to one member
}

// slots is the number of counts there is room for (REASONS).
const slots = 16

// Counters reads what became of the frames since the fabric was made, whether
// it was replaced since or not.
func (f *Fabric) Counters() ([]program.Counter, error) {
	return counters(f.objects.Counts)
}

func counters(m *ebpf.Map) ([]program.Counter, error) {
	var each [][slots]uint64 // by CPU
	if err := m.Lookup(uint32(0), &each); err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	out := make([]program.Counter, len(reasons))
	for i, name := range reasons {
		out[i].Name = name
		for _, cpu := range each {
			out[i].Packets += cpu[i]
		}
	}
	return out, nil
}
