// A net for netcheck without sockets or clocks: DERP regions with latencies and losses, a NAT,
// names, HTTPS and portals. Time goes from event to event.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "control/path/netcheck.h"
#include "dataplane/wire/stun.h"

enum {
	SIM_REGIONS_MAX = 300,
	SIM_EVENTS_MAX = 4096,
	SIM_MS = 1000000,
	SIM_NEVER = -1,
};

enum sim_nat {
	SIM_OPEN,  // and NATs that keep one mapping
	SIM_HARD,  // another port for each destination
	SIM_TURNS, // the port changes after four answers
};

// One region; its first node is 10.0.x.y or fd00::x:y port 3478 by its ID.
struct sim_region {
	uint32_t id;
	int v4_ms, v6_ms; // 0: no such address
	int https_ms;	  // 0: refused at once; SIM_NEVER: silence
	int icmp_ms;	  // likewise
	unsigned lose;	  // so many datagrams of each family first; 99: all
	bool avoid, no_measure, stun_off, stun_only, by_name, port_80;
	double score;
};

enum sim_kind {
	SIM_DATAGRAM,
	SIM_NAME,
	SIM_HTTPS,
	SIM_ICMP,
	SIM_CAPTIVE,
};

struct sim_event {
	uint64_t at_ns;
	enum sim_kind kind;
	struct endpoint from;
	uint8_t packet[64];
	size_t len;
	uint32_t region;
	uint64_t latency_ns;
};

struct sim {
	struct netcheck *nc;
	struct sim_region *regions;
	unsigned n_regions, lost[SIM_REGIONS_MAX][2];
	enum sim_nat nat;
	bool no_v4, no_v6;  // sending fails
	bool names_at_once; // answered from within
	int names_ms;	    // SIM_NEVER: no answer
	bool portal;	    // answers all HTTP
	int captive_ms;	    // SIM_NEVER: silence
	uint64_t now_ns, start_ns;
	struct sim_event events[SIM_EVENTS_MAX];
	unsigned n_events;
	uint32_t seed;
	// What happened since sim_run began.
	unsigned sent_v4, sent_v6, reports, resolves, https, icmps, captives, answers;
	unsigned https_now, https_most;
	uint64_t took_ns;
	struct netcheck_report report;
	struct sim_event last_answer;
	char node_text[SIM_REGIONS_MAX][3][48];
	struct nm_derp_node nodes[SIM_REGIONS_MAX];
	struct nm_derp_region map_regions[SIM_REGIONS_MAX];
	struct nm_derp_map map;
};

static inline struct endpoint sim_server(uint32_t id, bool v6)
{
	uint8_t a[16] = {10};

	if (v6) {
		a[0] = 0xfd;
		a[14] = (uint8_t)(id >> 8);
		a[15] = (uint8_t)id;
		return (struct endpoint){ip_addr_v6(a), 3478};
	}
	a[2] = (uint8_t)(id >> 8);
	a[3] = (uint8_t)id;
	return (struct endpoint){ip_addr_v4(a), 3478};
}

static inline struct endpoint sim_own(const struct sim *s, uint32_t id, bool v6)
{
	struct endpoint own;
	const uint16_t port = s->nat == SIM_HARD    ? (uint16_t)(20000 + id)
			      : s->nat == SIM_TURNS ? (uint16_t)(30000 + s->answers / 4)
						    : 41641;

	assert_int_equal(endpoint_parse(v6 ? "[2001:db8::1]:41641" : "203.0.113.5:41641", &own), 0);
	own.port = v6 ? own.port : port;
	return own;
}

static inline struct sim_region *sim_region(struct sim *s, uint32_t id)
{
	for (unsigned i = 0; i < s->n_regions; i++)
		if (s->regions[i].id == id)
			return &s->regions[i];
	return NULL;
}

static inline struct sim_event *sim_event(struct sim *s, enum sim_kind kind, uint64_t in_ns)
{
	assert_true(s->n_events < SIM_EVENTS_MAX);
	struct sim_event *const e = &s->events[s->n_events++];
	*e = (struct sim_event){.at_ns = s->now_ns + in_ns, .kind = kind};
	return e;
}

// A binding response, by the book.
static inline size_t sim_response(const uint8_t txid[static STUN_TXID_LEN],
	const struct endpoint *mapped, uint8_t out[static 64])
{
	const size_t addr_len = mapped->addr.family == IP_V4 ? 4 : 16;
	const uint8_t head[] = {1, 1, 0, (uint8_t)(8 + addr_len), 0x21, 0x12, 0xa4, 0x42};

	memcpy(out, head, sizeof(head));
	memcpy(out + 8, txid, STUN_TXID_LEN);
	const uint8_t attribute[] = {0, 0x20, 0, (uint8_t)(4 + addr_len), 0,
		addr_len == 4 ? STUN_FAMILY_IPV4 : STUN_FAMILY_IPV6,
		(uint8_t)(mapped->port >> 8 ^ out[4]), (uint8_t)(mapped->port ^ out[5])};
	memcpy(out + 20, attribute, sizeof(attribute));
	for (size_t i = 0; i < addr_len; i++)
		out[28 + i] = mapped->addr.bytes[i] ^ out[4 + i];
	return 28 + addr_len;
}

static inline bool sim_send(void *arg, const struct endpoint *to, const uint8_t *data, size_t len)
{
	struct sim *const s = arg;
	const bool v6 = to->addr.family == IP_V6;
	const uint8_t *const a = to->addr.bytes + (v6 ? 14 : 2);
	const uint32_t id = (uint32_t)a[0] << 8 | a[1];
	const struct sim_region *const r = sim_region(s, id);
	const struct endpoint own = sim_own(s, id, v6);

	assert_int_equal(len, sizeof(struct stun_request));
	assert_int_equal(to->port, 3478);
	assert_non_null(r);
	if (v6 ? s->no_v6 : s->no_v4)
		return false;
	s->sent_v4 += !v6;
	s->sent_v6 += v6;
	unsigned *const lost = &s->lost[r - s->regions][v6];
	if (*lost < r->lose) {
		++*lost;
		return true;
	}
	struct sim_event *const e =
		sim_event(s, SIM_DATAGRAM, (uint64_t)(v6 ? r->v6_ms : r->v4_ms) * SIM_MS);
	e->from = *to;
	s->answers++;
	e->len = sim_response(data + 8, &own, e->packet);
	s->last_answer = *e;
	return true;
}

static inline void sim_name_known(struct sim *s, uint32_t id)
{
	struct ip_addr list[2];
	size_t n = 0;
	char host[48];
	const struct sim_region *const r = sim_region(s, id);

	snprintf(host, sizeof(host), "derp%u.example.com", id);
	if (r->v6_ms)
		list[n++] = sim_server(id, true).addr;
	if (r->v4_ms)
		list[n++] = sim_server(id, false).addr;
	netcheck_resolved(s->nc, host, list, n, s->now_ns);
}

static inline void sim_resolve(void *arg, const char *host)
{
	struct sim *const s = arg;
	uint32_t id;

	s->resolves++;
	assert_int_equal(sscanf(host, "derp%u.example.com", &id), 1);
	if (s->names_at_once)
		sim_name_known(s, id);
	else if (s->names_ms != SIM_NEVER)
		sim_event(s, SIM_NAME, (uint64_t)s->names_ms * SIM_MS)->region = id;
}

static inline void sim_https(void *arg, uint32_t region, const struct nm_derp_node *node)
{
	struct sim *const s = arg;
	const int ms = sim_region(s, region)->https_ms;

	s->https++;
	s->https_now++;
	s->https_most = s->https_now > s->https_most ? s->https_now : s->https_most;
	assert_non_null(node->host);
	if (ms == SIM_NEVER)
		return;
	struct sim_event *const e = sim_event(s, SIM_HTTPS, (uint64_t)ms * SIM_MS);
	e->region = region;
	e->latency_ns = (uint64_t)ms * SIM_MS;
}

static inline void sim_icmp(void *arg, uint32_t region, const struct ip_addr *to)
{
	struct sim *const s = arg;
	const int ms = sim_region(s, region)->icmp_ms;

	s->icmps++;
	assert_int_equal(to->family, IP_V4);
	if (ms == SIM_NEVER)
		return;
	struct sim_event *const e = sim_event(s, SIM_ICMP, (uint64_t)ms * SIM_MS);
	e->region = region;
	e->latency_ns = (uint64_t)ms * SIM_MS;
}

static inline void sim_captive(void *arg, const struct nm_derp_node *node)
{
	struct sim *const s = arg;

	s->captives++;
	assert_true(node->port_80);
	if (s->captive_ms != SIM_NEVER)
		sim_event(s, SIM_CAPTIVE, (uint64_t)s->captive_ms * SIM_MS);
}

static inline void sim_random(void *arg, void *out, size_t len)
{
	struct sim *const s = arg;

	for (size_t i = 0; i < len; i++) {
		s->seed = s->seed * 1664525 + 1013904223;
		((uint8_t *)out)[i] = (uint8_t)(s->seed >> 24);
	}
}

static inline void sim_done(void *arg, const struct netcheck_report *report)
{
	struct sim *const s = arg;

	s->reports++;
	s->report = *report;
	s->took_ns = s->now_ns - s->start_ns;
}

// The map that the regions describe.
static inline void sim_set_map(struct sim *s)
{
	for (unsigned i = 0; i < s->n_regions; i++) {
		const struct sim_region *const r = &s->regions[i];
		char(*const text)[48] = s->node_text[i];

		snprintf(text[0], 48, "derp%u.example.com", r->id);
		ip_addr_format(&(struct ip_addr){0}, text[1]);
		const struct endpoint v4 = sim_server(r->id, false), v6 = sim_server(r->id, true);
		ip_addr_format(&v4.addr, text[1]);
		ip_addr_format(&v6.addr, text[2]);
		s->nodes[i] = (struct nm_derp_node){
			.name = "n",
			.host = text[0],
			.ipv4 = r->by_name ? NULL
				: r->v4_ms ? text[1]
					   : "none",
			.ipv6 = r->by_name ? NULL
				: r->v6_ms ? text[2]
					   : "none",
			.stun_port = r->stun_off ? 0 : 3478,
			.derp_port = 443,
			.stun_only = r->stun_only,
			.port_80 = r->port_80,
		};
		s->map_regions[i] = (struct nm_derp_region){
			.id = r->id,
			.code = "sim",
			.name = "Simulated",
			.avoid = r->avoid,
			.no_measure_no_home = r->no_measure,
			.score = r->score,
			.nodes = &s->nodes[i],
			.n_nodes = 1,
		};
	}
	s->map = (struct nm_derp_map){.regions = s->map_regions, .n_regions = s->n_regions};
	netcheck_set_map(s->nc, &s->map);
}

static inline struct sim *sim_create(struct sim_region *regions, unsigned n)
{
	struct sim *const s = calloc(1, sizeof(*s));
	const struct netcheck_io io = {
		.arg = s,
		.send = sim_send,
		.resolve = sim_resolve,
		.https = sim_https,
		.icmp = sim_icmp,
		.captive = sim_captive,
		.random = sim_random,
		.done = sim_done,
	};

	assert_non_null(s);
	s->regions = regions;
	s->n_regions = n;
	s->now_ns = UINT64_C(1000000000000);
	s->nc = netcheck_create(&io);
	assert_non_null(s->nc);
	sim_set_map(s);
	return s;
}

static inline void sim_destroy(struct sim *s)
{
	netcheck_destroy(s->nc);
	free(s);
}

static inline void sim_happen(struct sim *s, const struct sim_event *e)
{
	switch (e->kind) {
	case SIM_DATAGRAM:
		netcheck_input(s->nc, &e->from, e->packet, e->len, s->now_ns);
		break;
	case SIM_NAME:
		sim_name_known(s, e->region);
		break;
	case SIM_HTTPS:
		s->https_now--;
		netcheck_https(s->nc, e->region, e->latency_ns, s->now_ns);
		break;
	case SIM_ICMP:
		netcheck_icmp(s->nc, e->region, e->latency_ns, s->now_ns);
		break;
	case SIM_CAPTIVE:
		netcheck_captive(s->nc, s->portal, s->now_ns);
		break;
	}
}

static inline unsigned sim_next(const struct sim *s)
{
	unsigned first = 0;

	for (unsigned i = 1; i < s->n_events; i++)
		if (s->events[i].at_ns < s->events[first].at_ns)
			first = i;
	return first;
}

// Let time go by until then, or until the report is complete.
static inline void sim_until(struct sim *s, uint64_t end_ns)
{
	while (netcheck_running(s->nc) && s->now_ns < end_ns) {
		const unsigned first = sim_next(s);
		const uint64_t due = netcheck_next_ns(s->nc);

		assert_true(due >= s->now_ns && due != UINT64_MAX);
		if (s->n_events && s->events[first].at_ns <= due) {
			const struct sim_event e = s->events[first];

			s->events[first] = s->events[--s->n_events];
			s->now_ns = e.at_ns;
			sim_happen(s, &e);
		} else {
			s->now_ns = due;
			netcheck_tick(s->nc, due);
			assert_true(!netcheck_running(s->nc) || netcheck_next_ns(s->nc) > due);
		}
	}
}

static inline void sim_start(struct sim *s, bool force_full, bool only_tcp)
{
	s->sent_v4 = s->sent_v6 = s->reports = s->resolves = s->https = s->icmps = 0;
	s->captives = s->https_now = s->https_most = s->n_events = 0;
	memset(s->lost, 0, sizeof(s->lost));
	s->start_ns = s->now_ns;
	netcheck_start(s->nc, force_full, only_tcp, s->now_ns, s->now_ns + 1);
}

// One whole report.
static inline void sim_run(struct sim *s, bool force_full, bool only_tcp)
{
	sim_start(s, force_full, only_tcp);
	sim_until(s, UINT64_MAX);
	assert_int_equal(s->reports, 1);
}
