// Map responses: the framing of the stream, and messages as a server may send them. Input is
// several messages, one per line, to the same netmap; what it says of itself has to hold after
// each.
#include "control/coord/mapstream.h"
#include "control/coord/netmap.h"
#include "tests/fuzz/fuzz.h"

static const char first[] =
	"{\"Node\":{\"ID\":1,\"Key\":\"nodekey:"
	"1111111111111111111111111111111111111111111111111111111111111111\","
	"\"Addresses\":[\"100.64.0.1/32\"]},\"Peers\":[{\"ID\":2,\"Key\":\"nodekey:"
	"2222222222222222222222222222222222222222222222222222222222222222\",\"DiscoKey\":"
	"\"discokey:"
	"2222222222222222222222222222222222222222222222222222222222222222\","
	"\"Addresses\":[\"100.64.0.2/32\"]}]}";

static void check_netmap(const struct netmap *nm)
{
	size_t conflicts = 0;

	check(!nm->ready || nm->self);
	for (size_t i = 0; i < nm->n_peers; i++) {
		const struct nm_peer *const p = nm->peers[i];
		check(p->node && netmap_peer(nm, p->node->id) == p && p->place == i);
		conflicts += p->unusable >= NM_OWN_KEY;
		if (p->unusable != NM_USABLE)
			continue;
		check(netmap_peer_by_key(nm, &p->node->key) == p);
		check(memcmp(&p->node->key, &nm->own_key, KEY_LEN));
		for (uint32_t a = 0; a < p->node->n_addresses; a++)
			check(netmap_peer_by_addr(nm, &p->node->addresses[a].addr) == p);
	}
	check(conflicts == nm->n_conflicts);
}

// What our own capabilities say: within the bounds, whatever is written there.
static void check_caps(const struct netmap *nm)
{
	struct arena arena = {0};
	struct nm_app *apps;
	struct nm_service *services;
	uint64_t skipped = 0;
	const uint32_t n_apps = nm_apps_read(&arena, nm->self, &apps, &skipped),
		       n = nm_services_read(&arena, nm->self, &services, &skipped);

	check(n_apps <= NM_APPS_MAX && n <= NM_SERVICES_MAX);
	for (uint32_t i = 0; i < n_apps; i++)
		check(apps[i].n_domains <= NM_APP_LIST_MAX && apps[i].name);
	for (uint32_t i = 0; i < n; i++) {
		check(nm_service_name_valid(services[i].name));
		check(services[i].n_addrs <= NM_SERVICE_ADDRS_MAX);
		for (uint32_t j = 0; j < i; j++)
			check(strcmp(services[i].name, services[j].name) != 0);
	}
	arena_fini(&arena);
}

static int message(void *arg, const char *text, size_t len)
{
	struct netmap *nm = arg;
	struct netmap_delta delta;

	if (netmap_apply(nm, text, len, 1800000000, &delta))
		check(!delta.n_peers && nm->error[0]);
	check_netmap(nm);
	check_caps(nm);
	return 0;
}

// What has been written out is taken again.
static void check_dump(const struct netmap *nm)
{
	struct netmap *const copy = netmap_create(&nm->own_key);
	struct netmap_delta delta;
	size_t len = 0;
	char *const text = netmap_dump(nm, &len);

	if (text && !netmap_apply(copy, text, len, 1800000000, &delta))
		check(copy->n_peers == nm->n_peers);
	free(text);
	netmap_destroy(copy);
}

static void try_messages(struct netmap *nm, const char *text, size_t size)
{
	while (size) {
		const char *const end = memchr(text, '\n', size);
		const size_t len = end ? (size_t)(end - text) : size;
		char *const exact = exact_copy(text, len);
		message(nm, exact, len);
		free(exact);
		text += len + (end != NULL);
		size -= len + (end != NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct key own;

	if (!size)
		return 0;
	memset(own.bytes, 0x11, sizeof(own));
	struct netmap *const nm = netmap_create(&own);
	check(!message(nm, first, sizeof(first) - 1));
	check(nm->n_peers == 1 && nm->peers[0]->unusable == NM_USABLE);
	if (*data % 4 == 0) {
		struct mapstream *const m = mapstream_create(message, nm);
		const int error = mapstream_feed(m, data + 1, size - 1);
		check(!error || !mapstream_complete(m));
		mapstream_destroy(m);
	} else {
		if (*data % 4 == 1)
			netmap_stream_start(nm);
		try_messages(nm, (const char *)data + 1, size - 1);
		struct netmap_delta delta;
		netmap_expire(nm, 2000000000, &delta);
		check_netmap(nm);
		check_dump(nm);
	}
	netmap_destroy(nm);
	return 0;
}
