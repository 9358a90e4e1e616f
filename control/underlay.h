// The network under the tunnel, for the control thread: its datagrams leave through the workers'
// ports, its paths come from the mirrored routes, packets whose next hop is not known yet wait here
// while the kernel asks for it, and what workers hand up finds its place.
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
// workers). to: our address and port. data: the whole UDP payload, Geneve header included. fn NULL:
// nowhere; then workers refuse all of these.
typedef void underlay_disco_fn(void *arg, const struct endpoint *from, const struct endpoint *to,
	enum udp_class, const uint8_t *data, size_t len);
void underlay_set_disco(struct underlay *, underlay_disco_fn *fn, void *arg);
// Where sealed WireGuard datagrams go of peers whose path says derp.
typedef void underlay_derp_fn(void *arg, struct peer *, const uint8_t *data, size_t len);
void underlay_set_derp(struct underlay *, underlay_derp_fn *fn, void *arg);
// Where TSMP of filtered peers goes: a sound IP packet, unfragmented, at least 7 bytes behind its
// header (IPv6: no extension headers).
typedef void underlay_tsmp_fn(void *arg, struct peer *, const uint8_t *packet, size_t len);
void underlay_set_tsmp(struct underlay *, underlay_tsmp_fn *fn, void *arg);
// Start to listen to the workers.
int underlay_start(struct underlay *) must_check;

// For struct wg_env; arg: struct underlay *. A datagram may be as large as its link takes.
bool underlay_send(void *arg, const struct ip_addr *local, const struct endpoint *to,
	const uint8_t *data, size_t len);
// The same from another port of ours than the WireGuard port; 0: that one.
bool underlay_send_from(struct underlay *, const struct ip_addr *local, uint16_t local_port,
	const struct endpoint *to, const uint8_t *data, size_t len);
// path->vni and path->local_port, when set, are taken into account.
bool underlay_path(void *arg, const struct endpoint *to, struct peer_path *path);
// A neighbour became known: send what waits for it.
void underlay_neighbour(struct underlay *, const struct ip_addr *, uint32_t ifindex);

// WireGuard data that did not come as a UDP datagram (over DERP) to the worker of its session, as
// if it came from there: IPv4, in the real client's notation 127.3.3.40 and the region as port. No
// peer follows it. False: no data message, no such session, or the worker is behind.
bool underlay_inject_wg(struct underlay *, const struct endpoint *from, const struct ip_addr *to,
	const uint8_t *data, size_t len);
// A whole IP packet of ours into the tunnel, to the peer that has its destination: TSMP, ICMP. No
// filter sees it. False: no sound IP packet, nobody's destination, or the worker is behind.
bool underlay_send_inner(struct underlay *, const uint8_t *packet, size_t len);
