// An app connector's memory: answers of resolvers as anybody may send them, and a state from the
// disk. Whatever comes, what is to be advertised may be, stays within the bounds, and survives a
// restart.
#include "control/tailnet/appc.h"
#include "control/coord/json.h"
#include "tests/fuzz/fuzz.h"

static const char *const domains[] = {"example.com", "*.example.com", "*.test", "a.b"};
static const char *const names[] = {"example.com", "www.example.com", "x.test", "a.b", "other"};

static struct ip_prefix routes[APPC_ROUTES_MAX];

static bool is_own(void *, const struct ip_addr *a)
{
	return a->bytes[3] == 1;
}

static void check_appc(const struct appc *a)
{
	const uint32_t n = appc_routes(a, routes);

	check(appc_learned(a) <= APPC_LEARNED_MAX && n <= APPC_ROUTES_MAX);
	for (uint32_t i = 0; i < n; i++)
		check(appc_may_advertise(&routes[i]));
}

static void check_restart(const struct appc *a)
{
	struct appc *const again = appc_create();
	json_t *const saved = appc_json(a);

	check(appc_restore(again, saved) == 0);
	check(appc_learned(again) == appc_learned(a));
	json_decref(saved);
	appc_destroy(again);
}

// Messages, each behind the question's number and its length.
static void answers(struct appc *a, const uint8_t *data, size_t size)
{
	const struct appc_spec spec = {.domains = domains, .n_domains = 4};

	appc_configure(a, &spec);
	while (size >= 3) {
		size_t len = (size_t)data[1] << 8 | data[2];
		len = len < size - 3 ? len : size - 3;
		uint8_t *const exact = exact_copy(data + 3, len);
		const uint32_t before = appc_learned(a);
		const bool more = appc_observe(a, names[data[0] % 5], exact, len, is_own, NULL);
		check(more == (appc_learned(a) != before));
		free(exact);
		data += 3 + len;
		size -= 3 + len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	struct appc *const a = appc_create();
	if (*data % 2) {
		answers(a, data + 1, size - 1);
	} else {
		json_t *const o = json_piece((struct slice){(const char *)data + 1, size - 1});
		if (appc_restore(a, o) != 0)
			check(appc_learned(a) == 0);
		json_decref(o);
	}
	check_appc(a);
	check_restart(a);
	appc_destroy(a);
	return 0;
}
