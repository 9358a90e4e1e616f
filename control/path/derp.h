// DERP, the relay over TLS, as its client. An engine without I/O: bytes of the TLS stream and the
// time go in, events and bytes to write come out by callback. Memory is one packet per connection,
// whatever the server sends. Sources: tailscale derp/derp.go, derp/derp_client.go,
// derp/derphttp/derphttp_client.go. Control thread.
#pragma once

#include <string.h>
#include <sys/uio.h>

#include "dataplane/base/types.h"
#include "dataplane/crypto/box.h"

enum derp_frame {
	DERP_SERVER_KEY = 0x01,	    // magic, key, perhaps more
	DERP_CLIENT_INFO = 0x02,    // node key, box of JSON
	DERP_SERVER_INFO = 0x03,    // box of JSON
	DERP_SEND_PACKET = 0x04,    // destination key, packet
	DERP_RECV_PACKET = 0x05,    // source key, packet
	DERP_KEEP_ALIVE = 0x06,	    // empty
	DERP_NOTE_PREFERRED = 0x07, // one byte, 0 or 1
	DERP_PEER_GONE = 0x08,	    // key, reason
	DERP_PING = 0x12,	    // 8 bytes
	DERP_PONG = 0x13,	    // the same 8 bytes
	DERP_HEALTH = 0x14,	    // text
	DERP_RESTARTING = 0x15,	    // two BE u32, ms
};

enum {
	DERP_FRAME_HEADER_LEN = 5, // type, BE u32 length of the rest
	DERP_FRAME_MAX = 1 << 20,  // the rest; longer ends the connection
	DERP_PACKET_MAX = 65536,
	DERP_PING_LEN = 8,
	DERP_HTTP_MAX = 8192, // the response's head
	DERP_STEP_TIMEOUT_S = 10,
	DERP_READ_TIMEOUT_S = 120, // the server says KeepAlive every 60 to 65 s
	DERP_HOST_MAX = 261,	   // name, colon, port
	DERP_ERROR_TEXT_LEN = 160,
};

// The real client's notation of a way over DERP: this address, and the region as port.
static const uint8_t DERP_MAGIC_IP[4] = {127, 3, 3, 40};

static inline struct endpoint derp_endpoint(uint16_t region)
{
	return (struct endpoint){.addr = ip_addr_v4(DERP_MAGIC_IP), .port = region};
}

static inline bool is_derp(const struct endpoint *e)
{
	return e->addr.family == IP_V4 && memcmp(e->addr.bytes, DERP_MAGIC_IP, 4) == 0;
}

// Why a peer is gone. Both only drop what was learnt about where it is.
enum derp_gone {
	DERP_GONE_DISCONNECTED = 0,
	DERP_GONE_NOT_HERE = 1, // it never was: we sent there
};

enum derp_event_type {
	DERP_EVENT_SERVER_KEY,	// key
	DERP_EVENT_SERVER_INFO, // rate; the connection is complete
	DERP_EVENT_PACKET,	// key (source), data
	DERP_EVENT_PEER_GONE,	// key, reason
	DERP_EVENT_KEEP_ALIVE,
	DERP_EVENT_PING,   // data; it has been answered already
	DERP_EVENT_PONG,   // data
	DERP_EVENT_HEALTH, // data: text, neither terminated nor checked; none: healthy
	DERP_EVENT_RESTARTING,
};

// key and data are valid during the callback.
struct derp_event {
	enum derp_event_type type;
	const struct key *key;
	const uint8_t *data;
	size_t len; // of data
	enum derp_gone reason;
	uint64_t rate_bytes_per_s, burst_bytes; // server info; 0: no limit
	uint32_t reconnect_in_ms, try_for_ms;	// restarting
};

struct derp_io {
	// Queue all parts for the stream, or none: -ENOBUFS. Called from start, feed and the
	// senders.
	int (*write)(void *arg, const struct iovec *parts, int n);
	// Must not call this connection's derp_feed or derp_destroy.
	void (*event)(void *arg, const struct derp_event *);
	void *arg;
};

struct derp_options {
	struct key private_key, public_key; // the node's
	uint8_t nonce[BOX_NONCE_LEN];	    // fresh randomness for each connection
	const char *host;		    // with its port unless that is 443
	const char *user_agent;		    // NULL: none
	const char *ideal_node; // name of the region's first node if this is another; or NULL
	// Of the certificate, by derp_certificate_key: fast start, which saves a round trip. Or
	// NULL.
	const struct key *server_key;
};

struct derp_counters {
	uint64_t skipped; // frames of unknown type, too short, or packets above DERP_PACKET_MAX
	uint64_t rate_limited; // own packets dropped above the server's limit
	uint64_t pongs_lost;   // pings not answered since the stream is full
};

struct derp; // one connection

// The key that the last certificate of a chain names: common name "derpkey" and 64 hex digits,
// serial number (the version) 2 or above. -ENOENT: none, connect without fast start.
int derp_certificate_key(const char *common_name, uint64_t serial, struct key *out) must_check;

// -EKEYREJECTED: server_key is of low order; -EINVAL: host or a name has a control character or
// space, or is too long.
int derp_create(struct derp **out, const struct derp_options *, const struct derp_io *) must_check;
// Wipes the keys. NULL is fine.
void derp_destroy(struct derp *);

// Once TLS is up: write the HTTP request, with fast start ClientInfo as well.
int derp_start(struct derp *, uint64_t now_ns) must_check;
// Bytes from the server, any split. 0, or -errno, for good: -ECONNREFUSED (HTTP status), -EPROTO,
// -EMSGSIZE, -EBADMSG (does not open), -ENOBUFS (no room to write ClientInfo).
int derp_feed(struct derp *, uint64_t now_ns, const uint8_t *bytes, size_t len) must_check;
// The server closed: -ECONNREFUSED before ServerInfo, else -ECONNRESET; derp_error has the cause.
int derp_eof(struct derp *) must_check;
// When derp_check is due at the latest.
uint64_t derp_deadline_ns(const struct derp *);
// -ETIMEDOUT when a step of the handshake took 10 s or no whole frame came for 120 s.
int derp_check(struct derp *, uint64_t now_ns) must_check;
// Why feed, eof or check failed, for the log and the status; "" when they did not. Printable.
const char *derp_error(const struct derp *);

// Senders: -ENOTCONN before ClientInfo is out or after an error, -ENOBUFS as write says. ServerInfo
// need not be waited for.
bool derp_can_send(const struct derp *);
// -EMSGSIZE; -EAGAIN: above the server's rate, the packet is to be dropped.
int derp_send_packet(struct derp *, uint64_t now_ns, const struct key *to, const void *packet,
	size_t len) must_check;
// Whether this is our home; say it on the home connection, and on both when it moves.
int derp_note_preferred(struct derp *, bool preferred) must_check;
// One at a time: the server answers up to one outstanding.
int derp_ping(struct derp *, const uint8_t data[static DERP_PING_LEN]) must_check;
// Zero before the server's key is known.
const struct key *derp_server_key(const struct derp *);
const struct derp_counters *derp_counters(const struct derp *);
