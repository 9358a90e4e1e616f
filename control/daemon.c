// The daemon's life: stages of start, each undone in reverse order.
#include "control/daemon.h"

#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "control/apply.h"
#include "control/ctl/server.h"
#include "control/default_port.h"
#include "control/dns/dns.h"
#include "control/eal.h"
#include "control/gateway.h"
#include "control/guarding.h"
#include "control/join.h"
#include "control/kernel/claim.h"
#include "control/kernel/guard.h"
#include "control/kernel/mirror.h"
#include "control/privileges.h"
#include "control/resolve.h"
#include "control/run.h"
#include "control/tailnet/hooks.h"
#include "control/underlay.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/heap.h"
#include "dataplane/base/log.h"

enum {
	REFRESH_S = 1,
	FIRST_DUMP_S = 5, // the kernel's routes are read before traffic starts
};

// What only this file keeps.
struct running {
	struct daemon d;
	struct underlay *underlay;
	struct ctl_server *ctl;
	struct port_claim claim;
	struct guarding guarding;
	struct event *signals[3], *refresh;
	bool started;
	char err[512];
};

static void warn(struct daemon *d, const char *line)
{
	log_warn("daemon", "%s", line);
	if (d->n_warnings < RTE_DIM(d->warnings))
		d->warnings[d->n_warnings++] = line;
}

void daemon_stop(struct daemon *d)
{
	event_base_loopexit(d->base, NULL);
}

static void on_stop(evutil_socket_t, short, void *arg)
{
	daemon_stop(arg);
}

static void on_hup(evutil_socket_t, short, void *arg)
{
	char err[512];
	if (daemon_reload(arg, err) < 0)
		return; // it has been logged
}

static uint16_t port_of(void *arg, uint32_t ifindex)
{
	const struct running *r = arg;
	return gateway_port_of(r->d.gw, ifindex);
}

static void on_neigh(void *arg, const struct ip_addr *addr, uint32_t ifindex)
{
	struct running *r = arg;
	underlay_neighbour(r->underlay, addr, ifindex);
}

static void on_change(void *arg, uint32_t)
{
	struct running *r = arg;
	apply_port_addresses(&r->d);
	if (r->d.wg)
		wg_paths_changed(r->d.wg);
	if (r->d.tailnet)
		tailnet_network_changed(r->d.tailnet);
	if (r->d.guard && guarding_is_stale(&r->d, &r->guarding))
		guarding_renew(&r->d, &r->guarding);
}

// The interface was deleted and made again: rules, addresses and routes went with it, and routes
// that the kernel told of before this port had the new number were taken for another's.
static void renumbered(struct running *r, const struct port *port)
{
	mirror_port_moved(r->d.mirror, r->guarding.port_ifindex[port->id], port->ifindex);
	guarding_renew(&r->d, &r->guarding);
	if (port->kind != PORT_TUN)
		return;
	if (apply_tun(&r->d) < 0)
		log_error("apply", "%s came back, but takes no addresses or routes", port->name);
	if (r->d.tailnet)
		tailnet_tun_lost(r->d.tailnet);
}

// Ports go down, come back, get another MTU or another interface under the same name.
static void on_refresh(evutil_socket_t, short, void *arg)
{
	struct running *r = arg;
	struct gateway *gw = r->d.gw;
	bool changed = false;
	for (unsigned i = 0; i < gw->n_ports; i++) {
		struct port *port = gw->port[i];
		uint16_t mtu = atomic_load(&port->mtu);
		bool up = atomic_load(&port->up);
		port->ops->refresh(port);
		if (up != atomic_load(&port->up))
			log_info("port", "%s is %s", port->name, up ? "down" : "up");
		changed |= mtu != atomic_load(&port->mtu) || up != atomic_load(&port->up);
		if (r->guarding.port_ifindex[i] != port->ifindex)
			renumbered(r, port);
	}
	if (changed)
		wg_paths_changed(r->d.wg);
	rcu_reclaim(gw->rcu);
	heap_trim();
}

static void on_rule_gone(void *arg)
{
	struct running *r = arg;
	if (r->d.tailnet)
		tailnet_rule_gone(r->d.tailnet);
}

static int claim_port(struct running *r)
{
	struct daemon *d = &r->d;
	int rc = port_claim_open((uint16_t)d->config->listen_port, &r->claim);
	if (rc == -EADDRINUSE) {
		d->wg_port_fallback = true;
		rc = port_claim_open(0, &r->claim);
		warn(d, "listen_port is taken by another program: a random port is in use instead; "
			"peers that have this gateway's endpoint configured do not find it");
	}
	if (rc < 0) {
		snprintf(r->err, sizeof(r->err), "UDP port %u: %s", d->config->listen_port,
			strerror(-rc));
		return rc;
	}
	d->wg_port = r->claim.port;
	atomic_store(&d->gw->wg_port, d->wg_port);
	log_info("daemon", "WireGuard on UDP port %u", d->wg_port);
	return 0;
}

int daemon_open_ports(struct daemon *d, unsigned n, uint16_t *first)
{
	struct running *r = (struct running *)d; // it is its first
	int rc = r->guarding.extra.n > 0 ? -EBUSY : port_range_open(n, &r->guarding.extra);
	if (rc < 0) {
		log_warn("daemon", "%u more UDP ports: %s", n, strerror(-rc));
		return rc;
	}
	guarding_renew(d, &r->guarding);
	atomic_store(
		&d->gw->extra_ports, (uint32_t)r->guarding.extra.first << 16 | r->guarding.extra.n);
	*first = r->guarding.extra.first;
	return 0;
}

void daemon_close_ports(struct daemon *d)
{
	struct running *r = (struct running *)d;
	atomic_store(&d->gw->extra_ports, 0);
	port_range_close(&r->guarding.extra);
	guarding_renew(d, &r->guarding);
}

void daemon_nat_ports(struct daemon *d, uint16_t first, uint16_t last)
{
	struct running *r = (struct running *)d;
	if (r->guarding.nat_first == first && r->guarding.nat_last == last)
		return;
	r->guarding.nat_first = first;
	r->guarding.nat_last = last;
	if (d->guard)
		guarding_renew(d, &r->guarding);
}

static int start_mirror(struct running *r)
{
	struct daemon *d = &r->d;
	uint16_t host = d->gw->host_port;
	const struct mirror_env env = {
		.arg = r,
		.tunnel_ifindex = host == PORT_NONE ? 0 : d->gw->port[host]->ifindex,
		.first_table = d->config->tailnet ? TAILNET_TABLE : 0,
		.port_of = port_of,
		.on_change = on_change,
		.on_neigh = on_neigh,
		.on_rule_gone = on_rule_gone,
	};
	d->mirror = mirror_create(d->base, d->gw->fib, &env);
	if (!d->mirror) {
		snprintf(r->err, sizeof(r->err), "netlink: %s", strerror(errno));
		return -errno;
	}
	underlay_set_mirror(r->underlay, d->mirror);
	for (time_t end = time(NULL) + FIRST_DUMP_S; !mirror_ready(d->mirror) && time(NULL) < end;)
		event_base_loop(d->base, EVLOOP_ONCE);
	if (mirror_ready(d->mirror))
		return 0;
	snprintf(r->err, sizeof(r->err), "the kernel did not tell its routes within %u s",
		FIRST_DUMP_S);
	return -ETIMEDOUT;
}

static bool send_handshake(void *arg, const struct peer *peer, const struct ip_addr *local,
	const struct endpoint *to, const uint8_t *data, size_t len)
{
	struct running *r = arg;
	return r->d.tailnet ? tailnet_wg_send(r->d.tailnet, peer, local, to, data, len)
			    : underlay_send(r->underlay, local, to, data, len);
}

static bool resolve_path(void *arg, const struct endpoint *to, struct peer_path *path)
{
	struct running *r = arg;
	return underlay_path(r->underlay, to, path);
}

static void on_keyed(void *arg, const struct peer *peer)
{
	struct running *r = arg;
	if (r->d.tailnet)
		tailnet_keyed(r->d.tailnet, peer);
}

static void on_heard(void *arg, const struct peer *peer, const struct endpoint *from)
{
	struct running *r = arg;
	if (r->d.tailnet)
		tailnet_heard(r->d.tailnet, peer, from);
}

static void on_too_big(void *arg, const struct endpoint *to, uint32_t mtu)
{
	struct running *r = arg;
	if (r->d.tailnet)
		tailnet_too_big(r->d.tailnet, to, mtu);
}

static int start_wg(struct running *r)
{
	struct daemon *d = &r->d;
	const struct wg_env env = {.arg = r,
		.send = send_handshake,
		.resolve_path = resolve_path,
		.keyed = on_keyed,
		.heard = on_heard,
		.too_big = on_too_big};
	d->wg = wg_create(d->base, d->gw, &env);
	if (!d->wg) {
		snprintf(r->err, sizeof(r->err), "no memory for WireGuard");
		return -ENOMEM;
	}
	underlay_set_wg(r->underlay, d->wg);
	d->resolve = resolve_create(d->base, d->wg);
	if (!d->resolve) {
		snprintf(r->err, sizeof(r->err), "no resolver: see /etc/resolv.conf");
		return -ENOMEM;
	}
	return apply_start(d, r->err);
}

static int start_ctl(struct running *r)
{
	const struct ctl_params params = {
		.path = r->d.config->socket,
		.user = r->d.config->user,
		.metrics = r->d.config->metrics,
	};
	return ctl_server_create(&r->d, &params, &r->ctl, r->err);
}

static volatile sig_atomic_t stop_asked;

static void on_stop_outside(int)
{
	stop_asked = 1;
}

// Where the loop does not listen, before and after, a signal must not kill: what the stop takes
// away from the kernel would stay. libevent leaves these behind.
static void outlive_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	const struct sigaction action = {.sa_handler = on_stop_outside, .sa_flags = SA_RESTART};
	for (unsigned i = 0; i < RTE_DIM(signals); i++)
		sigaction(signals[i], &action, NULL);
}

static int start_signals(struct running *r)
{
	const struct timeval interval = {.tv_sec = REFRESH_S};
	struct daemon *d = &r->d;
	outlive_signals();
	r->signals[0] = evsignal_new(d->base, SIGINT, on_stop, d);
	r->signals[1] = evsignal_new(d->base, SIGTERM, on_stop, d);
	r->signals[2] = evsignal_new(d->base, SIGHUP, on_hup, d);
	r->refresh = event_new(d->base, -1, EV_PERSIST, on_refresh, r);
	for (unsigned i = 0; i < RTE_DIM(r->signals); i++) {
		if (!r->signals[i] || event_add(r->signals[i], NULL) < 0)
			return -ENOMEM;
	}
	if (stop_asked)
		event_base_loopexit(d->base, NULL);
	return r->refresh && event_add(r->refresh, &interval) == 0 ? 0 : -ENOMEM;
}

static bool owns_ports(const struct config *c)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		if (c->ports[i].device[0])
			return true;
	}
	return false;
}

static int start_gateway(struct running *r)
{
	struct daemon *d = &r->d;
	int rc = privileges_limit(owns_ports(d->config));
	if (rc < 0) {
		snprintf(r->err, sizeof(r->err),
			"must be started as root (it opens ports and a TUN): sudo tailgated");
		return rc;
	}
	if (d->config->n_ports == 0 && default_port_add(d->config) < 0) {
		snprintf(r->err, sizeof(r->err),
			"no ports in %s and no default route to choose one by: add ports = (...)",
			d->config_path);
		return -ENETUNREACH;
	}
	rc = eal_start(d->config, r->err);
	if (rc == 0)
		rc = gateway_create(d->config, &d->gw, r->err);
	if (rc < 0)
		return rc;
	r->underlay = underlay_create(d->base, d->gw);
	return r->underlay ? 0 : -ENOMEM;
}

static int start_workers(struct running *r)
{
	struct daemon *d = &r->d;
	int rc = underlay_start(r->underlay);
	if (rc == 0)
		rc = gateway_start(d->gw, d->config->poll == CONFIG_POLL_BUSY);
	r->started = rc == 0;
	if (rc < 0)
		snprintf(r->err, sizeof(r->err), "workers: %s", strerror(-rc));
	return rc;
}

static int drop_user(struct running *r)
{
	int rc = privileges_user(r->d.config->user);
	if (rc < 0)
		snprintf(r->err, sizeof(r->err), "user = \"%s\": %s", r->d.config->user,
			strerror(-rc));
	else if (r->d.config_path[0] && access(r->d.config_path, R_OK) < 0)
		warn(&r->d, "user cannot read the configuration: a reload will fail; make it (mode "
			    "0600) "
			    "and the key files the user's own");
	return rc;
}

static int start_tailnet(struct running *r)
{
	if (r->d.config->tailnet)
		return join_start(&r->d, r->underlay, r->err);
	dns_recover(DNS_RESOLV_CONF, r->d.config->state_dir);
	return 0;
}

static int start_guard(struct running *r)
{
	return guarding_set(&r->d, &r->guarding, r->err);
}

static int (*const stages[])(struct running *) = {
	start_gateway,
	claim_port,
	start_mirror,
	start_wg,
	start_guard,
	start_ctl,
	start_signals,
	start_workers,
	drop_user,
	start_tailnet,
};

static void finish(struct running *r)
{
	struct daemon *d = &r->d;
	ctl_server_destroy(r->ctl);
	join_stop(d, r->underlay);
	if (d->gw && r->started)
		gateway_stop(d->gw);
	for (unsigned i = 0; i < RTE_DIM(r->signals); i++) {
		if (r->signals[i])
			event_free(r->signals[i]);
	}
	if (r->refresh)
		event_free(r->refresh);
	guard_destroy(d->guard);
	if (d->wg)
		apply_stop(d);
	resolve_destroy(d->resolve);
	wg_destroy(d->wg);
	underlay_destroy(r->underlay);
	mirror_destroy(d->mirror);
	port_claim_close(&r->claim);
	port_range_close(&r->guarding.extra);
	gateway_destroy(d->gw);
	config_free(d->config);
	if (d->base)
		event_base_free(d->base);
}

int daemon_run(struct config *config, const char *path, bool log_level_fixed)
{
	struct running *r = mem_alloc(sizeof(*r));
	struct daemon *d = &r->d;
	int rc = 0;
	r->claim = (struct port_claim){.fd4 = -1, .fd6 = -1};
	d->config = config;
	d->log_level_fixed = log_level_fixed;
	d->started_unix_ns = unix_now_ns();
	snprintf(d->config_path, sizeof(d->config_path), "%s", path);
	d->base = event_base_new();
	for (unsigned i = 0; d->base && rc == 0 && i < RTE_DIM(stages); i++)
		rc = stages[i](r);
	if (rc == 0) {
		log_info("daemon", "ready");
		event_base_dispatch(d->base);
		log_info("daemon", "stopping");
	} else {
		log_error("daemon", "%s", r->err[0] ? r->err : strerror(-rc));
	}
	finish(r);
	free(r);
	return rc;
}
