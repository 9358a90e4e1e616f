// JSON from the coordination server, which counts as hostile. A large message is first cut into the
// values of its members by a scanner that allocates nothing and bounds the depth; only pieces of
// bounded size then go through jansson, one after the other, so that memory stays in proportion.
// As with Go's encoding/json unknown members are ignored, the last of duplicates counts, and null
// leaves a member as if it were absent. A value of the wrong type is an error. [ctl]
#pragma once

#include <jansson.h>

#include "dataplane/base/types.h"

enum {
	JSON_DEPTH_MAX = 24,	  // a MapResponse of today has 9
	JSON_PIECE_MAX = 1 << 20, // bytes that go through jansson at once
	TIME_TEXT_LEN = 24,
	TYPED_KEY_TEXT_LEN = 80, // "discokey:" + 64, with the final zero
};

// A piece of text, not zero-terminated.
struct slice {
	const char *text;
	size_t len;
};

// Called for each member; name is the raw text between the quotes. Not 0 ends the scan.
typedef int (*json_member_fn)(void *arg, struct slice name, struct slice value);
// Called for each element of an array.
typedef int (*json_element_fn)(void *arg, struct slice value);

// Cut an object or array at its first level. Brackets and strings have to fit to the end of the
// text, which jansson then checks in each value. 0; -EBADMSG: no object (array), or broken;
// -ELOOP: nested too deep; or what fn returned.
int json_scan_members(struct slice object, json_member_fn fn, void *arg) must_check;
int json_scan_elements(struct slice array, json_element_fn fn, void *arg) must_check;
bool slice_is(struct slice s, const char *text);
// Parse a whole piece as jansson does, but only what is written plainly: texts of ASCII without
// escapes, integers of up to 18 digits. It takes a quarter of jansson's time, and a netmap is
// nearly all of it. NULL: not plain, nested too deep, or broken: jansson will tell.
json_t *json_plain(struct slice s);
// Parse a whole piece, any value. NULL: broken, nested too deep or longer than JSON_PIECE_MAX.
json_t *json_piece(struct slice s);

// Members of one object, read with their types. The first member of a wrong type is remembered in
// bad, and everything then reads as absent; look at it once at the end.
struct json_object {
	const json_t *object;
	const char *bad;
};

struct json_object json_open(const json_t *value); // not an object: bad
// NULL when absent, null or empty.
const char *json_text(struct json_object *, const char *name);
bool json_flag(struct json_object *, const char *name);
// Like json_flag, or -1 when absent.
int json_opt_flag(struct json_object *, const char *name);
// 0 when absent; outside min..max is bad.
int64_t json_number(struct json_object *, const char *name, int64_t min, int64_t max);
double json_real_number(struct json_object *, const char *name);
// NULL when absent or null.
const json_t *json_array_of(struct json_object *, const char *name);
const json_t *json_object_of(struct json_object *, const char *name);
// Any type; NULL when absent. null is returned.
const json_t *json_any(struct json_object *, const char *name);
// Seconds since 1970; 0 when absent or Go's zero time.
int64_t json_time(struct json_object *, const char *name);
// Zero when absent or the zero form. prefix: "nodekey:".
struct key json_key(struct json_object *, const char *name, const char *prefix);

// RFC 3339 with any fraction and offset, seconds since 1970. Year 1 is 0, other times before 1970
// are 1: "long ago". -EINVAL, and *out untouched.
int time_parse(const char *text, int64_t *out) must_check;
// 0 is Go's zero time. Returns text.
const char *time_format(int64_t seconds, char text[static TIME_TEXT_LEN]);
// Prefix and 64 hex digits of either case. -EINVAL, and *out untouched.
int typed_key_parse(const char *text, const char *prefix, struct key *out) must_check;
// Returns text.
const char *typed_key_format(
	const struct key *, const char *prefix, char text[static TYPED_KEY_TEXT_LEN]);
