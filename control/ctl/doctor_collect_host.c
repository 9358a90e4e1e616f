// Facts of what the kernel and the networks behind us have to do.
#include <stdio.h>
#include <string.h>

#include "control/ctl/doctor.h"
#include "control/daemon.h"
#include "control/kernel/mirror.h"

enum {
	LINE_LEN = 4096,	 // of a sysctl
	HOSTS_TRIED = 4,	 // of a network, for one that is not our own address
	SOCKET_LINES_MAX = 4096, // of a table; of TCP those that listen come first
};

static bool read_line(const char *path, char line[static LINE_LEN])
{
	FILE *f = fopen(path, "re");
	const bool read = f != NULL && fgets(line, LINE_LEN, f) != NULL;
	if (f != NULL)
		fclose(f);
	return read;
}

static int read_number(const char *path)
{
	char line[LINE_LEN];
	int n;
	return read_line(path, line) && sscanf(line, "%d", &n) == 1 ? n : -1;
}

// --- Advertised networks

static void step(struct ip_addr *a)
{
	for (unsigned i = ip_addr_bits(a) / 8; i-- > 0 && ++a->bytes[i] == 0;)
		;
}

// Where packets to a network's hosts go. 4via6 is the workers' own.
static bool is_by_kernel(const struct fib *fib, const struct ip_prefix *p)
{
	struct ip_addr a = p->addr;
	for (unsigned i = 0; i < HOSTS_TRIED; i++) {
		const struct nexthop *nh;
		if (p->len < ip_addr_bits(&a))
			step(&a);
		nh = fib_lookup(fib, &a);
		if (nh != NULL && nh->type != NH_LOCAL && nh->type != NH_DROP)
			return nh->type == NH_KERNEL;
	}
	return false;
}

static bool is_listed(const struct ip_prefix *list, uint32_t n, const struct ip_prefix *p)
{
	for (uint32_t i = 0; i < n; i++)
		if (memcmp(&list[i], p, sizeof(*p)) == 0)
			return true;
	return false;
}

static void find_twin(const struct tailnet *t, struct doctor_route *r)
{
	const struct netmap *m = tailnet_netmap(t);
	for (size_t i = 0; i < m->n_peers && r->prefix.len > 0; i++) {
		const struct nm_node *n = m->peers[i]->node;
		const char *name = n->name != NULL ? n->name : "a peer";
		if (!is_listed(n->primary_routes, n->n_primary_routes, &r->prefix) &&
			!is_listed(n->allowed_ips, n->n_allowed_ips, &r->prefix))
			continue;
		snprintf(r->twin, sizeof(r->twin), "%.*s", (int)strcspn(name, "."), name);
		return;
	}
}

static void take_routes(const struct daemon *d, struct doctor_host *out)
{
	const struct prefs *prefs = tailnet_prefs(d->tailnet);
	out->accept_routes = prefs->route_all;
	out->uses_exit = prefs->exit_node_id[0] != '\0' || prefs->exit_node_ip[0] != '\0' ||
			 prefs->auto_exit_node[0] != '\0';
	out->snat = !prefs->no_snat;
	uint32_t n;
	const struct ip_prefix *networks = tailnet_networks(d->tailnet, &n);
	for (uint32_t i = 0; i < n && out->n_routes < DOCTOR_ROUTES_MAX; i++) {
		struct doctor_route *r = &out->route[out->n_routes++];
		r->prefix = networks[i];
		r->by_kernel = is_by_kernel(d->gw->fib, &r->prefix);
		find_twin(d->tailnet, r);
	}
}

// --- The kernel

static void take_sysctls(const struct daemon *d, struct doctor_host *out)
{
	static const char conf[] = "/proc/sys/net/ipv4/conf";
	char path[128];
	snprintf(path, sizeof(path), "%s/all/rp_filter", conf);
	const int all = read_number(path);
	snprintf(path, sizeof(path), "%s/all/src_valid_mark", conf);
	out->answers_marked =
		read_number(path) == 1 && tailnet_prefs(d->tailnet)->netfilter_mode == 2;
	out->forward4 = read_number("/proc/sys/net/ipv4/ip_forward");
	out->forward6 = read_number("/proc/sys/net/ipv6/conf/all/forwarding");
	for (unsigned i = 0; i < d->gw->n_ports && out->n_strict < DOCTOR_STRICT_MAX; i++) {
		const struct port *p = d->gw->port[i];
		if (p->kind != PORT_SHARED)
			continue;
		snprintf(path, sizeof(path), "%s/%.20s/rp_filter", conf, p->device);
		if (RTE_MAX(all, read_number(path)) == 1) // the larger one counts, and 2 is loose
			snprintf(out->strict[out->n_strict++], IFNAME_LEN, "%.*s", IFNAME_LEN - 1,
				p->device);
	}
}

// --- Ports of the translation

static void take_socket(struct doctor_host *out, const struct doctor_socket_line *l)
{
	if (!l->listens || l->loopback || l->port < out->nat_first || l->port > out->nat_last)
		return;
	for (unsigned i = 0; i < out->n_sockets; i++)
		if (out->socket[i].port == l->port && out->socket[i].tcp == l->tcp)
			return;
	if (out->n_sockets == DOCTOR_SOCKETS_MAX)
		return;
	struct doctor_socket *s = &out->socket[out->n_sockets++];
	*s = (struct doctor_socket){.port = l->port, .tcp = l->tcp};
	doctor_socket_user(l->inode, s->user);
}

static void take_sockets(struct doctor_host *out)
{
	static const struct {
		const char *path;
		bool tcp;
	} tables[] = {{"/proc/net/tcp", true}, {"/proc/net/tcp6", true}, {"/proc/net/udp", false},
		{"/proc/net/udp6", false}};
	struct doctor_socket_line l;
	char line[512];
	for (unsigned i = 0; i < RTE_DIM(tables); i++) {
		FILE *f = fopen(tables[i].path, "re");
		for (unsigned n = 0;
			f != NULL && n < SOCKET_LINES_MAX && fgets(line, sizeof(line), f) != NULL;
			n++)
			if (doctor_socket_read(line, tables[i].tcp, &l))
				take_socket(out, &l);
		if (f != NULL)
			fclose(f);
	}
}

static void take_nat_ports(const struct daemon *d, struct doctor_host *out)
{
	const struct nat_config *c = atomic_load(&d->gw->nat);
	unsigned first, last;
	char line[LINE_LEN];
	if (c == NULL)
		return;
	out->nat_first = c->port_first;
	out->nat_last = c->port_last;
	if (read_line("/proc/sys/net/ipv4/ip_local_port_range", line) &&
		sscanf(line, "%u %u", &first, &last) == 2 && last <= UINT16_MAX) {
		out->local_first = (uint16_t)first;
		out->local_last = (uint16_t)last;
	}
	if (read_line("/proc/sys/net/ipv4/ip_local_reserved_ports", line))
		out->local_reserved =
			doctor_ports_hold(line, RTE_MAX(out->nat_first, out->local_first),
				RTE_MIN(out->nat_last, out->local_last));
	take_sockets(out);
}

// --- Hosts that say nothing

static void take_silent(
	const struct daemon *d, const struct unanswered_view *v, struct doctor_host *out)
{
	const struct nexthop *nh = fib_lookup(d->gw->fib, &v->addr);
	const double age_ns = (double)(rte_rdtsc() - v->last) / d->gw->tsc_per_ns;
	struct doctor_silent_host *h = &out->silent[out->n_silent++];
	*h = (struct doctor_silent_host){
		.addr = v->addr,
		.requests = v->requests,
		.age_s = (int64_t)(age_ns / 1e9),
		.no_neighbour =
			nh != NULL && nh->type == NH_RESOLVE && nh->gateway.family == IP_NONE,
	};
	if (mirror_source(d->mirror, &v->addr, &h->via) < 0)
		h->via.family = IP_NONE;
}

static void take_unanswered(const struct daemon *d, struct doctor_host *out)
{
	struct unanswered_view v[UNANSWERED_HOSTS];
	for (unsigned w = 0; w < d->gw->n_workers; w++) {
		const unsigned n =
			unanswered_read(d->gw->graph[w]->unanswered, v, UNANSWERED_HOSTS);
		for (unsigned i = 0; i < n && out->n_silent < DOCTOR_SILENT_HOSTS_MAX; i++)
			if (v[i].requests >= DOCTOR_REQUESTS_MIN)
				take_silent(d, &v[i], out);
	}
}

void doctor_collect_host(const struct daemon *d, struct doctor_host *out)
{
	take_routes(d, out);
	take_sysctls(d, out);
	take_nat_ports(d, out);
	take_unanswered(d, out);
}
