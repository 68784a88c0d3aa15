/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* The two programs of a rack whose vnodes are attached by veth pairs. One
 * stands at the ingress of every pair's host end (one filter on a shared
 * block) and lets nobody send under another's address; the other at the
 * ingress of the rack's end of the trunk. Between them, trunk decides. */

#include "fabric.h"

enum { TRUNK = 2 }; /* the index of tr0 in every rack's namespace */

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

/* veth_in passes what a vnode sends on to the trunk's end in the spine, as if
 * it had arrived there: no queue, no transmission. */
SEC("tc")
int veth_in(struct __sk_buff *skb)
{
	void *frame = (void *)(long)skb->data;
	u32 index = skb->ingress_ifindex;
	u64 *mac;

	if (frame + ETHER_LEN > (void *)(long)skb->data_end)
		return drop(DROP_MALFORMED);
	mac = map_lookup(&senders, &index);
	if (!mac || *mac != mac_at(frame + 6))
		return drop(DROP_SPOOFED_SOURCE);
	return redirect_peer(TRUNK, 0);
}

/* veth_out passes what comes through the trunk on to the vnode that it is for.
 * What is for no pair here is left to the trunk's macvlans. */
SEC("tc")
int veth_out(struct __sk_buff *skb)
{
	void *frame = (void *)(long)skb->data;
	u32 *index;
	u64 to;

	if (frame + ETHER_LEN > (void *)(long)skb->data_end)
		return drop(DROP_MALFORMED);
	to = mac_at(frame);
	index = map_lookup(&receivers, &to);
	if (!index)
		return TC_ACT_OK;
	/* Older kernels keep the type that the trunk's end gave the frame. */
	skb_change_type(skb, PACKET_HOST);
	return redirect_peer(*index, 0);
}
