/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* What befalls a frame on its way from one viface to another: it meets what
 * goes for all that the sender sends, then what goes for the two, then what
 * goes for all that the receiver gets. */

#ifndef MYRIAD_SHAPE_H
#define MYRIAD_SHAPE_H

#include "hold.h"
#include "queue.h"

/* lost says whether chance takes a frame away: each by itself, or by a state
 * that changes at random at every frame (Gilbert and Elliott). */
INLINE int lost(const struct condition *c, struct clock *clock, u64 draws)
{
	u32 loss = c->loss;

	if (c->to_bad) {
		u64 bad = clock->bad;
		if (happens(draws, TO_CHANGE_STATE, bad ? c->to_good : c->to_bad))
			clock->bad = bad = !bad;
		if (bad)
			loss = c->loss_bad;
	}
	return happens(draws, TO_LOSE, loss);
}

/* delayed is how long a frame is delayed, with its jitter. */
INLINE u64 delayed(const struct condition *c, u64 draws)
{
	long long delay = c->delay, jitter = c->jitter;
	u32 at = c->table - 1, number;
	struct table *table;

	if (!jitter)
		return delay;
	number = draw(draws, TO_JITTER);
	if (!c->table)
		delay += jitter * ((long long)(number >> 10) - (1 << 20)) >> 20;
	else if ((table = map_lookup(&tables, &at)))
		delay += jitter * table->values[number >> (31 - TABLE_BITS) & ((1 << TABLE_BITS) - 1)] >> 16;
	return delay > 0 ? delay : 0;
}

/* in_order makes a frame leave no earlier than the one before. */
INLINE u64 in_order(struct clock *clock, u64 due)
{
	for (int i = 0; i < TRIES; i++) {
		u64 last = *(volatile u64 *)&clock->last;
		if (last >= due)
			return last;
		if (__sync_val_compare_and_swap(&clock->last, last, due) == last)
			break;
	}
	return due;
}

/* pass takes a frame over one leg. It returns 0, or why the frame is dropped.
 * who names the one for whom the draws are. */
GLOBAL u32 pass(struct passage *p, const struct condition *c, struct clock *clock, u32 leg, u64 who)
{
	u64 draws = 0;
	u32 turn = TURN_COMES, overtakes = 0;

	if (!p || !c || !clock || leg >= LEGS)
		return DROP_NO_STATE; /* for the verifier */
	if (c->flags & DRAWS)
		draws = stream(p->seed, who, __sync_fetch_and_add(&clock->frame, 1));
	if (p->twin != leg + 1 && c->flags & DRAWS) {
		if (lost(c, clock, draws))
			return DROP_LOST;
		if (happens(draws, TO_DUPLICATE, c->duplicate)) {
			count(DUPLICATED);
			p->again[leg] = p->due;
		}
	}
	if (c->flags & DRAWS) {
		if (happens(draws, TO_CORRUPT, c->corrupt)) {
			count(CORRUPTED);
			p->bit = 1 + ((u64)draw(draws, TO_TURN_BIT) * (p->length - ETHER_LEN) * 8 >> 31);
		}
		overtakes = happens(draws, TO_REORDER, c->reorder);
	}
	if (c->flags & PACED)
		turn = at_rate(p, c, clock);
	else if (c->flags & TRACED)
		turn = by_trace(p, c, clock);
	if (turn == TURN_NEVER)
		return DROP_QUEUE_FULL;
	if (turn == TURN_MARKED) {
		count(MARKED);
		p->marked = 1;
	}
	if (overtakes) {
		count(REORDERED);
		return 0;
	}
	p->due += delayed(c, draws);
	if (c->flags & ORDERED)
		p->due = in_order(clock, p->due);
	return 0;
}

/* Those for whom draws are: a viface as a sender, as a receiver, and a pair. */
#define VIFACE(who, leg) ((u64)((leg) + 1) << 48 | (u64)(who).network << 24 | (who).host)
#define PAIR(p) ((u64)(p)->from.network << 48 | (u64)(p)->from.host << 24 | (p)->to.host)

/* clock_of finds what a viface remembers, of what it sends; what it gets is
 * next. (Before Linux 6.2, a key may not be in memory of the caller's: hence
 * the parameter.) */
INLINE struct clock *clock_of(u32 index)
{
	return map_lookup(&states, &index);
}

/* pair_clock finds what a pair remembers, and makes it where it is new. */
INLINE struct clock *pair_clock(const struct passage *p)
{
	u64 key = PAIR(p);
	struct clock none = {}, *clock = map_lookup(&pair_states, &key);

	if (clock)
		return clock;
	map_update(&pair_states, &key, &none, MAP_UPDATE_NOEXIST);
	return map_lookup(&pair_states, &key);
}

/* way takes a frame over its legs, from one on. It stops before the last if the
 * frame is still under way then, and meets something there that keeps order:
 * of two frames to one receiver, the one from far away must not make the
 * one from near wait. It returns 0, or why the frame is dropped. */
GLOBAL u32 way(struct passage *p, u32 leg)
{
	struct condition *c;
	struct clock *clock;
	u32 dropped;

	if (!p)
		return DROP_NO_STATE; /* for the verifier */
	if (leg <= OUT && p->legs[OUT]) {
		c = find_condition(p->legs[OUT], p->halves);
		clock = clock_of(p->from.link);
		if ((dropped = pass(p, c, clock, OUT, VIFACE(p->from, OUT))))
			return dropped;
	}
	if (leg <= BETWEEN) {
		p->due += p->delay;
		if (p->legs[BETWEEN]) {
			c = find_condition(p->legs[BETWEEN], p->halves);
			if ((dropped = pass(p, c, pair_clock(p), BETWEEN, PAIR(p))))
				return dropped;
		}
	}
	if (!p->legs[IN])
		return 0;
	c = find_condition(p->legs[IN], p->halves);
	if (c && c->flags & STAGED && (long long)(p->due - p->base - p->now) > 0) {
		p->stage = 1;
		return 0;
	}
	clock = clock_of(p->to.link);
	return pass(p, c, clock ? clock + 1 : 0, IN, VIFACE(p->to, IN));
}

/* on_wire is how many bytes a frame takes on the wire: one that the kernel has
 * not cut into packets yet stands for several, each with headers of its own. */
NOINLINE u32 on_wire(struct __sk_buff *skb)
{
	u32 size = skb->gso_size, head = ETHER_LEN, length = skb->len;
	u8 first, protocol, offset;

	if (!size || size >= 0xffff)
		return length;
	if (skb->protocol == swap16(ETHER_IPV6)) {
		if (skb_load_bytes(skb, head + 6, &protocol, 1))
			return length;
		head += 40;
	} else {
		if (skb_load_bytes(skb, head, &first, 1) || skb_load_bytes(skb, head + 9, &protocol, 1))
			return length;
		head += (first & 15) * 4;
	}
	if (protocol != IP_TCP)
		head += 8;
	else if (!skb_load_bytes(skb, head + 12, &offset, 1))
		head += (offset >> 4) * 4;
	return length <= head ? length : length + ((length - head - 1) / size) * head;
}

/* allows_mark says whether a frame's sender understands marks (ECT, RFC 3168). */
INLINE u32 allows_mark(struct __sk_buff *skb)
{
	u8 at[2];

	if (skb_load_bytes(skb, ETHER_LEN, at, 2))
		return 0;
	if (skb->protocol == swap16(ETHER_IPV4))
		return (at[1] & 3) != 0;
	return skb->protocol == swap16(ETHER_IPV6) && (at[1] >> 4 & 3) != 0;
}

/* meet finds out what a frame meets, from a leg on, and returns the flags of
 * all of it. The last leg is at the receiver's pnode. */
INLINE u32 meet(struct __sk_buff *skb, struct passage *p, const struct control *now, u32 leg)
{
	u32 halves = p->halves = *(volatile u32 *)&now->halves, flags = 0, word;
	struct link *from = find_link(p->from.link, halves), *to = find_link(p->to.link, halves);
	struct condition *c;

	if (!from || !to)
		return 0;
	p->seed = now->seed[HALF(halves, PART_SEED)];
	p->base = now->base;
	p->length = skb->len;
	if (!REMOTE(p->to.trunk))
		p->legs[IN] = to->in;
	if (leg == OUT) {
		p->legs[OUT] = from->out;
		word = find_word(p->from.link, from, p->to.link, to, halves);
		if (word & WORD_CONDITION)
			p->legs[BETWEEN] = word & ~WORD_CONDITION;
		else
			p->delay = (u64)word << WORD_DELAY;
	}
	for (int i = 0; i < LEGS; i++) {
		if (p->legs[i] && (c = find_condition(p->legs[i], halves)))
			flags |= c->flags;
	}
	if (flags & (PACED | TRACED))
		p->bytes = on_wire(skb);
	if (flags & ECN)
		p->ect = allows_mark(skb);
	return flags;
}

/* travel takes a frame its way, from a leg on, and its twins after it: each
 * leg may make one, which goes on from there. With keep, the frame stays, and
 * what is sent are copies. */
INLINE int travel(struct __sk_buff *skb, struct passage *p, u32 leg, u32 keep)
{
	int verdict = TC_ACT_SHOT;

	for (int i = 0; i < 1 << LEGS; i++) {
		u32 dropped = way(p, leg);

		leg = p->again[IN] ? IN : p->again[BETWEEN] ? BETWEEN : p->again[OUT] ? OUT : LEGS;
		if (!dropped)
			verdict = send(skb, p, keep || leg < LEGS);
		else
			verdict = drop(dropped);
		if (leg >= LEGS)
			break;
		p->due = p->again[leg];
		p->again[leg] = 0;
		p->twin = leg + 1;
		p->bit = p->marked = p->stage = 0;
	}
	return verdict;
}

/* Where frames must be met one by one, as the packets that they are on the
 * wire and with true checksums, they go out of one end of a veth pair that can
 * do nothing for the kernel, which therefore cuts them and makes the sums, and
 * come back in at the other. All frames of such a way do, small ones too: none
 * overtakes another. */
INLINE int came_cut(struct __sk_buff *skb)
{
	struct control *now = the_control();
	return now && skb->ingress_ifindex == now->shard;
}

INLINE int to_be_cut(struct __sk_buff *skb)
{
	struct control *now = the_control();
	return now && now->cut && skb->ingress_ifindex != now->shard;
}

INLINE int cut(void)
{
	struct control *now = the_control();
	if (!now)
		return drop(DROP_NO_STATE);
	count(CUT);
	return redirect(now->cut, 0);
}

/* shape takes a frame the whole way, or what of it is at this pnode. */
NOINLINE int shape(struct __sk_buff *skb, struct passage *p, u32 keep)
{
	struct control *now = the_control();
	u32 leg = REMOTE(p->from.trunk) ? IN : OUT, rack;
	struct pnode *pnode;

	if (!now)
		return drop(DROP_NO_STATE);
	if (meet(skb, p, now, leg) & SINGLY && !keep && to_be_cut(skb))
		return cut();
	if (!p->delay && !p->legs[OUT] && !p->legs[BETWEEN] && !p->legs[IN])
		return send(skb, p, keep);
	p->now = p->due = ktime();
	rack = (leg == OUT ? p->from.trunk : p->to.trunk) - FIRST_TRUNK;
	p->link = fq ? now->entry : now->entry + rack;
	/* The way to another pnode is a part of what is asked for. */
	if (REMOTE(p->to.trunk) && (pnode = find_pnode(p->to.trunk)))
		p->base += pnode->way;
	return travel(skb, p, leg, keep);
}

/* shape_one is shape for a frame to one receiver. */
NOINLINE int shape_one(struct __sk_buff *skb, const struct other *from, const struct other *to)
{
	struct passage *p = new_passage(UNICAST);

	if (!p)
		return drop(DROP_NO_STATE);
	p->from = *from;
	p->to = *to;
	p->fresh = 1;
	return shape(skb, p, 0);
}

/* shape_near is shape_one for computed addresses. Places are passed as words. */
NOINLINE int shape_near(struct __sk_buff *skb, u64 from, u64 to, u64 from_place, u64 to_place)
{
	struct passage *p = new_passage(UNICAST);

	if (!p)
		return drop(DROP_NO_STATE);
	p->from = (struct other){from, MAC_NETWORK(from), MAC_HOST(from), from_place, from_place >> 32};
	p->to = (struct other){to, MAC_NETWORK(to), MAC_HOST(to), to_place, to_place >> 32};
	p->fresh = 1;
	return shape(skb, p, 0);
}

/* shape_copy sends one member his own copy of a frame for all. */
INLINE long shape_copy(struct __sk_buff *skb, u64 from, u64 to)
{
	struct passage *p = new_passage(BROADCAST_COPY);

	if (p && find_mac(from, &p->from) && find_mac(to, &p->to))
		shape(skb, p, 1);
	return 0;
}

#endif
