#include "control/ctl/metrics.h"

#include <errno.h>
#include <rte_mempool.h>
#include <stdlib.h>

#include "control/ctl/read.h"
#include "control/ctl/report.h"
#include "dataplane/base/clock.h"

void metrics_label(struct evbuffer *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			evbuffer_add(out, "\\n", 2);
		else if (*text == '\\' || *text == '"')
			evbuffer_add_printf(out, "\\%c", *text);
		else
			evbuffer_add(out, text, 1);
	}
}

void metrics_family(struct evbuffer *out, const char *name, const char *type, const char *unit,
	const char *help)
{
	evbuffer_add_printf(out, "# TYPE %s %s\n", name, type);
	if (unit != NULL)
		evbuffer_add_printf(out, "# UNIT %s %s\n", name, unit);
	evbuffer_add_printf(out, "# HELP %s ", name);
	metrics_label(out, help);
	evbuffer_add(out, "\n", 1);
}

void metrics_single(struct evbuffer *out, const char *name, const char *type, const char *unit,
	const char *help, double value)
{
	bool counter = strcmp(type, "counter") == 0;
	metrics_family(out, name, type, unit, help);
	evbuffer_add_printf(out, "%s%s %.17g\n", name, counter ? "_total" : "", value);
}

static void build_info(struct evbuffer *out, const struct daemon *d)
{
	const struct gateway *gw = d->gw;
	metrics_family(out, "tailgate_build", "info", NULL, "version and encryption engine");
	evbuffer_add_printf(out, "tailgate_build_info{version=\"%s\",aead=\"%s\"} 1\n",
		TAILGATE_VERSION, gw->n_workers > 0 ? aead_engine_name(gw->graph[0]->aead) : "");
}

static void daemon_families(struct evbuffer *out, const struct daemon *d)
{
	metrics_single(out, "tailgate_start_time_seconds", "gauge", "seconds",
		"start of the daemon since 1970", (double)d->started_unix_ns / 1e9);
	metrics_single(out, "tailgate_reloads", "counter", NULL,
		"configuration read again and applied", (double)d->reloads);
	metrics_single(out, "tailgate_reload_failures", "counter", NULL,
		"configuration read again and refused", (double)d->reload_failures);
	metrics_single(out, "tailgate_listen_port", "gauge", NULL, "UDP port in use", d->wg_port);
	metrics_single(out, "tailgate_listen_port_fallback", "gauge", NULL,
		"1: the configured UDP port was taken", d->wg_port_fallback);
	metrics_single(out, "tailgate_under_load", "gauge", NULL,
		"1: handshakes are answered with cookies", wg_under_load(d->wg));
}

// What there is of one peer.
static const struct peer_family {
	const char *name, *type, *unit, *help;
	size_t offset; // of an uint64_t in struct wg_peer_info
	enum { PEER_NUMBER, PEER_TIME, PEER_UP } value;
} peer_families[] = {
	// These three as prometheus_wireguard_exporter names them.
	{"wireguard_sent_bytes", "counter", "bytes", "bytes sent to the peer",
		offsetof(struct wg_peer_info, tx_wire_bytes), PEER_NUMBER},
	{"wireguard_received_bytes", "counter", "bytes", "bytes received from the peer",
		offsetof(struct wg_peer_info, rx_wire_bytes), PEER_NUMBER},
	{"wireguard_latest_handshake_seconds", "gauge", "seconds",
		"latest handshake since 1970, 0: none yet",
		offsetof(struct wg_peer_info, handshake_unix_ns), PEER_TIME},
	{"tailgate_peer_rx_packets", "counter", NULL, "inner packets received from the peer",
		offsetof(struct wg_peer_info, rx_packets), PEER_NUMBER},
	{"tailgate_peer_tx_packets", "counter", NULL, "inner packets sent to the peer",
		offsetof(struct wg_peer_info, tx_packets), PEER_NUMBER},
	{"tailgate_peer_handshakes_sent", "counter", NULL, "handshake initiations sent",
		offsetof(struct wg_peer_info, handshakes_sent), PEER_NUMBER},
	{"tailgate_peer_handshakes_received", "counter", NULL, "handshake initiations received",
		offsetof(struct wg_peer_info, handshakes_received), PEER_NUMBER},
	{"tailgate_peer_handshakes_failed", "counter", NULL, "handshakes that failed",
		offsetof(struct wg_peer_info, handshakes_failed), PEER_NUMBER},
	{"tailgate_peer_up", "gauge", NULL, "1: a session with the peer is alive", 0, PEER_UP},
};

static void peer_labels(struct evbuffer *out, const char *interface, const struct wg_peer_info *p)
{
	char key[KEY_TEXT_LEN + 1], prefix[PREFIX_TEXT_LEN];
	evbuffer_add_printf(out, "{interface=\"");
	metrics_label(out, interface);
	evbuffer_add_printf(
		out, "\",public_key=\"%s\",allowed_ips=\"", key_format(&p->peer->public_key, key));
	for (uint32_t i = 0; i < p->n_allowed; i++)
		evbuffer_add_printf(
			out, "%s%s", i > 0 ? "," : "", ip_prefix_format(&p->allowed[i], prefix));
	evbuffer_add_printf(out, "\",friendly_name=\"");
	metrics_label(out, p->peer->name);
	evbuffer_add_printf(out, "\"}");
}

static double peer_value(const struct peer_family *f, const struct wg_peer_info *p)
{
	const char *remedy;
	if (f->value == PEER_UP)
		return strcmp(report_peer_state(p, unix_now_ns(), &remedy), "up") == 0;
	return (double)*(const uint64_t *)((const char *)p + f->offset);
}

static void peer_sample(struct evbuffer *out, const struct peer_family *f, const char *interface,
	const struct wg_peer_info *p)
{
	bool counter = strcmp(f->type, "counter") == 0;
	evbuffer_add_printf(out, "%s%s", f->name, counter ? "_total" : "");
	peer_labels(out, interface, p);
	if (f->value == PEER_TIME)
		evbuffer_add_printf(out, " %.9f\n", peer_value(f, p) * 1e-9);
	else
		evbuffer_add_printf(out, " %.0f\n", peer_value(f, p));
}

static bool peers_part(struct metrics_walk *w, struct evbuffer *out)
{
	const struct config *c = w->d->config;
	struct wg_peer_info info;
	for (; w->family < RTE_DIM(peer_families); w->family++, w->at = 0) {
		const struct peer_family *f = &peer_families[w->family];
		if (!w->begun)
			metrics_family(out, f->name, f->type, f->unit, f->help);
		w->begun = true;
		for (uint32_t at = (uint32_t)w->at; wg_peers_next(w->d->wg, &at, &info);) {
			peer_sample(out, f, c->tun[0] != '\0' ? c->tun : "tailgate", &info);
			w->at = at;
			if (evbuffer_get_length(out) >= CTL_PIECE)
				return false;
		}
		w->begun = false;
	}
	return true;
}

static void port_sample(struct evbuffer *out, const char *name, const char *suffix,
	const struct port *port, uint64_t value)
{
	evbuffer_add_printf(out, "%s%s{port=\"", name, suffix);
	metrics_label(out, port->name);
	evbuffer_add_printf(out, "\",kind=\"%s\"} %lu\n", port_kind_name(port->kind), value);
}

static void port_families(struct evbuffer *out, const struct gateway *gw)
{
	char name[64];
	for (unsigned k = 0; k < n_port_counters; k++) {
		const struct port_counter *c = &port_counters[k];
		bool bytes = strcmp(c->name + 3, "bytes") == 0;
		snprintf(name, sizeof(name), "tailgate_port_%s", c->name);
		metrics_family(out, name, "counter", bytes ? "bytes" : NULL, c->help);
		for (unsigned i = 0; i < gw->n_ports; i++)
			port_sample(out, name, "_total", gw->port[i], read_port(gw->port[i], c));
	}
	metrics_family(out, "tailgate_port_up", "gauge", NULL, "1: the link is up");
	for (unsigned i = 0; i < gw->n_ports; i++)
		port_sample(out, "tailgate_port_up", "", gw->port[i],
			atomic_load_explicit(&gw->port[i]->up, memory_order_relaxed));
	metrics_family(
		out, "tailgate_port_mtu_bytes", "gauge", "bytes", "largest IP packet of the link");
	for (unsigned i = 0; i < gw->n_ports; i++)
		port_sample(out, "tailgate_port_mtu_bytes", "", gw->port[i],
			atomic_load_explicit(&gw->port[i]->mtu, memory_order_relaxed));
}

static void counter_family(
	struct evbuffer *out, const char *label, const char *help, uint64_t value)
{
	char name[96];
	snprintf(name, sizeof(name), "tailgate_%s", label);
	metrics_family(out, name, "counter", NULL, help);
	evbuffer_add_printf(out, "%s_total %lu\n", name, value);
}

static void count_families(struct evbuffer *out, const struct daemon *d)
{
	metrics_family(out, "tailgate_drops", "counter", NULL,
		"packets that ended here, by reason: 'tailgate stats' explains each");
	for (unsigned i = 0; i < DROP_COUNT; i++)
		evbuffer_add_printf(out, "tailgate_drops_total{reason=\"%s\"} %lu\n",
			drop_label((enum drop_reason)i), read_drop(d->gw, (enum drop_reason)i));
	for (unsigned i = 0; i < COUNTER_COUNT; i++)
		counter_family(out, counter_label((enum counter)i), counter_help((enum counter)i),
			read_counter(d->gw, (enum counter)i));
	for (unsigned i = 0; i < WG_COUNTER_COUNT; i++)
		counter_family(out, wg_counter_label((enum wg_counter)i),
			wg_counter_help((enum wg_counter)i), wg_counter(d->wg, (enum wg_counter)i));
}

static void node_families(struct evbuffer *out, const struct gateway *gw)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} families[] = {
		{"tailgate_node_calls", "bursts that passed the node",
			offsetof(struct node_stats, calls)},
		{"tailgate_node_packets", "packets that passed the node",
			offsetof(struct node_stats, packets)},
		{"tailgate_node_cycles", "CPU cycles (TSC) spent in the node",
			offsetof(struct node_stats, cycles)},
	};
	for (unsigned k = 0; k < RTE_DIM(families); k++) {
		metrics_family(out, families[k].name, "counter", NULL, families[k].help);
		for (unsigned i = 0; i < NODE_COUNT; i++) {
			struct node_stats s = read_node(gw, (enum node_id)i);
			evbuffer_add_printf(out, "%s_total{node=\"%s\"} %lu\n", families[k].name,
				node_name((enum node_id)i),
				*(const uint64_t *)((const char *)&s + families[k].offset));
		}
	}
}

static void worker_families(struct evbuffer *out, const struct gateway *gw)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} families[] = {
		{"tailgate_worker_rounds", "rounds over all ports", offsetof(struct graph, rounds)},
		{"tailgate_worker_empty_rounds", "rounds that found nothing",
			offsetof(struct graph, empty_rounds)},
		{"tailgate_worker_sleeps", "times that the worker slept",
			offsetof(struct graph, sleeps)},
	};
	// rate() of this is the busy share.
	metrics_family(
		out, "tailgate_worker_busy_seconds", "counter", "seconds", "time spent on packets");
	for (unsigned i = 0; i < gw->n_workers; i++)
		evbuffer_add_printf(out, "tailgate_worker_busy_seconds_total{worker=\"%u\"} %.9f\n",
			i, (double)read_count(&gw->graph[i]->busy_cycles) / tsc_hz(gw));
	for (unsigned k = 0; k < RTE_DIM(families); k++) {
		metrics_family(out, families[k].name, "counter", NULL, families[k].help);
		for (unsigned i = 0; i < gw->n_workers; i++)
			evbuffer_add_printf(out, "%s_total{worker=\"%u\"} %lu\n", families[k].name,
				i,
				read_count((const uint64_t *)((const char *)gw->graph[i] +
							      families[k].offset)));
	}
}

// Element i of burst_packets counts bursts of 2^i to 2^(i+1) - 1 packets.
static void burst_family(struct evbuffer *out, const struct gateway *gw)
{
	metrics_family(
		out, "tailgate_rx_burst_packets", "histogram", NULL, "packets per receive burst");
	for (unsigned w = 0; w < gw->n_workers; w++) {
		const struct graph *g = gw->graph[w];
		uint64_t sum = 0;
		for (unsigned i = 0; i < RTE_DIM(g->burst_packets); i++) {
			sum += read_count(&g->burst_packets[i]);
			evbuffer_add_printf(out,
				"tailgate_rx_burst_packets_bucket{worker=\"%u\",le=\"%u.0\"} "
				"%lu\n",
				w, (2u << i) - 1, sum);
		}
		evbuffer_add_printf(out,
			"tailgate_rx_burst_packets_bucket{worker=\"%u\",le=\"+Inf\"} %lu\n", w,
			sum);
	}
}

static void buffer_families(struct evbuffer *out, const struct gateway *gw)
{
	const struct {
		const char *name;
		const struct rte_mempool *pool;
	} pools[] = {{"packets", gw->pool}, {"super_packets", gw->super_pool}};

	metrics_family(out, "tailgate_buffers", "gauge", NULL, "packet buffers there are");
	for (unsigned i = 0; i < RTE_DIM(pools); i++)
		if (pools[i].pool != NULL)
			evbuffer_add_printf(out, "tailgate_buffers{pool=\"%s\"} %u\n",
				pools[i].name, pools[i].pool->size);
	metrics_family(out, "tailgate_buffers_in_use", "gauge", NULL, "packet buffers in use");
	for (unsigned i = 0; i < RTE_DIM(pools); i++)
		if (pools[i].pool != NULL)
			evbuffer_add_printf(out, "tailgate_buffers_in_use{pool=\"%s\"} %u\n",
				pools[i].name, rte_mempool_in_use_count(pools[i].pool));
}

static void conn_families(struct evbuffer *out, const struct ctl_conns *conns)
{
	metrics_family(out, "tailgate_ctl_connections", "gauge", NULL,
		"connections to the socket and to the metrics address");
	for (unsigned i = 0; i < CTL_CONN_KINDS; i++)
		evbuffer_add_printf(out, "tailgate_ctl_connections{kind=\"%s\"} %u\n",
			ctl_conn_kind_label((enum ctl_conn_kind)i),
			ctl_conns_count(conns, (enum ctl_conn_kind)i));
	metrics_family(out, "tailgate_ctl_connections_ended", "counter", NULL,
		"connections to the socket and the metrics address that we ended, by reason");
	for (unsigned i = 0; i < CTL_CONN_END_COUNT; i++)
		evbuffer_add_printf(out,
			"tailgate_ctl_connections_ended_total{reason=\"%s\"} %lu\n",
			ctl_conn_end_label((enum ctl_conn_end)i),
			ctl_conns_ended(conns, (enum ctl_conn_end)i));
}

static bool daemon_part(struct metrics_walk *w, struct evbuffer *out)
{
	build_info(out, w->d);
	daemon_families(out, w->d);
	conn_families(out, w->conns);
	return true;
}

static bool gateway_part(struct metrics_walk *w, struct evbuffer *out)
{
	port_families(out, w->d->gw);
	count_families(out, w->d);
	node_families(out, w->d->gw);
	worker_families(out, w->d->gw);
	burst_family(out, w->d->gw);
	buffer_families(out, w->d->gw);
	return true;
}

static bool end_part(struct metrics_walk *, struct evbuffer *out)
{
	evbuffer_add_printf(out, "# EOF\n");
	return true;
}

// In the order of the text. Each writes from where the walk stands; true: it is through.
static bool (*const parts[])(struct metrics_walk *, struct evbuffer *) = {
	daemon_part,
	peers_part,
	gateway_part,
	metrics_node_part,
	metrics_node_peers_part,
	metrics_nat_part,
	metrics_routes_part,
	metrics_dns_part,
	end_part,
};

static int more(void *arg, struct evbuffer *out)
{
	struct metrics_walk *w = arg;
	while (w->part < RTE_DIM(parts) && evbuffer_get_length(out) < CTL_PIECE) {
		if (!parts[w->part](w, out))
			continue;
		w->part++;
		w->family = 0;
		w->at = 0;
		w->begun = false;
	}
	return w->part < RTE_DIM(parts);
}

static void end(void *arg)
{
	struct metrics_walk *w = arg;
	free(w->paths);
	free(w);
}

int metrics_source(const struct daemon *d, const struct ctl_conns *conns, struct ctl_source *source)
{
	struct metrics_walk *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	w->d = d;
	w->conns = conns;
	*source = (struct ctl_source){
		.type = METRICS_CONTENT_TYPE, .more = more, .end = end, .arg = w};
	return 0;
}
