/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* Who is where: the tables of networks and their hosts, and how to look
 * somebody up. */

#ifndef MYRIAD_HOSTS_H
#define MYRIAD_HOSTS_H

#include "fabric.h"

/* One vnetwork, by its ID. A network that is not there has no span, no size
 * and no members. */
struct network {
	u32 first;   /* first address of its subnet */
	u32 size;    /* number of addresses in it, at most 2^24 */
	u32 base;    /* its slice of places: hosts 0 … span-1 are */
	u32 span;    /*   at base, base+1, … */
	u32 member;  /* its slice of members, where frames */
	u32 members; /*   for all are delivered; empty otherwise */
	u32 room;    /* how long that may grow, for those who write */
	u32 spare;
};

struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, struct network);
} nets SEC(".maps");

/* Where a host is: the index of its trunk in the spine, 0 for nobody, or one of
 * the marks below; and its link index: 0 if its viface never had conditions. */
struct place {
	u32 trunk;
	u32 link;
};

enum {
	PLACE_REMOTE = 1u << 30, /* with the number of the pnode that has it */
	PLACE_OTHER = 1u << 31,  /* its address is not the computed one: see others */
};

#define LOCAL(trunk) ((trunk) - 1 < PLACE_REMOTE - 1)
#define REMOTE(trunk) ((trunk) & PLACE_REMOTE)
#define SOMEWHERE(trunk) ((trunk) - 1 < PLACE_OTHER - 1) /* the one or the other */

struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, struct place);
} places SEC(".maps");

/* The exceptions: hosts with an address that the user gave, under that address
 * and under BY_HOST; hosts beyond their network's span, under BY_HOST. */
struct other {
	u64 mac;
	u32 network;
	u32 host;
	u32 trunk;
	u32 link;
};

#define BY_HOST(network, host) ((u64)1 << 63 | (u64)(network) << 32 | (host))

struct {
	number(type, MAP_HASH);
	number(map_flags, MAP_NO_PREALLOC);
	number(max_entries, 1); /* set at load */
	type_of(key, u64);
	type_of(value, struct other);
} others SEC(".maps");

INLINE struct network *network(u32 id)
{
	return map_lookup(&nets, &id);
}

/* find_host says whether a network has a host, and who it is. */
INLINE int find_host(u32 id, u32 host, struct other *who)
{
	struct network *net = network(id);
	struct place *place;
	struct other *other;
	u64 key = BY_HOST(id, host);
	u32 index;

	if (!net)
		return 0;
	if (host < net->span) {
		index = net->base + host;
		place = map_lookup(&places, &index);
		if (!place || !place->trunk)
			return 0;
		if (place->trunk != PLACE_OTHER) {
			who->mac = MAC_OF(id, host);
			who->network = id;
			who->host = host;
			who->trunk = place->trunk;
#ifdef SHAPED
			who->link = place->link;
#endif
			return 1;
		}
	}
	other = map_lookup(&others, &key);
	if (!other)
		return 0;
	*who = *other;
	return 1;
}

/* find_mac says whether somebody has an address, and who. */
NOINLINE int find_mac(u64 mac, struct other *who)
{
	struct other *other;

	if (MAC_FORM(mac) == COMPUTED && find_host(MAC_NETWORK(mac), MAC_HOST(mac), who) && who->mac == mac)
		return 1;
	other = map_lookup(&others, &mac);
	if (!other)
		return 0;
	*who = *other;
	return 1;
}

#endif
