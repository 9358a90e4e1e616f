// What becomes of a query: an answer from the netmap, or who is to be asked. Pure. Source:
// tailscale net/dns/resolver/tsdns.go.
#pragma once

#include "control/dns/dns.h"
#include "control/dns/view.h"
#include "control/dns/wire.h"

enum dns_verdict {
	DNS_IGNORE, // no query
	DNS_ANSWER,
	DNS_FORWARD,
};

// room: at least DNS_UDP_MIN. now_s: seconds since 1970. ANSWER: *answer_len bytes of answer;
// FORWARD: *route has somebody to ask. query is filled in any case but IGNORE.
enum dns_verdict dns_engine(const struct dns_view *, const struct dns_client *,
	const uint8_t *message, size_t len, uint32_t now_s, struct dns_query *query,
	uint8_t *answer, size_t room, size_t *answer_len, const struct dns_route **route);
// An answer that says nothing but this. Returns its length.
size_t dns_engine_refuse(const uint8_t *message, const struct dns_query *, unsigned rcode,
	uint8_t *answer, size_t room);
