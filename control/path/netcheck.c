#include "control/path/netcheck.h"

#include <stdlib.h>

#include "control/path/netcheck_priv.h"
#include "control/path/stun.h"

enum {
	TXID_SET = 0, // u16: which set, so that an answer finds its question at once
	TXID_TRY = 2,
};

struct netcheck *netcheck_create(const struct netcheck_io *io)
{
	struct netcheck *const nc = calloc(1, sizeof(*nc));

	if (!nc)
		return NULL;
	nc->io = *io;
	nc->have_v4 = nc->have_v6 = nc->os_has_ipv6 = true;
	nc->want_full = true;
	nc->last.mapping_varies = nc->last.captive_portal = -1;
	netcheck_set_portmap(nc, -1, -1, -1);
	return nc;
}

void netcheck_destroy(struct netcheck *nc)
{
	if (!nc)
		return;
	arena_fini(&nc->map);
	free(nc);
}

void netcheck_set_host(struct netcheck *nc, bool have_v4, bool have_v6, bool os_has_ipv6)
{
	nc->have_v4 = have_v4;
	nc->have_v6 = have_v6;
	nc->os_has_ipv6 = os_has_ipv6;
}

void netcheck_set_portmap(struct netcheck *nc, int8_t upnp, int8_t pmp, int8_t pcp)
{
	nc->upnp = nc->last.upnp = upnp;
	nc->pmp = nc->last.pmp = pmp;
	nc->pcp = nc->last.pcp = pcp;
}

void netcheck_home_heard(struct netcheck *nc, uint64_t heard_ns)
{
	nc->home_heard_ns = heard_ns;
}

bool netcheck_running(const struct netcheck *nc)
{
	return nc->phase != NC_IDLE;
}

const struct netcheck_report *netcheck_last(const struct netcheck *nc)
{
	return &nc->last;
}

// -- probes ---------------------------------------------------------------------------------------

static void end_set(struct netcheck *nc, struct nc_set *set)
{
	if (set->over)
		return;
	set->over = true;
	nc->open_sets--;
}

// Would an answer say anything new?
static bool would_help(const struct netcheck *nc, const struct nc_set *set)
{
	return !nc_best_way(&set->region->latency) ||
	       (set->v6 ? !nc->report.ipv6 : nc->report.mapping_varies < 0);
}

static void send_probe(
	struct netcheck *nc, struct nc_set *set, const struct ip_addr *to, uint64_t now_ns)
{
	const uint16_t index = (uint16_t)(set - nc->sets);
	struct nc_probe *const probe = &set->probe[set->next];
	bool *const can_send = set->v6 ? &nc->report.ipv6_can_send : &nc->report.ipv4_can_send;
	struct stun_request request;

	*probe = (struct nc_probe){
		.to = {.addr = *to, .port = (uint16_t)set->node[set->next]->node->stun_port},
		.sent_ns = now_ns,
		.waiting = true,
	};
	nc->io.random(nc->io.arg, probe->txid, sizeof(probe->txid)); // 72 bits of it stay
	memcpy(&probe->txid[TXID_SET], &index, sizeof(index));
	probe->txid[TXID_TRY] = set->next;
	stun_request(probe->txid, &request);
	set->next++;
	if (nc->io.send(nc->io.arg, &probe->to, (const uint8_t *)&request, sizeof(request))) {
		nc->again |= !*can_send; // which ends sets that cannot, see run_set
		*can_send = set->sent = true;
		return;
	}
	probe->waiting = false;
	set->failed = true;
}

// Send what is due of a set.
static void run_set(struct netcheck *nc, struct nc_set *set, uint64_t now_ns)
{
	// While other datagrams leave, a failure is none of a network that comes up just now.
	if (set->failed && (nc->report.ipv4_can_send || nc->report.ipv6_can_send))
		set->next = set->n;
	while (!set->over && set->next < set->n) {
		struct ip_addr to;

		if (!set->wants_name && now_ns < set->base_ns + set->delay_ns[set->next])
			return;
		if (!would_help(nc, set)) {
			end_set(nc, set);
			return;
		}
		const enum nc_address found =
			nc_node_address(nc, set->node[set->next], set->v6, now_ns, &to);
		const bool waited = set->wants_name;
		set->wants_name = found == NC_NAME_WANTED;
		if (set->wants_name)
			return;
		if (waited) // the retries count from now, or all would go at once
			set->base_ns = now_ns - set->delay_ns[set->next];
		if (found == NC_ADDRESS) {
			send_probe(nc, set, &to, now_ns);
		} else if (++set->next < set->n) { // its turn comes at once
			set->base_ns = now_ns - set->delay_ns[set->next];
		}
	}
	if (!set->over && !set->sent)
		end_set(nc, set); // there is nothing to wait for
}

static void count_seen(struct netcheck *nc, const struct endpoint *addr)
{
	for (unsigned i = 0; i < nc->n_seen; i++)
		if (endpoint_equal(&nc->seen[i].addr, addr)) {
			nc->seen[i].count++;
			return;
		}
	if (nc->n_seen < NETCHECK_SETS_MAX)
		nc->seen[nc->n_seen++] = (struct nc_seen){*addr, 1};
}

// Agreement says something only if two different servers were asked.
static void compare_mappings(
	struct netcheck *nc, const struct endpoint *server, const struct endpoint *mapped)
{
	if (nc->first_v4.port == 0) {
		nc->first_v4 = *mapped;
		nc->first_v4_server = *server;
	} else if (!endpoint_equal(&nc->first_v4, mapped)) {
		nc->report.mapping_varies = 1;
	} else if (nc->report.mapping_varies < 0 && !endpoint_equal(&nc->first_v4_server, server)) {
		nc->report.mapping_varies = 0;
	}
}

static uint64_t slowest(const struct netcheck *nc)
{
	uint64_t max = 0;

	for (unsigned i = 0; i < nc->n_regions; i++) {
		const uint64_t ns = nc_best_way(&nc->regions[i].latency);

		max = ns > max ? ns : max;
	}
	return max;
}

static void measured(struct netcheck *nc, struct nc_region *region, uint64_t *latency_ns,
	uint64_t ns, uint64_t now_ns)
{
	const bool first = !nc_best_way(&region->latency);

	nc_lower(latency_ns, ns);
	if (!first || ++nc->measured_regions != NETCHECK_ENOUGH_REGIONS)
		return;
	nc->stop_ns = now_ns + slowest(nc) * (nc->report.full ? 2 : 1);
}

static void answered(struct netcheck *nc, struct nc_set *set, const struct nc_probe *probe,
	const struct endpoint *mapped, uint64_t now_ns)
{
	struct netcheck_latency *const latency = &set->region->latency;
	const bool v6 = mapped->addr.family == IP_V6; // as seen there: NAT64 may lie between

	nc->report.udp = true;
	measured(nc, set->region, v6 ? &latency->v6_ns : &latency->v4_ns, now_ns - probe->sent_ns,
		now_ns);
	if (v6) {
		nc->report.ipv6 = true;
		if (nc->report.global_v6.port == 0)
			nc->report.global_v6 = *mapped;
	} else {
		nc->report.ipv4 = true;
		if (nc->report.global_v4.port == 0)
			nc->report.global_v4 = *mapped;
		compare_mappings(nc, &probe->to, mapped);
	}
	count_seen(nc, mapped);
	end_set(nc, set);
}

static struct nc_set *asked_set(struct netcheck *nc, const uint8_t txid[static STUN_TXID_LEN])
{
	uint16_t index;

	memcpy(&index, &txid[TXID_SET], sizeof(index));
	if (index >= nc->n_sets || txid[TXID_TRY] >= nc->sets[index].next)
		return NULL;
	return &nc->sets[index];
}

// No server sees a host under these.
static bool nobodys_address(const struct ip_addr *a)
{
	static const uint8_t zero[16];

	if (a->family == IP_V4)
		return a->bytes[0] == 0 || a->bytes[0] >= 224;
	return a->bytes[0] == 0xff || memcmp(a->bytes, zero, sizeof(zero)) == 0;
}

bool netcheck_input(struct netcheck *nc, const struct endpoint *from, const uint8_t *packet,
	size_t len, uint64_t now_ns)
{
	uint8_t txid[STUN_TXID_LEN];
	struct endpoint mapped;

	if (nc->phase != NC_STUN || stun_response_parse(packet, len, txid, &mapped))
		return false;
	struct nc_set *const set = asked_set(nc, txid);
	if (!set)
		return false;
	struct nc_probe *const probe = &set->probe[txid[TXID_TRY]];
	if (!probe->waiting || memcmp(txid, probe->txid, sizeof(txid)) != 0 ||
		!endpoint_equal(&probe->to, from) || nobodys_address(&mapped.addr))
		return false;
	probe->waiting = false;
	answered(nc, set, probe, &mapped, now_ns > probe->sent_ns ? now_ns : probe->sent_ns);
	netcheck_tick(nc, now_ns);
	return true;
}

// -- the run --------------------------------------------------------------------------------------

static uint64_t stun_end_ns(const struct netcheck *nc)
{
	const uint64_t end = nc->start_ns + NETCHECK_STUN_TIMEOUT_MS * NETCHECK_MS;

	return nc->stop_ns < end ? nc->stop_ns : end;
}

static uint64_t report_end_ns(const struct netcheck *nc)
{
	return nc->start_ns + NETCHECK_REPORT_TIMEOUT_MS * NETCHECK_MS;
}

static void run_stun(struct netcheck *nc, uint64_t now_ns)
{
	for (unsigned i = 0; i < nc->n_sets; i++)
		run_set(nc, &nc->sets[i], now_ns);
	if (nc->open_sets > 0 && now_ns < stun_end_ns(nc))
		return;
	if (!nc->report.udp) {
		nc_https_begin(nc, now_ns);
		return;
	}
	// UDP goes: there is no portal to wait for.
	nc->phase = NC_OVER;
}

static void step(struct netcheck *nc, uint64_t now_ns)
{
	if (nc->phase == NC_STUN)
		run_stun(nc, now_ns);
	if (nc->phase != NC_OVER)
		nc_captive_run(nc, now_ns);
	if (nc->phase == NC_HTTPS)
		nc_https_run(nc, now_ns);
	if (nc->phase == NC_WAIT &&
		(nc->captive == NC_CAPTIVE_OFF || nc->captive == NC_CAPTIVE_KNOWN))
		nc->phase = NC_OVER;
	if (now_ns >= report_end_ns(nc))
		nc->phase = NC_OVER;
}

static int seen_order(const void *a, const void *b)
{
	const struct nc_seen *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return memcmp(&x->addr, &y->addr, sizeof(x->addr));
}

static void add_global(struct netcheck *nc, const struct endpoint *addr)
{
	struct netcheck_report *const r = &nc->report;

	for (unsigned i = 0; i < nc->n_seen && r->n_globals < NETCHECK_GLOBALS_MAX; i++)
		if (endpoint_equal(&nc->seen[i].addr, addr)) {
			r->globals[r->n_globals] = *addr;
			r->global_seen[r->n_globals++] = nc->seen[i].count;
		}
}

// The best of both families first, then by how often they were seen.
static void report_globals(struct netcheck *nc)
{
	struct netcheck_report *const r = &nc->report;

	qsort(nc->seen, nc->n_seen, sizeof(nc->seen[0]), seen_order);
	add_global(nc, &r->global_v4);
	add_global(nc, &r->global_v6);
	for (unsigned i = 0; i < nc->n_seen; i++)
		if (!endpoint_equal(&nc->seen[i].addr, &r->global_v4) &&
			!endpoint_equal(&nc->seen[i].addr, &r->global_v6))
			add_global(nc, &nc->seen[i].addr);
}

static void finish(struct netcheck *nc, uint64_t now_ns)
{
	struct netcheck_report *const r = &nc->report;

	for (unsigned i = 0; i < nc->n_regions; i++)
		if (nc_best_way(&nc->regions[i].latency))
			r->latency[r->n_latency++] = nc->regions[i].latency;
	report_globals(nc);
	r->unix_ns = nc->start_unix_ns + (now_ns - nc->start_ns);
	r->os_has_ipv6 = nc->os_has_ipv6;
	r->upnp = nc->upnp;
	r->pmp = nc->pmp;
	r->pcp = nc->pcp;
	nc_choose_home(nc, now_ns);
	if (r->preferred != nc->last.preferred)
		nc->home_heard_ns = 0;
	nc->last = *r;
	nc->phase = NC_IDLE;
	nc->io.done(nc->io.arg, &nc->last);
}

void netcheck_tick(struct netcheck *nc, uint64_t now_ns)
{
	if (nc->busy) {
		nc->again = true;
		return;
	}
	if (nc->phase == NC_IDLE)
		return;
	now_ns = now_ns > nc->start_ns ? now_ns : nc->start_ns;
	nc->busy = true;
	do {
		nc->again = false;
		step(nc, now_ns);
	} while (nc->again && nc->phase != NC_IDLE && nc->phase != NC_OVER);
	nc->busy = false;
	if (nc->phase == NC_OVER)
		finish(nc, now_ns);
}

static void reset_run(struct netcheck *nc)
{
	nc->report = (struct netcheck_report){.mapping_varies = -1, .captive_portal = -1};
	nc->first_v4 = nc->first_v4_server = (struct endpoint){0};
	nc->stop_ns = UINT64_MAX;
	nc->open_sets = nc->measured_regions = nc->https_pending = nc->icmp_pending = 0;
	nc->captive_pending = nc->n_seen = 0;
	for (unsigned i = 0; i < nc->n_regions; i++) {
		struct nc_region *const r = &nc->regions[i];

		r->latency = (struct netcheck_latency){.region = r->id};
		r->https_wanted = r->https_asked = r->icmp_asked = false;
		r->https_node = 0;
	}
	for (unsigned i = 0; i < nc->n_names; i++)
		nc->names[i].asked = false;
}

static bool want_full(const struct netcheck *nc, uint64_t now_ns)
{
	return nc->want_full ||
	       now_ns - nc->last_full_ns > NETCHECK_FULL_INTERVAL_MS * NETCHECK_MS ||
	       (!nc->last.udp && nc->last.captive_portal == 1);
}

void netcheck_start(
	struct netcheck *nc, bool force_full, bool only_tcp, uint64_t now_ns, uint64_t unix_ns)
{
	if (nc->phase != NC_IDLE || nc->busy)
		return;
	reset_run(nc);
	nc->start_ns = now_ns;
	nc->start_unix_ns = unix_ns;
	nc->only_tcp = only_tcp;
	nc->report.full = force_full || want_full(nc, now_ns);
	if (nc->report.full) {
		nc->last_full_ns = now_ns;
		nc->want_full = false;
	}
	nc->captive = nc->report.full ? NC_CAPTIVE_LATER : NC_CAPTIVE_OFF;
	nc->captive_at_ns = now_ns + NETCHECK_CAPTIVE_DELAY_MS * NETCHECK_MS;
	nc_plan(nc);
	nc->phase = NC_STUN;
	netcheck_tick(nc, now_ns);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t netcheck_next_ns(const struct netcheck *nc)
{
	uint64_t next = report_end_ns(nc);

	if (nc->phase == NC_IDLE)
		return UINT64_MAX;
	if (nc->phase == NC_STUN)
		next = earlier(next, stun_end_ns(nc));
	for (unsigned i = 0; nc->phase == NC_STUN && i < nc->n_sets; i++) {
		const struct nc_set *const set = &nc->sets[i];

		if (!set->over && set->next < set->n && !set->wants_name)
			next = earlier(next, set->base_ns + set->delay_ns[set->next]);
	}
	if (nc->phase == NC_HTTPS && nc->icmp_pending && nc->https_pending == 0)
		next = earlier(next, nc->icmp_end_ns);
	if (nc->captive == NC_CAPTIVE_LATER || nc->captive == NC_CAPTIVE_ASKED)
		next = earlier(next, nc->captive_at_ns);
	return next;
}
