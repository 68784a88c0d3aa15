/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* Draws that can be had again: each is a function of the platform's seed, of
 * whom it befalls, of the number of his frame, and of its purpose. Nothing is
 * kept between frames but that number. */

#ifndef MYRIAD_RANDOM_H
#define MYRIAD_RANDOM_H

#include "bpf.h"

/* What frames draw for. Each frame has PURPOSES numbers of its own. */
enum purpose { TO_LOSE, TO_CHANGE_STATE, TO_DUPLICATE, TO_CORRUPT, TO_TURN_BIT, TO_REORDER, TO_JITTER, PURPOSES = 8 };

/* The odd number nearest to 2^64 divided by the golden ratio: multiples of it
 * are as far from each other as can be. */
#define GOLDEN 0x9e3779b97f4a7c15ull

/* mix makes every bit of its result depend on every bit of x (the finalizer of
 * SplitMix64: Steele, Lea and Flood, OOPSLA 2014, in D. Stafford's variant 13). */
INLINE u64 mix(u64 x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* stream is where the draws for one frame begin. */
INLINE u64 stream(u64 seed, u64 who, u64 frame)
{
	return mix(seed ^ mix(who + GOLDEN)) + frame * PURPOSES * GOLDEN;
}

/* draw gives 31 random bits. */
INLINE u32 draw(u64 stream, enum purpose purpose)
{
	return mix(stream + purpose * GOLDEN) >> 33;
}

/* happens decides with a probability in units of 2^-31. */
INLINE int happens(u64 stream, enum purpose purpose, u32 share)
{
	return share && draw(stream, purpose) < share;
}

#endif
