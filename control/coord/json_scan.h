// A position in a piece of text, for the two readers of it: json.c, which cuts, and json_plain.c,
// which builds. To be included by these only.
#pragma once

#include "control/coord/json.h"

struct json_scan {
	const char *at, *end;
};

static inline bool json_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline void json_skip_space(struct json_scan *s)
{
	while (s->at < s->end && json_is_space(*s->at))
		s->at++;
}

// Past c, if that is what comes after white space.
static inline bool json_take(struct json_scan *s, char c)
{
	json_skip_space(s);
	if (s->at >= s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}
