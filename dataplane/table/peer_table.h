// All peers: ids, public keys, owners. Control thread only; workers meet peers through keypairs and
// allowed IPs.
#pragma once

#include "dataplane/table/peer.h"

struct peer_table;

// workers: 1.., over which new peers are spread in turn. NULL with errno. [ctl]
struct peer_table *peer_table_create(struct rcu *, unsigned workers) must_check;
// With all peers in it, after the grace period; before rcu_destroy. NULL is fine. [ctl]
void peer_table_destroy(struct peer_table *);
// A new peer with an empty path (port PORT_NONE), roaming, without keys. name may be longer than
// the peer's and is cut. 0 and *out; -EEXIST (that key), -ENOSPC (PEER_MAX, those within their
// grace period included). [ctl]
int peer_table_add(struct peer_table *, const struct key *public_key, const char *name,
	struct peer **out) must_check;
// Gone for the table at once; marked dead, and freed with its path and what is still staged after
// the grace period. The caller has taken away allowed IPs, session and keypairs before, and sees to
// it that no worker keeps the pointer across a quiescent state. [ctl]
void peer_table_remove(struct peer_table *, struct peer *);
// NULL: no such peer. [ctl]
struct peer *peer_table_find(const struct peer_table *, const struct key *public_key);
struct peer *peer_table_get(const struct peer_table *, uint32_t id); // [ctl, wrk]
// The peer with the lowest id that is at least *id, which moves behind it; NULL: no more.
// for (uint32_t id = 0; (p = peer_table_next(t, &id));) [ctl]
struct peer *peer_table_next(const struct peer_table *, uint32_t *id);
uint32_t peer_table_count(const struct peer_table *); // [ctl]

// Give the peer a new path, by value; the old one is freed after the grace period. [ctl]
void peer_set_path(struct rcu *, struct peer *, const struct peer_path *path);
// Send with this keypair from now on; NULL: none. The old one stays with its index. [ctl]
void peer_set_sending(struct peer *, struct keypair *);
