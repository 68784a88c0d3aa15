/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* What the fabric's programs have in common: Ethernet addresses as numbers,
 * and one count for every frame by what became of it. */

#ifndef MYRIAD_FABRIC_H
#define MYRIAD_FABRIC_H

#include "bpf.h"

enum { ETHER_LEN = 14, ETHER_IPV4 = 0x0800, ETHER_IPV6 = 0x86dd, ETHER_ARP = 0x0806, IP_TCP = 6 };

/* Indexes in the spine: of the overlay's device, and of rack 0's trunk. */
enum { OVERLAY = 12, FIRST_TRUNK = 16 };

/* An Ethernet address is a number of 48 bits, its first byte the highest. The
 * computed address of a viface is 02, network (16 bits), host (24 bits). */
#define MAC_FORM(mac) ((mac) >> 40)
#define MAC_NETWORK(mac) ((u32)((mac) >> 24) & 0xffff)
#define MAC_HOST(mac) ((u32)(mac) & 0xffffff)
#define MAC_GROUP(mac) ((mac) >> 40 & 1)
#define MAC_OF(network, host) ((u64)2 << 40 | (u64)(network) << 24 | (host))

enum { COMPUTED = 2 };

/* The 48 bits at the head of eight bytes in wire order. */
INLINE u64 mac_at(const void *p)
{
	return swap64(*(const u64 *)p) >> 16;
}

INLINE void put_mac(u8 *to, u64 mac)
{
	for (int i = 0; i < 6; i++)
		to[i] = mac >> (40 - 8 * i);
}

/* What became of a frame: exactly one reason for each that a program saw,
 * and beside them the copies made of broadcast frames. The names that people
 * see are in counters.go, in the same order. */
enum reason {
	UNICAST,
	ARP_ANSWERED,
	BROADCAST,
	DROP_SPOOFED_SOURCE,
	DROP_UNKNOWN_DESTINATION,
	DROP_OTHER_NETWORK,
	DROP_OTHER_PNODE,
	DROP_ARP_UNKNOWN,
	DROP_ARP_ANNOUNCEMENT,
	DROP_BROADCAST,
	DROP_IPV6,
	DROP_MALFORMED,
	BROADCAST_COPY,
	DROP_BROADCAST_COPY,
	CUT,
	HELD,
	RELEASED,
	RELEASED_LATE,
	RELEASED_TO_NOBODY,
	UNHELD,
	DROP_LOST,
	DROP_QUEUE_FULL,
	DROP_NO_HOLDER,
	DROP_NO_STATE,
	MARKED,
	CORRUPTED,
	DUPLICATED,
	REORDERED,
	TUNNEL_OUT,
	TUNNEL_IN,
	DROP_FOREIGN_TUNNEL,
	REASONS = 32, /* room for more without a new shape of map */
	LATENESSES = 96,
};

struct {
	number(type, MAP_PERCPU_ARRAY);
	number(max_entries, 1);
	type_of(key, u32);
	type_of(value, u64[REASONS + LATENESSES]); /* by reason; by how late frames left the holder */
} counts SEC(".maps");

INLINE void count(u32 reason)
{
	u32 only = 0;
	u64 *all = map_lookup(&counts, &only);
	if (likely(all) && reason < REASONS)
		all[reason]++;
}

INLINE int drop(u32 reason)
{
	count(reason);
	return TC_ACT_SHOT;
}

#endif
