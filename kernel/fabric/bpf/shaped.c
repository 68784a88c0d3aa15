/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* The fabric of platforms whose links have conditions: the program trunk, with
 * what they need; it also runs at the end of the cut. And the program release,
 * where frames come out of the holder. */

#define SHAPED
#include "trunk.c"

/* late counts a frame by how late it is: up to 4 us by the microsecond, above
 * that in four steps for each doubling (program.LatenessBuckets). */
INLINE void late(long long ns)
{
	u64 us = ns > 0 ? (u64)ns / 1000 : 0, *all;
	u32 only = 0, bucket = us, log = 0;

	if (us >= 1u << 25)
		us = (1u << 25) - 1;
	if (us >= 4) {
		for (int step = 16; step; step >>= 1) {
			if (us >> (log + step))
				log += step;
		}
		bucket = (log - 1) * 4 + (us >> (log - 2) & 3);
	}
	all = map_lookup(&counts, &only);
	if (all && bucket < LATENESSES)
		all[REASONS + bucket]++;
	if (us >= 1000)
		count(RELEASED_LATE);
}

/* release runs where frames leave the holder. Those that were on their way to
 * the last leg only now meet what goes there: at the time they were due, not at
 * the later one it is now, so that lateness never adds up. */
SEC("tc")
int release(struct __sk_buff *skb)
{
	struct passage *p = new_passage(RELEASED);
	struct control *control = the_control();
	u32 head[HEAD / 4], network;
	int ticks;

	if (!control || !p || skb_load_bytes(skb, 0, head, HEAD))
		return drop(DROP_MALFORMED);
	network = head[1] & 0xffff;
	p->from.network = network;
	p->from.host = head[1] >> 16 | (head[2] & 0xff) << 16;
	p->from.mac = MAC_OF(network, p->from.host);
	p->now = ktime();
	ticks = (int)(((u32)(p->now >> TICK) << 1) - (head[0] & ~1u)) >> 1; /* by which it is late */
	late((long long)p->now - (long long)(((p->now >> TICK) - ticks) << TICK));
	find_host(network, p->from.host, &p->from); /* who has sent it may have gone */
	if (!find_host(network, head[2] >> 8, &p->to))
		return drop(RELEASED_TO_NOBODY);
	if (!(head[0] & 1))
		return send(skb, p, 0);
	meet(skb, p, control, IN);
	p->due = (((p->now >> TICK) - ticks) << TICK) + p->base;
	p->link = *(volatile u32 *)&skb->ingress_ifindex;
	if (fq)
		p->link = control->entry;
	return travel(skb, p, IN, 0);
}
