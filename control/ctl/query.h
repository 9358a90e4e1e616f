// The query of a URL: "packets=5&worker=0". Pure; the texts come from whoever opened the socket.
#pragma once

#include "dataplane/base/types.h"

enum {
	QUERY_PARAMS_MAX = 8,
	QUERY_NAME_LEN = 16,  // with the final zero
	QUERY_VALUE_LEN = 96, // with the final zero, decoded
	QUERY_ERROR_LEN = 160,
};

struct query {
	unsigned n;
	struct {
		char name[QUERY_NAME_LEN];
		char value[QUERY_VALUE_LEN];
	} param[QUERY_PARAMS_MAX];
};

// Read name=value pairs with '&' between; text NULL or "": none. %XX is decoded, '+' stays what it
// is (base64 keys have it). names: those that are known, NULL at the end; an unknown or repeated
// one is a mistake, so is a control character. 0, or -EINVAL and one line in err.
int query_parse(const char *text, const char *const names[], struct query *out,
	char err[static QUERY_ERROR_LEN]) must_check;
// The value, or NULL when it was not given.
const char *query_text(const struct query *, const char *name);
// A decimal number from min to max, or otherwise when it was not given. 0 or -EINVAL.
int query_number(const struct query *, const char *name, uint32_t otherwise, uint32_t min,
	uint32_t max, uint32_t *out, char err[static QUERY_ERROR_LEN]) must_check;
