// TCP and TLS connections and HTTP requests of the control thread. libcurl does names, proxies of
// the environment, TLS and certificates, without blocking; the event loop does the rest.
// Connections go past the tunnel (net/bypass.h), but for those to peers. [ctl]
#pragma once

#include <event2/event.h>
#include <sys/uio.h>

#include "dataplane/base/types.h"

struct net;    // libcurl on an event loop
struct stream; // one connection

// From here on the process ignores SIGPIPE. NULL with errno: -ENOTSUP, libcurl is without OpenSSL.
struct net *net_create(struct event_base *) must_check;
// After all streams and fetches are closed. NULL is fine.
void net_destroy(struct net *);

// What error means in closed and fetch_answer, behind the minus sign:
//   ENODATA       the name has no address (DNS)
//   ECONNREFUSED, EHOSTUNREACH, ENETUNREACH ... of connect(2)
//   ETIMEDOUT     at any stage; why says which
//   EKEYREJECTED  the certificate; why says what is wrong with it, and the clock's part
//   EREMOTEIO     the proxy of the environment refuses or does not answer
//   EPROTO        it does not speak TLS, or HTTP
//   ECONNRESET    the connection broke
//   EMSGSIZE      fetch: body or header is too large
//   ELOOP         fetch: too many redirects, or one that leaves https
struct stream_target {
	const char *host; // name or address; also of the certificate and SNI
	uint16_t port;
	bool tls; // HTTP/1.1 or something else inside: no ALPN
	// Connect there instead of what host resolves to: an address, or several with commas
	// between, which race; NULL.
	const char *address;
	const char *cert;     // DERP's CertName: another name, or "sha256-raw:<hex>"; NULL
	bool any_certificate; // what is inside authenticates itself; a bad one is logged only
	unsigned timeout_ms;  // to connect, TLS included
};

enum {
	STREAM_QUEUE_MAX = 4 << 20, // bytes that wait to be sent
	STREAM_WHY_LEN = 400,
};

// None may be NULL. stream_close may be called from within each.
struct stream_events {
	void (*connected)(void *arg);
	void (*data)(void *arg, const uint8_t *bytes, size_t len);
	// Everything queued has gone to the kernel.
	void (*drained)(void *arg);
	// Once and last: the server closed (0) or -errno, with a line for people: cause and remedy.
	// At most STREAM_WHY_LEN bytes, printable.
	// The stream is to be closed as always.
	void (*closed)(void *arg, int error, const char *why);
	void *arg;
};

// Events come from the loop, never from within. 0 or -errno; -EINVAL: host, address or cert. The
// target's strings are copied.
int stream_open(struct stream **out, struct net *, const struct stream_target *,
	const struct stream_events *) must_check;
void stream_close(struct stream *); // NULL is fine; no event comes after it
// Queue all parts, or none: -ENOBUFS above STREAM_QUEUE_MAX, -ENOTCONN before connected.
int stream_write(struct stream *, const struct iovec *parts, int n) must_check;
size_t stream_queued(const struct stream *);
// At most so many bytes wait in the kernel, more in our queue where the caller sees them.
void stream_limit_unsent(struct stream *, unsigned bytes);
// Common name and serial number of the last certificate of the server's chain, for DERP's fast
// start (only under TLS 1.3). -ENOENT: no TLS.
int stream_last_certificate(
	const struct stream *, char name[static 256], uint64_t *serial) must_check;
// Local and remote address of the connection, for status. port 0: not connected.
void stream_addresses(const struct stream *, struct endpoint *local, struct endpoint *remote);

struct fetch; // one HTTP request

struct fetch_request {
	const char *method;  // "GET", "HEAD"
	const char *url;     // http or https
	size_t max;	     // bytes of the answer's body; more is an error
	unsigned timeout_ms; // of everything
	const char *header;  // one more, "Name: value"; NULL
	const char *address; // as of stream_target
	const char *cert;    // as of stream_target
	bool follow;	     // redirects, up to 5
	bool inside;	     // through the tunnel to a peer, not past it
};

struct fetch_answer {
	int error;	  // 0, or -errno: no HTTP answer came
	const char *why;  // for people, when error is not 0
	int status;	  // of HTTP
	const char *body; // terminated
	size_t len;
	const char *header;   // value of the answer's header X-Tailscale-Response, or ""
	const char *location; // of a redirect that was not followed, or ""
	int64_t date;	      // the server's clock, seconds since 1970; 0: it does not say
	double seconds;	      // from the request's last byte to the answer's first, no TLS or DNS
};

// done is called once, from the loop; the fetch is gone with it. 0 or -errno; -EINVAL: the request.
int fetch_start(struct fetch **out, struct net *, const struct fetch_request *,
	void (*done)(void *arg, const struct fetch_answer *), void *arg) must_check;
void fetch_cancel(struct fetch *); // before done; NULL is fine
