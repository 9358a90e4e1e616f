// Metrics of what stands behind the gateway: translated flows, fragments, advertised networks.
#include "control/ctl/metrics.h"
#include "control/ctl/nat.h"
#include "control/ctl/read.h"
#include "control/tailnet/tailnet.h"

static void flow_families(struct evbuffer *out, const struct gateway *gw)
{
	static const char flows[] = "tailgate_nat_flows", most[] = "tailgate_nat_flows_max";
	metrics_family(
		out, flows, "gauge", NULL, "translated flows, by worker and by protocol and state");
	for (unsigned w = 0; w < gw->n_workers; w++)
		for (unsigned i = 0; i < NAT_CLASS_COUNT; i++)
			evbuffer_add_printf(out, "%s{worker=\"%u\",class=\"%s\"} %u\n", flows, w,
				ctl_nat_class_name(i),
				nat_class_count(gw->graph[w]->nat, (enum nat_class)i));
	metrics_family(out, most, "gauge", NULL, "flows that a worker has room for");
	for (unsigned w = 0; w < gw->n_workers; w++)
		evbuffer_add_printf(
			out, "%s{worker=\"%u\"} %u\n", most, w, gw->graph[w]->nat->bound);
}

static void port_families(struct evbuffer *out, const struct gateway *gw)
{
	static const char used[] = "tailgate_nat_ports_in_use";
	const struct nat_config *c = atomic_load(&gw->nat);
	metrics_single(out, "tailgate_nat_ports", "gauge", NULL,
		"outside ports that there are (nat_ports), 0: nothing is translated",
		c != NULL ? c->port_last - c->port_first + 1 : 0);
	metrics_family(out, used, "gauge", NULL,
		"outside ports with at least one flow, to whatever destination");
	for (unsigned w = 0; w < gw->n_workers; w++)
		evbuffer_add_printf(out, "%s{worker=\"%u\"} %u\n", used, w,
			nat_ports_in_use(gw->graph[w]->nat));
}

static void fragment_family(struct evbuffer *out, const struct gateway *gw)
{
	static const char name[] = "tailgate_fragment_buffers_in_use";
	metrics_family(out, name, "gauge", NULL,
		"packet buffers in which fragments wait for the rest of their packet");
	for (unsigned w = 0; w < gw->n_workers; w++)
		evbuffer_add_printf(out, "%s{worker=\"%u\"} %lu\n", name, w,
			read_count(&gw->graph[w]->fragment_buffers));
}

bool metrics_nat_part(struct metrics_walk *w, struct evbuffer *out)
{
	const struct gateway *gw = w->d->gw;
	flow_families(out, gw);
	port_families(out, gw);
	fragment_family(out, gw);
	return true;
}

// --- Networks that we advertise

static const struct route_family {
	const char *name, *help;
	size_t offset; // of a bool in struct tailnet_route_info
} route_families[] = {
	{"tailgate_route_offered", "1: the coordination server is told of the network",
		offsetof(struct tailnet_route_info, offered)},
	{"tailgate_route_approved", "1: the coordination server lets us stand for it",
		offsetof(struct tailnet_route_info, approved)},
	{"tailgate_route_primary", "1: peers send to us what goes there",
		offsetof(struct tailnet_route_info, primary)},
	{"tailgate_route_taken_over", "1: they send it to another node",
		offsetof(struct tailnet_route_info, taken_over)},
	{"tailgate_route_cut_off",
		"1: its hosts do not answer (route_probes), so it is not offered",
		offsetof(struct tailnet_route_info, cut_off)},
};

static void route_sample(struct evbuffer *out, const struct route_family *f,
	const struct tailnet *t, const struct ip_prefix *p)
{
	char text[PREFIX_TEXT_LEN];
	struct tailnet_route_info info;
	tailnet_route_info(t, p, &info);
	evbuffer_add_printf(out, "%s{route=\"%s\"} %d\n", f->name, ip_prefix_format(p, text),
		*(const bool *)((const char *)&info + f->offset));
}

bool metrics_routes_part(struct metrics_walk *w, struct evbuffer *out)
{
	const struct tailnet *t = w->d->tailnet;
	if (t == NULL)
		return true;
	for (; w->family < RTE_DIM(route_families); w->family++, w->at = 0) {
		const struct route_family *f = &route_families[w->family];
		if (!w->begun)
			metrics_family(out, f->name, "gauge", NULL, f->help);
		w->begun = true;
		// There may be others by the next turn of the loop.
		uint32_t n;
		const struct ip_prefix *networks = tailnet_networks(t, &n);
		while (w->at < n) {
			route_sample(out, f, t, &networks[w->at++]);
			if (evbuffer_get_length(out) >= CTL_PIECE)
				return false;
		}
		w->begun = false;
	}
	return true;
}
