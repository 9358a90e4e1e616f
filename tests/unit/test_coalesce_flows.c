// Coalescing on random flows: losses, reordering, damage, several flows between each other.
#include "tests/unit/coalesce_ref.h"

// Packets of a flow must leave in the order in which they came.
static inline void check_order(void)
{
	for (unsigned i = 0; i < n_groups; i++) {
		for (unsigned j = i + 1; j < n_groups; j++) {
			unsigned last = groups[i].at[groups[i].n - 1];
			if (ref_same_flow(&sent[last], &sent[groups[j].at[0]]))
				assert_true(last < groups[j].at[0]);
		}
	}
}

struct flow {
	struct spec next;
	uint32_t mss;
};

// Make a packet unlike its neighbours, now and then.
static void spice(uint32_t *rnd, struct spec *s)
{
	switch (flow_random(rnd) % 40) {
	case 0:
		s->flags = (uint8_t)(flow_random(rnd) & 0xff);
		break;
	case 1:
		s->payload = 0;
		break;
	case 2:
		s->payload = 1 + flow_random(rnd) % 1800;
		break;
	case 3:
		s->ack++;
		break;
	case 4:
		s->ttl = 3;
		break;
	case 5:
		s->option++;
		break;
	case 6:
		s->tos ^= 1;
		break;
	case 7:
		s->id += 5;
		break;
	case 8:
		s->window++;
		break;
	case 9:
		s->seq -= s->payload;
		break;
	case 10:
	case 11:
	case 12:
		s->flags = RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG;
		break;
	default:
		break;
	}
}

// Damage that flow_build cannot express.
static void spoil(uint32_t *rnd, struct flat *p)
{
	bool v4 = flow_is_v4(p->b);
	switch (flow_random(rnd) % 60) {
	case 0: // one bit of the payload or L4 header
		p->b[flow_l3_len(p->b) + 4 + flow_random(rnd) % 4] ^= 1 << flow_random(rnd) % 8;
		break;
	case 1:
		p->b[p->len - 1] ^= 1 << flow_random(rnd) % 8;
		break;
	case 2: // fragment
		if (v4) {
			put16(p->b + 6, flow_random(rnd) % 2 ? 0x2000 : 0x0010);
			flow_finish(p->b, p->len);
		}
		break;
	case 3: // IPv4 options, IPv6 extension header
		if (v4) {
			memmove(p->b + 24, p->b + 20, p->len - 20);
			memset(p->b + 20, 1, 4);
			p->b[0] = 0x46;
			p->len += 4;
			flow_finish(p->b, p->len);
		} else {
			memmove(p->b + 48, p->b + 40, p->len - 40);
			memcpy(p->b + 40, (uint8_t[]){p->b[6], 0, 1, 4, 0, 0, 0, 0}, 8);
			p->b[6] = IPPROTO_DSTOPTS;
			p->len += 8;
			put16(p->b + 4, p->len - 40);
		}
		break;
	case 4: // UDP without checksum; TCP with a wrong one
		put16(p->b + flow_csum_at(p->b), 0);
		break;
	default:
		break;
	}
}

static void init_flows(uint32_t *rnd, struct flow *flows, unsigned n)
{
	static const uint16_t mss[] = {1, 536, 1200, 1397, 1448, 1900};
	for (unsigned i = 0; i < n; i++) {
		flows[i].mss = mss[flow_random(rnd) % RTE_DIM(mss)];
		flows[i].next = (struct spec){
			.family = flow_random(rnd) % 2 ? IP_V4 : IP_V6,
			.proto = flow_random(rnd) % 3 ? IPPROTO_TCP : IPPROTO_UDP,
			.no_df = flow_random(rnd) % 2,
			.host = (uint8_t)(flow_random(rnd) % 2),
			.sport = (uint16_t)(1 + i),
			.dport = flow_random(rnd) % 8 == 0 ? 443 : 5000,
			.seq = flow_random(rnd) << 8,
			.n_options = (uint8_t)(flow_random(rnd) % 4 * 4),
			.window = 500,
		};
	}
}

// The next packet of a flow, with losses, repetitions and reordering.
static void add_random(uint32_t *rnd, struct flow *f)
{
	struct spec s = f->next;
	s.payload = f->mss;
	s.fill = flow_random(rnd);
	spice(rnd, &s);
	uint32_t fate = flow_random(rnd) % 50;
	f->next.seq = s.seq + s.payload + (fate == 0 ? f->mss : 0);
	f->next.id = s.id + 1;
	f->next.ack = s.ack;
	f->next.option = s.option;
	flow_build(&s, next_flat());
	spoil(rnd, sent[n_sent].p);
	uint32_t padding = flow_random(rnd) % 4 == 0 ? flow_random(rnd) % 16 : 0;
	if (fate == 1) // lost
		return;
	(void)add(flow_random(rnd) % 60 == 0, padding);
	if (fate == 2 && n_sent < ROUND_MAX) { // twice
		flow_build(&s, next_flat());
		(void)add(0, 0);
	}
}

static void test_random(void **)
{
	uint32_t rnd = 42;
	unsigned merged = 0, lone = 0;
	struct flow flows[6];
	for (unsigned round = 0; round < 600; round++) {
		unsigned n = 1 + flow_random(&rnd) % RTE_DIM(flows);
		if (round % 10 == 0)
			init_flows(&rnd, flows, RTE_DIM(flows));
		unsigned packets = flow_random(&rnd) % (ROUND_MAX - 1);
		struct flow *f = &flows[0];
		for (unsigned i = 0; i < packets && n_sent < ROUND_MAX - 1; i++) {
			if (flow_random(&rnd) % 4 == 0) // runs of one flow, interleaved
				f = &flows[flow_random(&rnd) % n];
			add_random(&rnd, f);
		}
		check_order();
		for (unsigned i = 0; i < n_groups; i++)
			*(groups[i].n > 1 ? &merged : &lone) += groups[i].n;
		check_flush(1 + flow_random(&rnd) % OUT_MAX);
	}
	print_message("%u packets in runs, %u alone\n", merged, lone);
	assert_true(merged > 10000 && lone > 5000);
}

// Long streams cut by the real segmentation come back in one piece.
static void test_round_trip(void **)
{
	static struct flat whole, back;
	for (unsigned i = 0; i < 60; i++) {
		struct spec s = {
			.family = i % 2 ? IP_V4 : IP_V6,
			.proto = i % 3 ? IPPROTO_TCP : IPPROTO_UDP,
			.flags = RTE_TCP_ACK_FLAG | (i % 5 ? RTE_TCP_PSH_FLAG : 0),
			.payload = 30000 + 577 * i,
			.n_options = i % 4 ? 12 : 0,
			.no_df = i % 7,
			.seq = i << 28,
			.fill = i,
		};
		flow_build(&s, &whole);
		struct rte_mbuf *super = flow_mbuf(pool, whole.b, whole.len, 0, 1001 + i);
		struct ip_info info = parse(&whole);
		super->tso_segsz = (uint16_t)(1100 + 13 * i);
		int n = gso_segment(super, &info, pool, segments, OUT_MAX);
		assert_true(n > 0 && n <= GRO_SEGS_MAX);
		for (int k = 0; k < n; k++) {
			flow_flat(segments[k], &got);
			info = parse(&got);
			assert_int_equal(gro_add(gro, segments[k], &info, i), GRO_TAKEN);
		}
		assert_int_equal(gro_flush(gro, out, OUT_MAX), 1);
		assert_int_equal(out[0]->tso_segsz, super->tso_segsz);
		info = parse(&whole);
		out[0]->ol_flags = 0;
		assert_int_equal(gso_csum_complete(out[0], &info), 0);
		flow_flat(out[0], &back);
		assert_int_equal(back.len, whole.len);
		assert_memory_equal(back.b, whole.b, whole.len);
		rte_pktmbuf_free(out[0]);
		rte_pktmbuf_free(super);
		no_leak();
	}
}

int main(void)
{
	coalesce_start();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_round_trip),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	coalesce_stop();
	return failed;
}
