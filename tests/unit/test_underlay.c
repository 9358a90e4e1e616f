// The control thread's side of the workers: B hands up what came, takes what did not come by a
// port, and knows its ways out. A is its peer.
#include "control/underlay.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>

#include "tests/unit/packets.h"
#include "tests/unit/rtnetlink.h"

enum {
	OUTER4 = IP4_HDR_LEN + UDP_HDR_LEN,
	WAN_IFINDEX = 100 + GW_WAN,
	REGION = 17,
};

struct heard { // by one of the callbacks
	unsigned n;
	struct endpoint from;
	struct ip_addr to;
	uint16_t to_port;
	enum udp_class class;
	const struct peer *peer;
	size_t len;
	uint8_t data[9000];
};

struct fixture {
	struct two *t;
	struct event_base *base;
	struct underlay *u;
	struct fib *fib; // the mirror's
	struct mirror *mirror;
	struct heard disco, derp, tsmp;
};

static void hear(struct heard *h, const uint8_t *data, size_t len)
{
	h->n++;
	h->len = len;
	memcpy(h->data, data, RTE_MIN(len, sizeof(h->data)));
}

static void on_disco(void *arg, const struct endpoint *from, const struct endpoint *to,
	enum udp_class class, const uint8_t *data, size_t len)
{
	struct heard *h = &((struct fixture *)arg)->disco;
	h->from = *from;
	h->to = to->addr;
	h->to_port = to->port;
	h->class = class;
	hear(h, data, len);
}

static void on_derp(void *arg, struct peer *peer, const uint8_t *data, size_t len)
{
	struct heard *h = &((struct fixture *)arg)->derp;
	h->peer = peer;
	hear(h, data, len);
}

static void on_tsmp(void *arg, struct peer *peer, const uint8_t *packet, size_t len)
{
	struct heard *h = &((struct fixture *)arg)->tsmp;
	h->peer = peer;
	hear(h, packet, len);
}

static uint16_t port_of(void *, uint32_t ifindex)
{
	return ifindex == WAN_IFINDEX ? GW_WAN : PORT_NONE;
}

static void on_change(void *, uint32_t)
{
}

static int setup(void **state)
{
	static const struct mirror_env env = {
		.tunnel_ifindex = 5, .port_of = port_of, .on_change = on_change};
	struct fixture *f = mem_alloc(sizeof(*f));
	f->t = two_open(&(struct gw_params){0});
	f->t->b.port[GW_LAN]->port.tx_offloads = 0; // plain packets come out
	f->base = event_base_new();
	f->u = underlay_create(f->base, &f->t->b.gw);
	f->fib = fib_create(f->t->b.gw.rcu);
	f->mirror = mirror_create(NULL, f->fib, &env);
	underlay_set_mirror(f->u, f->mirror);
	underlay_set_disco(f->u, on_disco, f);
	underlay_set_derp(f->u, on_derp, f);
	underlay_set_tsmp(f->u, on_tsmp, f);
	*state = f;
	return underlay_start(f->u);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	underlay_destroy(f->u);
	mirror_destroy(f->mirror);
	fib_destroy(f->fib);
	event_base_free(f->base);
	two_close(f->t);
	free(f);
	return 0;
}

// B's worker, then the control thread.
static void turn(struct fixture *f)
{
	run(&f->t->b);
	for (unsigned i = 0; i < 4; i++)
		event_base_loop(f->base, EVLOOP_NONBLOCK);
}

// -- up -------------------------------------------------------------------------------------------

// A datagram from A to B's WireGuard port.
static void push_datagram_to(struct fixture *f, uint16_t port, const uint8_t *payload, uint32_t len)
{
	static struct flat p;
	flow_build(&(struct spec){.proto = IPPROTO_UDP, .payload = len}, &p);
	put32(p.b + 12, gw_ip4(192, 0, 2, 1));
	put32(p.b + 16, gw_ip4(192, 0, 2, 2));
	put16(p.b + 20, 41000);
	put16(p.b + 22, port);
	memcpy(p.b + OUTER4, payload, len);
	flow_finish(p.b, p.len);
	push_flat(&f->t->b, GW_WAN, &p);
}

static void push_datagram(struct fixture *f, const uint8_t *payload, uint32_t len)
{
	push_datagram_to(f, GW_PORT, payload, len);
}

static const struct {
	const char *name, *head;
	uint32_t head_len, len;
	int class; // enum udp_class; -1: of nobody here
} datagrams[] = {
#define ROW(name, head, len, class)                                                                \
	{                                                                                          \
		name, head, sizeof(head) - 1, len, class                                           \
	}
	ROW("STUN", "\1\1\0\0\x21\x12\xa4\x42", 32, UDP_STUN),
	ROW("disco", "TS\xf0\x9f\x92\xac", 110, UDP_DISCO),
	ROW("a large disco", "TS\xf0\x9f\x92\xac", 8900, UDP_DISCO),
	ROW("disco from a relay", "\0\0\x7a\x11\0\0\7\0TS\xf0\x9f\x92\xac", 118, UDP_GENEVE_DISCO),
	ROW("an initiation from a relay", "\0\0\x7a\x12\0\0\7\0\1", 156, UDP_GENEVE_WIREGUARD),
	ROW("an initiation", "\1", 148, -1),
	ROW("rubbish", "\x47", 148, -1),
#undef ROW
};

static void datagrams_are_told_apart(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < RTE_DIM(datagrams); i++) {
		uint8_t payload[9000] = {0};
		char text[ENDPOINT_TEXT_LEN];
		memcpy(payload, datagrams[i].head, datagrams[i].head_len);
		print_message("%s\n", datagrams[i].name);
		f->disco = (struct heard){0};
		push_datagram(f, payload, datagrams[i].len);
		turn(f);
		assert_int_equal(f->disco.n, datagrams[i].class >= 0);
		if (f->disco.n == 0)
			continue;
		assert_int_equal(f->disco.class, datagrams[i].class);
		assert_string_equal(endpoint_format(&f->disco.from, text), "192.0.2.1:41000");
		assert_string_equal(ip_addr_format(&f->disco.to, text), "192.0.2.2");
		assert_int_equal(f->disco.len, datagrams[i].len);
		assert_memory_equal(f->disco.data, payload, datagrams[i].len);
	}
	assert_int_equal(mailbox_count(f->t->b.gw.punted), 0);
}

static void nobody_listens_nothing_is_taken(void **state)
{
	struct fixture *f = *state;
	underlay_set_disco(f->u, NULL, NULL);
	push_datagram(f, (const uint8_t[110]){"TS\xf0\x9f\x92\xac"}, 110);
	turn(f);
	assert_int_equal(f->disco.n, 0);
	expect_drops(&f->t->b, DROP_WG_MALFORMED, 1);
}

// B's path is DERP: what its hosts send comes up sealed, and A would open it.
static void push_over_derp(struct fixture *f)
{
	struct gw *b = &f->t->b;
	struct flat p;
	struct peer_path path = {.port = PORT_NONE, .derp = true};
	peer_set_path(b->gw.rcu, b->peer, &path);
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 100}, 2, 1, &p);
	push_flat(b, GW_LAN, &p);
}

static void what_goes_over_derp_comes_up(void **state)
{
	struct fixture *f = *state;
	push_over_derp(f);
	turn(f);
	assert_int_equal(f->derp.n, 1);
	assert_ptr_equal(f->derp.peer, f->t->b.peer);
	assert_int_equal(f->derp.data[0], WG_TYPE_DATA);
	assert_int_equal(f->derp.len, WG_DATA_OVERHEAD + 128);
	assert_int_equal(f->t->b.gw.punted_n[PUNT_DERP], 0);
}

static void tsmp_comes_up(void **state)
{
	struct fixture *f = *state;
	struct flat p, frame;
	atomic_store(&f->t->b.peer->filtered, true);
	inner_build(&(struct spec){.proto = 99, .payload = 20}, 1, 2, &p);
	sealed_raw(f->t, p.b, p.len, &frame);
	push_flat(&f->t->b, GW_WAN, &frame);
	turn(f);
	assert_int_equal(f->tsmp.n, 1);
	assert_ptr_equal(f->tsmp.peer, f->t->b.peer);
	assert_int_equal(f->tsmp.len, p.len);
	assert_memory_equal(f->tsmp.data, p.b, p.len);
}

// The peer was removed while its packets waited.
static void of_a_peer_that_is_gone_nothing_comes_up(void **state)
{
	struct fixture *f = *state;
	struct gw *b = &f->t->b;
	push_over_derp(f);
	run(b);
	assert_int_equal(mailbox_count(b->gw.punted), 1);
	allowedips_clear_peer(b->gw.allowed, b->peer);
	index_free(b->gw.index, b->keypair->local_index);
	peer_table_remove(b->gw.peers, b->peer);
	turn(f);
	assert_int_equal(mailbox_count(b->gw.punted), 0);
	assert_int_equal(f->derp.n, 0);
}

// -- down -----------------------------------------------------------------------------------------

static bool inject(struct fixture *f, const uint8_t *data, size_t len)
{
	const struct endpoint derp = {{.bytes = {127, 3, 3, 40}, .family = IP_V4}, REGION};
	const struct ip_addr us = {.bytes = {192, 0, 2, 2}, .family = IP_V4};
	return underlay_inject_wg(f->u, &derp, &us, data, len);
}

static void data_over_derp_arrives_once(void **state)
{
	struct fixture *f = *state;
	struct flat p, frame, got;
	struct worker_event e;
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 100}, 1, 2, &p);
	sealed_build(f->t, &p, &frame);
	atomic_store(&f->t->b.peer->roaming, true); // not even then it follows
	assert_true(inject(f, frame.b + OUTER4, frame.len - OUTER4));
	assert_true(inject(f, frame.b + OUTER4, frame.len - OUTER4));
	run(&f->t->b);
	hop(&p);
	hop(&p);
	assert_true(take_flat(&f->t->b, GW_LAN, &got));
	assert_flat_equal(&got, &p);
	expect_nothing(&f->t->b);
	expect_drops(&f->t->b, DROP_WG_REPLAY, 1);
	assert_false(take_event(&f->t->b, &e));
	assert_int_equal(f->t->b.peer->rx_packets, 1);
}

// The largest that DERP carries.
static void large_data_over_derp_arrives(void **state)
{
	struct fixture *f = *state;
	static struct flat p, frame;
	inner_build(
		&(struct spec){.proto = IPPROTO_UDP, .payload = 60000, .no_df = true}, 1, 2, &p);
	sealed_raw(f->t, p.b, p.len, &frame);
	atomic_store(&f->t->b.port[GW_LAN]->port.mtu, 65000);
	assert_true(inject(f, frame.b + OUTER4, frame.len - OUTER4));
	run(&f->t->b);
	assert_int_equal(sent(&f->t->b, GW_LAN), 1);
	expect_drops(&f->t->b, DROP_WG_REPLAY, 0);
}

static void what_is_no_data_is_refused(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[66000] = {WG_TYPE_DATA};
	const struct wg_data h = {.type = wg_type_field(WG_TYPE_DATA),
		.receiver = rte_cpu_to_le_32(f->t->b.keypair->local_index)};
	assert_false(inject(f, data, 100)); // an index of nobody
	memcpy(data, &h, sizeof(h));
	assert_false(inject(f, data, WG_DATA_MIN_LEN - 1));
	assert_false(inject(f, data, 0));
	assert_false(inject(f, data, UINT16_MAX - OUTER4 + 1));
	assert_false(inject(f, data, sizeof(data)));
	data[0] = WG_TYPE_INITIATION;
	assert_false(inject(f, data, WG_INITIATION_LEN));
	data[0] = WG_TYPE_DATA;
	data[1] = 1;
	assert_false(inject(f, data, 100));
	data[1] = 0;
	assert_true(inject(f, data, 100)); // forged: the worker finds out
	run(&f->t->b);
	expect_drops(&f->t->b, DROP_WG_AUTH, 1);
}

// Floods from DERP leave room in the inbox, and buffers.
static void a_worker_that_is_behind_gets_no_more(void **state)
{
	struct fixture *f = *state;
	unsigned most = f->t->b.gw.pool->size / 8, n = 0;
	uint8_t data[100] = {0};
	const struct wg_data h = {.type = wg_type_field(WG_TYPE_DATA),
		.receiver = rte_cpu_to_le_32(f->t->b.keypair->local_index)};
	memcpy(data, &h, sizeof(h));
	while (n < 5000 && inject(f, data, sizeof(data)))
		n++;
	assert_int_equal(n, most);
	run(&f->t->b);
	assert_true(inject(f, data, sizeof(data)));
}

static void packets_of_our_own_go_to_their_peer(void **state)
{
	struct fixture *f = *state;
	struct two *t = f->t;
	for (unsigned i = 0; i < 2; i++) {
		struct flat p, got;
		struct spec s = {.proto = 99, .family = i ? IP_V6 : IP_V4, .payload = 33};
		inner_build(&s, 2, 1, &p);
		t->a.port[GW_LAN]->port.tx_offloads = 0;
		assert_true(underlay_send_inner(f->u, p.b, p.len));
		run(&t->b);
		assert_int_equal(carry(&t->b, &t->a), 1);
		run(&t->a);
		hop(&p); // A's
		assert_true(take_flat(&t->a, GW_LAN, &got));
		assert_flat_equal(&got, &p);
	}
}

// They open no way in for others.
static void packets_of_our_own_are_no_flow(void **state)
{
	struct fixture *f = *state;
	struct two *t = f->t;
	struct flat p, frame;
	const struct ip_range local = ip_range_any(IP_V4);
	atomic_store(&t->b.peer->filtered, true);
	rules_publish(&t->b.gw.rules, t->b.gw.rcu,
		rules_create(&(struct rules_spec){.local = &local, .n_local = 1}));
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .sport = 1, .dport = 2}, 2, 1, &p);
	assert_true(underlay_send_inner(f->u, p.b, p.len));
	run(&t->b);
	assert_int_equal(sent(&t->b, GW_WAN), 1);
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .sport = 2, .dport = 1}, 1, 2, &p);
	sealed_raw(t, p.b, p.len, &frame);
	push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	expect_drops(&t->b, DROP_FILTER_RULE, 1);
	rules_publish(&t->b.gw.rules, t->b.gw.rcu, NULL);
}

static void bad_packets_of_our_own_are_refused(void **state)
{
	struct fixture *f = *state;
	struct flat p;
	inner_build(&(struct spec){.proto = 99, .payload = 33}, 2, 1, &p);
	assert_false(underlay_send_inner(f->u, p.b, p.len - 1));
	assert_false(underlay_send_inner(f->u, p.b, p.len + 1));
	assert_false(underlay_send_inner(f->u, p.b, 10));
	assert_false(underlay_send_inner(f->u, p.b, 0));
	p.b[16] = 11; // nobody's
	assert_false(underlay_send_inner(f->u, p.b, p.len));
	p.b[0] = 0x55;
	assert_false(underlay_send_inner(f->u, p.b, p.len));
	run(&f->t->b);
	expect_nothing(&f->t->b);
	expect_drops(&f->t->b, DROP_NO_PEER, 0);
}

// -- out ------------------------------------------------------------------------------------------

static void feed(struct fixture *f, struct builder *b)
{
	mirror_feed(f->mirror, b->bytes, b->nh->nlmsg_len);
}

// wan with 192.0.2.2/24, and 192.0.2.1 as a neighbour.
static void feed_wan(struct fixture *f)
{
	static const uint8_t us[4] = {192, 0, 2, 2}, net[4] = {192, 0, 2, 0},
			     they[4] = {192, 0, 2, 1};
	struct builder b;
	struct ifinfomsg *link = begin(&b, RTM_NEWLINK, sizeof(*link));
	link->ifi_index = WAN_IFINDEX;
	link->ifi_flags = IFF_UP;
	mnl_attr_put_strz(b.nh, IFLA_IFNAME, "wan");
	mnl_attr_put_u32(b.nh, IFLA_MTU, 1500);
	mnl_attr_put(b.nh, IFLA_ADDRESS, 6, gw_peer_mac(2));
	feed(f, &b);
	struct ifaddrmsg *a = begin(&b, RTM_NEWADDR, sizeof(*a));
	*a = (struct ifaddrmsg){
		.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = WAN_IFINDEX};
	mnl_attr_put(b.nh, IFA_LOCAL, 4, us);
	mnl_attr_put_u32(b.nh, IFA_FLAGS, 0);
	feed(f, &b);
	struct rtmsg *r = begin(&b, RTM_NEWROUTE, sizeof(*r));
	*r = (struct rtmsg){.rtm_family = AF_INET,
		.rtm_dst_len = 24,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_type = RTN_UNICAST};
	mnl_attr_put(b.nh, RTA_DST, 4, net);
	mnl_attr_put_u32(b.nh, RTA_OIF, WAN_IFINDEX);
	feed(f, &b);
	struct ndmsg *n = begin(&b, RTM_NEWNEIGH, sizeof(*n));
	*n = (struct ndmsg){
		.ndm_family = AF_INET, .ndm_ifindex = WAN_IFINDEX, .ndm_state = NUD_REACHABLE};
	mnl_attr_put(b.nh, NDA_DST, 4, they);
	mnl_attr_put(b.nh, NDA_LLADDR, 6, gw_peer_mac(1));
	feed(f, &b);
}

static const struct endpoint them = {{.bytes = {192, 0, 2, 1}, .family = IP_V4}, 40000};

// A relay's header takes its bytes of the MTU; nothing else of the path changes.
static void a_relay_takes_of_the_mtu(void **state)
{
	struct fixture *f = *state;
	feed_wan(f);
	atomic_store(&f->t->b.port[GW_WAN]->port.mtu, 1500);
	struct peer_path direct = {.remote = them},
			 relay = {.remote = them, .vni = 7, .derp = true};
	assert_true(underlay_path(f->u, &them, &direct));
	assert_true(underlay_path(f->u, &them, &relay));
	assert_int_equal(direct.mtu, 1500 - OUTER4 - WG_DATA_OVERHEAD);
	assert_int_equal(relay.mtu, direct.mtu - 8);
	// A link that the headers fill is no way.
	atomic_store(&f->t->b.port[GW_WAN]->port.mtu, OUTER4 + WG_DATA_OVERHEAD + 1);
	assert_true(underlay_path(f->u, &them, &direct));
	assert_int_equal(direct.mtu, 1);
	assert_false(underlay_path(f->u, &them, &relay));
	atomic_store(&f->t->b.port[GW_WAN]->port.mtu, OUTER4 + WG_DATA_OVERHEAD);
	assert_false(underlay_path(f->u, &them, &direct));
	assert_int_equal(relay.vni, 7);
	assert_true(relay.derp);
	assert_int_equal(relay.outer_len, direct.outer_len);
	assert_memory_equal(relay.outer, direct.outer, sizeof(relay.outer));
}

// Another port of ours: datagrams and the path's headers leave from it, and what comes to it says
// so.
static void another_port_of_ours(void **state)
{
	struct fixture *f = *state;
	static const uint16_t ports[] = {0, 17000, 17001, 65535};
	static struct flat got;
	const uint8_t disco[] = "TS\xf0\x9f\x92\xac and so on, as long as a disco message is";
	feed_wan(f);
	for (unsigned i = 0; i < RTE_DIM(ports); i++) {
		const uint16_t port = ports[i] ? ports[i] : GW_PORT;
		struct ip_addr any = {0};
		struct peer_path path = {.remote = them, .local_port = ports[i]};
		atomic_store(&f->t->b.gw.extra_ports, (uint32_t)ports[i] << 16 | (ports[i] != 0));
		assert_true(underlay_path(f->u, &them, &path));
		assert_int_equal(get16(path.outer + sizeof(path.outer) - UDP_HDR_LEN), port);
		assert_true(underlay_send_from(f->u, &any, ports[i], &them, disco, sizeof(disco)));
		run(&f->t->b);
		assert_true(take_flat(&f->t->b, GW_WAN, &got));
		assert_int_equal(get16(got.b + IP4_HDR_LEN), port);
		assert_int_equal(get16(got.b + IP4_HDR_LEN + 2), them.port);
		f->disco = (struct heard){0};
		push_datagram_to(f, port, disco, sizeof(disco));
		turn(f);
		assert_int_equal(f->disco.n, 1);
		assert_int_equal(f->disco.to_port, port);
	}
}

static const struct {
	size_t len;
	uint16_t mtu;
	bool sent;
} sizes[] = {
	{1, 1500, true},
	{1472, 1500, true},
	{1473, 1500, false},
	{1473, 9000, true},
	{8972, 9000, true},
	{8973, 9000, false},
	{60000, 65535, false},
};

static void datagrams_are_as_large_as_the_link_takes(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[60000];
	feed_wan(f);
	for (unsigned i = 0; i < RTE_DIM(sizes); i++) {
		static struct flat got;
		struct ip_addr any = {0};
		memset(data, (int)i + 1, sizeof(data));
		atomic_store(&f->t->b.port[GW_WAN]->port.mtu, sizes[i].mtu);
		assert_int_equal(
			underlay_send(f->u, &any, &them, data, sizes[i].len), sizes[i].sent);
		run(&f->t->b);
		assert_int_equal(take_flat(&f->t->b, GW_WAN, &got), sizes[i].sent);
		if (!sizes[i].sent)
			continue;
		assert_int_equal(got.len, sizes[i].len + OUTER4);
		assert_memory_equal(got.b + OUTER4, data, sizes[i].len);
	}
}

#define underlay_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		underlay_test(datagrams_are_told_apart),
		underlay_test(nobody_listens_nothing_is_taken),
		underlay_test(what_goes_over_derp_comes_up),
		underlay_test(tsmp_comes_up),
		underlay_test(of_a_peer_that_is_gone_nothing_comes_up),
		underlay_test(data_over_derp_arrives_once),
		underlay_test(large_data_over_derp_arrives),
		underlay_test(what_is_no_data_is_refused),
		underlay_test(a_worker_that_is_behind_gets_no_more),
		underlay_test(packets_of_our_own_go_to_their_peer),
		underlay_test(packets_of_our_own_are_no_flow),
		underlay_test(bad_packets_of_our_own_are_refused),
		underlay_test(a_relay_takes_of_the_mtu),
		underlay_test(another_port_of_ours),
		underlay_test(datagrams_are_as_large_as_the_link_takes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
