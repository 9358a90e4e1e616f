// What json_plain takes reads like what jansson makes of it; the rest it leaves alone.
#include "control/coord/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *const text = exact_copy(data, size);
	json_t *const plain = json_plain((struct slice){text, size});
	json_t *const all = json_loadb(text, size, JSON_DECODE_ANY, NULL);

	check(!plain || json_equal(plain, all));
	if (plain && json_is_object(plain)) { // also in the order of its members
		void *a = json_object_iter(plain), *b = json_object_iter(all);
		for (; a && b;
			a = json_object_iter_next(plain, a), b = json_object_iter_next(all, b))
			check(!strcmp(json_object_iter_key(a), json_object_iter_key(b)));
		check(!a && !b);
	}
	json_decref(plain);
	json_decref(all);
	free(text);
	return 0;
}
