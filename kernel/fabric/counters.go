package fabric

import (
	"fmt"

	"github.com/cilium/ebpf"

	"myriad/program"
)

// reasons are what can become of a frame, in the order of enum reason
// (bpf/fabric.h). Each time that a program sees a frame, one of them counts:
// so a frame that is cut or held counts again when it comes back, and one that
// goes to another pnode when it comes there. Those of broadcast copies count
// beside broadcast, one for each member, as do the outcomes of copies that meet
// conditions. released_late, tunnel_out, tunnel_in, and marked to reordered count
// beside others.
var reasons = [...]string{
	"unicast",                  // passed on to its receiver
	"arp_answered",             // request turned into its reply
	"broadcast",                // for all of a small network: copied to each
	"drop_spoofed_source",      // from an address that the sender does not have
	"drop_unknown_destination", // to an address that nobody has
	"drop_other_network",       // to somebody in another network
	"drop_other_pnode",         // to a pnode that cannot be reached, or from one to another
	"drop_arp_unknown",         // request for an IP address that nobody has
	"drop_arp_announcement",    // gratuitous ARP: the fabric knows already
	"drop_broadcast",           // for all of a network that does not deliver such
	"drop_ipv6",                // IPv6 multicast in such a network
	"drop_malformed",           // cut short, or ARP of an unknown kind
	"broadcast_copy",           // delivered to one member
	"drop_broadcast_copy",      // lost on the way to one member
	"cut",                      // sent through the cut, from which its packets come back
	"held",                     // given to the holder; that it comes out is counted again
	"released",                 // out of the holder, and passed on to its receiver
	"released_late",            // more than 1 ms after it was due
	"released_to_nobody",       // its receiver has gone meanwhile
	"unheld",                   // passed on at once, as the holder takes no frames of its kind
	"drop_lost",                // by chance, as the conditions say
	"drop_queue_full",          // too much was waiting for its turn
	"drop_no_holder",           // the holder was not there
	"drop_no_state",            // there was no memory for what its link remembers
	"marked",                   // passed on with a mark of congestion (ECN)
	"corrupted",                // one bit was turned over
	"duplicated",               // and its twin went the same way
	"reordered",                // not delayed, so that it overtakes others
	"tunnel_out",               // sent to another pnode
	"tunnel_in",                // came from another pnode
	"drop_foreign_tunnel",      // came by a tunnel that its sender is not behind
}

// slots is the number of counts there is room for (REASONS).
const slots = 32

// Counters reads what became of the frames since the fabric was made, whether
// it was replaced since or not.
func (f *Fabric) Counters() ([]program.Counter, error) {
	return counters(f.objects.Counts)
}

// Lateness counts the frames by how late they left the holder, in
// program.LatenessBuckets, since the fabric was made; nil where links have no
// conditions.
func (f *Fabric) Lateness() ([]uint64, error) {
	if f.shaping == nil {
		return nil, nil
	}
	all, err := sums(f.objects.Counts)
	if err != nil {
		return nil, err
	}
	return all[slots:], nil
}

func counters(m *ebpf.Map) ([]program.Counter, error) {
	all, err := sums(m)
	if err != nil {
		return nil, err
	}
	out := make([]program.Counter, len(reasons))
	for i, name := range reasons {
		out[i] = program.Counter{Name: name, Packets: all[i]}
	}
	return out, nil
}

// sums adds up what each CPU has counted.
func sums(m *ebpf.Map) ([]uint64, error) {
	var each [][slots + program.LatenessBuckets]uint64
	if err := m.Lookup(uint32(0), &each); err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	all := make([]uint64, slots+program.LatenessBuckets)
	for _, cpu := range each {
		for i, n := range cpu {
			all[i] += n
		}
	}
	return all, nil
}
