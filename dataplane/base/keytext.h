// Keys as the tailnet writes them: a prefix that says what the key is, then 64 hex digits.
// Sources: tailscale types/key (node.go, disco.go, machine.go, challenge.go). Any thread.
#pragma once

#include "dataplane/base/types.h"

enum key_kind {
	KEY_NODE,      // nodekey:
	KEY_DISCO,     // discokey:
	KEY_MACHINE,   // mkey:
	KEY_CHALLENGE, // chalpub:
	KEY_PRIVATE,   // privkey: of a node or a machine
	KEY_KINDS,
};

enum {
	KEYTEXT_HEX_LEN = 2 * KEY_LEN,
	KEYTEXT_MAX = 9 + KEYTEXT_HEX_LEN + 1, // the longest prefix, digits, final zero
};

// Prefix and exactly 64 digits of either case; nothing before or behind. The zero key is a key
// here: what it means is the caller's affair. Constant time in the key's value. -EINVAL; *out
// untouched.
int keytext_parse(enum key_kind kind, const char *text, struct key *out) must_check;
// The 64 digits alone, as in the name of a DERP server's certificate. -EINVAL likewise.
int keytext_parse_hex(const char *hex, struct key *out) must_check;
// Lower-case. Returns its buffer; wipe it behind KEY_PRIVATE.
const char *keytext_format(
	enum key_kind kind, const struct key *key, char text[static KEYTEXT_MAX]);
