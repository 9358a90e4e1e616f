// 'mtu': the account of the way to each peer, from what the daemon reports. Pure.
#pragma once

#include "control/cli/mtu_plan.h"

struct mtu_path {
	const char *name, *endpoint, *port, *way; // ours or of the report; "" or NULL: none
	bool known;				  // whether there is an account
	// Inside: what was seen to get through, what a router says; 0: nothing. Since 1970, s.
	uint16_t probed, told;
	double probed_since, told_since;
	struct ledger_layer layer[2]; // the port's link and the tunnel on it
};

// Read a peer of the daemon's report; what makes no sense is not known.
void mtu_path_read(const json_t *status, const json_t *peer, struct mtu_path *out);
// The peer that a name, a public key or an address among its allowed IPs means; NULL: none.
const json_t *mtu_peer_find(const json_t *status, const char *which);
// All peers, or one. False, NULL: out of memory.
bool mtu_peers_show(FILE *out, const json_t *status, const json_t *only) must_check;
json_t *mtu_peers_json(const json_t *status, const json_t *only) must_check;
