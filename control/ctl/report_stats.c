#include <time.h>

#include <rte_mempool.h>

#include "control/ctl/read.h"
#include "control/ctl/report.h"

static json_t *count_json(const char *name, uint64_t value, const char *help)
{
	return json_pack("{s:s, s:I, s:s}", "name", name, "value", (json_int_t)value, "help", help);
}

static json_t *drops_json(const struct gateway *gw)
{
	json_t *array = json_array();
	for (unsigned i = 0; i < DROP_COUNT; i++)
		json_array_append_new(array, count_json(drop_label((enum drop_reason)i),
						     read_drop(gw, (enum drop_reason)i),
						     drop_help((enum drop_reason)i)));
	return array;
}

static json_t *counters_json(const struct gateway *gw)
{
	json_t *array = json_array();
	for (unsigned i = 0; i < COUNTER_COUNT; i++)
		json_array_append_new(array,
			count_json(counter_label((enum counter)i),
				read_counter(gw, (enum counter)i), counter_help((enum counter)i)));
	return array;
}

static json_t *handshakes_json(const struct wg *wg)
{
	json_t *array = json_array();
	for (unsigned i = 0; i < WG_COUNTER_COUNT; i++)
		json_array_append_new(array, count_json(wg_counter_label((enum wg_counter)i),
						     wg_counter(wg, (enum wg_counter)i),
						     wg_counter_help((enum wg_counter)i)));
	return array;
}

static json_t *nodes_json(const struct gateway *gw)
{
	json_t *array = json_array();
	for (unsigned i = 0; i < NODE_COUNT; i++) {
		struct node_stats s = read_node(gw, (enum node_id)i);
		json_array_append_new(
			array, json_pack("{s:s, s:I, s:I, s:I}", "name", node_name((enum node_id)i),
				       "calls", (json_int_t)s.calls, "packets",
				       (json_int_t)s.packets, "cycles", (json_int_t)s.cycles));
	}
	return array;
}

static json_t *worker_json(const struct graph *g)
{
	json_t *bursts = json_array();
	for (unsigned i = 0; i < RTE_DIM(g->burst_packets); i++)
		json_array_append_new(
			bursts, json_integer((json_int_t)read_count(&g->burst_packets[i])));
	return json_pack("{s:i, s:I, s:I, s:I, s:I, s:o}", "id", g->id,	  //
		"rounds", (json_int_t)read_count(&g->rounds),		  //
		"empty_rounds", (json_int_t)read_count(&g->empty_rounds), //
		"sleeps", (json_int_t)read_count(&g->sleeps),		  //
		"busy_cycles", (json_int_t)read_count(&g->busy_cycles),	  //
		"burst_packets", bursts);
}

static json_t *workers_json(const struct gateway *gw)
{
	json_t *array = json_array();
	for (unsigned i = 0; i < gw->n_workers; i++)
		json_array_append_new(array, worker_json(gw->graph[i]));
	return array;
}

static json_t *ports_json(const struct gateway *gw)
{
	json_t *array = json_array();
	for (unsigned i = 0; i < gw->n_ports; i++) {
		json_t *port = json_pack("{s:s, s:s}", "name", gw->port[i]->name, "kind",
			port_kind_name(gw->port[i]->kind));
		for (unsigned k = 0; k < n_port_counters; k++)
			json_object_set_new(port, port_counters[k].name,
				json_integer(
					(json_int_t)read_port(gw->port[i], &port_counters[k])));
		json_array_append_new(array, port);
	}
	return array;
}

static void add_pool(json_t *array, const char *name, const struct rte_mempool *pool)
{
	if (pool != NULL)
		json_array_append_new(
			array, json_pack("{s:s, s:i, s:i}", "name", name, "size", (int)pool->size,
				       "in_use", (int)rte_mempool_in_use_count(pool)));
}

static json_t *buffers_json(const struct gateway *gw)
{
	json_t *array = json_array();
	add_pool(array, "packets", gw->pool);
	add_pool(array, "super_packets", gw->super_pool);
	return array;
}

// When the numbers were read, on a clock that nobody sets.
static json_int_t monotonic_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (json_int_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

json_t *report_stats(const struct daemon *d)
{
	const struct gateway *gw = d->gw;
	return json_pack("{s:I, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",      //
		"time_ns", monotonic_ns(), "tsc_hz", tsc_hz(gw),	       //
		"drops", drops_json(gw), "counters", counters_json(gw),	       //
		"handshakes", handshakes_json(d->wg), "nodes", nodes_json(gw), //
		"workers", workers_json(gw), "ports", ports_json(gw), "buffers", buffers_json(gw));
}

json_t *report_top_peer(const struct daemon *d, size_t *at)
{
	char key[KEY_TEXT_LEN + 1];
	uint32_t next = (uint32_t)*at;
	struct wg_peer_info p;
	if (!wg_peers_next(d->wg, &next, &p))
		return NULL;
	*at = next;
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "name", p.peer->name, //
		"public_key", key_format(&p.peer->public_key, key),		 //
		"rx_bytes", (json_int_t)p.rx_wire_bytes,			 //
		"tx_bytes", (json_int_t)p.tx_wire_bytes,			 //
		"rx_packets", (json_int_t)p.rx_packets,				 //
		"tx_packets", (json_int_t)p.tx_packets);
}

json_t *report_top(const struct daemon *d)
{
	const struct gateway *gw = d->gw;
	uint64_t drops = 0;
	for (unsigned i = 0; i < DROP_COUNT; i++)
		drops += read_drop(gw, (enum drop_reason)i);
	return json_pack("{s:I, s:f, s:I, s:o, s:o}",					     //
		"time_ns", monotonic_ns(), "tsc_hz", tsc_hz(gw), "drops", (json_int_t)drops, //
		"workers", workers_json(gw), "ports", ports_json(gw));
}
