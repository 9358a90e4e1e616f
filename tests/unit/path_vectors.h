// What the tests of control/path read from tests/vectors.
#pragma once

#include "tests/unit/vectors.h"

#include "dataplane/base/types.h"

static inline struct key vectors_key(const json_t *object, const char *name)
{
	struct key key;

	vectors_exact(object, name, key.bytes, KEY_LEN);
	return key;
}

static inline const char *vectors_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	assert_non_null(text);
	return text;
}

static inline uint64_t vectors_number(const json_t *object, const char *name)
{
	assert_true(json_is_integer(json_object_get(object, name)));
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

// The member of a list whose "name" is this; fails without.
static inline const json_t *vectors_named(const json_t *list, const char *name)
{
	const json_t *t;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i,
		t) if (strcmp(vectors_text(t, "name"), name) == 0) return t;
	fail_msg("no vector %s", name);
	return NULL;
}

static inline struct endpoint endpoint_of(const char *text)
{
	struct endpoint e;

	if (endpoint_parse(text, &e))
		fail_msg("%s is no endpoint", text);
	return e;
}

static inline void assert_endpoint(const struct endpoint *got, const char *want)
{
	char text[ENDPOINT_TEXT_LEN];

	assert_string_equal(endpoint_format(got, text), want);
}

static inline void assert_key(const struct key *got, const struct key *want)
{
	assert_memory_equal(got->bytes, want->bytes, KEY_LEN);
}

// A copy of exactly this size, so that the sanitizer sees a read beyond. free() it.
static inline uint8_t *exact_copy(const void *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	return copy;
}
