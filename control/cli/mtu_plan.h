// 'mtu plan': a stack of layers in words, its account for people and for programs. Pure.
#pragma once

#include "control/cli/cli.h"
#include "dataplane/wire/ledger.h"

enum {
	MTU_NAME_LEN = 16, // as IFNAMSIZ
	MTU_NOTE_LEN = 256,
};

struct mtu_plan {
	struct ledger_layer layer[LEDGER_LAYERS_MAX];
	char name[LEDGER_LAYERS_MAX][MTU_NAME_LEN];
	unsigned n;
};

// Read "eth0:1500,wg4,vxlan,wg6" from the link inward, each with ":MTU" where an interface has one
// of its own, and fill the account in. 0; or -EINVAL and one line in err, fit for a terminal.
int mtu_plan_parse(
	const char *text, struct mtu_plan *out, char err[static CLI_ERROR_LEN]) must_check;
// What is to be known about a layer, in a sentence; "": nothing.
const char *mtu_plan_note(const struct mtu_plan *, unsigned layer, char note[static MTU_NOTE_LEN]);
// "room", "interface", ...: what JSON says.
const char *mtu_due(enum ledger_source);
// A table, its sum and the notes. False: out of memory.
bool mtu_plan_show(FILE *out, const struct mtu_plan *) must_check;
// The same; NULL: out of memory.
json_t *mtu_plan_json(const struct mtu_plan *) must_check;
