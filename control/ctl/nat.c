// A page of flows at a time, so that a full table costs the control thread little at once: whoever
// wants all asks again with the page's "next".
#include "control/ctl/nat.h"

#include "control/ctl/read.h"

enum {
	PAGE = 512,	// flows in an answer
	SCAN = 1 << 15, // flows looked at for it
	BATCH = 64,
};

struct page {
	struct ip_addr client; // IP_NONE: everybody's
	json_t *flows;
	unsigned looked_at;
};

const char *ctl_nat_class_name(unsigned class)
{
	static const char *const names[NAT_CLASS_COUNT] = {
		"tcp-opening", "tcp-open", "tcp-closing", "udp", "icmp", "other"};
	return class < NAT_CLASS_COUNT ? names[class] : "";
}

static json_t *end_json(const uint8_t *addr, uint8_t family, rte_be16_t port)
{
	char text[ENDPOINT_TEXT_LEN];
	struct endpoint e = {.addr.family = family, .port = rte_be_to_cpu_16(port)};
	memcpy(e.addr.bytes, addr, sizeof(e.addr.bytes));
	if (e.port == 0)
		return json_string(ip_addr_format(&e.addr, text));
	return json_string(endpoint_format(&e, text));
}

static json_t *key_json(const struct nat_key *k)
{
	return json_pack("{s:o,s:o}", "local", end_json(k->local, k->family, k->local_port),
		"remote", end_json(k->remote, k->family, k->remote_port));
}

static json_t *flow_json(unsigned worker, const struct nat_view *v)
{
	return json_pack("{s:i,s:i,s:s,s:o,s:o,s:f,s:I,s:I,s:I,s:I}", "worker", worker, "protocol",
		v->inside.proto, "class", ctl_nat_class_name(v->class), "inside",
		key_json(&v->inside), "outside", key_json(&v->outside), "idle_s",
		(double)v->idle_ms / 1000, "bytes_out", (json_int_t)v->bytes[NAT_INSIDE],
		"bytes_in", (json_int_t)v->bytes[NAT_OUTSIDE], "packets_out",
		(json_int_t)v->packets[NAT_INSIDE], "packets_in",
		(json_int_t)v->packets[NAT_OUTSIDE]);
}

static bool is_client(const struct page *p, const struct nat_view *v)
{
	return p->client.family == IP_NONE ||
	       (p->client.family == v->inside.family &&
		       memcmp(p->client.bytes, v->inside.local, sizeof(p->client.bytes)) == 0);
}

// From *cursor on until the page is full or enough was looked at; *cursor 0: all of this worker's.
static void read_worker(const struct graph *g, struct page *p, uint32_t *cursor)
{
	struct nat_view views[BATCH];
	uint32_t now_ms = nat_ms(rte_rdtsc(), g->gw->tsc_per_ns);
	do {
		unsigned n = nat_table_read(g->nat, cursor, now_ms, views, BATCH);
		for (unsigned i = 0; i < n; i++) {
			if (is_client(p, &views[i]))
				json_array_append_new(p->flows, flow_json(g->id, &views[i]));
		}
		p->looked_at += n;
	} while (*cursor != 0 && json_array_size(p->flows) <= PAGE - BATCH && p->looked_at < SCAN);
}

// The next page's worker << 32 | cursor; 0: this was the last.
static json_int_t read_page(const struct gateway *gw, json_int_t from, struct page *p)
{
	uint32_t cursor = (uint32_t)from;
	for (unsigned w = (unsigned)(from >> 32); w < gw->n_workers; w++, cursor = 0) {
		read_worker(gw->graph[w], p, &cursor);
		if (cursor != 0)
			return (json_int_t)w << 32 | cursor;
	}
	return 0;
}

static json_t *worker_json(const struct graph *g)
{
	json_t *classes = json_object();
	for (unsigned i = 0; i < NAT_CLASS_COUNT; i++)
		json_object_set_new(classes, ctl_nat_class_name(i),
			json_integer(nat_class_count(g->nat, (enum nat_class)i)));
	return json_pack("{s:i,s:I,s:I,s:o}", "worker", g->id, "flows",
		(json_int_t)nat_table_count(g->nat), "bound", (json_int_t)g->nat->bound, "classes",
		classes);
}

// What counts for everybody: refusals, and what came and went.
static json_t *totals_json(const struct gateway *gw)
{
	static const enum drop_reason refusals[] = {DROP_NAT_CLIENT, DROP_NAT_PORTS, DROP_NAT_FULL,
		DROP_NAT_NO_ADDRESS, DROP_NAT_UNREACHABLE};
	json_t *o = json_pack("{s:I,s:I,s:I}", "created",
		(json_int_t)read_counter(gw, COUNTER_NAT_CREATED), "expired",
		(json_int_t)read_counter(gw, COUNTER_NAT_EXPIRED), "evicted",
		(json_int_t)read_counter(gw, COUNTER_NAT_EVICTED));
	for (unsigned i = 0; i < RTE_DIM(refusals); i++)
		json_object_set_new(o, drop_label(refusals[i]),
			json_integer((json_int_t)read_drop(gw, refusals[i])));
	return o;
}

static json_t *config_json(const struct nat_config *c)
{
	if (!c)
		return json_null();
	json_t *pool = json_array();
	for (uint32_t i = 0; i < c->n_pool; i++) {
		char text[ADDR_TEXT_LEN];
		json_array_append_new(pool, json_string(ip_addr_format(&c->pool[i], text)));
	}
	return json_pack("{s:b,s:b,s:i,s:i,s:I,s:o,s:i,s:i,s:i}", "snat", c->snat,
		"endpoint_independent", c->endpoint_independent, "port_first", c->port_first,
		"port_last", c->port_last, "client_flows", (json_int_t)c->client_flows, "pool",
		pool, "via", (int)c->n_via, "remap", (int)c->n_remap, "services",
		(int)c->n_services);
}

// Worker and cursor as the answer before had them. False: answered with 400.
static bool read_next(struct evhttp_request *req, const struct query *q, json_int_t *next)
{
	const char *text = query_text(q, "next");
	char *end = NULL;
	*next = 0;
	if (text == NULL)
		return true;
	*next = strtoll(text, &end, 10);
	if (*text >= '0' && *text <= '9' && *end == '\0' && strlen(text) < 19)
		return true;
	ctl_reply_error(req, HTTP_BADREQUEST, "parameter 'next' is of no answer of ours");
	return false;
}

void ctl_nat_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const names[] = {"client", "next", NULL};
	const struct gateway *gw = s->d->gw;
	struct page page = {0};
	struct query q;
	json_int_t from;
	if (!ctl_query(req, names, &q) || !read_next(req, &q, &from))
		return;
	const char *client = query_text(&q, "client");
	if (client != NULL && ip_addr_parse(client, &page.client) < 0) {
		ctl_reply_error(req, HTTP_BADREQUEST, "parameter 'client' is no address");
		return;
	}
	page.flows = json_array();
	json_int_t next = read_page(gw, from, &page);
	json_t *workers = json_array();
	for (unsigned i = 0; i < gw->n_workers; i++)
		json_array_append_new(workers, worker_json(gw->graph[i]));
	ctl_reply_json(req, HTTP_OK,
		json_pack("{s:o,s:o,s:o,s:o,s:I}", "config", config_json(atomic_load(&gw->nat)),
			"workers", workers, "totals", totals_json(gw), "flows", page.flows, "next",
			next));
}
