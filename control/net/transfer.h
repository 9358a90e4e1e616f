// One libcurl handle on the event loop, for a stream or a fetch. Each has a multi handle of its
// own: in a common one, looking for dead idle connections also ends those that streams use. [ctl]
#pragma once

#include <curl/curl.h>
#include <sys/queue.h>

#include "control/net/stream.h"
#include "control/net/tls_check.h"

struct net {
	struct event_base *base;
	struct tls_roots roots;
	uint8_t buffer[64 << 10]; // what streams read, one after the other
};

struct transfer_socket {
	LIST_ENTRY(transfer_socket) entry;
	struct event *event;
};

struct transfer {
	struct net *net;
	CURLM *multi;
	CURL *easy;
	struct event *timer;
	LIST_HEAD(, transfer_socket) sockets;
	struct curl_slist *resolve, *connect_to;
	struct tls_check check;
	char *address; // as asked for; NULL
	char error[CURL_ERROR_SIZE];
	// Once, from the loop and outside of libcurl: the transfer may be ended within.
	void (*done)(void *arg, CURLcode);
	void *arg;
};

struct transfer_target {
	const char *url;
	const char *host; // of url, without brackets
	uint16_t port;	  // of url
	const char *address, *cert;
	bool any_certificate;
	bool inside; // of the tunnel, without a proxy; else past it
};

// t is zeroed. What the caller still has to say to t->easy comes between init and start. 0,
// -EINVAL, -ENOMEM; call transfer_fini in any case.
int transfer_init(struct transfer *, struct net *, const struct transfer_target *,
	void (*done)(void *arg, CURLcode), void *arg) must_check;
int transfer_start(struct transfer *) must_check;
void transfer_fini(struct transfer *);

// What code means: -errno, and a line for people.
int transfer_explain(const struct transfer *, CURLcode code, char why[static STREAM_WHY_LEN]);
