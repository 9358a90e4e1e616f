// One connection to the coordination server: TCP or TLS, POST /ts2021 with the upgrade, the Noise
// handshake. After it plain bytes of HTTP/2 go both ways. [ctl]
#pragma once

#include "control/coord/login_url.h"
#include "control/coord/trouble.h"
#include "control/net/stream.h"

struct conn;

struct conn_options {
	const struct login_url *url;
	uint16_t port;
	bool tls;
	unsigned timeout_ms; // to connect
	uint16_t version;    // capability version
	const struct key *machine_private, *server_public;
};

// conn_close may be called from within each. None may be NULL.
struct conn_events {
	void (*up)(void *arg);					  // before any data
	int (*data)(void *arg, const uint8_t *bytes, size_t len); // not 0: closed follows
	void (*drained)(void *arg); // everything written has gone to the kernel
	void (*closed)(void *arg, const struct trouble *); // once, and last; conn_close it still
	void *arg;
};

// Handshake state is new for each. 0 or -errno.
int conn_open(struct conn **out, struct net *, const struct conn_options *,
	const struct conn_events *) must_check;
void conn_set_events(struct conn *, const struct conn_events *); // hand it over
void conn_close(struct conn *); // NULL is fine; no event comes after it
// Plain bytes, after up. 0 or -errno, for good.
int conn_write(struct conn *, const void *plain, size_t len) must_check;
size_t conn_queued(const struct conn *); // bytes that wait to be sent
