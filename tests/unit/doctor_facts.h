// A healthy node's facts for the doctor, changes of them, and what has to be found then.
#pragma once

#include "control/ctl/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

enum {
	NOW_S = 1900000000,
	PEERS = 2,
};

static struct doctor_peer peers[PEERS];

static inline struct endpoint endpoint_of(const char *text)
{
	struct endpoint e;
	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

// A node behind an easy NAT that reaches one peer directly; the other one is idle.
static inline struct doctor_facts healthy(void)
{
	struct doctor_facts f = {.now_s = NOW_S,
		.is_node = true,
		.state = TAILNET_RUNNING,
		.want_running = true,
		.has_netmap = true,
		.stream_age_s = 600,
		.heard_age_s = 20,
		.key_expiry = NOW_S + 100 * 86400,
		.cap = 142,
		.port = 41641,
		.port_configured = 41641,
		.n_regions = 2,
		.home = "lab901",
		.tunnel_mtu = 1280,
		.peers = peers,
		.n_peers = PEERS};
	f.coord.state = COORD_STREAMING;
	snprintf(f.coord.path, sizeof(f.coord.path), "https, port 443");
	f.net = (struct netcheck_report){.unix_ns = 1,
		.udp = true,
		.ipv4 = true,
		.preferred = 901,
		.global_v4 = endpoint_of("198.51.100.7:41641"),
		.captive_portal = -1,
		.latency = {{.region = 901, .v4_ns = 300000}, {.region = 902, .v4_ns = 500000}},
		.n_latency = 2};
	f.portmap.external = endpoint_of("198.51.100.7:40000");
	f.portmap.protocol = "PCP";
	f.home_derp.connected = true;
	f.tries = (struct doctor_tries){.coord = true,
		.fresh = {.why = "https, port 443", .took_ms = 50},
		.reach = true,
		.in = {.asked = 2, .reached = 1, .from = endpoint_of("198.51.100.9:41641")},
		.in_name = "bob",
		.took_ms = 2000,
		.derp_tx_bytes = 1000};
	peers[0] = (struct doctor_peer){.name = "alice",
		.version = "1.102.5",
		.region = "lab901",
		.online = true,
		.active = true,
		.direct = true,
		.talks = true,
		.cap = 142,
		.mtu = 1420};
	peers[1] = (struct doctor_peer){.name = "bob", .version = "1.96.0", .cap = 132};
	return f;
}

static inline void trouble(struct doctor_facts *f, enum coord_trouble t)
{
	f->coord.state = COORD_CONNECTING;
	f->coord.trouble = t;
	snprintf(f->coord.why, sizeof(f->coord.why), "the words of the client");
}

static inline void relay(struct doctor_facts *)
{
	peers[0].direct = false;
	peers[0].pings_sent = 30;
}

static inline void no_mapping(struct doctor_facts *f)
{
	f->portmap.external.port = 0;
}
static inline void public_without_mapping(struct doctor_facts *f)
{
	f->portmap.external.port = 0;
	f->public_address = true;
}
static inline void hard_nat(struct doctor_facts *f)
{
	f->net.mapping_varies = 1;
	f->portmap.external.port = 0;
}
static inline void version(struct doctor_facts *f)
{
	trouble(f, COORD_TROUBLE_VERSION);
}

// What one change of the healthy node leads to: these findings besides those that are well.
struct doctor_case {
	const char *name;
	void (*change)(struct doctor_facts *);
	struct {
		const char *id;
		enum doctor_severity severity;
	} finding[3];
};

static inline void check_findings(const struct doctor_case *cases, size_t n_cases)
{
	struct doctor_report *r = malloc(sizeof(*r));
	for (unsigned i = 0; i < n_cases; i++) {
		struct doctor_facts f = healthy();
		unsigned at = 0;
		cases[i].change(&f);
		doctor_check(&f, r);
		for (unsigned n = 0; n < r->n; n++) {
			const struct doctor_finding *d = &r->finding[n];
			if (d->severity == DOCTOR_OK)
				continue;
			if (at == 3 || cases[i].finding[at].id == NULL ||
				strcmp(d->id, cases[i].finding[at].id) != 0 ||
				d->severity != cases[i].finding[at].severity)
				fail_msg("%s: finding %u is %s %u: %s", cases[i].name, at, d->id,
					d->severity, d->evidence);
			if (d->evidence[0] == '\0' ||
				(d->severity >= DOCTOR_WARN &&
					(d->meaning[0] == '\0' || d->remedy[0] == '\0')))
				fail_msg("%s: %s says too little", cases[i].name, d->id);
			at++;
		}
		if (at < 3 && cases[i].finding[at].id != NULL)
			fail_msg("%s: %s is missing", cases[i].name, cases[i].finding[at].id);
	}
	free(r);
}
