// Prefs from the socket: a patch, then a whole, on top of what the first left behind. What is taken
// is in order: it goes through the same again unchanged.
#include "control/coord/json.h"
#include "control/tailnet/prefs.h"
#include "tests/fuzz/fuzz.h"

static void check_refused(const char *err)
{
	check(*err && memchr(err, '\0', PREFS_ERROR_LEN));
}

static void check_stable(const struct prefs *p)
{
	char err[PREFS_ERROR_LEN];
	struct prefs *const again = prefs_parse(prefs_json(p), err);

	check(again && json_equal((json_t *)prefs_json(p), (json_t *)prefs_json(again)));
	check(again->n_routes == p->n_routes && again->n_tags == p->n_tags);
	check(p->n_routes <= PREFS_ROUTES_MAX && p->n_tags <= PREFS_TAGS_MAX);
	check(p->relay_server_port >= -1 && p->relay_server_port <= UINT16_MAX);
	prefs_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct prefs *const first = prefs_create();
	json_t *const json = json_piece((struct slice){(const char *)data, size});
	char err[PREFS_ERROR_LEN];

	check(first);
	struct prefs *const patched = prefs_patch(first, json, err);
	if (patched)
		check_stable(patched);
	else
		check_refused(err);
	struct prefs *const whole = prefs_parse(json, err);
	if (whole)
		check_stable(whole);
	else
		check_refused(err);
	prefs_destroy(whole);
	prefs_destroy(patched);
	prefs_destroy(first);
	json_decref(json);
	return 0;
}
