// The tailnet node as the daemon sees it: made at start, told of what workers and the network hand
// up. [ctl]
#pragma once

#include "config/config.h"
#include "control/kernel/mirror.h"
#include "control/tailnet/tailnet.h"
#include "control/wg/session.h"
#include "dataplane/wire/classify_udp.h"

enum {
	TAILNET_TABLE = CONFIG_TAILNET_TABLE, // the kernel's routing table that has our routes
};

struct tailnet_env {
	void *arg;
	// A datagram from the WireGuard port, or another port of ours (not 0). False: no way there.
	bool (*send)(void *arg, const struct ip_addr *local, uint16_t local_port,
		const struct endpoint *to, const uint8_t *data, size_t len);
	// WireGuard data that came over DERP, for the workers.
	void (*inject_wg)(void *arg, const struct endpoint *from, const uint8_t *data, size_t len);
	// An IP packet of our own into the tunnel.
	void (*send_inner)(void *arg, const uint8_t *packet, size_t len);
	// Of struct mesh_env.
	void *ports_arg;
	int (*open_ports)(void *ports_arg, unsigned n, uint16_t *first);
	void (*close_ports)(void *ports_arg);
	// TCP and UDP ports of our addresses that are not the kernel's from now on; 0: none any
	// more.
	void (*nat_ports)(void *ports_arg, uint16_t first, uint16_t last);
};

struct tailnet_params {
	struct event_base *base;
	struct gateway *gw;
	struct wg *wg;
	struct mirror *mirror;
	const char *state_dir;
	uint32_t mtu;			    // of the TUN
	uint16_t wg_port;		    // configured; 0: any
	struct config_endpoints endpoints;  // that peers are told beside what we find out
	struct config_endpoints dns_listen; // where the LAN asks for names
	struct mesh_birthday birthday;
	struct config_nat nat;
	struct config_hosts probes; // hosts behind us that are watched
	struct config_learned learned;
	uint8_t announce_table; // 0: none
	// Copied; NULL: none.
	const struct config_domains *app_domains;
	const struct config_services *services;
	struct tailnet_env env;
};

// Loads what is kept in state_dir; a node that was up is up again at once, with the last netmap,
// before the server answers. 0, or -errno with a line in err.
int tailnet_create(
	const struct tailnet_params *, struct tailnet **out, char err[static 512]) must_check;
void tailnet_destroy(struct tailnet *); // NULL is fine

// For struct wg_env. True: the message has gone, or there is no way.
bool tailnet_wg_send(struct tailnet *, const struct peer *, const struct ip_addr *local,
	const struct endpoint *to, const uint8_t *data, size_t len);
void tailnet_keyed(struct tailnet *, const struct peer *);
void tailnet_heard(struct tailnet *, const struct peer *, const struct endpoint *from);
// A router says that a datagram to there is too big for it; unproven.
void tailnet_too_big(struct tailnet *, const struct endpoint *to, uint32_t mtu);
// A datagram of this kind to that port of ours.
void tailnet_datagram(struct tailnet *, const struct endpoint *from, uint16_t local_port,
	enum udp_class, const uint8_t *data, size_t len);
// A sealed packet that is (also) to go over DERP.
void tailnet_derp_out(struct tailnet *, const struct peer *, const uint8_t *data, size_t len);
// A TSMP packet of the peer, from its IP header on.
void tailnet_tsmp(struct tailnet *, const struct peer *, const uint8_t *packet, size_t len);
// Addresses, links or routes of the machine changed.
void tailnet_network_changed(struct tailnet *);
// The configuration's limits changed.
void tailnet_set_birthday(struct tailnet *, const struct mesh_birthday *);
void tailnet_set_probes(struct tailnet *, const struct config_hosts *);
void tailnet_set_learned(struct tailnet *, const struct config_learned *);
void tailnet_set_announce(struct tailnet *, uint8_t table);
void tailnet_set_nat(struct tailnet *, const struct config_nat *);
void tailnet_set_app_domains(struct tailnet *, const struct config_domains *);
void tailnet_set_services(struct tailnet *, const struct config_services *);
// An ip rule was deleted: ours come back.
void tailnet_rule_gone(struct tailnet *);
// The TUN was made anew: it has neither addresses nor routes.
void tailnet_tun_lost(struct tailnet *);
