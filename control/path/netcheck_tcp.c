// What netcheck asks when UDP is blocked, and whether a captive portal does that.
#include "control/path/netcheck_priv.h"

void nc_lower(uint64_t *latency_ns, uint64_t ns)
{
	if (!*latency_ns || ns < *latency_ns)
		*latency_ns = ns ? ns : 1;
}

// -- without UDP ----------------------------------------------------------------------------------

static struct nc_node *next_derp_node(struct nc_region *r)
{
	while (r->https_node < r->n_nodes)
		if (!r->nodes[r->https_node++].node->stun_only)
			return &r->nodes[r->https_node - 1];
	return NULL;
}

static void ask_https(struct netcheck *nc)
{
	for (unsigned i = 0; i < nc->n_regions && nc->https_pending < NETCHECK_HTTPS_MAX; i++) {
		struct nc_region *const r = &nc->regions[i];

		if (!r->https_wanted || r->https_asked)
			continue;
		struct nc_node *const node = next_derp_node(r);
		r->https_wanted = r->https_asked = node != NULL;
		if (!node)
			continue;
		nc->https_pending++;
		nc->io.https(nc->io.arg, r->id, node->node);
	}
}

static void ask_icmp(struct netcheck *nc, uint64_t now_ns)
{
	nc->icmp_end_ns = now_ns + NETCHECK_ICMP_TIMEOUT_MS * NETCHECK_MS;
	for (unsigned i = 0; i < nc->n_regions; i++) {
		struct nc_region *const r = &nc->regions[i];
		struct ip_addr to;

		if (!r->https_wanted || r->nodes[0].node->stun_port == 0 ||
			nc_node_address(nc, &r->nodes[0], false, now_ns, &to) != NC_ADDRESS)
			continue;
		r->icmp_asked = true;
		nc->icmp_pending++;
		nc->io.icmp(nc->io.arg, r->id, &to);
	}
}

void nc_https_begin(struct netcheck *nc, uint64_t now_ns)
{
	nc->phase = NC_HTTPS;
	nc_plan_https(nc);
	if (nc->io.icmp && !nc->only_tcp)
		ask_icmp(nc, now_ns);
}

void nc_https_run(struct netcheck *nc, uint64_t now_ns)
{
	ask_https(nc);
	if (nc->https_pending == 0 && (nc->icmp_pending == 0 || now_ns >= nc->icmp_end_ns))
		nc->phase = NC_WAIT;
}

void netcheck_https(struct netcheck *nc, uint32_t region, uint64_t latency_ns, uint64_t now_ns)
{
	struct nc_region *const r = nc_region(nc, region);

	if (nc->phase != NC_HTTPS || !r || !r->https_asked)
		return;
	r->https_asked = false;
	nc->https_pending--;
	if (latency_ns) {
		r->https_wanted = false;
		nc_lower(&r->latency.https_ns, latency_ns);
	}
	netcheck_tick(nc, now_ns);
}

void netcheck_icmp(struct netcheck *nc, uint32_t region, uint64_t latency_ns, uint64_t now_ns)
{
	struct nc_region *const r = nc_region(nc, region);

	if (nc->phase != NC_HTTPS || !r || !r->icmp_asked)
		return;
	r->icmp_asked = false;
	nc->icmp_pending--;
	if (latency_ns) {
		nc->report.ipv4 = nc->report.icmpv4 = true;
		nc_lower(&r->latency.https_ns, latency_ns);
	}
	netcheck_tick(nc, now_ns);
}

// -- captive portal -------------------------------------------------------------------------------

// Nodes of home first, then of the others; by address, since names are what portals bend.
static void ask_captive(struct netcheck *nc, uint64_t now_ns)
{
	const struct nm_derp_node *nodes[NETCHECK_CAPTIVE_MAX];
	unsigned n = 0;

	for (int home = 1; home >= 0; home--)
		for (unsigned i = 0; i < nc->n_regions; i++) {
			const struct nc_region *const r = &nc->regions[i];

			if (r->avoid || r->no_measure || (r->id == nc->last.preferred) != home)
				continue;
			for (unsigned k = 0; k < r->n_nodes && n < NETCHECK_CAPTIVE_MAX; k++)
				if (r->nodes[k].node->port_80 && r->nodes[k].v4.family)
					nodes[n++] = r->nodes[k].node;
		}
	nc->captive = NC_CAPTIVE_ASKED;
	nc->captive_at_ns = now_ns + NETCHECK_CAPTIVE_TIMEOUT_MS * NETCHECK_MS;
	nc->captive_pending = n;
	for (unsigned i = 0; i < n; i++)
		nc->io.captive(nc->io.arg, nodes[i]);
}

void netcheck_captive(struct netcheck *nc, bool is_captive, uint64_t now_ns)
{
	if (nc->phase == NC_IDLE || nc->captive != NC_CAPTIVE_ASKED || nc->captive_pending == 0)
		return;
	nc->captive_pending--;
	if (is_captive) {
		nc->report.captive_portal = 1;
		nc->captive_pending = 0;
	}
	netcheck_tick(nc, now_ns);
}

void nc_captive_run(struct netcheck *nc, uint64_t now_ns)
{
	if (nc->captive == NC_CAPTIVE_LATER && now_ns >= nc->captive_at_ns)
		ask_captive(nc, now_ns);
	if (nc->captive == NC_CAPTIVE_ASKED &&
		(nc->captive_pending == 0 || now_ns >= nc->captive_at_ns)) {
		nc->captive = NC_CAPTIVE_KNOWN;
		if (nc->report.captive_portal < 0) // silence is no portal
			nc->report.captive_portal = 0;
	}
}
