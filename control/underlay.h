// The network under the tunnel, for the control thread: its datagrams leave through the workers'
// ports, its paths come from the mirrored routes, and packets whose next hop is not known yet wait
// here while the kernel asks for it.
#pragma once

#include "control/kernel/mirror.h"
#include "control/wg/session.h"
#include "dataplane/node/node.h"
#include "dataplane/wire/classify_udp.h"

struct underlay;

struct underlay *underlay_create(struct event_base *, struct gateway *) must_check;
void underlay_destroy(struct underlay *);
void underlay_set_mirror(struct underlay *, struct mirror *);
// Where handshakes go.
void underlay_set_wg(struct underlay *, struct wg *);
// Where else datagrams to the WireGuard port go: STUN, disco, Geneve disco, and WireGuard
// handshakes behind a Geneve header (UDP_GENEVE_WIREGUARD; data from a relay stays with the
// workers). data: the whole UDP payload, Geneve header included. fn NULL: nowhere; then workers
// refuse all of these.
typedef void underlay_disco_fn(void *arg, const struct endpoint *from, const struct ip_addr *to,
	enum udp_class, const uint8_t *data, size_t len);
void underlay_set_disco(struct underlay *, underlay_disco_fn *fn, void *arg);
// Start to listen to the workers.
int underlay_start(struct underlay *) must_check;

// For struct wg_env; arg: struct underlay *.
bool underlay_send(void *arg, const struct ip_addr *local, const struct endpoint *to,
	const uint8_t *data, size_t len);
bool underlay_path(void *arg, const struct endpoint *to, struct peer_path *path);
// A neighbour became known: send what waits for it.
void underlay_neighbour(struct underlay *, const struct ip_addr *, uint32_t ifindex);
