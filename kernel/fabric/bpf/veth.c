/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* veth: for racks whose vnodes are attached by veth pairs. It stands at the
 * ingress of every pair's host end and of the rack's end of the trunk (one
 * filter, on a block that they share). It joins the pairs to the trunk, where
 * the program trunk decides, and lets nobody send under another's address. */

#include "fabric.h"

/* The index of tr0 in the rack's namespace, set at load. */
const volatile u32 trunk = 0;

/* The address that may be sent from, by the host end's index. */
struct {
	number(type, MAP_HASH);
	number(map_flags, MAP_NO_PREALLOC);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, u64);
} senders SEC(".maps");

/* The host end's index, by the address of the vnode behind it. */
struct {
	number(type, MAP_HASH);
	number(map_flags, MAP_NO_PREALLOC);
	number(max_entries, 1); /* set at load */
	type_of(key, u64);
	type_of(value, u32);
} receivers SEC(".maps");

SEC("tc")
int veth(struct __sk_buff *skb)
{
	void *frame = (void *)(long)skb->data;
	u32 from = skb->ingress_ifindex, *to;
	u64 address, *own;

	if (frame + ETHER_LEN > (void *)(long)skb->data_end)
		return drop(DROP_MALFORMED);
	if (from != trunk) {
		own = map_lookup(&senders, &from);
		if (!own || *own != mac_at(frame + 6))
			return drop(DROP_SPOOFED_SOURCE);
		/* As if it had arrived at the other end: no queue between. */
		return redirect_peer(trunk, 0);
	}
	address = mac_at(frame);
	to = map_lookup(&receivers, &address);
	if (!to)
		return TC_ACT_OK; /* for a macvlan of this trunk */
	/* Older kernels keep the type that the trunk's end gave the frame. */
	skb_change_type(skb, PACKET_HOST);
	return redirect_peer(*to, 0);
}
