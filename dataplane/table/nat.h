// The translated flows of one worker, its alone: which packets of filtered peers leave under other
// addresses, and what comes back for them. A flow has an inside, as the peer knows it, and an
// outside, as the network does; it is found by a keyed hash of either. What it costs: 128 bytes,
// 16 of the index, 2 of its client, 8 of who holds which ports. [wrk, unless said otherwise]
#pragma once

#include <emmintrin.h>
#include <stdalign.h>

#include "dataplane/table/nat_config.h"
#include "dataplane/table/tuple_hash.h"

enum {
	NAT_FLOWS = 1 << 20,	       // bound of a worker, unless told otherwise
	NAT_FLOWS_MAX = (1 << 21) - 1, // what an index entry can name
	NAT_CLIENTS_MAX = (1 << 16) - 1,
	NAT_PORT_BLOCK = 16, // ports in a row that one worker owns
	NAT_WAYS = 15,
	NAT_NIL = 0, // no flow
};

enum nat_side {
	NAT_INSIDE,
	NAT_OUTSIDE,
};

// A flow as one side knows it. remote: who the peer talks to; local: the peer's own, or what stands
// for it. Ports are network order; ICMP echo: local_port is the id, remote_port 0. All bytes count.
struct nat_key {
	uint8_t remote[16], local[16]; // IPv4: the first 4 bytes, the rest zero
	rte_be16_t remote_port, local_port;
	uint8_t family; // enum ip_family
	uint8_t proto;
};
static_assert(sizeof(struct nat_key) == 38);

enum nat_flag {
	NAT_FIN_OUT = 1 << 0,  // TCP: the peer has sent FIN
	NAT_FIN_IN = 1 << 1,   // the other side has
	NAT_ANSWERED = 1 << 2, // something came back
	// For all destinations, which stay as they are: remote is the one that was seen last, on
	// both sides, and no part of the key (RFC 4787 4.1, 5).
	NAT_ANY_REMOTE = 1 << 3,
	NAT_JAILED = 1 << 4,	 // judged as one of a jailed peer
	NAT_HAIRPIN = 1 << 5,	 // to an outside address of ours (RFC 4787 6)
	NAT_CLAIMED = 1 << 6,	 // no ports: holds a claim
	NAT_OWN_SOURCE = 1 << 7, // the peer's address stays: what comes back shows no sign of us
};

struct nat_flow {
	struct nat_key side[2]; // enum nat_side
	uint8_t class;		// enum nat_class
	uint8_t flags;		// enum nat_flag
	uint16_t client;
	uint32_t last_ms;    // of its last packet
	uint32_t queued_ms;  // when it came to the end of its class's list
	uint32_t prev, next; // in that list
	uint32_t version;    // odd: being changed
	uint32_t generation; // of the rules that let it through
	uint64_t bytes[2];   // by the side that sent them: of IP packets
	uint32_t packets[2]; // super-packets count once
};
static_assert(sizeof(struct nat_flow) == 128);

// A line of the index: entries are flow | side | tag of the hash.
struct nat_bucket {
	uint32_t entry[NAT_WAYS];
	uint32_t passed; // entries of this line, or that went past it, that lie in a later one
};
static_assert(sizeof(struct nat_bucket) == 64);

enum {
	NAT_ENTRY_SIDE = 1 << 21,
	NAT_ENTRY_FLOW = NAT_ENTRY_SIDE - 1,
	NAT_ENTRY_TAG_SHIFT = 22,
};

// Clients by their inside address, with how many flows they have.
struct nat_clients;

// Flows without ports that workers hold, by outside addresses and protocol: a packet that comes
// back finds its worker here. Part of struct gateway, all zero at first.
enum {
	NAT_CLAIM_WAYS = 8,
	NAT_CLAIM_SETS = 256,
};

struct nat_claims {
	_Atomic uint32_t n;
	_Atomic uint64_t slot[NAT_CLAIM_SETS][NAT_CLAIM_WAYS]; // hash << 8 | worker + 1; 0: free
};

struct nat_list {
	uint32_t first, last; // longest queued first
	uint32_t n;
};

struct nat_table {
	struct nat_flow *flow; // [0] is none's
	struct nat_bucket *bucket;
	uint32_t mask;	// buckets - 1
	uint32_t bound; // flows at most
	uint32_t n, n_any_remote, n_own_source;
	uint32_t *port_flows, n_ports; // flows by outside port, host order; ports that have any
	uint32_t touched, free;	       // flows handed out once; list of those that came back
	uint32_t idle_ms[NAT_CLASS_COUNT];
	uint16_t worker, n_workers;
	uint64_t key[TUPLE_HASH_KEYS];
	uint64_t random;
	struct nat_list list[NAT_CLASS_COUNT];
	struct nat_clients *clients;
	uint32_t *held, held_mask; // ports by client and destination: two rows of cells
	struct nat_claims *claims;
	unsigned turn;			    // the class that is looked at first for idle flows
	uint64_t created, expired, evicted; // since the start
};

// flows: 1 to NAT_FLOWS_MAX; memory is touched as they come. NULL: no memory. [ctl]
struct nat_table *nat_table_create(
	uint32_t flows, uint16_t worker, uint16_t n_workers, struct nat_claims *) must_check;
void nat_table_destroy(struct nat_table *);	   // NULL is fine [ctl, worker gone]
size_t nat_table_memory(const struct nat_table *); // bytes, when it is full [any thread]

// What a new flow is.
struct nat_new {
	struct nat_key inside, outside; // outside.local_port: to be chosen, where choose says so
	uint8_t class;
	uint8_t flags;
	bool choose;
	uint32_t generation;
	uint32_t now_ms;
	uint16_t reserved_first, n_reserved; // ports that are never chosen, host order
	uint16_t reserved;		     // another one; 0: none
};

enum nat_refusal {
	NAT_REFUSED_CLIENT = 1, // the client has its limit of flows, and none to end for this one
	NAT_REFUSED_PORTS,	// no outside port, or address pair, is free, nor may be taken
	NAT_REFUSED_FULL,	// nor is room, and nobody else has more than this client
	NAT_REFUSALS,
};

// A new flow by config, or NULL and why. May end another one; never one with last_ms == now_ms.
// Neither of its keys is known.
struct nat_flow *nat_open(struct nat_table *, const struct nat_config *, const struct nat_new *,
	enum nat_refusal *why);
void nat_close(struct nat_table *, struct nat_flow *);
// Of a flow for any remote: the one of this packet.
void nat_set_remote(struct nat_flow *, const struct nat_key *seen, bool hairpin);
// Into another class's list, as one that was just seen.
void nat_set_class(struct nat_table *, struct nat_flow *, enum nat_class, uint32_t now_ms);
// Look at up to budget flows that may be idle; those that are end. True: more are due.
bool nat_expire(struct nat_table *, uint32_t now_ms, unsigned budget);
// Idle times from now on; of config, which may be NULL: as they were.
void nat_idle_times(struct nat_table *, const struct nat_config *config);

// Whose flows a port of the outside belongs to. Host order.
static inline uint16_t nat_port_owner(uint16_t port, uint16_t n_workers)
{
	return port / NAT_PORT_BLOCK % n_workers;
}

// Who holds the flow without ports whose outside this is; n_workers or more: nobody.
uint16_t nat_claim_owner(const struct nat_claims *, const struct nat_key *outside);

// The flow as another thread may see it.
struct nat_view {
	struct nat_key inside, outside;
	uint8_t class;
	uint8_t flags;
	uint32_t idle_ms;
	uint64_t bytes[2]; // by the side that sent them
	uint32_t packets[2];
};

// Copy up to n flows from *cursor (0 at first) on; returns how many. *cursor is 0 again when none
// are left. Flows that come or go meanwhile may be missed, none is shown twice or half. now_ms: as
// nat_ms() of now. [any thread, while the worker runs]
unsigned nat_table_read(const struct nat_table *, uint32_t *cursor, uint32_t now_ms,
	struct nat_view *out, unsigned n);
// [any thread, relaxed]
uint32_t nat_table_count(const struct nat_table *);
uint32_t nat_class_count(const struct nat_table *, enum nat_class);
uint32_t nat_ports_in_use(const struct nat_table *); // outside ports with flows

// The clock of all this.
static inline uint32_t nat_ms(uint64_t tsc, double tsc_per_ns)
{
	return (uint32_t)(uint64_t)((double)tsc / (tsc_per_ns * 1e6));
}

// What lies behind the addresses, in one.
static inline uint64_t nat_last_word(const struct nat_key *k)
{
	uint32_t ports;
	uint16_t kind;
	memcpy(&ports, &k->remote_port, sizeof(ports));
	memcpy(&kind, &k->family, sizeof(kind));
	return (uint64_t)kind << 32 | ports;
}

static inline uint64_t nat_hash(
	const struct nat_table *t, enum nat_side side, const struct nat_key *k)
{
	return tuple_hash(t->key, k->remote, k->local, nat_last_word(k), side);
}

// The key of flows that go by any remote.
static inline struct nat_key nat_any_remote(const struct nat_key *k)
{
	struct nat_key any = *k;
	memset(any.remote, 0, sizeof(any.remote));
	any.remote_port = 0;
	return any;
}

static inline bool nat_same_local(const struct nat_key *a, const struct nat_key *b)
{
	return memcmp(a->local, b->local, sizeof(a->local)) == 0 &&
	       a->local_port == b->local_port && a->family == b->family && a->proto == b->proto;
}

static inline bool nat_same_remote(const struct nat_key *a, const struct nat_key *b)
{
	return memcmp(a->remote, b->remote, sizeof(a->remote)) == 0 &&
	       a->remote_port == b->remote_port;
}

static inline bool nat_same_key(const struct nat_key *a, const struct nat_key *b)
{
	return ((tuple_word(a->remote) ^ tuple_word(b->remote)) |
		       (tuple_word(a->remote + 8) ^ tuple_word(b->remote + 8)) |
		       (tuple_word(a->local) ^ tuple_word(b->local)) |
		       (tuple_word(a->local + 8) ^ tuple_word(b->local + 8)) |
		       (nat_last_word(a) ^ nat_last_word(b))) == 0;
}

static inline const struct nat_bucket *nat_home(const struct nat_table *t, uint64_t hash)
{
	return &t->bucket[hash & t->mask];
}

// Never 0 in its tag, which is what tells an entry from a free one.
static inline uint32_t nat_entry(enum nat_side side, uint64_t hash)
{
	return (uint32_t)(hash >> 54 | 1) << NAT_ENTRY_TAG_SHIFT | side * NAT_ENTRY_SIDE;
}

// Bits of the entries of b that may be the wanted one.
static inline unsigned nat_ways(const struct nat_bucket *b, uint32_t entry)
{
	const __m128i *line = (const __m128i *)b->entry;
	__m128i want = _mm_set1_epi32((int)entry);
	__m128i mask = _mm_set1_epi32((int)~(uint32_t)NAT_ENTRY_FLOW), is[4];
	for (unsigned i = 0; i < 4; i++)
		is[i] = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(line + i), mask), want);
	__m128i half =
		_mm_packs_epi16(_mm_packs_epi32(is[0], is[1]), _mm_packs_epi32(is[2], is[3]));
	return (unsigned)_mm_movemask_epi8(half) & ((1u << NAT_WAYS) - 1);
}

static inline uint32_t nat_number(const struct nat_table *t, const struct nat_flow *f)
{
	return (uint32_t)(f - t->flow);
}

// The flow of a number in this bucket that is likely the wanted one; NAT_NIL: none.
static inline uint32_t nat_guess(const struct nat_table *t, enum nat_side side, uint64_t hash)
{
	const struct nat_bucket *b = nat_home(t, hash);
	unsigned ways = nat_ways(b, nat_entry(side, hash));
	return ways ? b->entry[__builtin_ctz(ways)] & NAT_ENTRY_FLOW : NAT_NIL;
}

// The flow with that very key; of one that goes by any remote, its local half. NULL: there is none,
// idle ones included.
struct nat_flow *nat_find(const struct nat_table *, enum nat_side, const struct nat_key *,
	uint64_t hash, uint32_t now_ms);

static inline bool nat_is_idle(const struct nat_table *t, const struct nat_flow *f, uint32_t now_ms)
{
	return now_ms - f->last_ms >= t->idle_ms[f->class];
}

// nat_find where nat_guess() has looked already.
static inline struct nat_flow *nat_find_guessed(const struct nat_table *t, enum nat_side side,
	const struct nat_key *k, uint64_t hash, uint32_t guess, uint32_t now_ms)
{
	struct nat_flow *f = &t->flow[guess];
	if (likely(guess != NAT_NIL && nat_same_key(&f->side[side], k) &&
		    !(f->flags & NAT_ANY_REMOTE) && !nat_is_idle(t, f, now_ms)))
		return f;
	return nat_find(t, side, k, hash, now_ms);
}

// The flow of a packet: the one with its very addresses, or else one for any remote.
static inline struct nat_flow *nat_lookup(
	const struct nat_table *t, enum nat_side side, const struct nat_key *k, uint32_t now_ms)
{
	struct nat_flow *f = NULL;
	if (t->n > t->n_any_remote)
		f = nat_find(t, side, k, nat_hash(t, side, k), now_ms);
	if (f || t->n_any_remote == 0)
		return f;
	struct nat_key any = nat_any_remote(k);
	return nat_find(t, side, &any, nat_hash(t, side, &any), now_ms);
}
