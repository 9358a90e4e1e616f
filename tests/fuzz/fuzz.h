// What fuzz targets have in common: how they fail, and input where reading beyond it shows.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void check(bool right)
{
	if (!right)
		abort();
}

// A text of at most room bytes with its end, and nothing in it that a terminal would act on.
static inline void check_text(const char *text, size_t room)
{
	check(memchr(text, '\0', room));
	for (; *text; text++)
		check((uint8_t)*text >= ' ' && *text != 0x7f);
}

// Of exactly this size, for free().
static inline void *exact_copy(const void *data, size_t size)
{
	void *const copy = malloc(size ? size : 1);

	check(copy);
	if (size)
		memcpy(copy, data, size);
	return copy;
}

// The same with a zero byte behind it, for what takes a text.
static inline char *exact_text(const void *data, size_t size)
{
	char *const text = malloc(size + 1);

	check(text);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}
