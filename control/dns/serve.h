// One address at which queries are taken, by UDP and TCP. [ctl]
#pragma once

#include "control/dns/dns.h"

enum {
	SERVE_BURST = 32,	    // datagrams of one system call
	SERVE_CONNECTIONS_MAX = 64, // of TCP, at one address
	SERVE_PIPELINE_MAX = 16,    // queries of one connection without answer
	SERVE_IDLE_S = 45,
};

struct serve_counters {
	uint64_t udp, tcp;  // queries
	uint64_t refused;   // connections over the limit, or foreign
	uint64_t foreign;   // not of this machine, where only that may ask
	uint64_t oversized; // queries over DNS_QUERY_MAX
	uint64_t unsent;    // answers that the kernel did not take
};

struct serve;

// Listens, before the address is there as well. own_only: only what this machine itself sends.
// 0 or -errno.
int serve_open(struct serve **out, struct dns *, struct event_base *, const struct endpoint *at,
	enum dns_asker who, bool own_only) must_check;
void serve_close(struct serve *); // NULL is fine
void serve_count(const struct serve *, struct serve_counters *out);
