#include "dataplane/base/huge.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
// after the above, as cmocka asks
#include <cmocka.h>

// Whether memory is mapped there.
static bool is_mapped(const void *at)
{
	unsigned char in_core;
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	return mincore((void *)((uintptr_t)at & ~(page - 1)), 1, &in_core) == 0;
}

static void test_lies_on_the_boundary(void **)
{
	static const size_t sizes[] = {
		1, 4096, 4097, HUGE_PAGE - 1, HUGE_PAGE, HUGE_PAGE + 1, 5 * HUGE_PAGE + 12345};
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i];
		uint8_t *p = huge_reserve(size, PROT_READ | PROT_WRITE);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % HUGE_PAGE, 0);
		huge_advise(p, size);
		assert_int_equal(p[0], 0);
		assert_int_equal(p[size - 1], 0);
		p[0] = p[size - 1] = 1;
		assert_int_equal(munmap(p, size), 0);
		assert_false(is_mapped(p));
		assert_false(is_mapped(p + size - 1));
	}
}

// Addresses alone: a process may reserve more than there is memory, and open it piece by piece.
static void test_reserves_addresses(void **)
{
	size_t size = (size_t)1 << 36;
	uint8_t *p = huge_reserve(size, PROT_NONE);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % HUGE_PAGE, 0);
	uint8_t *piece = p + size - HUGE_PAGE;
	assert_int_equal(mprotect(piece, HUGE_PAGE, PROT_READ | PROT_WRITE), 0);
	huge_advise(piece, HUGE_PAGE);
	piece[HUGE_PAGE - 1] = 1;
	assert_int_equal(munmap(p, size), 0);
}

static void test_refuses_what_is_too_large(void **)
{
	errno = 0;
	assert_null(huge_reserve((size_t)1 << 60, PROT_NONE));
	assert_int_equal(errno, ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lies_on_the_boundary),
		cmocka_unit_test(test_reserves_addresses),
		cmocka_unit_test(test_refuses_what_is_too_large),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
