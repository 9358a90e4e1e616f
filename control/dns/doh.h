// DNS over HTTPS (RFC 8484) by libcurl: few connections to each server, kept open between queries;
// queries wait for a free one. [ctl]
#pragma once

#include <event2/event.h>

#include "control/dns/target.h"

enum {
	DOH_SERVERS_MAX = 16,
	DOH_CONNECTIONS_MAX = 4, // to one server
	DOH_QUEUE_MAX = 64,	 // queries of one server that wait
	DOH_IDLE_S = 30,	 // a connection without queries is closed then
	DOH_TIMEOUT_MS = 5000,
};

struct net;
struct doh;
struct doh_job;

struct doh *doh_create(struct event_base *, struct net *); // NULL: out of memory
// No done comes after it. NULL is fine.
void doh_destroy(struct doh *);
// done is called once, from the loop: an answer, or len 0 and a line for people in why. 0,
// -ENOBUFS: too many wait; -EINVAL, -ENOMEM.
int doh_ask(struct doh *, const struct dns_target *, const uint8_t *query, size_t len,
	void (*done)(void *arg, const uint8_t *answer, size_t len, const char *why), void *arg,
	struct doh_job **out) must_check;
void doh_cancel(struct doh_job *); // before done; NULL is fine
