// Numbers as people read them. Each returns its buffer.
#pragma once

#include "dataplane/base/types.h"

enum { FORMAT_LEN = 96 };

const char *format_bytes(double bytes, char text[static FORMAT_LEN]);		       // "1.21 GiB"
const char *format_rate(double per_s, const char *unit, char text[static FORMAT_LEN]); // "1.2 Gb/s"
// As wg(8): "1 minute, 3 seconds".
const char *format_duration(uint64_t seconds, char text[static FORMAT_LEN]);
