/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* Queues without queues: a frame that comes to a link of limited capacity is
 * told when it will have left. All that is kept is where the queue ends. */

#ifndef MYRIAD_QUEUE_H
#define MYRIAD_QUEUE_H

#include "hold.h"

/* On so many CPUs may frames come to one link at the same moment. With more,
 * one of them may leave without having been counted. */
enum { TRIES = 8 };

/* What becomes of a frame that finds a queue. */
enum turn { TURN_COMES, TURN_MARKED, TURN_NEVER };

/* full decides whether a queue has room: what is above its limit is dropped, or
 * marked if it allows that, but not above twice the limit. A limit of 0 is none. */
INLINE enum turn full(const struct condition *c, u64 waiting, u64 limit, u32 ect)
{
	if (!limit || waiting <= limit)
		return TURN_COMES;
	return c->flags & ECN && ect && waiting <= 2 * limit ? TURN_MARKED : TURN_NEVER;
}

/* No frame takes 2^LONGEST bytes on the wire: the kernel makes none of more than
 * 64 KB, with headers for each packet of it. */
enum { LONGEST = 17 };

/* at_rate is for links of a constant rate: all that has come will have left at
 * next, and then it is the frame's turn. p->due is when it comes, and then when
 * its last byte has left.
 *
 * After a change of the rate, frames come after those of before. But what is
 * further ahead than this queue lets anything be was told so at a rate that was
 * much less: that would close the link for as long, and counts no more. */
GLOBAL u32 at_rate(struct passage *p, const struct condition *c, struct clock *clock)
{
	u64 cost, most, next, begin = 0;
	enum turn turn = TURN_COMES;

	if (!p || !c || !clock)
		return TURN_NEVER; /* for the verifier */
	cost = p->bytes * c->per_byte >> c->shift;
	most = 2 * c->queue + (c->per_byte << LONGEST >> c->shift);
	/* Left as a loop, it would be entered in the middle and closed by falling
	 * into it again, which Linux 6.1 takes for a loop without end. */
#pragma clang loop unroll(full)
	for (int i = 0; i < TRIES; i++) {
		next = *(volatile u64 *)&clock->next;
		begin = next > p->due ? next : p->due;
		if (c->queue && begin - p->due > most)
			begin = p->due;
		turn = full(c, begin - p->due, c->queue, p->ect);
		if (turn == TURN_NEVER || __sync_val_compare_and_swap(&clock->next, next, begin + cost) == next)
			break;
	}
	p->due = begin + cost;
	return turn;
}

/* A trace's moments are chances to send CHANCE bytes each. They are numbered
 * from when the trace began, over all of its periods; chance i is for the
 * bytes i * CHANCE to (i + 1) * CHANCE - 1. A frame takes the next bytes that
 * are free, and has left at the moment of its last one. So what one frame
 * leaves of a chance serves the next, if that is there by then; if it is not,
 * the rest is lost.
 *
 * The clock has the next free byte, below a tag: of another trace, it means nothing. */
enum { CHANCE = 1514, MS = 1000000, TAG = 48 };

#define TAG_OF(origin) (mix(origin) << TAG)
#define BYTE_OF(position) ((position) & (((u64)1 << TAG) - 1))

/* moment is when a chance comes. */
INLINE u64 moment(const struct condition *c, u64 origin, u64 chance)
{
	u64 period = chance / c->moments;
	u32 index = c->trace + 1 + (u32)(chance - period * c->moments);
	u64 *at = map_lookup(&traces, &index);

	return origin + period * c->period + (at ? *at : 0);
}

/* A search for the first moment that is not before a time in the period. */
struct search {
	u64 time;
	u32 trace, low, high;
};

NOINLINE long halve(u32 i, struct search *s)
{
	u32 middle = (s->low + s->high) / 2, index = s->trace + 1 + middle;
	u64 *at = map_lookup(&traces, &index);

	(void)i;
	if (s->low >= s->high)
		return 1;
	if (at && *at < s->time)
		s->low = middle + 1;
	else
		s->high = middle;
	return 0;
}

/* first_chance is the first that comes at a time or later. */
INLINE u64 first_chance(const struct condition *c, u64 origin, u64 time)
{
	u64 since = time > origin ? time - origin : 0, period = since / c->period;
	struct search s = {.time = since - period * c->period, .trace = c->trace, .high = c->moments};

	loop(32, halve, &s, 0);
	return period * c->moments + s.low;
}

/* by_trace is at_rate for links with a trace. */
GLOBAL u32 by_trace(struct passage *p, const struct condition *c, struct clock *clock)
{
	u64 *began, origin, tag, old, begin = 0, first, come;
	enum turn turn = TURN_COMES;
	u32 index;

	if (!p || !c || !clock)
		return TURN_NEVER; /* for the verifier */
	come = p->due;
	index = c->trace;
	began = map_lookup(&traces, &index);
	if (!began || !c->moments || !c->period)
		return TURN_NEVER;
	origin = *began;
	tag = TAG_OF(origin);
	for (int i = 0; i < TRIES; i++) {
		old = *(volatile u64 *)&clock->position;
		begin = BYTE_OF(old);
		if ((old ^ tag) >> TAG || moment(c, origin, begin / CHANCE) < come) /* nothing waits */
			begin = first_chance(c, origin, come) * CHANCE;
		else if (c->queue_bytes) {
			first = first_chance(c, origin, come) * CHANCE;
			turn = full(c, begin > first ? begin - first : 0, c->queue_bytes, p->ect);
		} else
			turn = full(c, moment(c, origin, begin / CHANCE) - come, c->queue, p->ect);
		if (turn == TURN_NEVER || __sync_val_compare_and_swap(&clock->position, old, tag | BYTE_OF(begin + p->bytes)) == old)
			break;
	}
	p->due = moment(c, origin, (begin + p->bytes - 1) / CHANCE);
	return turn;
}

#endif
