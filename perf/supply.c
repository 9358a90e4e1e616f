#include "perf/supply.h"

#include "dataplane/crypto/aead.h"

enum {
	OUTER_LEN = L2_LEN + IP4_HDR_LEN + UDP_HDR_LEN,
};

static bool is_super(const struct test_case *c)
{
	return c->segs > 1;
}

static struct supply *supply_of(struct port *p)
{
	return (struct supply *)p;
}

static uint16_t supply_rx(struct port *p, uint16_t, struct rte_mbuf **pkts, uint16_t n)
{
	struct supply *s = supply_of(p);
	n = (uint16_t)RTE_MIN((unsigned)n, s->size - s->head);
	if (n == 0)
		return 0;
	memcpy(pkts, s->ring + s->head, n * sizeof(pkts[0]));
	if (rte_pktmbuf_alloc_bulk(s->pool, s->ring + s->head, n) != 0)
		rte_panic("no buffers\n");
	s->head += n;
	return n;
}

static uint16_t supply_tx(struct port *p, uint16_t, struct rte_mbuf **pkts, uint16_t n)
{
	struct supply *s = supply_of(p);
	for (unsigned i = 0; i < n; i++) {
		s->sent_bytes += pkts[i]->pkt_len;
		s->sent_segments += pkts[i]->nb_segs;
	}
	s->sent_packets += n;
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

static int supply_wait_fd(struct port *, uint16_t)
{
	return -1;
}

static const struct port_ops supply_ops = {
	.rx = supply_rx,
	.tx = supply_tx,
	.wait_fd = supply_wait_fd,
};

static void init(struct supply *s, const struct gw *g, uint16_t id, const struct test_case *c)
{
	*s = (struct supply){.port = g->port[id]->port};
	s->port.ops = &supply_ops;
	s->port.tx_offloads = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	if (is_super(c))
		s->port.tx_offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_UDP_TSO;
	atomic_store(&s->port.mtu, 9216);
}

void supply_attach(struct supply *in, struct supply *out, struct gw *g, const struct test_case *c)
{
	uint16_t from = c->decrypt ? GW_WAN : GW_LAN, to = c->decrypt ? GW_LAN : GW_WAN;
	init(in, g, from, c);
	init(out, g, to, c);
	g->gw.port[from] = &in->port;
	g->gw.port[to] = &out->port;
	uint32_t frame = c->segs * (c->inner + WG_PADDING + WG_DATA_OVERHEAD) + OUTER_LEN;
	bool fits =
		frame + RTE_PKTMBUF_HEADROOM + WG_PADDING <= rte_pktmbuf_data_room_size(g->gw.pool);
	in->pool = fits ? g->gw.pool : g->gw.super_pool;
	in->size = RTE_MAX(8u, RTE_MIN((unsigned)RING_MAX, RING_BYTES / frame));
	if (rte_pktmbuf_alloc_bulk(in->pool, in->ring, in->size) != 0)
		rte_panic("no buffers\n");
	in->head = in->size;
}

void supply_detach(struct supply *s)
{
	rte_pktmbuf_free_bulk(s->ring, s->size);
}

static void put_ether(uint8_t *l2, const struct port *port)
{
	memcpy(l2, port->mac.addr_bytes, 6);
	memcpy(l2 + 6, gw_peer_mac(0), 6);
	l2[12] = 0x08;
	l2[13] = 0;
}

static void put_ip4(
	uint8_t *l3, uint8_t proto, uint32_t total, uint32_t src, uint32_t dst, uint16_t id)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.total_length = rte_cpu_to_be_16((uint16_t)total),
		.packet_id = rte_cpu_to_be_16(id),
		.fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = 64,
		.next_proto_id = proto,
		.src_addr = rte_cpu_to_be_32(src),
		.dst_addr = rte_cpu_to_be_32(dst),
	};
	csum_ip4_hdr_set(l3, IP4_HDR_LEN);
}

static void put_udp(uint8_t *l4, uint16_t port, uint32_t len)
{
	*(struct rte_udp_hdr *)l4 = (struct rte_udp_hdr){
		.src_port = rte_cpu_to_be_16(port),
		.dst_port = rte_cpu_to_be_16(port),
		.dgram_len = rte_cpu_to_be_16((uint16_t)len),
	};
}

// An inner IP packet of len bytes: TCP where it is part of super-packets, or UDP.
static void put_inner(
	uint8_t *l3, const struct test_case *c, uint32_t len, uint32_t seq, uint16_t id)
{
	uint32_t here = gw_ip4(10, 1, 0, 2), there = gw_ip4(10, 2, 0, 2);
	put_ip4(l3, is_super(c) ? IPPROTO_TCP : IPPROTO_UDP, len, c->decrypt ? there : here,
		c->decrypt ? here : there, id);
	uint8_t *l4 = l3 + IP4_HDR_LEN;
	if (!is_super(c)) {
		put_udp(l4, 5000, len - IP4_HDR_LEN);
		return;
	}
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)l4;
	*tcp = (struct rte_tcp_hdr){
		.src_port = RTE_BE16(5001),
		.dst_port = RTE_BE16(5001),
		.sent_seq = rte_cpu_to_be_32(seq),
		.data_off = TCP_HDR_LEN / 4 << 4,
		.tcp_flags = RTE_TCP_ACK_FLAG,
		.rx_win = RTE_BE16(1000),
	};
	if (!c->decrypt)
		return; // the sender leaves it to the hardware
	uint32_t l4_len = len - IP4_HDR_LEN;
	tcp->cksum = csum_finish(csum_add(l4, l4_len, csum_pseudo4(l3, IPPROTO_TCP, l4_len)));
}

static void fill_plain(const struct supply *s, const struct test_case *c, struct rte_mbuf *m)
{
	uint8_t *l2 = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(L2_LEN + c->bytes));
	put_ether(l2, &s->port);
	put_inner(l2 + L2_LEN, c, c->bytes, 1, 1);
	if (is_super(c)) {
		m->tso_segsz = SUPER_MSS;
		m->ol_flags = RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;
	}
}

static uint32_t sealed_len(const struct test_case *c)
{
	return RTE_ALIGN_CEIL(c->inner, WG_PADDING) + WG_DATA_OVERHEAD;
}

static void fill_sealed(const struct supply *s, struct gw *g, const struct test_case *c,
	struct rte_mbuf *m, uint64_t *counter)
{
	struct aead_op ops[AEAD_BURST];
	uint32_t len = sealed_len(c), udp_len = UDP_HDR_LEN + c->segs * len;
	uint8_t *l2 = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(OUTER_LEN + c->segs * len));
	put_ether(l2, &s->port);
	put_ip4(l2 + L2_LEN, IPPROTO_UDP, IP4_HDR_LEN + udp_len, gw_ip4(192, 0, 2, 2),
		gw_ip4(192, 0, 2, 1), 1);
	put_udp(l2 + L2_LEN + IP4_HDR_LEN, GW_PORT, udp_len);
	for (unsigned i = 0; i < c->segs; i++) {
		struct wg_data *h = (struct wg_data *)(l2 + OUTER_LEN + i * len);
		*h = (struct wg_data){
			.type = wg_type_field(WG_TYPE_DATA),
			.receiver = rte_cpu_to_le_32(g->keypair->local_index),
			.counter = rte_cpu_to_le_64(*counter),
		};
		put_inner((uint8_t *)(h + 1), c, c->inner, 1 + i * SUPER_MSS, (uint16_t)(i + 1));
		ops[i] = (struct aead_op){.data = (uint8_t *)(h + 1),
			.len = len - WG_DATA_OVERHEAD,
			.counter = (*counter)++,
			.key = g->keypair->recv_key};
	}
	aead_seal(g->gw.graph[0]->aead, ops, c->segs);
	if (is_super(c)) {
		m->tso_segsz = (uint16_t)len;
		m->ol_flags = RTE_MBUF_F_RX_LRO;
	}
}

void supply_fill(
	struct supply *s, struct gw *g, const struct test_case *c, uint64_t *counter, unsigned n)
{
	s->head = s->size - n;
	for (unsigned i = s->head; i < s->size; i++) {
		struct rte_mbuf *m = s->ring[i];
		rte_pktmbuf_reset(m);
		if (c->decrypt)
			fill_sealed(s, g, c, m, counter);
		else
			fill_plain(s, c, m);
	}
}

uint8_t *supply_payload(const struct supply *s, const struct test_case *c, unsigned i, unsigned seg)
{
	uint8_t *l2 = rte_pktmbuf_mtod(s->ring[i], uint8_t *);
	if (!c->decrypt) // segments share headers: their ends overlap here, which costs nothing
		return l2 + L2_LEN + seg * SUPER_MSS;
	return l2 + OUTER_LEN + seg * sealed_len(c) + WG_DATA_HEADER_LEN;
}

void supply_open(struct gw *g, const char *program, const char *aead, uint16_t tunnel_mtu)
{
	char name[64], cpu[16];
	snprintf(name, sizeof(name), "%s", program);
	snprintf(cpu, sizeof(cpu), "%d", sched_getcpu());
	char *argv[] = {name, "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "256",
		"-l", cpu, "--log-level=error", NULL};
	if (rte_eal_init(RTE_DIM(argv) - 1, argv) < 0)
		rte_panic("cannot start the EAL\n");
	gw_open(g, 1,
		&(struct gw_params){.tunnel_mtu = tunnel_mtu,
			.pkts = 8191,
			.large = 1023,
			.cache = 256,
			.transparent = true,
			.aead = aead});
	gw_add_peer(g);
	struct keypair *kp = gw_keypair(g, 1, 1);
	kp->remote_index = 7;
	gw_use(g, kp);
}

bool supply_save(json_t *rows, const char *file, const char *program)
{
	bool saved =
		!file || strcmp(file, "-") == 0 || json_dump_file(rows, file, JSON_INDENT(2)) == 0;
	if (!saved)
		fprintf(stderr, "%s: cannot write %s\n", program, file);
	json_decref(rows);
	return saved;
}
