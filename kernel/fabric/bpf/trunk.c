/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* trunk: the whole forwarding plane of a platform on one pnode. It runs at the
 * clsact ingress of every trunk's end in the spine, on each frame that a vnode
 * of that rack has sent, and hands it back through the trunk of the receiver's
 * rack, without a queue between; or to the overlay's device, at whose ingress
 * it runs too, if the receiver is on another pnode. Only Ethernet addresses decide, so gateway
 * vnodes and routes of the user's own work as on any Ethernet; ARP is answered
 * here, so nothing is ever flooded to find a neighbour. */

#include "overlay.h"
#ifdef SHAPED
#include "shape.h"
#else
#define came_cut(skb) 0
#endif

/* Who gets the frames for all of a small network: index of the trunk, or of the
 * overlay's device (16 bits), and Ethernet address (48 bits); 0 for a gap. */
struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, u64);
} members SEC(".maps");

/* An ARP packet for IPv4 over Ethernet, with its header. */
struct arp {
	u8 to[6];
	u8 from[6];
	u16 type;
	u16 hardware, protocol;
	u8 hardware_len, protocol_len;
	u16 op;
	u8 sender_mac[6];
	u8 sender_ip[4];
	u8 target_mac[6];
	u8 target_ip[4];
} __attribute__((packed, aligned(2)));

enum { ARP_REQUEST = 1, ARP_REPLY = 2 };

/* answer turns an ARP request into its reply. What a vnode announces of itself
 * (a request for its own address) interests nobody: the fabric knows. What is
 * not a request goes on as any frame does. */
NOINLINE int answer(struct __sk_buff *skb, const struct other *sender, u32 to_group)
{
	struct network *net = network(sender->network);
	struct other target;
	struct arp packet, *arp = &packet;
	u32 host;

	if (skb_load_bytes(skb, 0, arp, sizeof(*arp)) || arp->hardware != swap16(1) || arp->protocol != swap16(0x0800) ||
	    arp->hardware_len != 6 || arp->protocol_len != 4)
		return drop(DROP_MALFORMED);
	if (arp->op != swap16(ARP_REQUEST))
		return to_group ? drop(DROP_ARP_ANNOUNCEMENT) : TC_ACT_UNSPEC;
	if (!net)
		return drop(DROP_ARP_UNKNOWN);
	host = (u32)arp->target_ip[0] << 24 | arp->target_ip[1] << 16 | arp->target_ip[2] << 8 | arp->target_ip[3];
	host -= net->first;
	if (host == sender->host)
		return drop(DROP_ARP_ANNOUNCEMENT);
	if (host >= net->size || !find_host(sender->network, host, &target))
		return drop(DROP_ARP_UNKNOWN);

	arp->op = swap16(ARP_REPLY);
	for (int i = 0; i < 4; i++) {
		u8 asked = arp->target_ip[i];
		arp->target_ip[i] = arp->sender_ip[i];
		arp->sender_ip[i] = asked;
	}
	put_mac(arp->target_mac, sender->mac);
	put_mac(arp->sender_mac, target.mac);
	put_mac(arp->to, sender->mac);
	put_mac(arp->from, target.mac);
	if (skb_store_bytes(skb, 0, arp, sizeof(*arp), 0))
		return drop(DROP_MALFORMED);
	count(ARP_ANSWERED);
	return redirect_peer(sender->trunk, 0);
}

/* A frame for all, on its way to each. */
struct copies {
	struct __sk_buff *skb;
	u64 sender;
	u32 member;
};

/* copy sends one member its own copy, under its own address: under the group
 * address, a macvlan trunk would give it to every network of the rack. */
NOINLINE long copy(u32 i, struct copies *c)
{
	u32 index = c->member + i;
	u64 *member = map_lookup(&members, &index);
	struct other who;
	u32 link;
	u8 to[6];
	u64 mac;

	if (!member)
		return 1;
	mac = *member & 0xffffffffffff;
	if (!mac || mac == c->sender)
		return 0;
#ifdef SHAPED
	return shape_copy(c->skb, c->sender, mac);
#endif
	put_mac(to, mac);
	link = *member >> 48;
	if (skb_store_bytes(c->skb, 0, to, sizeof(to), 0) ||
	    (link == OVERLAY && (!find_mac(mac, &who) || enter(c->skb, who.trunk))) || clone_redirect(c->skb, link, 0))
		count(DROP_BROADCAST_COPY);
	else
		count(BROADCAST_COPY);
	return 0;
}

/* deliver gives a frame for all to the members of a small network. */
INLINE int deliver(struct __sk_buff *skb, const struct other *sender, u16 type)
{
	struct network *net = network(sender->network);
	struct copies c = {.skb = skb, .sender = sender->mac};

	if (!net || !net->members)
		return drop(type == ETHER_IPV6 ? DROP_IPV6 : DROP_BROADCAST);
#ifdef SHAPED
	if (to_be_cut(skb))
		return cut();
#endif
	c.member = net->member;
	loop(net->members, copy, &c, 0);
	return drop(BROADCAST);
}

/* leave passes a frame on to another pnode. */
NOINLINE int leave(struct __sk_buff *skb, u32 place)
{
	u32 dropped = enter(skb, place);

	if (dropped)
		return drop(dropped);
	count(UNICAST);
	return redirect(OVERLAY, 0);
}

/* pass_on passes a frame on to its receiver's place. */
INLINE int pass_on(struct __sk_buff *skb, u32 place)
{
	if (unlikely(!LOCAL(place)))
		return leave(skb, place);
	count(UNICAST);
	return redirect_peer(place, 0);
}

/* seldom is the way of every frame that is not plain unicast between computed
 * addresses: the whole truth, where trunk has the common case. */
NOINLINE int seldom(struct __sk_buff *skb)
{
	struct other sender, receiver;
	u64 head[2] = {}, to, from;
	u16 type;

	if (skb_load_bytes(skb, 0, head, ETHER_LEN))
		return drop(DROP_MALFORMED);
	to = swap64(head[0]) >> 16;
	from = swap64(head[0] >> 48 | head[1] << 16);
	type = from;
	from >>= 16;
	if (skb->ingress_ifindex == OVERLAY) {
		/* No pnode of the platform sends ARP, or frames for all. */
		if (type == ETHER_ARP || MAC_GROUP(to) || !find_mac(from, &sender) || !came_from(skb, sender.trunk))
			return drop(DROP_FOREIGN_TUNNEL);
		count(TUNNEL_IN);
	} else if (!find_mac(from, &sender) || (sender.trunk != skb->ingress_ifindex && !came_cut(skb)))
		return drop(DROP_SPOOFED_SOURCE);

	if (type == ETHER_ARP) {
		int verdict = answer(skb, &sender, MAC_GROUP(to));
		if (verdict != TC_ACT_UNSPEC)
			return verdict;
	}
	if (MAC_GROUP(to))
		return deliver(skb, &sender, type);
	if (!find_mac(to, &receiver))
		return drop(DROP_UNKNOWN_DESTINATION);
	if (receiver.network != sender.network)
		return drop(DROP_OTHER_NETWORK);
	if (REMOTE(receiver.trunk)) {
		if (REMOTE(sender.trunk))
			return drop(DROP_OTHER_PNODE);
		if (type == ETHER_ARP)
			return drop(DROP_ARP_ANNOUNCEMENT);
	}
#ifdef SHAPED
	if (sender.link | receiver.link)
		return shape_one(skb, &sender, &receiver);
#endif
	return pass_on(skb, receiver.trunk);
}

SEC("tc")
int trunk(struct __sk_buff *skb)
{
	void *frame = (void *)(long)skb->data;
	struct network *net;
	struct place *sender, *receiver;
	u64 to, from;
	u32 from_index, to_index;
	u16 type;

	if (unlikely(frame + ETHER_LEN > (void *)(long)skb->data_end))
		return seldom(skb);
	to = mac_at(frame);
	from = swap64(*(u64 *)(frame + 6));
	type = from;
	from >>= 16;
	/* The first three bytes are 02 and the network; they must be the same. */
	if (unlikely(MAC_FORM(from) != COMPUTED || (from ^ to) >> 24 || type == ETHER_ARP))
		return seldom(skb);
	net = network(MAC_NETWORK(from));
	if (unlikely(!net))
		return seldom(skb);
	from_index = MAC_HOST(from);
	to_index = MAC_HOST(to);
	if (unlikely(from_index >= net->span || to_index >= net->span))
		return seldom(skb);
	from_index += net->base;
	to_index += net->base;
	sender = map_lookup(&places, &from_index);
	receiver = map_lookup(&places, &to_index);
	if (unlikely(!sender || !receiver))
		return seldom(skb);
	if (unlikely(sender->trunk != skb->ingress_ifindex)) {
		if (skb->ingress_ifindex != OVERLAY || !LOCAL(receiver->trunk) || !came_from(skb, sender->trunk))
			return seldom(skb);
		count(TUNNEL_IN);
	} else if (unlikely(!SOMEWHERE(receiver->trunk)))
		return seldom(skb);
#ifdef SHAPED
	if (sender->link | receiver->link)
		return shape_near(skb, from, to, *(u64 *)sender, *(u64 *)receiver);
#endif
	return pass_on(skb, receiver->trunk);
}
