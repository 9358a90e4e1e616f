// The resolver: names of the tailnet from the netmap, everything else from the resolvers that the
// netmap, the exit node or the machine names. It serves 100.100.100.100 and fd7a:115c:a1e0::53 to
// the gateway's own host, its listeners to the LAN, and the peerAPI by dns_answer. [ctl]
#pragma once

#include <event2/event.h>

#include "dataplane/base/types.h"

struct dns;
struct net;
struct netmap;

enum {
	DNS_MESSAGE_MAX = 65535, // bytes: TCP's length field
	DNS_QUERY_MAX = 4096,	 // bytes of a query that is taken
	DNS_LISTENERS_MAX = 8,
	DNS_ERROR_LEN = 256,
	DNS_PORT = 53,
	DNS_TIMEOUT_MS = 10000, // the longest that anyone waits for dns_answer
};

enum dns_asker {
	DNS_ASKER_HOST, // at the service addresses
	DNS_ASKER_LAN,	// at a listener
	// By the peerAPI: only what this machine would resolve without the tailnet's own names, and
	// nothing that the netmap's ExitNodeFilteredSet has.
	DNS_ASKER_PEER,
	DNS_ASKERS,
};

struct dns_client {
	enum dns_asker who;
	struct ip_addr addr;
	bool stream; // the answer may have DNS_MESSAGE_MAX bytes, not what fits into a datagram
};

extern const struct ip_addr dns_service_v4, dns_service_v6; // 100.100.100.100, fd7a:115c:a1e0::53

// Answer a query. done is called exactly once, from within or from the loop, after DNS_TIMEOUT_MS
// at the latest, at dns_destroy otherwise, and never after dns_cancel. len 0: what came is no
// query, or the resolver ends: there is nothing to answer. The answer is valid during the call.
void dns_answer(struct dns *, const struct dns_client *, const uint8_t *query, size_t len,
	void (*done)(void *arg, const uint8_t *answer, size_t len), void *arg);
// Whoever asked with this arg is gone.
void dns_cancel(struct dns *, const void *arg);

// --- The whole.

struct dns_params {
	struct event_base *base;
	struct net *net; // for DNS over HTTPS; NULL: none
	bool service;	 // there is a TUN: the service addresses are served
	struct endpoint listen[DNS_LISTENERS_MAX];
	unsigned n_listen;
	const char *resolv_conf, *resolved_conf;   // of the machine
	const char *state_dir;			   // keeps the machine's while ours is in place
	const struct netmap *(*netmap)(void *arg); // of the moment; NULL: none
	void *arg;
};

#define DNS_RESOLV_CONF "/etc/resolv.conf"
#define DNS_RESOLVED_CONF "/run/systemd/resolve/resolv.conf"

// What an earlier process left of resolv.conf is restored. Addresses that are taken are tried again
// and told of by dns_info. NULL: out of memory.
struct dns *dns_create(const struct dns_params *) must_check;
// resolv.conf is as it was; nobody is answered any more. NULL is fine.
void dns_destroy(struct dns *);
// resolv.conf of a process that was killed, where this one has no use for dns_create.
void dns_recover(const char *resolv_conf, const char *state_dir);

// From now on fn sees what resolvers answer, before whoever asked does: to a question about name
// (lower case, without the final dot). What was cached is forgotten. NULL: nobody.
typedef void dns_watch_fn(void *arg, const char *name, const uint8_t *message, size_t len);
void dns_watch(struct dns *, dns_watch_fn *fn, void *arg);

// The netmap is another: it is looked at when the next query comes.
void dns_netmap_changed(struct dns *);
// Whether the machine itself asks us (--accept-dns, and the tailnet runs). ifindex: of the TUN.
void dns_accept(struct dns *, bool on, uint32_t ifindex);
// The peerAPI of the exit node in use, "http://ADDRESS:PORT/dns-query"; NULL: none.
void dns_set_exit(struct dns *, const char *url);

// For status, doctor and metrics: {"accept": ..., "host": {...}, "listen": [...], "resolvers":
// [...], "routes": [...], "search": [...], "cache": {...}, "counters": {...}}. NULL: out of memory.
struct json_t;
struct json_t *dns_info(struct dns *) must_check;
// What it did since its start, and holds now. Each query is answered once, by one of the sources.
enum dns_source {
	DNS_FROM_NETMAP, // names of the tailnet, and what is refused at once
	DNS_FROM_CACHE,
	DNS_FROM_RESOLVER,
	DNS_FROM_NOBODY, // SERVFAIL: nobody answered in time, or too many wait
	DNS_SOURCES,
};
struct dns_totals {
	uint64_t queries[DNS_ASKERS], answers[DNS_SOURCES];
	uint64_t refused;	// answers that say REFUSED
	uint64_t no_query;	// what came was none
	uint64_t unanswered;	// questions that no resolver answered in time
	uint64_t busy;		// questions beyond what may wait, of all or of one client
	uint64_t doh, udp, tcp; // attempts
	uint64_t strays;	// datagrams that answer nothing that was asked
	uint64_t bad;		// answers by TCP or HTTPS that are none
	uint64_t cache_evicted, cache_bytes;
	uint32_t cache_entries, waiting; // waiting: questions under way
};
void dns_totals(const struct dns *, struct dns_totals *out);
// What a resolver did.
struct dns_resolver_totals {
	const char *text; // as configured; valid until the loop runs
	uint64_t asked, answered, failed;
	uint32_t latency_ms; // of the last answer
};
enum { DNS_RESOLVERS_MAX = 64 };
unsigned dns_resolver_totals(const struct dns *, struct dns_resolver_totals *out, unsigned max);

// Who would be asked, as configured; n of them, at most max. 0: the netmap answers, or nobody.
unsigned dns_resolvers_of(struct dns *, const char *name, const char **out, unsigned max);

// What the machine is told: nameservers and search domains. The texts live until the loop runs.
struct dns_os {
	const char *servers[DNS_LISTENERS_MAX], *search[64];
	unsigned n_servers, n_search;
};
void dns_os(struct dns *, struct dns_os *out);

// For the doctor; "" is well.
struct dns_health {
	bool accept;
	unsigned unsupported; // resolvers of the netmap that cannot be asked
	char host_error[320], listen_error[320];
};
void dns_health(struct dns *, struct dns_health *out);

struct dns_probe {
	char text[192]; // the resolver as it is configured
	bool answers;	// even if with an error
	char why[160];	// when it does not
	uint32_t took_ms;
};
enum { DNS_PROBES_MAX = 32 };
// Ask every configured resolver for the root's nameservers. done once, from the loop, within 3 s,
// or at dns_destroy.
void dns_probe(
	struct dns *, void (*done)(void *arg, const struct dns_probe *, unsigned n), void *arg);
