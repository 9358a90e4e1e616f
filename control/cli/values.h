// Values as the tailscale command reads and prints them (Go's forms). Pure.
#pragma once

#include "dataplane/base/types.h"

enum { VALUE_TEXT_LEN = 64 };

// "5s", "1m30s", "1.5h", "300ms", "0", at most a week; to milliseconds. -EINVAL.
int value_duration(const char *text, unsigned *ms) must_check;
// "0s", "130ms", "1.25s", "1m2s": rounded to milliseconds.
const char *value_seconds(double seconds, char text[static VALUE_TEXT_LEN]);
// RFC 3339 to seconds since 1970; 0: none, not a time, or the year 1 (Go's zero).
int64_t value_time(const char *text);
// ", last seen 5m ago"; "" for 0.
const char *value_last_seen(int64_t at_s, int64_t now_s, char text[static VALUE_TEXT_LEN]);
// A number of decimal digits up to max. -EINVAL.
int value_number(const char *text, unsigned max, unsigned *out) must_check;
