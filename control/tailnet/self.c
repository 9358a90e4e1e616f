// What we say of ourselves: Hostinfo, NetInfo, endpoints.
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"

enum {
	FRESH_MS = 27000, // endpointsFreshEnoughDuration
};

// ID of /etc/os-release.
static void read_distro(char *out, size_t size)
{
	char line[128];
	FILE *f = fopen("/etc/os-release", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "ID=%63[a-z0-9._-]", out) == 1)
			break;
		out[0] = '\0';
	}
	if (f)
		fclose(f);
}

void tn_self_init(struct tailnet *t)
{
	struct utsname u = {0};
	uname(&u);
	snprintf(t->version, sizeof(t->version), "1.102.5-tailgate-%s", TAILGATE_VERSION);
	snprintf(t->os_version, sizeof(t->os_version), "%s", u.release);
	read_distro(t->distro, sizeof(t->distro));
	t->netinfo = (struct netinfo){
		.mapping_varies = -1,
		.working_ipv6 = -1,
		.os_has_ipv6 = -1,
		.working_udp = -1,
		.working_icmp4 = -1,
		.upnp = -1,
		.pmp = -1,
		.pcp = -1,
		.link_type = "wired",
	};
	t->hostinfo = (struct hostinfo){
		.version = t->version,
		.backend_log_id = t->persist.backend_log_id,
		.os = "linux",
		.os_version = t->os_version,
		.distro = t->distro,
		.package = "tailgate",
		.hostname = t->hostname,
		.machine = "x86_64",
		.go_arch = "amd64",
		.no_logs = true,
		.userspace = 0,
		.userspace_router = 0,
	};
}

const struct hostinfo *tn_hostinfo(void *arg)
{
	struct tailnet *t = arg;
	struct hostinfo *h = &t->hostinfo;
	if (t->prefs->hostname[0])
		snprintf(t->hostname, sizeof(t->hostname), "%s", t->prefs->hostname);
	else if (gethostname(t->hostname, sizeof(t->hostname) - 1) < 0)
		t->hostname[0] = '\0';
	h->routes = t->offered;
	h->n_routes = t->n_offered;
	h->tags = (const char *const *)t->prefs->tags;
	h->n_tags = t->prefs->n_tags;
	h->services = t->services;
	h->n_services = tn_peerapi_services(t, t->services);
	h->app_connector = t->prefs->app_connector;
	h->services_hash = tn_services_mark(t);
	h->exit_node_id = t->prefs->exit_node_id;
	h->shields_up = t->prefs->shields_up;
	h->netinfo = t->netinfo.working_udp >= 0 ? &t->netinfo : NULL;
	return h;
}

void tn_netinfo_update(struct tailnet *t)
{
	const struct netcheck_report *r = netcheck_last(t->netcheck);
	const struct portmap_info *p = portmap_get(t->portmap);
	struct netinfo before = t->netinfo, *n = &t->netinfo;
	n->mapping_varies = r->mapping_varies;
	n->working_ipv6 = r->ipv6;
	n->os_has_ipv6 = r->os_has_ipv6;
	n->working_udp = r->udp;
	n->working_icmp4 = r->icmpv4;
	n->upnp = p->upnp;
	n->pmp = p->pmp;
	n->pcp = p->pcp;
	n->have_port_map = p->external.port != 0;
	n->preferred_derp = t->home;
	n->latencies = t->latencies;
	n->n_latencies = 0;
	for (uint32_t i = 0; i < r->n_latency; i++) {
		const struct netcheck_latency *l = &r->latency[i];
		if (l->v4_ns)
			t->latencies[n->n_latencies++] =
				(struct hostinfo_latency){l->region, IP_V4, (double)l->v4_ns / 1e9};
		if (l->v6_ns)
			t->latencies[n->n_latencies++] =
				(struct hostinfo_latency){l->region, IP_V6, (double)l->v6_ns / 1e9};
	}
	// Latencies alone are no reason to tell the server again.
	before.latencies = n->latencies;
	before.n_latencies = n->n_latencies;
	if (memcmp(&before, n, sizeof(before)) != 0)
		coord_client_update(t->coord);
}

struct found {
	struct map_endpoint *at;
	size_t n;
};

static void add(struct found *f, const struct endpoint *e, enum endpoint_type type)
{
	if (e->port == 0 || e->addr.family == IP_NONE || f->n == TN_ENDPOINTS_MAX)
		return;
	for (size_t i = 0; i < f->n; i++) {
		if (endpoint_equal(&f->at[i].endpoint, e))
			return;
	}
	f->at[f->n++] = (struct map_endpoint){*e, type};
}

// Only what arrives at a port of ours is ours to receive.
static bool is_port(const struct tailnet *t, const char *name)
{
	const struct gateway *gw = t->params.gw;
	uint32_t ifindex = if_nametoindex(name);
	for (unsigned i = 0; i < gw->n_ports; i++) {
		if (i != gw->host_port && gw->port[i]->ifindex == ifindex)
			return true;
	}
	return false;
}

static void add_local(const struct tailnet *t, struct found *f)
{
	struct ifaddrs *list;
	bool have_v4 = false, have_v6 = false;
	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		struct endpoint e = {.port = atomic_load(&t->params.gw->wg_port)};
		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || !is_port(t, i->ifa_name))
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			e.addr = ip_addr_v4(&((struct sockaddr_in *)i->ifa_addr)->sin_addr);
		else if (i->ifa_addr->sa_family == AF_INET6)
			e.addr = ip_addr_v6(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr);
		if (e.addr.family && !ip_addr_is_link_local(&e.addr) && !tn_is_tailnet(&e.addr))
			add(f, &e, ENDPOINT_LOCAL);
		have_v4 |= e.addr.family == IP_V4 && !ip_addr_is_link_local(&e.addr);
		have_v6 |= e.addr.family == IP_V6 && !ip_addr_is_link_local(&e.addr);
	}
	freeifaddrs(list);
	netcheck_set_host(t->netcheck, have_v4, have_v6, access("/proc/net/if_inet6", F_OK) == 0);
}

// Best first: the order of tailscale magicsock.go, determineEndpoints.
bool tn_endpoints_update(struct tailnet *t)
{
	struct map_endpoint now[TN_ENDPOINTS_MAX];
	struct found f = {.at = now};
	const struct netcheck_report *r = netcheck_last(t->netcheck);
	struct endpoint guess = r->global_v4, globals[NETCHECK_GLOBALS_MAX];
	size_t n_globals = netcheck_globals(r, globals, NETCHECK_GLOBALS_MAX);
	add(&f, &portmap_get(t->portmap)->external, ENDPOINT_PORTMAPPED);
	for (size_t i = 0; i < n_globals; i++)
		add(&f, &globals[i], ENDPOINT_STUN);
	guess.port = t->params.wg_port;
	if (r->mapping_varies == 1 && r->global_v4.port)
		add(&f, &guess, ENDPOINT_STUN4_LOCAL_PORT);
	for (uint32_t i = 0; i < t->params.endpoints.count; i++)
		add(&f, &t->params.endpoints.list[i], ENDPOINT_EXPLICIT);
	add_local(t, &f);
	bool same = f.n == t->n_endpoints;
	for (size_t i = 0; same && i < f.n; i++)
		same = endpoint_equal(&now[i].endpoint, &t->endpoints[i].endpoint) &&
		       now[i].type == t->endpoints[i].type;
	memcpy(t->endpoints, now, f.n * sizeof(now[0]));
	t->n_endpoints = f.n;
	return !same;
}

size_t tn_map_endpoints(void *arg, struct map_endpoint *out, size_t max)
{
	struct tailnet *t = arg;
	size_t n = RTE_MIN(max, t->n_endpoints);
	memcpy(out, t->endpoints, n * sizeof(out[0]));
	return n;
}

size_t tn_endpoints(void *arg, struct endpoint *out, size_t max)
{
	const struct tailnet *t = arg;
	size_t n = RTE_MIN(max, t->n_endpoints);
	for (size_t i = 0; i < n; i++)
		out[i] = t->endpoints[i].endpoint;
	return n;
}

bool tn_endpoints_fresh(void *arg)
{
	struct tailnet *t = arg;
	if (t->endpoints_ns && tn_now_ns(t) - t->endpoints_ns < FRESH_MS * UINT64_C(1000000))
		return true;
	t->restun = true; // not from within the mesh
	event_active(t->netcheck_event, EV_TIMEOUT, 0);
	return false;
}

struct key tn_disco_key(void *arg)
{
	const struct tailnet *t = arg;
	return *mesh_disco_key(t->mesh);
}
