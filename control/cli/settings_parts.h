// What the files of the settings share.
#pragma once

#include "control/cli/settings.h"

enum setting_kind {
	SETTING_SWITCH,
	SETTING_SWITCH_NOT, // the preference says the opposite
	SETTING_TEXT,
	SETTING_SERVER,
	SETTING_HOST,
	SETTING_ROUTES,
	SETTING_EXIT_ROUTES,
	SETTING_TAGS,
	SETTING_EXIT_NODE,
	SETTING_NETFILTER,
	SETTING_CONNECTOR, // a switch in an object: {"Advertise"}
};

struct setting {
	const char *flag, *pref;
	enum setting_kind kind;
	bool on; // default of a switch
};

extern const struct setting settings[]; // by name
extern const unsigned n_settings;
extern const char *const settings_netfilter[]; // by number; NULL behind the last

#define EACH_SETTING(s) for (const struct setting *s = settings; s < settings + n_settings; s++)

// --advertise-routes and --advertise-exit-node make one preference; what is not named stays, or
// with defaults is none. 0, or -1 with a line in err.
int settings_set_routes(const struct cli *, json_t *prefs, bool defaults,
	char err[static CLI_ERROR_LEN]) must_check;
bool settings_offers_exit(const json_t *prefs); // both default routes
