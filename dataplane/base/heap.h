// The process's heap. What is large for a moment (a netmap of thousands of peers, its text, a page
// of metrics) leaves free memory behind that the C library would keep. [ctl]
#pragma once

#include <stddef.h>

// Once, at the start: large blocks are mapped, so that they go back as they are freed.
void heap_init(void);
// Give back what is free, if resident memory has grown by HEAP_TRIM_MIN since the last time; a few
// microseconds when it has not, milliseconds when it has. Called each second. Returns the bytes
// that it gave back; without /proc nothing ever is.
size_t heap_trim(void);
