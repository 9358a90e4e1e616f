// Metrics of a node of a tailnet: coordination, DERP, the way to each peer.
#include "control/ctl/metrics.h"
#include "control/tailnet/tailnet.h"

static void netmap_family(
	struct evbuffer *out, const struct coord_status *c, const struct tailnet_times *t)
{
	static const char name[] = "tailgate_coord_netmap_seconds";
	const struct {
		const char *step;
		uint64_t ns;
	} steps[] = {{"parse", c->parse_ns}, {"apply", c->apply_ns}, {"settle", t->settle_ns},
		{"save", t->save_ns}};
	metrics_family(out, name, "gauge", "seconds",
		"CPU time of the control thread: the last whole netmap parsed, applied to peers, "
		"to "
		"routes and filter; the last writing to the disk");
	for (unsigned i = 0; i < RTE_DIM(steps); i++)
		evbuffer_add_printf(out, "%s{step=\"%s\"} %.6f\n", name, steps[i].step,
			(double)steps[i].ns / 1e9);
}

static void coord_families(struct evbuffer *out, const struct tailnet *t)
{
	const struct coord_status *c = tailnet_coord(t);
	metrics_family(out, "tailgate_tailnet_state", "gauge", NULL, "1: the node's state");
	evbuffer_add_printf(out, "tailgate_tailnet_state{state=\"%s\"} 1\n",
		tailnet_state_text(tailnet_state(t)));
	metrics_single(out, "tailgate_coord_streaming", "gauge", NULL,
		"1: the coordination server's map stream runs", c->state == COORD_STREAMING);
	metrics_single(out, "tailgate_coord_connects", "counter", NULL,
		"connections to the coordination server", (double)c->connects);
	metrics_single(out, "tailgate_coord_messages", "counter", NULL,
		"messages of the map stream", (double)c->messages);
	netmap_family(out, c, tailnet_times(t));
	metrics_single(out, "tailgate_coord_lite_updates", "counter", NULL,
		"what we told the server of ourselves", (double)c->lite_updates);
	metrics_family(out, "tailgate_coord_troubles", "counter", NULL,
		"why the map stream did not run, by cause");
	for (unsigned i = COORD_TROUBLE_NONE + 1; i < COORD_TROUBLE_COUNT; i++)
		evbuffer_add_printf(out, "tailgate_coord_troubles_total{trouble=\"%s\"} %llu\n",
			coord_trouble_label((enum coord_trouble)i),
			(unsigned long long)c->troubles[i]);
}

static void path_families(struct evbuffer *out, const struct tailnet *t)
{
	char name[64];
	for (unsigned i = 0; i < MESH_COUNTER_COUNT; i++) {
		snprintf(name, sizeof(name), "tailgate_%s",
			mesh_counter_label((enum mesh_counter)i));
		metrics_single(out, name, "counter", NULL, mesh_counter_help((enum mesh_counter)i),
			(double)tailnet_mesh_counter(t, (enum mesh_counter)i));
	}
	const struct nm_derp_map *map = &tailnet_netmap(t)->derp;
	metrics_single(out, "tailgate_derp_home_region", "gauge", NULL,
		"region that peers find us at, 0: none", tailnet_netcheck(t)->preferred);
	metrics_family(out, "tailgate_derp_connected", "gauge", NULL,
		"1: connected to a server of the region");
	for (uint32_t i = 0; i < map->n_regions; i++) {
		struct derp_region_info info;
		if (tailnet_derp_info(t, map->regions[i].id, &info))
			evbuffer_add_printf(out, "tailgate_derp_connected{region=\"%u\"} %d\n",
				map->regions[i].id, info.connected);
	}
}

static void peer_label(struct evbuffer *out, const char *family, const struct nm_peer *p)
{
	char key[KEY_TEXT_LEN + 1];
	evbuffer_add_printf(out, "%s{public_key=\"%s\",friendly_name=\"", family,
		key_format(&p->node->key, key));
	metrics_label(out, p->node->name ? p->node->name : "");
	evbuffer_add_printf(out, "\"");
}

static const char *kind(const struct tailnet_peer_info *i)
{
	if (!i->direct.port)
		return i->derp_region ? "derp" : "none";
	bool v6 = i->direct.addr.family == IP_V6;
	return i->relay_vni ? v6 ? "peer_relay_ipv6" : "peer_relay_ipv4"
	       : v6	    ? "direct_ipv6"
			    : "direct_ipv4";
}

static void peer_families(struct evbuffer *out, const struct tailnet *t)
{
	const struct netmap *nm = tailnet_netmap(t);
	struct tailnet_peer_info i;
	metrics_family(out, "tailgate_peer_path", "gauge", NULL, "1: the way to the peer");
	for (size_t n = 0; n < nm->n_peers; n++) {
		if (!tailnet_peer_info(t, nm->peers[n], &i))
			continue;
		peer_label(out, "tailgate_peer_path", nm->peers[n]);
		evbuffer_add_printf(
			out, ",path=\"%s\",region=\"%u\"} 1\n", kind(&i), i.derp_region);
	}
	metrics_family(out, "tailgate_peer_path_latency_seconds", "gauge", "seconds",
		"round trip of the last disco ping on that way, 0: unknown");
	for (size_t n = 0; n < nm->n_peers; n++) {
		if (!tailnet_peer_info(t, nm->peers[n], &i))
			continue;
		peer_label(out, "tailgate_peer_path_latency_seconds", nm->peers[n]);
		evbuffer_add_printf(out, "} %.17g\n", (double)i.latency_ns / 1e9);
	}
	metrics_family(out, "tailgate_peer_key_expiry_seconds", "gauge", "seconds",
		"when the peer's key expires since 1970, 0: never");
	for (size_t n = 0; n < nm->n_peers; n++) {
		peer_label(out, "tailgate_peer_key_expiry_seconds", nm->peers[n]);
		evbuffer_add_printf(out, "} %lld\n", (long long)nm->peers[n]->node->key_expiry);
	}
}

void metrics_node(struct evbuffer *out, const struct tailnet *t)
{
	coord_families(out, t);
	path_families(out, t);
	peer_families(out, t);
}
