// What the files of the resolver share.
#pragma once

#include <sys/queue.h>

#include "control/dns/cache.h"
#include "control/dns/engine.h"
#include "control/dns/forward.h"
#include "control/dns/osconf.h"
#include "control/dns/serve.h"

enum {
	DNS_ACTIVE_MAX = 256, // queries that wait for a resolver
	DNS_CLIENT_MAX = 64,  // ... of one address of the LAN, or of a peer
	DNS_SERVES_MAX = DNS_LISTENERS_MAX + 2,
	DNS_AGAIN_S = 10,      // between tries to listen at an address that is taken
	DNS_VIEW_MS = 1000,    // a large netmap that changes all the time is looked at this often
	DNS_VIEW_SMALL = 1000, // names; with so few a new look costs next to nothing
	DNS_PENDING_LEN = 288, // header and question
};

// A client that waits.
struct dns_pending {
	TAILQ_ENTRY(dns_pending) entry;
	struct dns_client client;
	struct dns_query query;
	uint8_t message[DNS_PENDING_LEN];
	void (*done)(void *arg, const uint8_t *answer, size_t len);
	void *arg;
};

// One question under way, for whoever asked it: the same is never asked twice at a time, or a
// forger would have as many chances.
struct dns_question {
	LIST_ENTRY(dns_question) entry;
	struct dns *dns;
	struct dns_flight *flight;
	struct dns_query query;
	uint16_t where;
	uint32_t generation; // of the resolvers
	TAILQ_HEAD(, dns_pending) pending;
};

struct dns_listener {
	struct endpoint at;
	bool service;
	struct serve *serve; // NULL: not yet
	int error;	     // why not
};

struct dns_counters {
	uint64_t queries[DNS_ASKERS];
	uint64_t local, forwarded, joined, no_query;
	uint64_t busy;	      // over DNS_ACTIVE_MAX
	uint64_t client_busy; // over DNS_CLIENT_MAX
	uint64_t failed;      // nobody answered
	uint64_t answers[DNS_SOURCES], refused;
};

struct dns_probing;

struct dns { // ctl only
	struct dns_params params;
	char exit_url[DNS_TARGET_LEN];
	struct dns_view *view;
	bool view_stale, accept, host_changed;
	uint32_t ifindex;
	uint64_t view_ms;
	uint32_t generation;
	uint8_t resolvers_mark[16]; // a hash of who is asked for what
	struct dns_cache *cache;
	dns_watch_fn *watch; // NULL: nobody
	void *watch_arg;
	struct dns_forward *forward;
	struct osconf *osconf;
	struct event *tick;
	unsigned ticks;
	struct dns_listener listeners[DNS_SERVES_MAX];
	unsigned n_listeners;
	LIST_HEAD(, dns_question) questions;
	unsigned n_questions, n_pending;
	struct dns_counters counters;
	LIST_HEAD(, dns_probing) probings;
	uint8_t answer[DNS_MESSAGE_MAX];
};

const struct dns_view *dns_view_now(struct dns *);
// probe.c
void dns_probes_end(struct dns *);
