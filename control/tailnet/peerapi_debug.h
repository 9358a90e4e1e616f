// The form of /dns-query for people: ?q=NAME&t=TYPE, answered with JSON instead of a DNS message.
// Pure. Source: tailscale ipn/ipnlocal/peerapi.go (dnsQueryForName, writePrettyDNSReply).
#pragma once

#include "control/net/http_request.h"

// The query for q= and t= (A, AAAA, TXT; anything else and none is A). Bytes written to out, at
// most room; -ENOENT: there is no q=; -EINVAL: it is no name.
long peerapi_debug_query(const struct http_text *query, uint8_t *out, size_t room) must_check;
// ["192.0.2.1"], the addresses and texts of the answer, or {"Error": "NXDOMAIN"}, with a line feed;
// to be freed. NULL: out of memory.
char *peerapi_debug_answer(const uint8_t *message, size_t len) must_check;
