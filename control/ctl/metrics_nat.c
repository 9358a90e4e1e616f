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

static void route_samples(struct evbuffer *out, const char *name, const struct ip_prefix *p,
	const struct tailnet_route_info *i)
{
	const struct {
		const char *state;
		bool is;
	} states[] = {{"offered", i->offered}, {"approved", i->approved}, {"primary", i->primary},
		{"taken_over", i->taken_over}, {"cut_off", i->cut_off}};
	char text[PREFIX_TEXT_LEN];
	ip_prefix_format(p, text);
	for (unsigned k = 0; k < RTE_DIM(states); k++)
		evbuffer_add_printf(out, "%s{route=\"%s\",state=\"%s\"} %d\n", name, text,
			states[k].state, states[k].is);
}

// One family, so that each network is looked at once: that takes a look at all peers.
bool metrics_routes_part(struct metrics_walk *w, struct evbuffer *out)
{
	static const char name[] = "tailgate_route_state";
	const struct tailnet *t = w->d->tailnet;
	struct tailnet_route_info info;
	uint32_t n;
	if (t == NULL)
		return true;
	if (!w->begun)
		metrics_family(out, name, "gauge", NULL,
			"1: the advertised network is offered to the coordination server, approved "
			"there, served by us, served by another node, cut off from us "
			"(route_probes)");
	w->begun = true;
	// There may be others by the next turn of the loop.
	const struct ip_prefix *networks = tailnet_networks(t, &n);
	while (w->at < n) {
		tailnet_route_info(t, &networks[w->at], &info);
		route_samples(out, name, &networks[w->at++], &info);
		if (evbuffer_get_length(out) >= CTL_PIECE)
			return false;
	}
	return true;
}
