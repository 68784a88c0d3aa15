/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* The way into the holder. A frame's departure time takes the place of both
 * its Ethernet addresses, and whom it is from and for, from which the program
 * release makes the addresses again. */

#ifndef MYRIAD_HOLD_H
#define MYRIAD_HOLD_H

#include "overlay.h"
#include "links.h"
#include "random.h"

/* Whether the holder is an fq qdisc, set at load: the verifier of a kernel that
 * has no skb_set_tstamp then never comes to see its call. Else it is the
 * wheels of the racks. */
const volatile u32 fq = 0;

/* The legs of a frame's way. */
enum leg { OUT, BETWEEN, IN, LEGS };

/* A frame on its way. */
struct passage {
	struct other from, to;
	u64 now;
	u64 due;         /* when it is where it has come to */
	u64 seed;
	u64 base;        /* what holding costs */
	u64 delay;       /* what a word of the matrix adds between the two */
	u64 again[LEGS]; /* when its twin came to a leg; 0: it has none there */
	u32 legs[LEGS];  /* conditions */
	u32 halves;
	u32 bytes;       /* it takes on the wire */
	u32 length;      /* it is long */
	u32 ect;         /* it allows to be marked */
	u32 twin;        /* 1 + the leg that made it from another; 0: none did */
	u32 bit;         /* 1 + the bit to be turned over; 0: none */
	u32 marked;
	u32 stage;       /* its last leg begins when it is due, and not before */
	u32 link;        /* by which it goes to the holder */
	u32 fresh;       /* its addresses are as they should be */
	u32 reason;      /* to count, where it goes to its receiver */
};

/* Each CPU has one frame at a time in its hands: these programs run in softirqs,
 * which do not interrupt each other, and what they send is met by the next
 * program only after they have ended. On the stack, of which there are 512
 * bytes for all functions together, it would not fit. */
struct {
	number(type, MAP_PERCPU_ARRAY);
	number(max_entries, 1);
	type_of(key, u32);
	type_of(value, struct passage);
} passages SEC(".maps");

INLINE struct passage *new_passage(u32 reason)
{
	u32 only = 0;
	struct passage *p = map_lookup(&passages, &only);

	if (p) {
		__builtin_memset(p, 0, sizeof(*p));
		p->reason = reason;
	}
	return p;
}

/* The head of a frame in the holder, of 12 bytes: see package wheel. A tick is
 * 1,024 ns; 31 bits of them come round after 36 minutes. */
enum { TICK = 10, HEAD = 12 };

INLINE void put_head(u32 *head, const struct passage *p, u64 at)
{
	head[0] = (u32)((at + (1 << TICK) / 2) >> TICK) << 1 | p->stage;
	head[1] = p->from.network | p->from.host << 16;
	head[2] = p->from.host >> 16 | p->to.host << 8;
}

/* A frame that would be held for less time than holding costs goes straight
 * on, but not past one of the same pair that is still in the holder, or may
 * be: holders are late now and then. */
enum { BEHINDS = 1 << 12, LATE = 200000 };

struct {
	number(type, MAP_ARRAY);
	number(max_entries, BEHINDS);
	type_of(key, u32);
	type_of(value, u64); /* when the last one held is due, by a hash of the pair */
} behind SEC(".maps");

INLINE u64 *find_behind(const struct passage *p)
{
	u32 slot = mix((u64)p->from.link << 32 | p->to.link) % BEHINDS;
	return map_lookup(&behind, &slot);
}

/* addresses puts a frame's Ethernet addresses back to what they should be. */
INLINE int addresses(struct __sk_buff *skb, struct passage *p)
{
	u8 macs[HEAD];

	if (p->fresh)
		return 0;
	put_mac(macs, p->to.mac);
	put_mac(macs + 6, p->from.mac);
	return skb_store_bytes(skb, 0, macs, HEAD, 0);
}

/* turn_bit turns one bit of what follows the Ethernet header over, or back. */
INLINE void turn_bit(struct __sk_buff *skb, u32 bit)
{
	u32 at = ETHER_LEN + bit / 8;
	u8 byte;

	if (skb_load_bytes(skb, at, &byte, 1))
		return;
	byte ^= 1 << (bit & 7);
	skb_store_bytes(skb, at, &byte, 1, 0);
}

/* straight passes a frame to its receiver, or a copy of it. */
INLINE int straight(struct __sk_buff *skb, struct passage *p, u32 keep)
{
	u32 link = p->to.trunk, dropped;

	if (addresses(skb, p))
		return drop(DROP_MALFORMED);
	p->fresh = 1;
	if (REMOTE(link)) {
		if ((dropped = enter(skb, link)))
			return drop(keep ? DROP_BROADCAST_COPY : dropped);
		link = OVERLAY;
	}
	if (keep) {
		count(clone_redirect(skb, link, 0) ? DROP_BROADCAST_COPY : p->reason);
		return TC_ACT_SHOT;
	}
	count(p->reason);
	if (link == OVERLAY)
		return redirect(link, 0);
	/* Older kernels keep the type that the end of the holder, which takes
	 * the head for addresses, gave the frame. */
	skb_change_type(skb, PACKET_HOST);
	return redirect_peer(link, 0);
}

/* hold gives a frame to the holder until a time, or a copy of it. */
INLINE int hold(struct __sk_buff *skb, struct passage *p, u64 at, u32 keep)
{
	u32 head[HEAD / 4];

	/* The kernel does this for IP only. What little else there is goes
	 * straight on, and counts. */
	if (fq && skb_set_tstamp(skb, at, TSTAMP_DELIVERY_MONO)) {
		count(UNHELD);
		return straight(skb, p, keep);
	}
	put_head(head, p, at);
	if (skb_store_bytes(skb, 0, head, HEAD, 0))
		return drop(DROP_MALFORMED);
	p->fresh = 0;
	/* fq gets a copy always, and the frame itself is dropped: it belongs to
	 * its sender's socket, which would think that it is still waiting to be
	 * sent, and send no more (TCP small queues). The copy has no socket. */
	if (fq || keep) {
		count(clone_redirect(skb, p->link, 0) ? DROP_NO_HOLDER : HELD);
		return TC_ACT_SHOT;
	}
	count(HELD);
	return redirect_peer(p->link, 0);
}

/* Nothing is held for longer than this: the ticks of a head that is half their
 * round ahead would be in the past. Only a queue without limits comes so far. */
#define MOST 1000000000000ll

/* send sends a frame on: to its receiver, or to the holder if it is not due
 * yet. With keep, it sends a copy and leaves the frame here. */
NOINLINE int send(struct __sk_buff *skb, struct passage *p, u32 keep)
{
	u64 at = p->due - p->base, *last;
	int verdict, held = 0;

	if ((long long)(at - p->now) > MOST)
		return drop(DROP_QUEUE_FULL);
	if (p->marked)
		skb_ecn_set_ce(skb);
	if (p->bit)
		turn_bit(skb, p->bit - 1);
	if (p->due > p->now) {
		last = find_behind(p);
		held = (long long)(at - p->now) > 0;
		if (!held && last && p->now < *last + LATE) {
			at = p->now;
			held = 1;
		}
		if (held && last && *last < at)
			*last = at;
	}
	verdict = held ? hold(skb, p, at, keep) : straight(skb, p, keep);
	if (keep && p->bit)
		turn_bit(skb, p->bit - 1);
	return verdict;
}

#endif
