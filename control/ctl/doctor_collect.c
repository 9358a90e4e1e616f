// The facts for the doctor, from the running gateway and the kernel.
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/ctl/doctor.h"
#include "control/ctl/read.h"
#include "control/daemon.h"
#include "dataplane/wire/wireguard.h"
#include "dataplane/base/clock.h"

static const uint64_t second_ns = 1000000000;
static const char misplaced[] = "/etc/defaults/tailscaled";

// --- Who has a UDP port

// The inode of a socket bound to the port, 0: none. table: /proc/net/udp or udp6.
static unsigned long port_inode(const char *table, uint16_t port)
{
	char line[512];
	unsigned at;
	unsigned long inode, found = 0;
	FILE *f = fopen(table, "re");
	while (f != NULL && found == 0 && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*s %*s %*s %*s %*s %*s %*s %lu", &at,
			    &inode) == 2 &&
			at == port)
			found = inode;
	if (f != NULL)
		fclose(f);
	return found;
}

static void find_port_user(uint16_t port, char out[static DOCTOR_NAME_LEN])
{
	unsigned long inode = port_inode("/proc/net/udp", port);
	if (inode == 0)
		inode = port_inode("/proc/net/udp6", port);
	if (inode != 0)
		doctor_socket_user(inode, out);
}

// --- Addresses

static bool is_address(const struct sockaddr *sa, const struct ip_addr *a)
{
	struct ip_addr own = {};
	if (sa != NULL && sa->sa_family == AF_INET)
		own = ip_addr_v4(&((const struct sockaddr_in *)sa)->sin_addr);
	else if (sa != NULL && sa->sa_family == AF_INET6)
		own = ip_addr_v6(&((const struct sockaddr_in6 *)sa)->sin6_addr);
	return own.family != IP_NONE && ip_addr_equal(&own, a);
}

// Whether one of our own interfaces has that address.
static bool is_own(const struct endpoint *seen)
{
	struct ifaddrs *list;
	bool found = false;
	if (seen->port == 0 || getifaddrs(&list) < 0)
		return false;
	for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
		found |= is_address(i->ifa_addr, &seen->addr);
	freeifaddrs(list);
	return found;
}

// --- The node

static const char *text_of(const char *text)
{
	return text != NULL ? text : "";
}

// The base name of an FQDN.
static void take_name(const struct nm_node *node, char out[static DOCTOR_NAME_LEN])
{
	const char *name = text_of(node->name);
	size_t n = strcspn(name, ".");
	snprintf(out, DOCTOR_NAME_LEN, "%.*s", (int)(n < DOCTOR_NAME_LEN ? n : DOCTOR_NAME_LEN),
		name);
}

static void take_peer(const struct tailnet *t, const struct nm_peer *peer, uint64_t now_unix_ns,
	struct doctor_peer *out)
{
	const struct nm_node *node = peer->node;
	struct tailnet_peer_info info;
	take_name(node, out->name);
	snprintf(out->version, sizeof(out->version), "%s", text_of(node->version));
	snprintf(out->region, sizeof(out->region), "%s", tailnet_region_code(t, node->home_derp));
	out->online = node->online == NM_ONLINE;
	out->cap = node->cap;
	for (uint32_t i = 0; i < node->n_endpoints && out->n_addresses < DOCTOR_ADDRESSES_MAX; i++)
		out->addresses[out->n_addresses++] = node->endpoints[i].addr;
	if (!tailnet_peer_info(t, peer, &info))
		return;
	bool has_path = info.direct.port != 0;
	out->active = info.active;
	out->direct = has_path && info.relay_vni == 0;
	out->peer_relay = has_path && info.relay_vni != 0;
	if (has_path)
		endpoint_format(&info.direct, out->path);
	if (out->direct)
		out->via = info.direct.addr;
	uint64_t age_ns = now_unix_ns - RTE_MIN(info.handshake_unix_ns, now_unix_ns);
	out->talks = info.handshake_unix_ns != 0 && age_ns < WG_REJECT_AFTER_TIME_S * second_ns;
	out->pings_sent = info.pings_sent;
	out->pongs_received = info.pongs_received - info.pongs_over_derp;
	out->mtu = info.mtu;
	snprintf(out->why, sizeof(out->why), "%s", info.why);
}

static int64_t age_s(uint64_t since_ns, uint64_t now_ns)
{
	return since_ns == 0 ? -1 : (int64_t)((now_ns - RTE_MIN(since_ns, now_ns)) / second_ns);
}

static void take_node(const struct daemon *d, struct doctor_facts *f)
{
	const struct tailnet *t = d->tailnet;
	const struct netmap *m = tailnet_netmap(t);
	const struct prefs *prefs = tailnet_prefs(t);
	uint64_t now_ns = (uint64_t)((double)rte_rdtsc() / d->gw->tsc_per_ns); // the node's clock
	f->state = tailnet_state(t);
	f->want_running = prefs->want_running && !prefs->logged_out;
	f->has_netmap = m->ready;
	f->coord = *tailnet_coord(t);
	f->stream_age_s = age_s(f->coord.connected_ns, now_ns);
	f->heard_age_s = age_s(f->coord.heard_ns, now_ns);
	f->clock_offset_s = m->clock_offset_s;
	f->key_expiry = m->self != NULL ? m->self->key_expiry : 0;
	f->cap = COORD_CAP_VERSION;
	f->net = *tailnet_netcheck(t);
	f->portmap = *tailnet_portmap(t);
	f->public_address = is_own(&f->net.global_v4);
	f->n_regions = m->derp.n_regions;
	snprintf(f->home, sizeof(f->home), "%s", tailnet_region_code(t, f->net.preferred));
	if (!tailnet_derp_info(t, f->net.preferred, &f->home_derp))
		f->home[0] = '\0';
	f->home_is_here = f->home_derp.connected && is_own(&f->home_derp.remote);
	f->health = tailnet_health(t, &f->n_health);
}

static void take_dns(struct dns *dns, struct doctor_dns *out)
{
	struct dns_health h;
	dns_health(dns, &h);
	out->accept = h.accept;
	out->unsupported = h.unsupported;
	snprintf(out->host_error, sizeof(out->host_error), "%s", h.host_error);
	snprintf(out->listen_error, sizeof(out->listen_error), "%s", h.listen_error);
}

void doctor_collect(const struct daemon *d, struct doctor_facts *out)
{
	*out = (struct doctor_facts){.now_s = (int64_t)(unix_now_ns() / second_ns),
		.is_node = d->tailnet != NULL,
		.port = d->wg_port,
		.port_configured = d->config->listen_port,
		.misplaced_defaults = access(misplaced, F_OK) == 0,
		.published = &d->config->endpoints};
	if (out->port != out->port_configured)
		find_port_user(out->port_configured, out->port_user);
	if (d->tailnet == NULL)
		return;
	take_node(d, out);
	out->tunnel_mtu = atomic_load_explicit(&d->gw->tunnel_mtu, memory_order_relaxed);
	take_dns(tailnet_dns(d->tailnet), &out->dns);
	doctor_collect_host(d, &out->host);
}

size_t doctor_collect_peers(const struct daemon *d, size_t at, size_t n, struct doctor_peer *out)
{
	const struct netmap *m = tailnet_netmap(d->tailnet);
	uint64_t now_unix_ns = unix_now_ns();
	size_t done = 0;
	for (; done < n && at + done < m->n_peers; done++)
		take_peer(d->tailnet, m->peers[at + done], now_unix_ns, &out[done]);
	return done;
}
