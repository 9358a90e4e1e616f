#include "dataplane/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// after the above, as cmocka asks
#include <cmocka.h>

#include "tests/unit/sanitized.h"

enum { BLOCKS = 32 << 10, BLOCK = 1000 };

// Many small blocks go, but the last one stays, which keeps the heap from shrinking by itself.
static void *leave_a_hole(void)
{
	static void *blocks[BLOCKS];
	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(BLOCK);
		assert_non_null(blocks[i]);
		memset(blocks[i], 1, BLOCK);
	}
	for (unsigned i = 0; i < BLOCKS - 1; i++)
		free(blocks[i]);
	return blocks[BLOCKS - 1];
}

static void test_free_memory_goes_back(void **)
{
	if (SANITIZED)
		skip();
	heap_init();
	heap_trim();
	for (unsigned i = 0; i < 3; i++) {
		void *stays = leave_a_hole();
		assert_true(heap_trim() > BLOCKS * BLOCK / 2);
		assert_int_equal(heap_trim(), 0);
		free(stays);
	}
}

static void test_small_growth_stays(void **)
{
	heap_trim();
	void *small = malloc(1 << 20);
	memset(small, 1, 1 << 20);
	assert_int_equal(heap_trim(), 0);
	free(small);
	assert_int_equal(heap_trim(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_free_memory_goes_back),
		cmocka_unit_test(test_small_growth_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
