// Routers that say too big: how they are asked, which of them are believed of a static peer, for
// how long, and what everybody else's word changes: nothing.
#include "tests/unit/sessions.h"

#include "dataplane/wire/csum.h"
#include "dataplane/wire/ledger.h"

enum { LINK = 1440, MTU_AT = 6, QUOTE = 16 };

struct error {
	uint8_t bytes[128];
	size_t len;
	uint8_t *icmp, *quote, *udp, *wg;
};

static unsigned n_hinted;
static struct endpoint hinted;
static uint32_t hinted_mtu;

static bool path_of_link(void *arg, const struct endpoint *to, struct peer_path *path)
{
	bool found = end_path(arg, to, path);
	path->mtu = LINK;
	return found;
}

static void on_hint(void *, const struct endpoint *to, uint32_t mtu)
{
	n_hinted++;
	hinted = *to;
	hinted_mtu = mtu;
}

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void ip4(uint8_t *l3, const struct ip_addr *from, const struct ip_addr *to, uint8_t proto,
	uint16_t total)
{
	l3[0] = 0x45;
	put16(l3 + 2, total);
	l3[8] = 64;
	l3[9] = proto;
	memcpy(l3 + 12, from->bytes, 4);
	memcpy(l3 + 16, to->bytes, 4);
}

static void finish(struct error *e)
{
	uint32_t len = (uint32_t)(e->len - IP4_HDR_LEN);
	memset(e->icmp + 2, 0, 2);
	uint16_t csum = csum_finish(csum_add(e->icmp, len, 0));
	memcpy(e->icmp + 2, &csum, 2);
	csum_ip4_hdr_set(e->bytes, IP4_HDR_LEN);
}

// About a full datagram of a's session with b.
static void error_about(struct error *e, const struct end *a, uint16_t mtu)
{
	const struct peer_path *path = atomic_load(&a->s->peer->path);
	const struct ip_addr router = end_at(77, 0).addr;
	struct wg_data h = {.type = wg_type_field(WG_TYPE_DATA),
		.receiver = rte_cpu_to_le_32(a->s->current->remote_index)};
	*e = (struct error){.len = IP4_HDR_LEN + 8 + IP4_HDR_LEN + UDP_HDR_LEN + QUOTE};
	e->icmp = e->bytes + IP4_HDR_LEN;
	e->quote = e->icmp + 8;
	e->udp = e->quote + IP4_HDR_LEN;
	e->wg = e->udp + UDP_HDR_LEN;
	ip4(e->bytes, &router, &path->local, IPPROTO_ICMP, (uint16_t)e->len);
	ip4(e->quote, &path->local, &a->s->endpoint.addr, IPPROTO_UDP, 1500);
	e->quote[6] = 0x40; // DF
	e->icmp[0] = 3;
	e->icmp[1] = 4;
	put16(e->icmp + MTU_AT, mtu);
	put16(e->udp, GW_PORT);
	put16(e->udp + 2, a->s->endpoint.port);
	memcpy(e->wg, &h, sizeof(h));
	finish(e);
}

static uint16_t mtu_of(const struct end *e)
{
	return atomic_load(&e->s->peer->path)->mtu;
}

static int open_shaken(void **state)
{
	net_open_peers(state);
	struct net *n = *state;
	n->a.w->env.resolve_path = path_of_link;
	n->a.w->env.too_big = on_hint;
	n_hinted = 0;
	net_shake(n, &n->a, &n->b);
	session_update_path(n->a.s);
	assert_int_equal(mtu_of(&n->a), LINK);
	return 0;
}

static void tell(struct end *e, const struct error *error)
{
	wg_too_big(e->w, error->bytes, error->len);
}

static void a_router_is_believed(void **state)
{
	struct net *n = *state;
	struct error e;
	struct wg_peer_info info;
	error_about(&e, &n->a, 1400);
	tell(&n->a, &e);
	end_counted_only(&n->a, WG_COUNTER_TOO_BIG, 1);
	assert_int_equal(mtu_of(&n->a), 1400 - 60);
	assert_int_equal(wg_peer_info(n->a.w, wg_public_key(n->b.w), &info), 0);
	assert_int_equal(info.told.mtu, 1340);
	assert_true(info.told.unix_ns > 0);
	assert_int_equal(n_hinted, 0);
	// Less counts, more does not.
	tell(&n->a, &e);
	end_counted_only(&n->a, WG_COUNTER_TOO_BIG, 1);
	error_about(&e, &n->a, 1450);
	tell(&n->a, &e);
	end_counted_only(&n->a, WG_COUNTER_TOO_BIG_FALSE, 1);
	assert_int_equal(mtu_of(&n->a), 1340);
	error_about(&e, &n->a, 1300);
	tell(&n->a, &e);
	assert_int_equal(mtu_of(&n->a), 1240);
	// IPv6 inside needs its 1280, cut or not.
	assert_int_equal(atomic_load(&n->a.s->peer->path)->least6, LEDGER_MTU_MIN6);
}

static void it_is_forgotten(void **state)
{
	struct net *n = *state;
	struct error e;
	error_about(&e, &n->a, 1400);
	tell(&n->a, &e);
	net_wait(n, 19 * 1000);
	assert_int_equal(mtu_of(&n->a), 1340);
	tell(&n->a, &e); // it is said again: for as long anew
	net_wait(n, 19 * 1000);
	assert_int_equal(mtu_of(&n->a), 1340);
	net_wait(n, 2 * 1000);
	assert_int_equal(mtu_of(&n->a), LINK);
	assert_int_equal(atomic_load(&n->a.s->peer->path)->least6, 0);
}

static void another_endpoint_is_another_way(void **state)
{
	struct net *n = *state;
	struct error e;
	struct endpoint other = end_at(2, 4242);
	struct ip_addr any = {0};
	error_about(&e, &n->a, 1400);
	tell(&n->a, &e);
	session_set_endpoint(n->a.s, &other, &any);
	assert_int_equal(mtu_of(&n->a), LINK);
	end_forget_counts(&n->a);
	tell(&n->a, &e); // about the one before
	assert_int_equal(mtu_of(&n->a), LINK);
}

// value: at offset at of that part, the checksums right again.
static const struct {
	const char *name;
	char where; // i ICMP, q quote, u UDP, w WireGuard
	unsigned at, n;
	uint8_t value[4];
	enum wg_counter want;
	bool hint; // of a datagram of ours that is of no such session: a size to try
} refusals[] = {
	{"from another address", 'q', 15, 1, {9}, WG_COUNTER_TOO_BIG, true},
	{"to another address", 'q', 19, 1, {9}, WG_COUNTER_TOO_BIG, true},
	{"to another port", 'u', 2, 2, {9, 9}, WG_COUNTER_TOO_BIG, true},
	{"another receiver", 'w', 4, 4, {1, 2, 3, 4}, WG_COUNTER_TOO_BIG, true},
	{"a handshake", 'w', 0, 1, {WG_TYPE_INITIATION}, WG_COUNTER_TOO_BIG, true},
	{"reserved bytes", 'w', 3, 1, {1}, WG_COUNTER_TOO_BIG, true},
	{"from another port", 'u', 0, 2, {9, 9}, WG_COUNTER_TOO_BIG_UNASKED, false},
	{"without DF", 'q', 6, 1, {0}, WG_COUNTER_TOO_BIG_UNASKED, false},
	{"below 576", 'i', MTU_AT, 2, {0x02, 0x3f}, WG_COUNTER_TOO_BIG_FALSE, false},
	{"68", 'i', MTU_AT, 2, {0, 68}, WG_COUNTER_TOO_BIG_FALSE, false},
	{"as large as the datagram", 'i', MTU_AT, 2, {0x05, 0xdc}, WG_COUNTER_TOO_BIG_FALSE, false},
	{"larger", 'i', MTU_AT, 2, {0x23, 0x28}, WG_COUNTER_TOO_BIG_FALSE, false},
	{"about a small one", 'q', 2, 2, {0, 100}, WG_COUNTER_TOO_BIG_FALSE, false},
	{"nothing said", 'i', MTU_AT, 2, {0, 0}, WG_COUNTER_TOO_BIG_MALFORMED, false},
	{"about TCP", 'q', 9, 1, {IPPROTO_TCP}, WG_COUNTER_TOO_BIG_MALFORMED, false},
	{"another type", 'i', 0, 1, {11}, WG_COUNTER_TOO_BIG_MALFORMED, false},
};

static void others_are_not(void **state)
{
	struct net *n = *state;
	for (unsigned i = 0; i < RTE_DIM(refusals); i++) {
		struct error e;
		error_about(&e, &n->a, 1400);
		uint8_t *where = refusals[i].where == 'i'   ? e.icmp
				 : refusals[i].where == 'q' ? e.quote
				 : refusals[i].where == 'u' ? e.udp
							    : e.wg;
		memcpy(where + refusals[i].at, refusals[i].value, refusals[i].n);
		finish(&e);
		n_hinted = 0;
		tell(&n->a, &e);
		print_message("%s\n", refusals[i].name);
		end_counted_only(&n->a, refusals[i].want, 1);
		assert_int_equal(mtu_of(&n->a), LINK);
		assert_int_equal(n_hinted, refusals[i].hint);
	}
	// A quote that ends before the receiver; and a damaged one.
	struct error e;
	error_about(&e, &n->a, 1400);
	e.len -= QUOTE - 7;
	put16(e.bytes + 2, (uint16_t)e.len);
	finish(&e);
	tell(&n->a, &e);
	assert_int_equal(mtu_of(&n->a), LINK);
	error_about(&e, &n->a, 1400);
	e.wg[4] ^= 1;
	tell(&n->a, &e);
	assert_int_equal(mtu_of(&n->a), LINK);
}

// Its paths are probed: what is said is a size to try.
static void a_mesh_is_told(void **state)
{
	struct net *n = *state;
	struct error e;
	n->a.s->meshed = true;
	error_about(&e, &n->a, 1400);
	tell(&n->a, &e);
	end_counted_only(&n->a, WG_COUNTER_TOO_BIG, 1);
	assert_int_equal(mtu_of(&n->a), LINK);
	assert_int_equal(n_hinted, 1);
	assert_int_equal(hinted_mtu, 1400);
	assert_true(endpoint_equal(&hinted, &n->a.s->endpoint));
	n->a.w->env.too_big = NULL;
	tell(&n->a, &e);
	end_counted_only(&n->a, WG_COUNTER_TOO_BIG_UNASKED, 1);
	n->a.s->meshed = false;
}

static void a_flood_is_not_read(void **state)
{
	struct net *n = *state;
	struct error e;
	error_about(&e, &n->a, 1400);
	e.udp[1] ^= 1;
	finish(&e);
	for (unsigned i = 0; i < 1000; i++)
		tell(&n->a, &e);
	uint64_t read = end_counted(&n->a, WG_COUNTER_TOO_BIG_UNASKED);
	assert_in_range(read, 40, 60);
	end_counted_only(&n->a, WG_COUNTER_TOO_BIG_LIMITED, 1000 - read);
	net_wait(n, 2000);
	error_about(&e, &n->a, 1400);
	tell(&n->a, &e);
	assert_int_equal(mtu_of(&n->a), 1340);
}

static struct {
	unsigned n;
	size_t len;
	struct wg_data h;
	struct endpoint to;
	bool zero; // all behind the header is
} sent;

static bool on_send(void *, const struct peer *, const struct ip_addr *, const struct endpoint *to,
	const uint8_t *data, size_t len)
{
	if (data[0] != WG_TYPE_DATA)
		return true; // a handshake
	sent.n++;
	sent.len = len;
	sent.to = *to;
	memcpy(&sent.h, data, sizeof(sent.h));
	sent.zero = true;
	for (size_t i = sizeof(sent.h); i < len; i++)
		sent.zero &= data[i] == 0;
	return true;
}

// The worker sends so many packets of so many bytes.
static void packets(struct end *e, uint64_t n, uint64_t bytes)
{
	struct peer *p = e->s->peer;
	atomic_store(&p->tx_packets, atomic_load(&p->tx_packets) + n);
	atomic_store(&p->tx_bytes, atomic_load(&p->tx_bytes) + n * bytes);
}

static void start_watching(struct net *n)
{
	memset(&sent, 0, sizeof(sent));
	n->a.w->env.send = on_send;
	net_wait(n, 5000);
	end_forget_counts(&n->a);
}

static void routers_are_asked(void **state)
{
	struct net *n = *state;
	start_watching(n);
	assert_int_equal(sent.n, 0);
	packets(&n->a, 10, 1400);
	net_wait(n, WG_TICK_MS);
	assert_int_equal(sent.n, 1);
	end_counted_only(&n->a, WG_COUNTER_PROBE_SENT, 1);
	// The largest packet of the tunnel, to the peer's session, and no message of it.
	assert_int_equal(sent.len, GW_MTU + WG_DATA_OVERHEAD);
	assert_true(endpoint_equal(&sent.to, &n->a.s->endpoint));
	assert_int_equal(rte_le_to_cpu_32(sent.h.receiver), n->a.s->current->remote_index);
	assert_true(rte_le_to_cpu_64(sent.h.counter) >= WG_REJECT_AFTER_MESSAGES);
	assert_true(sent.zero);
	// Every 2 s while large packets go, whatever a router said.
	struct error e;
	error_about(&e, &n->a, 1400);
	tell(&n->a, &e);
	for (unsigned i = 0; i < 100; i++) {
		packets(&n->a, 10, 1300);
		net_wait(n, WG_TICK_MS);
	}
	assert_in_range(sent.n, 5, 6);
	assert_int_equal(sent.len, GW_MTU + WG_DATA_OVERHEAD);
	// A link that takes less than the tunnel.
	n->a.w->gw->tunnel_mtu = 9000;
	net_wait(n, 2000);
	packets(&n->a, 10, 1300);
	net_wait(n, WG_TICK_MS);
	assert_int_equal(sent.len, LINK + WG_DATA_OVERHEAD);
}

static void others_are_not_asked(void **state)
{
	struct net *n = *state;
	struct endpoint at = n->a.s->endpoint;
	start_watching(n);
	packets(&n->a, 100, 499); // small ones
	net_wait(n, 3000);
	n->a.s->meshed = true; // probed by other means
	packets(&n->a, 100, 1400);
	net_wait(n, 3000);
	n->a.s->meshed = false;
	// IPv6 is not cut: data says it.
	n->a.s->endpoint.addr = (struct ip_addr){.family = IP_V6, .bytes = {0x20, 1, [15] = 2}};
	net_wait(n, 3000);
	n->a.s->endpoint = at;
	session_wipe_keypairs(n->a.s); // no session
	net_wait(n, 3000);
	assert_int_equal(sent.n, 0);
}

#define told_test(f) cmocka_unit_test_setup_teardown(f, open_shaken, net_close)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		told_test(a_router_is_believed),
		told_test(it_is_forgotten),
		told_test(another_endpoint_is_another_way),
		told_test(others_are_not),
		told_test(a_mesh_is_told),
		told_test(a_flood_is_not_read),
		told_test(routers_are_asked),
		told_test(others_are_not_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
