// Asks the resolvers of a route, by DNS over HTTPS where they speak it, by UDP, by TCP, until one
// says something. Each attempt has an ID, a mix of letters and a source port of its own; only the
// asked server's answer to the very question counts. [ctl]
#pragma once

#include "control/dns/dns.h"
#include "control/dns/view.h"
#include "control/dns/wire.h"

enum {
	DNS_ATTEMPTS_MAX = 384, // sockets and requests of all questions together
	DNS_STRAYS_MAX = 16,	// datagrams that are no answer, until UDP is given up for TCP
	DNS_SERVERS_MAX = 64,	// resolvers that something is known about
	DNS_WHY_LEN = 160,
	DNS_SICK_MS = 30000, // a silent resolver is asked last for this long
};

struct dns_forward;
struct dns_flight;

// Milliseconds.
struct dns_timing {
	unsigned next_ms;      // between two resolvers
	unsigned doh_plain_ms; // from DNS over HTTPS to UDP
	unsigned tcp_ms;       // from UDP to TCP
	unsigned tcp_limit_ms; // of a TCP connection
	unsigned limit_ms;     // of it all
};
extern const struct dns_timing dns_timing;

// What is known of a resolver, for status and doctor.
struct dns_server_info {
	char text[DNS_TARGET_LEN]; // as configured
	uint64_t asked, answered, failed;
	uint32_t silent;	// attempts without answer in a row
	int64_t ok_s, failed_s; // of the monotonic clock; 0: never
	uint32_t latency_ms;	// of the last answer
	char how[8];		// "doh", "udp", "tcp": by which the last answer came
	char why[DNS_WHY_LEN];	// of the last failure
};

struct dns_forward_counters {
	uint64_t udp, tcp, doh; // attempts
	uint64_t strays;	// datagrams that were no answer to what was asked
	uint64_t bad;		// answers by TCP or HTTPS that were none
	uint64_t unanswered;	// questions
	uint32_t flights, attempts;
};

// NULL: out of memory. net may be NULL: no DNS over HTTPS.
struct dns_forward *dns_forward_create(
	struct event_base *, struct net *, const struct dns_timing *);
void dns_forward_destroy(struct dns_forward *); // no done after it; NULL is fine
// done is called once, from the loop: the answer (its header's ID and letters are ours), or NULL.
// The targets are copied.
struct dns_flight *dns_forward_ask(struct dns_forward *, const struct dns_route *,
	const struct dns_query *,
	void (*done)(void *arg, const uint8_t *message, const struct dns_reply *), void *arg);
void dns_flight_cancel(struct dns_flight *);
void dns_forward_count(const struct dns_forward *, struct dns_forward_counters *out);
// n of them; valid until the loop runs.
const struct dns_server_info *dns_forward_servers(const struct dns_forward *, unsigned *n);
// Milliseconds of the clock of ok_s and failed_s.
uint64_t dns_now_ms(void);
