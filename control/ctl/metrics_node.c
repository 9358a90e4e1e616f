// Metrics of a node of a tailnet: coordination, DERP, the way to each peer.
#include "control/ctl/metrics.h"
#include "control/tailnet/appc.h"
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

static void app_families(struct evbuffer *out, const struct tailnet *t)
{
	uint32_t domains, addresses;
	const struct appc_counters *c = tailnet_appc_counters(t, &domains, &addresses);
	if (!c)
		return;
	metrics_single(out, "tailgate_appc_domains", "gauge", NULL,
		"domains that the app connector watches", domains);
	metrics_single(out, "tailgate_appc_addresses", "gauge", NULL,
		"addresses that it has learned of them, at most 4096", addresses);
	metrics_single(out, "tailgate_appc_learned", "counter", NULL, "addresses learned",
		(double)c->learned);
	metrics_family(out, "tailgate_appc_refused", "counter", NULL,
		"addresses in answers that were not learned: nobody's to give, or too many");
	evbuffer_add_printf(out,
		"tailgate_appc_refused_total{why=\"forbidden\"} %llu\n"
		"tailgate_appc_refused_total{why=\"full\"} %llu\n",
		(unsigned long long)c->forbidden, (unsigned long long)c->full);
}

static void netmap_families(struct evbuffer *out, const struct netmap *nm)
{
	metrics_family(out, "tailgate_netmap_skipped", "counter", NULL,
		"parts of the coordination server's netmap that are not used, by what is wrong");
	for (unsigned i = 0; i < NM_SKIP_COUNT; i++)
		evbuffer_add_printf(out, "tailgate_netmap_skipped_total{what=\"%s\"} %llu\n",
			nm_skip_text((enum nm_skip)i), (unsigned long long)nm->skipped[i]);
	metrics_single(out, "tailgate_netmap_peers", "gauge", NULL, "peers in the netmap",
		(double)nm->n_peers);
	metrics_single(out, "tailgate_clock_offset_seconds", "gauge", "seconds",
		"the coordination server's clock minus ours", (double)nm->clock_offset_s);
}

bool metrics_node_part(struct metrics_walk *w, struct evbuffer *out)
{
	if (w->d->tailnet == NULL)
		return true;
	coord_families(out, w->d->tailnet);
	netmap_families(out, tailnet_netmap(w->d->tailnet));
	path_families(out, w->d->tailnet);
	app_families(out, w->d->tailnet);
	return true;
}

// --- Peers: asked for once each, in the first family.

struct metrics_path {
	struct key key;
	bool known;
	const char *kind;
	uint16_t region;
	uint64_t latency_ns;
};

static const char *kind(const struct tailnet_peer_info *i)
{
	if (!i->direct.port)
		return i->derp_region ? "derp" : "none";
	bool v6 = i->direct.addr.family == IP_V6;
	return i->relay_vni ? v6 ? "peer_relay_ipv6" : "peer_relay_ipv4"
	       : v6	    ? "direct_ipv6"
			    : "direct_ipv4";
}

static void path_sample(struct evbuffer *out, const struct nm_peer *, const struct metrics_path *p)
{
	evbuffer_add_printf(out, ",path=\"%s\",region=\"%u\"} 1\n", p->kind, p->region);
}

static void latency_sample(
	struct evbuffer *out, const struct nm_peer *, const struct metrics_path *p)
{
	evbuffer_add_printf(out, "} %.9f\n", (double)p->latency_ns / 1e9);
}

static void expiry_sample(
	struct evbuffer *out, const struct nm_peer *peer, const struct metrics_path *)
{
	evbuffer_add_printf(out, "} %lld\n", (long long)peer->node->key_expiry);
}

static const struct node_family {
	const char *name, *unit, *help;
	bool all; // also those that WireGuard does not know
	void (*sample)(struct evbuffer *, const struct nm_peer *, const struct metrics_path *);
} node_families[] = {
	{"tailgate_peer_path", NULL, "1: the way to the peer", false, path_sample},
	{"tailgate_peer_path_latency_seconds", "seconds",
		"round trip of the last disco ping on that way, 0: unknown", false, latency_sample},
	{"tailgate_peer_key_expiry_seconds", "seconds",
		"when the peer's key expires since 1970, 0: never", true, expiry_sample},
};

// The next peer of the first family. NULL: that was the last.
static const struct metrics_path *ask(struct metrics_walk *w)
{
	const struct netmap *nm = tailnet_netmap(w->d->tailnet);
	struct tailnet_peer_info i;
	if (w->paths == NULL && nm->n_peers > 0) {
		w->paths = calloc(nm->n_peers, sizeof(*w->paths));
		w->paths_room = w->paths != NULL ? nm->n_peers : 0;
	}
	if (w->n_paths >= RTE_MIN(nm->n_peers, w->paths_room))
		return NULL;
	const struct nm_peer *peer = nm->peers[w->n_paths];
	struct metrics_path *p = &w->paths[w->n_paths++];
	p->key = peer->node->key;
	p->known = tailnet_peer_info(w->d->tailnet, peer, &i);
	p->kind = kind(&i);
	p->region = i.derp_region;
	p->latency_ns = i.latency_ns;
	return p;
}

static const struct metrics_path *next_path(struct metrics_walk *w)
{
	if (w->family == 0)
		return ask(w);
	return w->at < w->n_paths ? &w->paths[w->at++] : NULL;
}

static void node_sample(struct metrics_walk *w, struct evbuffer *out, const struct metrics_path *p)
{
	const struct node_family *f = &node_families[w->family];
	char key[KEY_TEXT_LEN + 1];
	// It may have left since it was asked for.
	const struct nm_peer *peer = netmap_peer_by_key(tailnet_netmap(w->d->tailnet), &p->key);
	if (peer == NULL || !(p->known || f->all))
		return;
	evbuffer_add_printf(
		out, "%s{public_key=\"%s\",friendly_name=\"", f->name, key_format(&p->key, key));
	metrics_label(out, peer->node->name ? peer->node->name : "");
	evbuffer_add_printf(out, "\"");
	f->sample(out, peer, p);
}

bool metrics_node_peers_part(struct metrics_walk *w, struct evbuffer *out)
{
	const struct metrics_path *p;
	if (w->d->tailnet == NULL)
		return true;
	for (; w->family < RTE_DIM(node_families); w->family++, w->at = 0) {
		const struct node_family *f = &node_families[w->family];
		if (!w->begun)
			metrics_family(out, f->name, "gauge", f->unit, f->help);
		w->begun = true;
		while ((p = next_path(w)) != NULL) {
			node_sample(w, out, p);
			if (evbuffer_get_length(out) >= CTL_PIECE)
				return false;
		}
		w->begun = false;
	}
	return true;
}
