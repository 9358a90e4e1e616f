// One WireGuard session's transport keys with their counters. Made by the control thread from a
// handshake, used by the worker that owns the peer, found by receiver index.
#pragma once

#include <stdatomic.h>

#include "dataplane/base/mem.h"
#include "dataplane/table/replay.h"

struct peer;

struct keypair {
	uint8_t recv_key[KEY_LEN]; // this line: fixed once published
	uint8_t send_key[KEY_LEN];

	struct peer *peer;	// fixed once published
	uint64_t rekey_send_at; // TSC; sending later asks for a handshake (initiator, 120 s)
	uint64_t rekey_recv_at; // TSC; receiving later asks for one (initiator, 165 s)
	uint64_t reject_at;	// TSC; not used any more from here on (180 s)
	uint32_t local_index;	// host order; what the other side writes as receiver
	uint32_t remote_index;	// host order
	bool initiator;
	_Atomic bool confirmed; // owner: true after the first authentic packet; ctl: ro

	_Atomic uint64_t send_counter; // owner rw (relaxed), ctl ro: next counter to use
	struct replay replay;	       // owner only
};

// Zeroed; not found by workers before index_publish. Wiped when destroyed. [ctl]
struct keypair *keypair_create(void) must_check;
void keypair_destroy(struct keypair *);
// For one that workers may still hold: after the grace period. NULL is fine. [ctl]
void keypair_destroy_later(struct rcu *, struct keypair *);

enum {
	INDEX_SLOTS = 1 << 17, // keypairs and handshakes in progress
};

// Receiver index to keypair. The low bits of an index are its slot, the rest is random, so that an
// old index does not find a new keypair. A slot in the table stays taken until index_free.
struct index_table;

struct index_table *index_create(struct rcu *) must_check; // NULL: no memory [ctl]
// With all keypairs in it, after the grace period; before rcu_destroy. [ctl]
void index_destroy(struct index_table *);
// Reserve an index for a handshake; random: 32 random bits. 0 and *index, or -ENOSPC. [ctl]
int index_alloc(struct index_table *, uint32_t random, uint32_t *index) must_check;
// Let workers find kp under kp->local_index, which was reserved. [ctl]
void index_publish(struct index_table *, struct keypair *kp);
// Give a reserved index back; a published keypair is no longer found and is wiped and freed after
// the grace period. An index that is not reserved: nothing happens. [ctl]
void index_free(struct index_table *, uint32_t index);
// The keypair, or NULL. [wrk, ctl]
struct keypair *index_lookup(const struct index_table *, uint32_t index);
uint32_t index_count(const struct index_table *); // [ctl]
