// What the tests of the packet filter share: A sends to B, whose peer A is a filtered one.
//
//   rules of B: TCP 80 and UDP, SCTP 53 from 10.1.0.0/16 to 10.2.0.2; the same for IPv6; GRE from
//   10.1.0.2 to 10.2.0.2. Local: 10.2.0.0/24, fd02::/16, 169.254.0.0/16, 224.0.0.0/4.
#pragma once

#include "dataplane/table/rules.h"
#include "tests/unit/packets.h"

enum {
	TSMP = 99,
	ACCEPTED = -1,
	SYN = RTE_TCP_SYN_FLAG,
	ACK = RTE_TCP_ACK_FLAG,
	ICMP_TYPE = 256, // in a spec's sport, as it lies on the wire
};

static inline struct ip_range range(const char *text)
{
	struct ip_prefix p;
	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return ip_range_of(&p);
}

static inline struct rules *some_rules(bool shields_up)
{
	const struct ip_range from[] = {range("10.1.0.0/16"), range("fd01::/16")};
	const struct ip_range host = range("10.1.0.2/32");
	const struct rule_target web[] = {
		{range("10.2.0.2/32"), 80, 80}, {range("fd02::2/128"), 80, 80}};
	const struct rule_target dns[] = {
		{range("10.2.0.2/32"), 53, 53}, {range("fd02::2/128"), 53, 53}};
	const struct rule_target gre = {range("10.2.0.2/32"), 0, 65535};
	const struct ip_range local[] = {range("10.2.0.0/24"), range("fd02::/16"),
		range("169.254.0.0/16"), range("224.0.0.0/4"), range("fe80::/10")};
	struct rule_spec rules[] = {{from, web, 2, 2}, {from, dns, 2, 2}, {&host, &gre, 1, 1}};
	rule_protocol(&rules[0], IPPROTO_TCP);
	rule_protocol(&rules[1], IPPROTO_UDP);
	rule_protocol(&rules[1], IPPROTO_SCTP);
	rule_protocol(&rules[2], IPPROTO_GRE);
	return rules_create(&(struct rules_spec){rules, local, 3, RTE_DIM(local), shields_up});
}

static inline void publish(struct gw *g, struct rules *rules)
{
	rules_publish(&g->gw.rules, g->gw.rcu, rules);
}

static inline int setup(void **state)
{
	struct two *t = two_open(&(struct gw_params){0});
	*state = t;
	t->b.port[GW_LAN]->port.tx_offloads = 0; // plain packets come out
	atomic_store(&t->b.peer->filtered, true);
	publish(&t->b, some_rules(false));
	return 0;
}

static inline int teardown(void **state)
{
	struct two *t = *state;
	publish(&t->b, NULL);
	return two_teardown(state);
}

#define filter_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

// inner_build, which writes a checksum where SCTP has a port.
static inline void build(const struct spec *s, uint8_t from, uint8_t to, struct flat *p)
{
	inner_build(s, from, to, p);
	if (s->proto == IPPROTO_SCTP)
		put16(p->b + flow_l3_len(p->b) + 2, s->dport);
}

static inline void fix_ip4(struct flat *p)
{
	if (flow_is_v4(p->b) && p->len >= IP4_HDR_LEN)
		csum_ip4_hdr_set(p->b, flow_l3_len(p->b));
}

// The packet ends len bytes behind its IP header.
static inline void cut(struct flat *p, uint32_t len)
{
	p->len = flow_l3_len(p->b) + len;
	if (flow_is_v4(p->b))
		put16(p->b + 2, p->len);
	else
		put16(p->b + 4, len);
}

static inline void cut3(struct flat *p)
{
	cut(p, 3);
}

static inline void cut7(struct flat *p)
{
	cut(p, 7);
}

static inline void cut11(struct flat *p)
{
	cut(p, 11);
}

static inline void cut19(struct flat *p)
{
	cut(p, 19);
}

static inline void to_other(struct flat *p) // no longer local
{
	if (flow_is_v4(p->b))
		put32(p->b + 16, gw_ip4(10, 2, 1, 2));
	else
		p->b[25] = 3;
}

static inline void to_neighbour(struct flat *p) // local, without rules
{
	if (flow_is_v4(p->b))
		put32(p->b + 16, gw_ip4(10, 2, 0, 3));
	else
		p->b[39] = 3;
}

static inline void to_multicast(struct flat *p)
{
	if (flow_is_v4(p->b))
		put32(p->b + 16, gw_ip4(224, 0, 0, 5));
	else
		p->b[24] = 0xff;
}

static inline void to_broadcast(struct flat *p)
{
	put32(p->b + 16, gw_ip4(255, 255, 255, 255));
}

static inline void to_link_local(struct flat *p)
{
	if (flow_is_v4(p->b))
		put32(p->b + 16, gw_ip4(169, 254, 169, 253));
	else
		put16(p->b + 24, 0xfe80);
}

static inline void to_metadata(struct flat *p)
{
	put32(p->b + 16, gw_ip4(169, 254, 169, 254));
}

static inline void echo_reply(struct flat *p)
{
	p->b[flow_l3_len(p->b)] = flow_is_v4(p->b) ? 0 : 129;
	p->b[flow_l3_len(p->b) + 1] = 0;
}

static inline void echo_reply_code(struct flat *p)
{
	echo_reply(p);
	p->b[flow_l3_len(p->b) + 1] = 1;
}

static inline void options4(struct flat *p) // 4 bytes of NOPs
{
	memmove(p->b + 24, p->b + 20, p->len - 20);
	memset(p->b + 20, 1, 4);
	p->b[0] = 0x46;
	p->len += 4;
	put16(p->b + 2, p->len);
}

// 8 bytes of an extension header of this kind behind the IPv6 header.
static inline void extend(struct flat *p, uint8_t kind)
{
	memmove(p->b + 48, p->b + 40, p->len - 40);
	memset(p->b + 40, 0, 8);
	p->b[40] = p->b[6];
	p->b[6] = kind;
	p->len += 8;
	put16(p->b + 4, p->len - 40);
}

static inline void destination_options(struct flat *p)
{
	extend(p, IPPROTO_DSTOPTS);
}

static inline void routing_header(struct flat *p)
{
	extend(p, IPPROTO_ROUTING);
}

static inline void source_3(struct flat *p)
{
	p->b[15] = 3;
}

#define TCP(f, port) .s = {.flags = f, .dport = port, .payload = 40}
#define TCP6(f, port) .s = {.family = IP_V6, .flags = f, .dport = port, .payload = 40}
#define L4(p, port) .s = {.proto = p, .dport = port, .payload = 40}
#define L46(p, port) .s = {.family = IP_V6, .proto = p, .dport = port, .payload = 40}
#define ICMP4(type) .s = {.proto = IPPROTO_ICMP, .sport = (type)*ICMP_TYPE, .payload = 40}
#define ICMP6(type)                                                                                \
	.s = {.family = IP_V6, .proto = IPPROTO_ICMPV6, .sport = (type)*ICMP_TYPE, .payload = 40}

// p, sealed by A, arrives at B: it goes on to the LAN, or ends for this reason.
static inline void arrive(struct two *t, const struct flat *p, int verdict)
{
	struct flat frame, got;
	struct rte_mbuf *m;
	sealed_raw(t, p->b, p->len, &frame);
	push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	assert_int_equal(take_flat(&t->b, GW_LAN, &got), verdict == ACCEPTED);
	while ((m = memport_take(t->b.port[GW_WAN], 0))) // rejects
		rte_pktmbuf_free(m);
	expect_nothing(&t->b);
	expect_drops(&t->b, verdict == ACCEPTED ? DROP_FILTER_RULE : (enum drop_reason)verdict,
		verdict != ACCEPTED);
}
