// POST /machine/register: login, key rotation, logout. Requests to text, answers to what to do
// next. Source: tailscale control/controlclient/direct.go, tailcfg; headscale hscontrol/auth.go.
// [ctl]
#pragma once

#include "control/coord/hostinfo.h"

enum {
	REGISTER_ANSWER_MAX = 1 << 20, // bytes
	REGISTER_TEXT_LEN = 1024,
	REGISTER_WAIT_MAX_S = 3600,   // a longer Retry-After is not believed
	REGISTER_LOGOUT_EXPIRY = 123, // what the real client sends
};

struct register_request {
	uint16_t version;		   // capability version
	struct key node_key, old_node_key; // public; old: zero when there is none
	const char *auth_key;		   // NULL: none
	int64_t expiry;	      // 0: as the server likes; REGISTER_LOGOUT_EXPIRY: log out
	const char *followup; // URL of register_progress, or NULL
	const struct hostinfo *hostinfo;
	bool ephemeral;
	const char *tailnet; // wish, or NULL
};

// JSON; free it (it may have the auth key: wipe first).
char *register_request_text(const struct register_request *, size_t *len);

enum register_action {
	REGISTER_DONE,		 // keep the node key; the map stream may start
	REGISTER_AWAIT_APPROVAL, // done, but an administrator has to approve the machine
	REGISTER_VISIT_URL,	 // show progress.url, ask again with it as followup, same node key
	REGISTER_NEW_KEY,	 // ask again with a new node key, this one in old_node_key
	REGISTER_WAIT,		 // ask again after result.wait_s
	REGISTER_BACK_OFF,	 // ask again later, with growing pauses
	REGISTER_FAILED,  // the server says no: result.text; ask again only on a change, or slowly
	REGISTER_SIGN,	  // network lock: a new signature is wanted
	REGISTER_TOO_OLD, // the server does not support our version
};

// Of one attempt to log in, over several requests. All zero to begin.
struct register_progress {
	bool rotated; // REGISTER_NEW_KEY has been answered already
	char url[REGISTER_TEXT_LEN];
};

struct register_result {
	enum register_action action;
	unsigned wait_s;
	char text[REGISTER_TEXT_LEN]; // for the log and the status; "" when there is nothing to say
	int64_t user;
	char login[256]; // of User or Login
};

// Judge an answer. retry_after: that header's value or NULL; now_s: our clock; random: 5..10 s of
// waiting are taken from it when the server gives none.
void register_answer(struct register_progress *, int status, const char *retry_after,
	const char *body, size_t len, int64_t now_s, uint32_t random, struct register_result *out);
