#include "control/apply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/default_port.h"
#include "control/gateway.h"
#include "control/join.h"
#include "control/kernel/mirror.h"
#include "control/resolve.h"
#include "dataplane/base/log.h"

static const char *peer_label(const struct config_peer *p, char text[static KEY_TEXT_LEN + 1])
{
	return p->name[0] ? p->name : key_format(&p->public_key, text);
}

static void set_peers(struct daemon *d, const struct config *c)
{
	char text[KEY_TEXT_LEN + 1];
	for (unsigned i = 0; i < c->n_peers; i++) {
		const struct config_peer *p = &c->peers[i];
		int r = wg_peer_set(d->wg, p, p->roaming ? WG_ROAMING : WG_FIXED);
		if (r == -EINVAL)
			log_error("apply", "peer %s has our own public key: left out",
				peer_label(p, text));
		else if (r < 0)
			log_error("apply", "peer %s: %s", peer_label(p, text), strerror(-r));
	}
}

static void remove_peers(struct daemon *d, const struct config *old, const struct config *c)
{
	for (unsigned i = 0; i < old->n_peers; i++) {
		if (!config_peer_find(c, &old->peers[i].public_key))
			wg_peer_remove(d->wg, &old->peers[i].public_key);
	}
}

static bool has_allowed(const struct config *c, const struct ip_prefix *want)
{
	for (unsigned i = 0; c && c->routes && i < c->n_peers; i++) {
		const struct config_peer *p = &c->peers[i];
		for (unsigned j = 0; j < p->n_allowed_ips; j++) {
			if (p->allowed_ips[j].len == want->len &&
				ip_addr_equal(&p->allowed_ips[j].addr, &want->addr))
				return true;
		}
	}
	return false;
}

// fn for each allowed IP of c that other does not route as well.
static void each_route_beside(struct daemon *d, const struct config *c, const struct config *other,
	void (*fn)(struct daemon *, const struct ip_prefix *))
{
	for (unsigned i = 0; c && c->routes && i < c->n_peers; i++) {
		const struct config_peer *p = &c->peers[i];
		for (unsigned j = 0; j < p->n_allowed_ips; j++) {
			if (!has_allowed(other, &p->allowed_ips[j]))
				fn(d, &p->allowed_ips[j]);
		}
	}
}

static uint32_t tun_ifindex(const struct daemon *d)
{
	uint16_t port = d->gw->host_port;
	return port == PORT_NONE ? 0 : d->gw->port[port]->ifindex;
}

// Everything through the tunnel: two halves, which win over the default route and leave it alone.
static bool halves(const struct ip_prefix *p, struct ip_prefix half[static 2])
{
	if (p->len != 0)
		return false;
	half[0] = half[1] = *p;
	half[0].len = half[1].len = 1;
	half[1].addr.bytes[0] = 0x80;
	return true;
}

static void route_add(struct daemon *d, const struct ip_prefix *p)
{
	char text[PREFIX_TEXT_LEN];
	struct ip_prefix half[2];
	if (halves(p, half)) {
		route_add(d, &half[0]);
		route_add(d, &half[1]);
		return;
	}
	int r = netlink_route_add(mirror_netlink(d->mirror), p, tun_ifindex(d));
	if (r == -EEXIST)
		log_warn("apply", "route to %s exists already, not ours: traffic follows that one",
			ip_prefix_format(p, text));
	else if (r < 0)
		log_error("apply", "route to %s: %s", ip_prefix_format(p, text), strerror(-r));
}

static void route_del(struct daemon *d, const struct ip_prefix *p)
{
	struct ip_prefix half[2];
	if (halves(p, half)) {
		route_del(d, &half[0]);
		route_del(d, &half[1]);
		return;
	}
	netlink_route_del(mirror_netlink(d->mirror), p, tun_ifindex(d));
}

static bool has_address(const struct config_addresses *list, const struct ip_ifaddr *a)
{
	for (unsigned i = 0; list && i < list->count; i++) {
		if (memcmp(&list->list[i], a, sizeof(*a)) == 0)
			return true;
	}
	return false;
}

static void set_addresses(struct daemon *d, const struct config_addresses *old,
	const struct config_addresses *now, uint32_t ifindex)
{
	struct netlink *nl = mirror_netlink(d->mirror);
	for (unsigned i = 0; old && i < old->count; i++) {
		if (!has_address(now, &old->list[i]))
			netlink_addr_del(nl, &old->list[i], ifindex);
	}
	for (unsigned i = 0; i < now->count; i++) {
		int r = netlink_addr_add(nl, &now->list[i], ifindex);
		if (r < 0)
			log_error("apply", "address %u of interface %u: %s", i, ifindex,
				strerror(-r));
	}
}

// The host TUN and the mirrors: addresses, up; then routes to allowed IPs.
static int set_interfaces(struct daemon *d, const struct config *old, const struct config *c)
{
	struct netlink *nl = mirror_netlink(d->mirror);
	uint32_t tun = tun_ifindex(d);
	for (unsigned i = 0; i < c->n_ports; i++) {
		uint16_t port = 0;
		while (port < d->gw->n_ports &&
			strcmp(d->gw->port[port]->name, c->ports[i].name) != 0)
			port++;
		if (!c->ports[i].mirror[0] || port == d->gw->n_ports)
			continue;
		set_addresses(d, old ? &old->ports[i].addresses : NULL, &c->ports[i].addresses,
			d->gw->port[port]->ifindex);
		int r = netlink_link_up(nl, d->gw->port[port]->ifindex);
		if (r < 0)
			return r;
	}
	if (!tun)
		return 0;
	int r = netlink_link_mtu(nl, tun, c->mtu);
	if (r == 0)
		r = netlink_link_up(nl, tun);
	if (r < 0)
		return r;
	set_addresses(d, old ? &old->addresses : NULL, &c->addresses, tun);
	each_route_beside(d, old, c, route_del);
	each_route_beside(d, c, old, route_add);
	return 0;
}

int apply_start(struct daemon *d, char err[static 512])
{
	wg_set_handshake_rate(d->wg, d->config->handshake_rate);
	int r = d->config->tailnet ? 0 : wg_set_key(d->wg, &d->config->private_key);
	if (r < 0) {
		snprintf(err, 512, "private key: %s", strerror(-r));
		return r;
	}
	set_peers(d, d->config);
	resolve_set(d->resolve, d->config);
	r = set_interfaces(d, NULL, d->config);
	if (r < 0)
		snprintf(err, 512, "%s: %s", d->config->tun, strerror(-r));
	return r;
}

int apply_tun(struct daemon *d)
{
	mirror_set_tunnel(d->mirror, tun_ifindex(d));
	return set_interfaces(d, NULL, d->config);
}

void apply_stop(struct daemon *d)
{
	if (d->mirror && tun_ifindex(d))
		each_route_beside(d, d->config, NULL, route_del);
}

// What only a restart changes: say so, and go on with the rest.
static void warn_fixed(const struct config *old, const struct config *c)
{
	bool ports = old->n_ports != c->n_ports;
	for (unsigned i = 0; !ports && i < c->n_ports; i++)
		ports = strcmp(old->ports[i].interface, c->ports[i].interface) != 0 ||
			strcmp(old->ports[i].device, c->ports[i].device) != 0;
	bool threads = old->workers != c->workers || old->poll != c->poll ||
		       old->n_cpus != c->n_cpus || old->aead != c->aead ||
		       memcmp(old->cpus, c->cpus, sizeof(c->cpus)) != 0;
	bool rest = old->tailnet != c->tailnet ||
		    memcmp(&old->endpoints, &c->endpoints, sizeof(c->endpoints)) != 0 ||
		    strcmp(old->state_dir, c->state_dir) != 0 || old->memory_mb != c->memory_mb ||
		    old->hugepages != c->hugepages || old->guard != c->guard ||
		    old->listen_port != c->listen_port ||
		    !endpoint_equal(&old->metrics, &c->metrics) || strcmp(old->tun, c->tun) != 0 ||
		    strcmp(old->socket, c->socket) != 0 || strcmp(old->user, c->user) != 0;
	if (ports || threads || rest)
		log_warn("reload",
			"tailnet, state_dir, endpoints, ports, tun, listen_port, workers, cpus, "
			"poll, aead, "
			"memory_mb, hugepages, "
			"guard, metrics, socket and user change with a restart only; the rest is "
			"in "
			"force");
}

int daemon_reload(struct daemon *d, char err[static 512])
{
	struct config *c;
	struct config_error mistake;
	char text[CONFIG_ERROR_TEXT_LEN];
	int r = d->config_path[0] ? config_load(d->config_path, &c, &mistake) : -ENOENT;
	if (r < 0) {
		snprintf(err, 512, "%s",
			d->config_path[0] ? config_error_format(&mistake, text)
					  : "the daemon was started without a configuration file");
		snprintf(d->last_reload_error, sizeof(d->last_reload_error), "%s", err);
		d->reload_failures++;
		log_error("reload", "nothing changed: %s", err);
		return r;
	}
	if (c->n_ports == 0 && default_port_add(c) < 0)
		log_warn("reload", "no default route now; the port in use stays");
	warn_fixed(d->config, c);
	if (!d->log_level_fixed)
		log_init((enum log_level)c->log_level);
	gateway_tune(d->gw, c);
	wg_set_handshake_rate(d->wg, c->handshake_rate);
	r = c->tailnet ? 0 : wg_set_key(d->wg, &c->private_key);
	if (r == 0) {
		set_peers(d, c);
		remove_peers(d, d->config, c);
		r = set_interfaces(d, d->config, c);
	}
	if (r < 0)
		snprintf(err, 512, "%s: %s", d->config_path, strerror(-r));
	resolve_set(d->resolve, c);
	config_free(d->config);
	d->config = c;
	join_tune(d);
	d->reloads++;
	d->last_reload_error[0] = '\0';
	log_info("reload", "%s is in force: %u peers", d->config_path, c->n_peers);
	return r;
}

void apply_port_addresses(struct daemon *d)
{
	struct gateway *gw = d->gw;
	for (unsigned i = 0; i < gw->n_ports; i++) {
		struct ip_addr a;
		uint32_t v4 = 0;
		if (mirror_port_addr(d->mirror, gw->port[i]->ifindex, IP_V4, &a))
			memcpy(&v4, a.bytes, 4);
		atomic_store(&gw->port_addr4[i], v4);
		struct ip_addr *old = atomic_load(&gw->port_addr6[i]), *now = NULL;
		if (mirror_port_addr(d->mirror, gw->port[i]->ifindex, IP_V6, &a)) {
			if (old && ip_addr_equal(old, &a))
				continue;
			now = mem_alloc(sizeof(*now));
			*now = a;
		}
		atomic_store(&gw->port_addr6[i], now);
		if (old)
			rcu_defer(gw->rcu, free, old);
	}
}
