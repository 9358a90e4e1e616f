// Datagrams to a netcheck that has asked: each is two bytes, where it comes from (region; 0x80:
// IPv6, 0x40: wrong port) and its length, then so many bytes. Whatever comes, there is one report,
// in time, of regions that exist, and it can be written.
#include "control/path/netcheck.h"
#include "tests/fuzz/fuzz.h"

enum { REGIONS = 4 };

#define MS UINT64_C(1000000)

static unsigned reports;

static bool send_it(void *, const struct endpoint *, const uint8_t *, size_t)
{
	return true;
}

static void resolve(void *, const char *)
{
}

static void https(void *, uint32_t, const struct nm_derp_node *)
{
}

static void captive(void *, const struct nm_derp_node *)
{
}

// So that the fuzzer can know the transaction IDs.
static void no_random(void *, void *out, size_t len)
{
	memset(out, 0x5a, len);
}

static void done(void *, const struct netcheck_report *)
{
	reports++;
}

static void set_map(struct netcheck *nc)
{
	static struct nm_derp_node node[REGIONS];
	static struct nm_derp_region region[REGIONS];
	static const char *const v4[REGIONS] = {"10.0.0.0", "10.0.0.1", "10.0.0.2", NULL};
	static const char *const v6[REGIONS] = {"fd00::", "fd00::1", "none", NULL};

	for (unsigned i = 0; i < REGIONS; i++) {
		node[i] = (struct nm_derp_node){.name = "n",
			.host = "derp.example.com",
			.ipv4 = v4[i],
			.ipv6 = v6[i],
			.stun_port = 3478,
			.derp_port = 443};
		region[i] = (struct nm_derp_region){
			.id = i + 1, .code = "f", .name = "F", .nodes = &node[i], .n_nodes = 1};
	}
	netcheck_set_map(nc, &(struct nm_derp_map){.regions = region, .n_regions = REGIONS});
}

static size_t one(struct netcheck *nc, const uint8_t *data, size_t size, uint64_t now_ns)
{
	const size_t len = data[1] < size - 2 ? data[1] : size - 2;
	uint8_t addr[16] = {0xfd}, *const copy = exact_copy(data + 2, len);
	struct endpoint from = {.port = data[0] & 0x40 ? 53 : 3478};

	if (data[0] & 0x80) {
		addr[15] = data[0] % REGIONS;
		from.addr = ip_addr_v6(addr);
	} else {
		addr[0] = 10;
		addr[3] = data[0] % REGIONS;
		from.addr = ip_addr_v4(addr);
	}
	if (netcheck_input(nc, &from, copy, len, now_ns) && from.port == 53)
		abort();
	free(copy);
	return 2 + len;
}

static void check_report(const struct netcheck_report *r)
{
	struct endpoint globals[NETCHECK_GLOBALS_MAX];
	char *const text = netcheck_text(r, &(struct nm_derp_map){0}, true);
	char *const json = netcheck_json(r, true);

	if (reports != 1 || !text || !json || r->n_latency > REGIONS)
		abort();
	if (netcheck_globals(r, globals, NETCHECK_GLOBALS_MAX) > r->n_globals)
		abort();
	if (r->udp != (r->n_globals > 0) || r->udp != (r->preferred > 0))
		abort();
	for (uint32_t i = 0; i < r->n_latency; i++)
		if (!netcheck_region_ns(r, r->latency[i].region))
			abort();
	free(text);
	free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct netcheck_io io = {
		.send = send_it,
		.resolve = resolve,
		.https = https,
		.captive = captive,
		.random = no_random,
		.done = done,
	};
	struct netcheck *const nc = netcheck_create(&io);
	uint64_t now_ns = MS;

	reports = 0;
	set_map(nc);
	netcheck_start(nc, false, false, now_ns, 1);
	while (size > 2) {
		const size_t used = one(nc, data, size, now_ns);

		data += used;
		size -= used;
		now_ns += 20 * MS;
		netcheck_tick(nc, now_ns);
	}
	while (netcheck_running(nc)) {
		const uint64_t next = netcheck_next_ns(nc);

		if (next > MS + (uint64_t)NETCHECK_REPORT_TIMEOUT_MS * MS)
			abort();
		now_ns = next > now_ns ? next : now_ns;
		netcheck_tick(nc, now_ns);
	}
	check_report(netcheck_last(nc));
	netcheck_destroy(nc);
	return 0;
}
