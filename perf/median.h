// The median of measurements.
#pragma once

#include <stdlib.h>

static inline int median_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

// v is sorted; n > 0.
static inline double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), median_compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}
