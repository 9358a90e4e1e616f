// What the user wants of the node: ipn.Prefs of the LocalAPI, kept in prefs.json of the state
// directory (0600, replaced as a whole). Fields that Tailgate does not know are stored and given
// back. Source: tailscale ipn/prefs.go. [ctl]
#pragma once

#include <jansson.h>

#include "dataplane/base/types.h"

enum {
	PREFS_TEXT_LEN = 256,
	PREFS_ROUTES_MAX = 4096,
	PREFS_TAGS_MAX = 64,
	PREFS_ERROR_LEN = 256,
};

struct prefs {
	char control_url[PREFS_TEXT_LEN]; // "": https://controlplane.tailscale.com
	bool want_running, logged_out;
	bool route_all; // --accept-routes
	bool corp_dns;	// --accept-dns
	bool shields_up, no_snat, exit_node_allow_lan, run_ssh, no_stateful;
	bool app_connector;						 // --advertise-connector
	char exit_node_id[PREFS_TEXT_LEN], exit_node_ip[PREFS_TEXT_LEN]; // either
	char auto_exit_node[PREFS_TEXT_LEN]; // "any": the ID is what was found; "": chosen by hand
	char hostname[PREFS_TEXT_LEN], operator[PREFS_TEXT_LEN];
	struct ip_prefix *routes; // --advertise-routes and exit node; sorted
	uint32_t n_routes;
	char **tags;
	uint32_t n_tags;
	int32_t relay_server_port; // -1: off
	int32_t netfilter_mode;	   // 0 off, 1 no divert, 2 on
	json_t *all; // every field as the LocalAPI gives it; the above are read from it
};

// The defaults of the real client.
struct prefs *prefs_create(void);
void prefs_destroy(struct prefs *); // NULL is fine
// The whole as ipn.Prefs: all fields, borrowed.
const json_t *prefs_json(const struct prefs *);
// A new one from old and a MaskedPrefs object ("XSet": true takes "X"). NULL with a line in err
// (wrong type, bad prefix, host bits, tag, address): nothing changed.
struct prefs *prefs_patch(
	const struct prefs *old, const json_t *masked, char err[static PREFS_ERROR_LEN]);
// A new one from a whole ipn.Prefs object (of "start": UpdatePrefs). Likewise.
struct prefs *prefs_parse(const json_t *whole, char err[static PREFS_ERROR_LEN]);
// 0 or -errno. Loading: -ENOENT none yet, -EBADMSG damaged (a line in err).
int prefs_save(const char *dir, const struct prefs *) must_check;
int prefs_load(const char *dir, struct prefs **out, char err[static PREFS_ERROR_LEN]) must_check;
