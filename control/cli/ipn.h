// What the LocalAPI says of the node and its peers (ipnstate.Status as JSON), and the words of the
// tailscale command for it. Pure: JSON in, text out.
// Source: tailscale ipn/ipnstate, cmd/tailscale/cli/{status,ip,exitnode}.go.
#pragma once

#include "control/cli/cli.h"
#include "control/cli/show.h"

enum {
	IPN_NAME_LEN = 300,
	IPN_DESCRIPTION_LEN = 600,
};

// Take control characters out of every text: names and messages come from others and go to a
// terminal. Afterwards no text has a newline or a tab. Names of members stay.
void ipn_clean(json_t *);

// Whether the node is Running or Starting; else *description (words for people).
bool ipn_is_up(const json_t *status, char description[static IPN_DESCRIPTION_LEN]);
// Peers by name, as an array of borrowed objects; free it. NULL: out of memory.
const json_t **ipn_sorted_peers(const json_t *status, size_t *n);
// "alice", or ("host") without a DNS name.
const char *ipn_name(const json_t *status, const json_t *peer, char text[static IPN_NAME_LEN]);
// Whether name is the peer's: base name as above, FQDN with or without final dot; any case.
bool ipn_is_named(const json_t *status, const json_t *peer, const char *name);
// Its first address; "" when it has none.
const char *ipn_first_ip(const json_t *peer);
bool ipn_has_ip(const json_t *peer, const struct ip_addr *);
// Peer or Self with the address. NULL: nobody.
const json_t *ipn_find_ip(const json_t *status, const struct ip_addr *);
// Peer or Self of that name. NULL: nobody.
const json_t *ipn_find_name(const json_t *status, const char *name);

struct ipn_view {
	bool self, peers, active, header;
	int64_t now_s;
};

// The table of 'tailscale status' and the health lines. False: out of memory.
bool ipn_show(FILE *out, const json_t *status, const struct ipn_view *);
void ipn_show_health(FILE *out, const json_t *status);
// The table of 'tailscale exit-node list'; filter: a country or NULL. False: there are none, the
// reason in err.
bool ipn_show_exit_nodes(FILE *out, const json_t *status, const char *filter, int64_t now_s,
	char err[static CLI_ERROR_LEN]);
// 'tailscale whois'.
bool ipn_show_whois(FILE *out, const json_t *who);
// One line of 'tailscale ping' for an ipnstate.PingResult without error; type: as in the request.
void ipn_show_pong(FILE *out, const json_t *pong, const char *type);
