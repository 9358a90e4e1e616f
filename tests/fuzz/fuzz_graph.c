// Two gateways in memory (tests/unit/gateway.h) against anything that comes in: frames at their
// ports, plaintexts that are validly sealed, datagrams damaged on the wire, with any offload flags.
// Nothing crashes, no mbuf is lost, and what stays in a round leaves with it.
//
// Input: records of a byte for what, a byte for flags, two for a length, two for a segment size,
// and that many bytes.
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/gateway.h"

enum {
	RECORD_HEAD = 6,
	ROUND = 32, // records before all of it runs
};

enum what {
	LAN_FRAME,    // any frame
	WAN_FRAME,    // any frame
	LAN_IP,	      // any bytes behind a right Ethernet header
	WAN_IP,	      //
	HOST_IP,      // from the TUN
	SEALED,	      // any plaintext, sealed by A for B
	WAN_DATAGRAM, // any UDP payload to A's port
	CARRY,	      // what A sent goes to B; the bytes are XORed into it
	KINDS,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gw a, b;

static void expect(bool good)
{
	if (!good)
		abort();
}

static void start(void)
{
	static bool started;
	if (started)
		return;
	test_eal_init();
	gw_open_pair(&a, &b, &(struct gw_params){.pkts = 1023, .large = 63});
	a.gw.icmp_rate = b.gw.icmp_rate = 1000000;
	started = true;
}

// Bytes as an mbuf or a chain of pieces, with the flags that a port may set.
static struct rte_mbuf *packet(
	struct gw *g, const uint8_t *data, uint32_t len, uint8_t flags, uint16_t segsz)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(len > 1500 ? g->gw.super_pool : g->gw.pool);
	uint32_t first = flags & 4 ? len / 2 : len;
	if (!head)
		return NULL;
	memcpy(rte_pktmbuf_append(head, (uint16_t)first), data, first);
	if (first < len) {
		struct rte_mbuf *tail = rte_pktmbuf_alloc(g->gw.super_pool);
		if (tail)
			memcpy(rte_pktmbuf_append(tail, (uint16_t)(len - first)), data + first,
				len - first);
		if (!tail || rte_pktmbuf_chain(head, tail) != 0) {
			rte_pktmbuf_free(tail);
			rte_pktmbuf_free(head);
			return NULL;
		}
	}
	head->tso_segsz = segsz;
	head->ol_flags =
		(flags & 1 ? RTE_MBUF_F_RX_LRO : 0) | (flags & 2 ? RTE_MBUF_F_RX_L4_CKSUM_NONE : 0);
	return head;
}

static void push(struct gw *g, unsigned port, struct rte_mbuf *m)
{
	if (m && !memport_put(g->port[port], 0, m))
		rte_pktmbuf_free(m);
}

static uint8_t room[70000];

static void push_ip(struct gw *g, unsigned port, const uint8_t *data, uint32_t len, uint8_t flags,
	uint16_t segsz)
{
	const struct port *p = &g->port[port]->port;
	bool v6 = len > 0 && data[0] >> 4 == 6;
	memcpy(room, p->mac.addr_bytes, 6);
	memset(room + 6, 2, 6);
	memcpy(room + 12, v6 ? "\x86\xdd" : "\x08\0", 2);
	memcpy(room + L2_LEN, data, len);
	if (!v6 && len >= IP4_HDR_LEN && (flags & 8)) // a right header checksum
		csum_ip4_hdr_set(room + L2_LEN, IP4_HDR_LEN);
	push(g, port, packet(g, room, L2_LEN + len, flags, segsz));
}

// A datagram from B to A, or from A to B, with right outer headers.
static void push_udp(struct gw *from, struct gw *to, uint32_t len, uint8_t flags, uint16_t segsz)
{
	struct peer_path path = gw_path(from);
	uint8_t *l2 = room + 1000 - path.outer_len, *l3 = l2 + L2_LEN;
	memcpy(l2, path.outer + sizeof(path.outer) - path.outer_len, path.outer_len);
	memcpy(l2, to->port[GW_WAN]->port.mac.addr_bytes, 6);
	((struct rte_ipv4_hdr *)l3)->total_length =
		rte_cpu_to_be_16((uint16_t)(IP4_HDR_LEN + UDP_HDR_LEN + len));
	((struct rte_udp_hdr *)(l3 + IP4_HDR_LEN))->dgram_len =
		rte_cpu_to_be_16((uint16_t)(UDP_HDR_LEN + len));
	csum_ip4_hdr_set(l3, IP4_HDR_LEN);
	push(to, GW_WAN, packet(to, l2, path.outer_len + len, flags & ~2, segsz));
}

static void push_sealed(const uint8_t *data, uint32_t len, uint8_t flags)
{
	struct wg_data *h = (struct wg_data *)(room + 1000);
	struct keypair *kp = a.keypair;
	*h = (struct wg_data){
		.type = wg_type_field(WG_TYPE_DATA),
		.receiver = rte_cpu_to_le_32(kp->remote_index),
		.counter = rte_cpu_to_le_64(kp->send_counter),
	};
	memcpy(h + 1, data, len);
	struct aead_op op = {.data = (uint8_t *)(h + 1),
		.len = len,
		.counter = kp->send_counter++,
		.key = kp->send_key};
	aead_seal(a.gw.graph[0]->aead, &op, 1);
	push_udp(&a, &b, len + WG_DATA_OVERHEAD, flags & 4, 0);
}

static void carry(const uint8_t *data, uint32_t len)
{
	struct rte_mbuf *m;
	while ((m = memport_take(a.port[GW_WAN], 0))) {
		bool super = m->ol_flags & RTE_MBUF_F_TX_UDP_SEG;
		uint32_t n = RTE_MIN(m->pkt_len, 65000u);
		const uint8_t *from = rte_pktmbuf_read(m, 0, n, room);
		if (from != room)
			memcpy(room, from, n);
		for (uint32_t i = 0; i < len && 42 + i < n; i++)
			room[42 + i] ^= data[i];
		memcpy(room, b.port[GW_WAN]->port.mac.addr_bytes, 6);
		push(&b, GW_WAN, packet(&b, room, n, super, m->tso_segsz));
		rte_pktmbuf_free(m);
	}
}

static void drain(struct gw *g)
{
	struct rte_mbuf *m;
	struct worker_event e;
	while (gw_round(g) > 0 || g->gw.graph[0]->later.n > 0)
		;
	for (unsigned i = 0; i < NODE_COUNT; i++)
		expect(g->gw.graph[0]->queue[i].n == 0);
	while ((m = punted_get(&g->gw)))
		rte_pktmbuf_free(m);
	while (mailbox_get(g->gw.events, &e, 1) == 1)
		;
}

static void run(void)
{
	drain(&a);
	drain(&b);
}

// What the ports sent must be whole: lengths add up, offloads say where the headers are.
static void check_sent(struct gw *g)
{
	for (unsigned i = 0; i < GW_PORTS; i++) {
		struct rte_mbuf *m;
		while ((m = memport_take(g->port[i], 0))) {
			const char *reason;
			expect(rte_mbuf_check(m, 1, &reason) == 0);
			if (m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG))
				expect(m->tso_segsz > 0 &&
					m->l2_len + m->l3_len + m->l4_len < m->pkt_len);
			rte_pktmbuf_free(m);
		}
	}
}

static void one(enum what what, const uint8_t *data, uint32_t len, uint8_t flags, uint16_t segsz)
{
	switch (what) {
	case LAN_FRAME:
	case WAN_FRAME:
		push(&a, what == LAN_FRAME ? GW_LAN : GW_WAN, packet(&a, data, len, flags, segsz));
		break;
	case LAN_IP:
	case WAN_IP:
		push_ip(&a, what == LAN_IP ? GW_LAN : GW_WAN, data, len, flags, segsz);
		break;
	case HOST_IP:
		push(&a, GW_HOST, packet(&a, data, len, flags, segsz));
		break;
	case SEALED:
		push_sealed(data, len, flags);
		break;
	case WAN_DATAGRAM:
		memcpy(room + 1000, data, len);
		push_udp(&b, &a, len, flags, segsz);
		break;
	default:
		run();
		carry(data, len);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	start();
	unsigned n = 0;
	while (size >= RECORD_HEAD) {
		uint32_t len = (uint32_t)(data[2] << 8 | data[3]);
		uint16_t segsz = (uint16_t)(data[4] << 8 | data[5]);
		len = RTE_MIN(len, (uint32_t)(size - RECORD_HEAD));
		len = RTE_MIN(len, 60000u);
		one((enum what)(data[0] % KINDS), data + RECORD_HEAD, len, data[1], segsz);
		if (++n % ROUND == 0)
			run();
		data += RECORD_HEAD + len;
		size -= RECORD_HEAD + len;
	}
	run();
	carry(NULL, 0);
	run();
	check_sent(&a);
	check_sent(&b);
	expect(rte_mempool_in_use_count(a.gw.pool) == 0);
	expect(rte_mempool_in_use_count(a.gw.super_pool) == 0);
	expect(rte_mempool_in_use_count(b.gw.pool) == 0);
	expect(rte_mempool_in_use_count(b.gw.super_pool) == 0);
	return 0;
}
