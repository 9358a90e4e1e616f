// What the parts of the flow table share among themselves.
#pragma once

#include "dataplane/table/nat.h"

// nat.c: zero, and the kernel's until it is touched; to be unmapped. NULL: no memory.
void *nat_map(size_t size);

// nat_index.c: the flow under its key of this side. False: no room near its bucket.
bool nat_index_add(
	struct nat_table *, enum nat_side, const struct nat_key *, uint32_t number) must_check;
void nat_index_remove(struct nat_table *, enum nat_side, const struct nat_key *, uint32_t number);
// The flow that is found under that very key, idle or not.
struct nat_flow *nat_index_find(const struct nat_table *, enum nat_side, const struct nat_key *);
// Under what the flow is found.
struct nat_key nat_index_key(const struct nat_flow *, enum nat_side);

// nat_client.c
struct nat_clients *nat_clients_create(uint32_t n);
void nat_clients_destroy(struct nat_clients *);
size_t nat_clients_memory(const struct nat_clients *);
// The client of that inside address, made if need be, and without more room the one that all
// others share; never one that is nobody's.
uint16_t nat_client_get(struct nat_clients *, const struct nat_key *inside, uint64_t key);
uint32_t nat_client_flows(const struct nat_clients *, uint16_t client);
void nat_client_add(struct nat_clients *, uint16_t client);		      // a flow of it
void nat_client_remove(struct nat_clients *, uint16_t client, uint64_t key);  // and away
void nat_client_release(struct nat_clients *, uint16_t client, uint64_t key); // if it has none

enum {
	NAT_QUIET_MS = 5000, // without a packet; the first repetitions of a SYN come sooner
};

static inline bool nat_is_quiet(const struct nat_flow *f, uint32_t now_ms)
{
	return now_ms - f->last_ms >= NAT_QUIET_MS;
}

// What a client can lose without noticing much: all but an open connection.
static inline bool nat_is_cheap(const struct nat_flow *f)
{
	return f->class != NAT_TCP_OPEN;
}

// nat_held.c: how many outside ports a client holds towards a destination. Exact, or more where
// others share its cells in both rows; never more than the client has flows.
bool nat_held_create(struct nat_table *) must_check;
void nat_held_destroy(struct nat_table *);
size_t nat_held_memory(const struct nat_table *);
// By one, by the port of this flow.
void nat_held_more(struct nat_table *, const struct nat_flow *);
void nat_held_less(struct nat_table *, const struct nat_flow *);
// key: an outside one, of what flows are found by there; its local port is not looked at.
uint32_t nat_held(const struct nat_table *, const struct nat_key *key, uint16_t client);

// nat_port.c: choose new.outside.local_port, ending another flow for it if that is fair. False: no
// port is free.
bool nat_port_choose(struct nat_table *, const struct nat_config *, struct nat_new *,
	uint16_t client) must_check;

// nat_claim.c: false: another worker holds it, or there is no room.
bool nat_claim(struct nat_claims *, const struct nat_key *outside, uint16_t worker) must_check;
void nat_unclaim(struct nat_claims *, const struct nat_key *outside, uint16_t worker);

// nat_expire.c
void nat_list_add(struct nat_table *, uint32_t number, uint32_t now_ms);
void nat_list_remove(struct nat_table *, uint32_t number);
// End one for a new flow. False: there is none that may.
bool nat_make_room(struct nat_table *, enum nat_class, uint16_t client, uint32_t now_ms) must_check;
// End a cheap one of the client itself, which is quiet. False: none was found.
bool nat_make_room_own(struct nat_table *, uint16_t client, uint32_t now_ms) must_check;
// End this one for another.
void nat_evict(struct nat_table *, struct nat_flow *, uint32_t now_ms);
