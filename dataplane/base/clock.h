// The wall clock, and what a thread has used; durations are measured with the TSC.
#pragma once

#include <stdint.h>
#include <time.h>

// Nanoseconds since 1970. [any thread]
static inline uint64_t unix_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

// CPU time of the calling thread, in nanoseconds. [any thread]
static inline uint64_t thread_cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
