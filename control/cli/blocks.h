// A stream of pcapng blocks, cut into whole blocks, so that a file never ends within one.
#pragma once

#include <stdio.h>

#include "dataplane/base/types.h"

enum { BLOCK_MAX = 1 << 20 };

struct blocks {
	FILE *out;
	uint64_t bytes, packets; // written
	size_t n;		 // bytes waiting for the rest of their block
	uint8_t waiting[BLOCK_MAX];
};

// Write what is whole, keep the rest. False: no pcapng, or the file cannot be written (errno).
bool blocks_take(struct blocks *, const char *bytes, size_t n);
