/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */

/* What the programs need of the kernel's interface, and nothing else: with it
 * a compiler is all that `go generate` asks for. No helper here is newer than
 * Linux 5.17, but the one that only a holder of kind fq is given; tunnels between
 * pnodes need 5.19. */

#ifndef MYRIAD_BPF_H
#define MYRIAD_BPF_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* The context of a tc program, as far as it is used. */
struct __sk_buff {
	u32 len;
	u32 pkt_type;
	u32 mark;
	u32 queue_mapping;
	u32 protocol;
	u32 vlan_present;
	u32 vlan_tci;
	u32 vlan_proto;
	u32 priority;
	u32 ingress_ifindex;
	u32 ifindex;
	u32 tc_index;
	u32 cb[5];
	u32 hash;
	u32 tc_classid;
	u32 data;
	u32 data_end;
	u32 unused[15]; /* napi_id … data_meta */
	u64 flow_keys;
	u64 tstamp;
	u32 wire_len;
	u32 gso_segs;
	u64 sk;
	u32 gso_size;
};

enum { TC_ACT_UNSPEC = -1, TC_ACT_OK = 0, TC_ACT_SHOT = 2 };
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6, MAP_LRU_HASH = 9 };
enum { MAP_NO_PREALLOC = 1 << 0, MAP_MMAPABLE = 1 << 10 };
enum { MAP_UPDATE_NOEXIST = 1 };
enum { PACKET_HOST = 0 };
enum { TSTAMP_DELIVERY_MONO = 1 };
enum { ZERO_CSUM_TX = 1 << 1 };

/* Where a tunnel leads, in host byte order (struct bpf_tunnel_key). */
struct tunnel_key {
	u32 id;
	u32 remote, remote6[3];
	u8 tos, ttl;
	u16 flags;
	u32 label;
	u32 local, local6[3]; /* Linux 5.19 */
};

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*ktime)(void) = (void *)5; /* CLOCK_MONOTONIC */
static long (*skb_store_bytes)(struct __sk_buff *skb, u32 at, const void *from, u32 len, u64 flags) = (void *)9;
static long (*clone_redirect)(struct __sk_buff *skb, u32 ifindex, u64 flags) = (void *)13;
static long (*skb_get_tunnel_key)(struct __sk_buff *skb, struct tunnel_key *key, u32 size, u64 flags) = (void *)20;
static long (*skb_set_tunnel_key)(struct __sk_buff *skb, const struct tunnel_key *key, u32 size, u64 flags) = (void *)21;
static long (*redirect)(u32 ifindex, u64 flags) = (void *)23;
static long (*skb_load_bytes)(const struct __sk_buff *skb, u32 at, void *to, u32 len) = (void *)26;
static long (*skb_change_type)(struct __sk_buff *skb, u32 type) = (void *)32;
static long (*skb_ecn_set_ce)(struct __sk_buff *skb) = (void *)97;
static long (*redirect_peer)(u32 ifindex, u64 flags) = (void *)155;
static long (*loop)(u32 times, void *callback, void *context, u64 flags) = (void *)181;
static long (*skb_set_tstamp)(struct __sk_buff *skb, u64 tstamp, u32 type) = (void *)192; /* Linux 5.18 */

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#define GLOBAL __attribute__((noinline)) /* verified by itself, once; never inlined into what calls it */
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Members of a map's definition, which the loader reads from its type. */
#define number(name, value) int(*name)[value]
#define type_of(name, value) __typeof__(value) *name

/* Every multi-byte field on the wire is big-endian; the programs are compiled
 * for little-endian machines. */
#define swap16(x) __builtin_bswap16(x)
#define swap32(x) __builtin_bswap32(x)
#define swap64(x) __builtin_bswap64(x)

char licence[] SEC("license") = "Dual BSD/GPL";

#endif
