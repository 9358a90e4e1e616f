// The packet filter with the address translation beside a model of plain arrays, as
// tests/unit/test_nat_model.c: the input makes the choices there, so that it may find the packets,
// times and configurations that those at random do not meet. Some inputs are raw packets instead:
// for these there is no model, but they come out whole or end.
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/nat_model_run.h"

enum {
	STEPS_MAX = 400,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *left;
static size_t n_left;
static uint32_t padding; // where the input has ended

static uint32_t from_input(void)
{
	uint32_t bits = 0;
	if (n_left == 0)
		return padding = padding * 1664525 + 1013904223;
	for (unsigned i = 0; i < 2 && n_left > 0; i++, left++, n_left--)
		bits = bits << 8 | *left;
	return bits;
}

// Any bytes as a packet, with a right header checksum where it has one. Whatever the nodes make of
// it, the buffers come back.
static void raw(struct model *m)
{
	static struct flat f;
	bool from_port = m_draw(2);
	uint32_t len = m_draw(200) + 1;
	f.len = (uint32_t)RTE_MIN(n_left, (size_t)len);
	memcpy(f.b, left, f.len);
	left += f.len;
	n_left -= f.len;
	if (f.len >= 20 && f.b[0] >> 4 == 4 && f.len >= (f.b[0] & 15) * 4u) {
		put16(f.b + 2, f.len);
		if (f.b[0] >= 0x45)
			csum_ip4_hdr_set(f.b, (f.b[0] & 15) * 4u);
	}
	struct ip_info ip;
	if (f.len == 0 || ip_parse(f.b, f.len, &ip) < 0)
		return;
	f.len = ip.total_len;
	m_run(m, &f, from_port);
	for (unsigned i = 0; i < m_n_out; i++) {
		const struct rte_mbuf *out = m_out[i];
		const char *reason;
		if (rte_mbuf_check(out, 1, &reason) != 0 ||
			out->pkt_len != pkt_of(m_out[i])->ip.total_len)
			abort();
		rte_pktmbuf_free(m_out[i]);
	}
}

// Flows that raw packets made are none of the model's.
static void forget(struct model *m)
{
	struct nat_table *t = m_graph(m)->nat;
	m_time(m, 700 * 1000);
	while (nat_expire(t, (uint32_t)m->ms, 1000))
		;
	m_time(m, 700 * 1000);
	if (nat_table_count(t) != 0 || m->g->gw.nat_claims.n != 0)
		abort();
	flow_table_destroy(m_graph(m)->flows);
	m_graph(m)->flows = flow_table_create(FLOWS);
	if (!m_graph(m)->flows)
		abort();
	memset(m->flow, 0, sizeof(m->flow));
	m->high = m->n_known = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model m;
	static struct gw g;
	if (!m.g) {
		test_eal_init();
		m_open(&m, &g);
		m_source = from_input;
	}
	left = data;
	n_left = size;
	padding = 1;
	m_set_rules(&m, 0);
	atomic_store(&g.peer->jailed, m.jailed = false);
	m_set_config(&m, m_draw(M_CONFIGS));
	bool with_raw = m_draw(4) == 0;
	for (unsigned i = 0; i < STEPS_MAX && n_left > 0; i++) {
		if (with_raw)
			raw(&m);
		else
			m_step(&m);
	}
	forget(&m);
	if (rte_mempool_in_use_count(g.gw.pool) != 0)
		abort();
	return 0;
}
