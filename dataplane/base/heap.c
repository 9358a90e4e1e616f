#include "dataplane/base/heap.h"

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

enum {
	HEAP_MAPPED_MIN = 1 << 20,
	HEAP_TRIM_MIN = 4 << 20,
};

void heap_init(void)
{
	// The C library raises this limit to the largest block that was freed, unless it is set.
	mallopt(M_MMAP_THRESHOLD, HEAP_MAPPED_MIN);
}

// 0: unknown.
static size_t resident(void)
{
	unsigned long size, pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (!f)
		return 0;
	if (fscanf(f, "%lu %lu", &size, &pages) != 2)
		pages = 0;
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

size_t heap_trim(void)
{
	static size_t last;
	size_t before = resident();
	if (before < last + HEAP_TRIM_MIN) {
		last = before < last ? before : last;
		return 0;
	}
	malloc_trim(0);
	last = resident();
	return before > last ? before - last : 0;
}
