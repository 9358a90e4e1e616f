// STUN as a client: the request that derper answers, and what its answers say. Pure; match txid to
// what was asked, and the source to whom. Source: tailscale net/stun/stun.go; layouts in
// dataplane/wire/stun.h. Control thread.
#pragma once

#include "dataplane/base/types.h"
#include "dataplane/wire/stun.h"

void stun_request(const uint8_t txid[static STUN_TXID_LEN], struct stun_request *out);
// Our address as the server saw it. XOR-MAPPED-ADDRESS (both numbers) wins over MAPPED-ADDRESS, the
// first of a kind over the next; an IPv4-mapped IPv6 address becomes IPv4, as a dual-stack server
// writes it. Bytes behind the stated length are ignored. -EPROTO: not a success response; -EBADMSG:
// malformed, or without an address and port.
int stun_response_parse(const uint8_t *packet, size_t len, uint8_t txid[static STUN_TXID_LEN],
	struct endpoint *mapped) must_check;
