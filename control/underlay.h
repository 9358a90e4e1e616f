// The network under the tunnel, for the control thread: its datagrams leave through the workers'
// ports, its paths come from the mirrored routes, and packets whose next hop is not known yet wait
// here while the kernel asks for it.
#pragma once

#include "control/kernel/mirror.h"
#include "control/wg/session.h"
#include "dataplane/node/node.h"

struct underlay;

struct underlay *underlay_create(struct event_base *, struct gateway *) must_check;
void underlay_destroy(struct underlay *);
void underlay_set_mirror(struct underlay *, struct mirror *);
// Where handshakes go.
void underlay_set_wg(struct underlay *, struct wg *);
// Start to listen to the workers.
int underlay_start(struct underlay *) must_check;

// For struct wg_env; arg: struct underlay *.
bool underlay_send(void *arg, const struct ip_addr *local, const struct endpoint *to,
	const uint8_t *data, size_t len);
bool underlay_path(void *arg, const struct endpoint *to, struct peer_path *path);
// A neighbour became known: send what waits for it.
void underlay_neighbour(struct underlay *, const struct ip_addr *, uint32_t ifindex);
