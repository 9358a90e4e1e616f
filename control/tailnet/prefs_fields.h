// The fields of ipn.Prefs: what each holds, and its value in one form. [ctl]
#pragma once

#include <jansson.h>

#include "control/tailnet/prefs.h"

enum {
	PREFS_SERVICES_MAX = 256,
	PREFS_ENDPOINTS_MAX = 64,
	PREFS_SHARES_MAX = 64,
	PREFS_UNKNOWN_MAX = 64, // fields of other versions that are kept
	PREFS_NAME_LEN = 64,	// of a field
};

enum prefs_type {
	PREFS_FLAG,
	PREFS_OPTIONAL, // true, false or null
	PREFS_TEXT,
	PREFS_ADDRESS, // text; "": none
	PREFS_NETFILTER,
	PREFS_PORT,	 // number or null
	PREFS_ROUTES,	 // arrays of texts, null for none
	PREFS_TAGS,	 // ...
	PREFS_SERVICES,	 // ...
	PREFS_ENDPOINTS, // ...
	PREFS_SHARES,	 // array of objects, passed on as they are
	PREFS_UPDATE,	 // {Check, Apply}
	PREFS_CONNECTOR, // {Advertise}
	PREFS_NOTHING,	 // always null: keys, which are nobody's business
};

struct prefs_field {
	const char *name;
	enum prefs_type type;
	bool omit;	       // when it is empty
	const char *otherwise; // JSON of the default; NULL: empty
};

extern const struct prefs_field prefs_fields[];
extern const unsigned prefs_n_fields;

// NULL: a field of another version.
const struct prefs_field *prefs_field_of(const char *name);
// A name that may be kept: letters, digits and '_'.
bool prefs_name_valid(const char *name);
// Put the value into all, checked; NULL and null: empty. -EINVAL with a line in err.
int prefs_field_put(json_t *all, const struct prefs_field *, const json_t *value,
	char err[static PREFS_ERROR_LEN]) must_check;
