/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* The tables of link conditions, and how they change under the traffic.
 *
 * Each part has two halves, of which one is in force. To change a part, the
 * other half is written, and then one store into control.halves puts the new
 * halves of all parts into force at once. A program reads that word once for
 * each frame, so that no frame meets a mixture. The half that went out of
 * force may still be in use by programs that run: whoever writes it waits for
 * those (an RCU grace period). */

#ifndef MYRIAD_LINKS_H
#define MYRIAD_LINKS_H

#include "bpf.h"

/* The bits of control.halves: which half of each part is in force. */
enum part { PART_LINKS, PART_CONDITIONS, PART_MATRIX, PART_PAIRS, PART_SEED };

#define HALF(halves, part) ((halves) >> (part) & 1)

struct control {
	u32 halves;
	u32 entry;   /* where frames enter the holder: the fq's link, or rack 0's hold device */
	u64 changed; /* when halves was last stored */
	u64 seed[2];
	u64 base;  /* what holding a frame costs, subtracted of its delay */
	u32 exit;  /* where they leave it, for those who look for the program release */
	u32 cut;   /* where frames are cut into packets, or 0 */
	u32 shard; /* where the packets come out */
	u32 kind;  /* of holder, for those who look */
};

struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1);
	type_of(key, u32);
	type_of(value, struct control);
} control SEC(".maps");

/* What goes for one viface, by its link index (struct place). Index 0 is
 * everyone's who has no conditions. */
struct link {
	u32 out, in; /* conditions, 0 for none */
	u32 row;     /* of its class in matrix */
	u32 column;  /* the same, from 1 on; 0 without a class; and a mark */
};

#define HAS_EXCEPTIONS (1u << 31) /* as a sender: see pairs */

struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, struct link[2]);
} links SEC(".maps");

/* What can befall a frame on one leg of its way. */
struct condition {
	u32 flags;
	u32 table; /* of jitter, from 1 on; 0: uniform */
	u64 delay; /* all times are ns */
	u64 jitter;
	u32 loss, to_bad, to_good, loss_bad, corrupt, duplicate, reorder; /* probabilities in units of 2^-31 */
	u32 shift;
	u64 per_byte;    /* of a rate, in units of 2^-shift */
	u64 queue;       /* longest wait for one's turn */
	u64 queue_bytes; /* most bytes waiting; of traces only: a rate makes time of them */
	u64 period;      /* of a trace */
	u32 trace;       /* its first element, and the number of moments after it */
	u32 moments;
};

enum {
	SINGLY = 1 << 0, /* frames must be met one by one, with true checksums: see cut */
	DRAWS = 1 << 1,  /* something is left to chance */
	PACED = 1 << 2,  /* there is a rate */
	TRACED = 1 << 3, /* or a trace */
	ECN = 1 << 4,
	ORDERED = 1 << 5,
	STAGED = 1 << 6, /* as a receiver's: see way */
};

struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, struct condition[2]);
} conditions SEC(".maps");

/* What goes between classes: (sender's - 1) * classes + receiver's - 1. A word
 * is a delay in units of 64 ns or, with the mark, a condition; 0 says nothing. */
enum { WORD_DELAY = 6, WORD_CONDITION = 1u << 31 };

struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, u32[2]);
} matrix SEC(".maps");

/* Exceptions from it: words by half, sender's and receiver's link index. */
#define PAIR_KEY(half, from, to) ((u64)(half) << 63 | (u64)(from) << 32 | (to))

struct {
	number(type, MAP_HASH);
	number(map_flags, MAP_NO_PREALLOC);
	number(max_entries, 1); /* set at load */
	type_of(key, u64);
	type_of(value, u32);
} pairs SEC(".maps");

/* What one leg of a way remembers from frame to frame. Programs on several
 * CPUs change it, without locks; who configures does not. */
struct clock {
	u64 next;     /* of a rate: when all that has come will have left */
	u64 position; /* of a trace: see queue.h */
	u64 last;     /* of the ordered: the latest departure */
	u64 frame;    /* of those who draw: their number */
	u64 bad;      /* Gilbert and Elliott's state */
};

struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, struct clock[2]); /* of what a viface sends, and of what it gets */
} states SEC(".maps");

/* The same of pairs that need it, by network and hosts (PAIR in shape.h): those
 * that were quiet for longest give way. */
struct {
	number(type, MAP_LRU_HASH);
	number(max_entries, 1); /* set at load */
	type_of(key, u64);
	type_of(value, struct clock);
} pair_states SEC(".maps");

/* Distributions of jitter: inverse cumulative distributions, in units of 2^-16. */
enum { TABLE_BITS = 12 };

struct table {
	int values[1 << TABLE_BITS];
};

struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, struct table);
} tables SEC(".maps");

/* Traces, one after the other: when each began, then its moments since. What
 * is in force is never written, so that tables and traces need no halves. */
struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, u64);
} traces SEC(".maps");

INLINE struct control *the_control(void)
{
	u32 only = 0;
	return map_lookup(&control, &only);
}

INLINE struct link *find_link(u32 index, u32 halves)
{
	struct link *both = map_lookup(&links, &index);
	return both ? both + HALF(halves, PART_LINKS) : 0;
}

INLINE struct condition *find_condition(u32 index, u32 halves)
{
	struct condition *both = map_lookup(&conditions, &index);
	return both ? both + HALF(halves, PART_CONDITIONS) : 0;
}

/* find_word says what goes between two vifaces, by one look-up. */
INLINE u32 find_word(u32 from_index, const struct link *from, u32 to_index, const struct link *to, u32 halves)
{
	u64 key = PAIR_KEY(HALF(halves, PART_PAIRS), from_index, to_index);
	u32 column = to->column & ~HAS_EXCEPTIONS, index, *word;

	if (from->column & HAS_EXCEPTIONS) {
		word = map_lookup(&pairs, &key);
		if (word && *word)
			return *word;
	}
	if (!column || !(from->column & ~HAS_EXCEPTIONS))
		return 0;
	index = from->row + column - 1;
	word = map_lookup(&matrix, &index);
	return word ? word[HALF(halves, PART_MATRIX)] : 0;
}

#endif
