/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* The way between pnodes: one VXLAN device, to which the programs say by which
 * tunnel each frame goes. Nothing is flooded or learned. */

#ifndef MYRIAD_OVERLAY_H
#define MYRIAD_OVERLAY_H

#include "hosts.h"

/* The tunnel to a pnode, by its number. */
struct pnode {
	u32 address; /* of its end, 0 if it has none */
	u32 own;     /* of this end */
	u32 vni;     /* of the platform */
	u32 spare;
	u64 way; /* ns that a frame takes by itself */
};

struct {
	number(type, MAP_ARRAY);
	number(map_flags, MAP_MMAPABLE);
	number(max_entries, 1); /* set at load */
	type_of(key, u32);
	type_of(value, struct pnode);
} pnodes SEC(".maps");

/* As many routers may be between two pnodes. */
enum { TTL = 64 };

INLINE struct pnode *find_pnode(u32 place)
{
	u32 number = place & ~PLACE_REMOTE;
	return map_lookup(&pnodes, &number);
}

/* enter says to the overlay's device where a frame goes that will be sent
 * there. It returns 0, or why it cannot. */
NOINLINE u32 enter(struct __sk_buff *skb, u32 place)
{
	struct pnode *pnode = find_pnode(place);
	struct tunnel_key key = {.ttl = TTL};

	if (!pnode || !pnode->address)
		return DROP_OTHER_PNODE;
	key.id = pnode->vni;
	key.remote = pnode->address;
	key.local = pnode->own;
	/* The frame has checksums of its own. */
	if (skb_set_tunnel_key(skb, &key, sizeof(key), ZERO_CSUM_TX))
		return DROP_OTHER_PNODE;
	count(TUNNEL_OUT);
	return 0;
}

/* came_from says whether a frame that came by a tunnel came from a place. What
 * others send, and who has been replaced elsewhere, is kept out by that. */
NOINLINE u32 came_from(struct __sk_buff *skb, u32 place)
{
	struct pnode *pnode = find_pnode(place);
	struct tunnel_key key;

	/* As much of the key as the remote address. */
	if (!REMOTE(place) || !pnode || skb_get_tunnel_key(skb, &key, 8, 0))
		return 0;
	return key.remote == pnode->address && key.id == pnode->vni && key.remote;
}

#endif
