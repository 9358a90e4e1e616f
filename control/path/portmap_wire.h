// Port mappings from the gateway, UDP only: NAT-PMP (RFC 6886) and PCP (RFC 6887). Requests out,
// responses in; pure. One codec of our own for both: no library speaks PCP, the two share port 5351
// and so one socket, where a gateway answers the one with the other's version error, and libnatpmp
// keeps its socket and its waiting to itself. (UPnP is libminiupnpc's.) Control thread.
#pragma once

#include <assert.h>
#include <rte_byteorder.h>

#include "dataplane/base/types.h"

enum {
	PORTMAP_PORT = 5351, // the gateway's; answers come from there
	PORTMAP_LIFETIME_S = 7200,
	PORTMAP_LIFETIME_MAX_S = 86400, // granted more: RFC 6887 section 15 has clients cap it
	PORTMAP_TRUST_PROBE_S = 600,	// how long a probe's answer says what the gateway can do
	PORTMAP_PROBE_TIMEOUT_MS = 250,
	PCP_NONCE_LEN = 12,
	PORTMAP_RESPONSE_MAX = 1100, // RFC 6887 section 7
};

struct natpmp_external_request {
	uint8_t version; // 0
	uint8_t opcode;	 // 0
} __attribute__((packed));
static_assert(sizeof(struct natpmp_external_request) == 2, "RFC 6886 section 3.2");

struct natpmp_map_request {
	uint8_t version; // 0
	uint8_t opcode;	 // 1: UDP
	rte_be16_t reserved;
	rte_be16_t local_port;
	rte_be16_t wanted_port; // 0: any
	rte_be32_t lifetime_s;	// 0: delete
} __attribute__((packed));
static_assert(sizeof(struct natpmp_map_request) == 12, "RFC 6886 section 3.3");

struct pcp_request {
	uint8_t version; // 2
	uint8_t opcode;	 // 0 ANNOUNCE, 1 MAP
	rte_be16_t reserved;
	rte_be32_t lifetime_s;
	uint8_t client[16]; // IPv4-mapped
} __attribute__((packed));
static_assert(sizeof(struct pcp_request) == 24, "RFC 6887 section 7.1");

struct pcp_map { // of request and response
	uint8_t nonce[PCP_NONCE_LEN];
	uint8_t protocol; // 17
	uint8_t reserved[3];
	rte_be16_t local_port;
	rte_be16_t external_port;
	uint8_t external[16]; // IPv4-mapped
} __attribute__((packed));
static_assert(sizeof(struct pcp_map) == 36, "RFC 6887 section 11.1");

struct pcp_map_request {
	struct pcp_request header;
	struct pcp_map map;
} __attribute__((packed));
static_assert(sizeof(struct pcp_map_request) == 60, "RFC 6887 section 11.1");

// What is asked for. lifetime_s 0 deletes.
struct portmap_want {
	struct ip_addr client;	      // our IPv4 address towards the gateway; PCP alone
	uint8_t nonce[PCP_NONCE_LEN]; // random, the same for renewal and deletion; PCP alone
	uint16_t local_port;
	uint16_t external_port;	 // 0: any; for renewal that of the lease
	struct ip_addr external; // likewise; IP_NONE: any. PCP alone
	uint32_t lifetime_s;
};

void natpmp_external_request_write(struct natpmp_external_request *);
void natpmp_map_request_write(struct natpmp_map_request *, const struct portmap_want *);
void pcp_announce_request_write(struct pcp_request *, const struct ip_addr *client);
void pcp_map_request_write(struct pcp_map_request *, const struct portmap_want *);

enum portmap_kind {
	NATPMP_EXTERNAL, // external
	NATPMP_MAP,	 // ports, lifetime
	PCP_ANNOUNCE,
	PCP_MAP, // ports, lifetime, external, nonce
};

enum {
	PORTMAP_SUCCESS = 0,
	NATPMP_UNSUPPORTED_VERSION = 1, // also how PCP gateways answer NAT-PMP
	PCP_NOT_AUTHORIZED = 2,		// switched off, as is
	PCP_ADDRESS_MISMATCH = 12,	// ... another NAT between
};

struct portmap_response {
	enum portmap_kind kind;
	uint16_t result; // the rest but epoch_s is zero unless 0
	uint32_t epoch_s;
	uint32_t lifetime_s;
	uint16_t local_port, external_port;
	struct ip_addr external;
	uint8_t nonce[PCP_NONCE_LEN];
};

// The caller has seen that it comes from the gateway's port 5351. -EBADMSG: truncated; -EPROTO:
// another version, a request, or not about UDP and IPv4; *out undefined.
int portmap_response_parse(
	const uint8_t *packet, size_t len, struct portmap_response *out) must_check;
// Why the gateway refused: words for status and doctor.
const char *portmap_result_text(const struct portmap_response *);

struct portmap_lease {
	struct endpoint external; // NAT-PMP: no address, that of NATPMP_EXTERNAL belongs to it
	uint32_t lifetime_s;
	uint64_t renew_ns, expires_ns;
};

// The lease that a response to this request gives. -EACCES: refused, see the text; -EPROTO: it
// answers another request, or gives nothing that can be used.
int portmap_granted(const struct portmap_response *, const struct portmap_want *, uint64_t now_ns,
	struct portmap_lease *out) must_check;

// The gateway's clock of mappings. All zero is a new one; one per gateway and protocol.
struct portmap_epoch {
	bool known;
	uint32_t server_s;
	uint64_t client_ns;
};

// Take in a response's epoch. false: the gateway has lost its mappings, ask again at once (RFC 6886
// section 3.6, RFC 6887 section 8.5).
bool portmap_epoch_continues(
	struct portmap_epoch *, enum portmap_kind, uint32_t server_s, uint64_t now_ns) must_check;
