// What the files of the underlay share: underlay.c (waiting for neighbours, the loop),
// underlay_path.c (headers and ways out), underlay_workers.c (what comes from workers and goes into
// them).
#pragma once

#include "control/underlay.h"
#include "dataplane/wire/wireguard.h"

enum {
	WAITING_MAX = 512, // packets that wait for neighbours
	WAITING_OWN = 256, // of them ours: forged senders must not take the places of others
};

struct waiting {
	struct rte_mbuf *m;
	struct ip_addr neighbour;
	uint32_t ifindex;
	bool own;	// ours; else of the workers
	uint64_t until; // TSC
};

struct underlay { // ctl only
	struct gateway *gw;
	struct mirror *mirror;
	struct wg *wg;
	underlay_disco_fn *disco;
	void *disco_arg;
	underlay_derp_fn *derp;
	void *derp_arg;
	underlay_tsmp_fn *tsmp;
	void *tsmp_arg;
	struct event *events, *punted, *tick;
	struct waiting waiting[WAITING_MAX];
	unsigned n_waiting, n_waiting_own;
	unsigned seconds; // since the start
};

// IP headers of datagrams that carry udp_len bytes from the UDP header on.
void underlay_write_ip4(
	uint8_t *l3, const struct ip_addr *from, const struct ip_addr *to, size_t udp_len);
void underlay_write_ip6(
	uint8_t *l3, const struct ip_addr *from, const struct ip_addr *to, size_t udp_len);
// A buffer for len bytes, or NULL.
struct rte_mbuf *underlay_alloc(const struct underlay *, size_t len);
// A datagram of ours, from its IP header on: out, beside the tunnel's own routes. False: no way
// there, or too large for it; it is gone.
bool underlay_leave(struct underlay *, struct rte_mbuf *m);
// A packet of the workers whose next hop is not known.
void underlay_unresolved(struct underlay *, struct rte_mbuf *m);
// What a worker has punted.
void underlay_take(struct underlay *, struct rte_mbuf *m);
