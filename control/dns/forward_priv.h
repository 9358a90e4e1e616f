// What the files of the forwarder share.
#pragma once

#include <event2/event.h>
#include <sys/queue.h>

#include "control/dns/doh.h"
#include "control/dns/forward.h"

enum {
	STEPS_MAX = DNS_TARGETS_MAX * 3,
	QUESTION_MAX = 300, // header, name, type, class, EDNS
};

enum dns_how {
	DNS_BY_DOH,
	DNS_BY_UDP,
	DNS_BY_TCP,
	DNS_HOWS,
};

struct dns_attempt {
	LIST_ENTRY(dns_attempt) entry;
	struct dns_flight *flight;
	unsigned target;
	enum dns_how how;
	uint64_t started_ms;
	int fd; // of UDP
	unsigned strays;
	struct event *event;	 // of UDP
	struct bufferevent *tcp; // of TCP
	struct doh_job *job;
	size_t question_len; // with its OPT record
	uint8_t question[QUESTION_MAX];
};

struct dns_step {
	unsigned at_ms, target;
	enum dns_how how;
	bool done;
};

struct dns_flight {
	LIST_ENTRY(dns_flight) entry;
	struct dns_forward *forward;
	struct dns_query query;
	struct dns_target targets[DNS_TARGETS_MAX];
	bool answered[DNS_TARGETS_MAX]; // even if with an error
	unsigned n_targets;
	struct dns_step steps[STEPS_MAX];
	unsigned n_steps;
	uint64_t started_ms;
	struct event *timer;
	LIST_HEAD(, dns_attempt) attempts;
	uint8_t *refusal; // the first answer with an error, in case that there is no better one
	size_t refusal_len;
	struct dns_reply *refusal_reply;
	void (*done)(void *arg, const uint8_t *message, const struct dns_reply *);
	void *arg;
};

struct dns_forward { // ctl only
	struct event_base *base;
	struct doh *doh; // NULL: none
	struct dns_timing timing;
	LIST_HEAD(, dns_flight) flights;
	struct dns_forward_counters counters;
	struct dns_server_info servers[DNS_SERVERS_MAX];
	unsigned n_servers;
	uint8_t datagram[DNS_MESSAGE_MAX]; // what is read, one after the other
	struct dns_reply reply;
};

// attempt.c: 0, or -errno with the attempt as if it had not been.
int dns_attempt_start(struct dns_flight *, unsigned target, enum dns_how);
void dns_attempt_end(struct dns_attempt *);
const char *dns_how_text(enum dns_how);

// forward.c: what came of one. Each ends the attempt, and maybe the flight.
void dns_attempt_answered(struct dns_attempt *, const uint8_t *message, const struct dns_reply *);
void dns_attempt_failed(struct dns_attempt *, const char *why);
// The answer does not fit, or somebody plays with UDP: the same by TCP.
void dns_attempt_to_tcp(struct dns_attempt *);
