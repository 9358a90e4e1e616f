// Two gateways in memory (tests/unit/gateway.h) against anything that comes in: frames at their
// ports, plaintexts that are validly sealed, datagrams damaged on the wire, with any offload flags,
// as nodes of a tailnet and not, frames in VXLANs that end in them. Nothing crashes, no mbuf is
// lost, what stays in a round leaves with it, and the control thread gets what it may rely on.
//
// Input: records of a byte for what, a byte for flags, two for a length, two for a segment size,
// and that many bytes.
#include "tests/fuzz/fuzz.h"
#include "dataplane/port/vnet.h"
#include "tests/unit/vtep.h"

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
	RELAYED,      // any UDP payload behind a Geneve header for WireGuard
	TAILNET,      // another way to B, and what B's peer is; no bytes
	CARRY,	      // what A sent goes to B; the bytes are XORed into it
	VXLAN_IN, // any packet in a frame in VXLAN to A; the segment size damages what is before it
	VXLAN_OUT,   // any packet, sealed by A for B's VXLAN
	VXLAN_STATE, // which devices and remotes there are, and what the ports offer; no bytes
	KINDS,
};

static struct gw a, b;

// Some ports of B for everybody.
static void set_rules(void)
{
	const struct ip_range all[] = {ip_range_any(IP_V4), ip_range_any(IP_V6)};
	const struct rule_target to[] = {{all[0], 0, 999}, {all[1], 0, 999}};
	struct rule_spec rule = {.sources = all, .targets = to, .n_sources = 2, .n_targets = 2};
	rule_protocol(&rule, IPPROTO_TCP);
	rule_protocol(&rule, IPPROTO_UDP);
	rules_publish(&b.gw.rules, b.gw.rcu,
		rules_create(&(struct rules_spec){
			.rules = &rule, .local = all, .n_rules = 1, .n_local = 2}));
}

static uint16_t remote[2];
static uint64_t offloads[2];

// Of a and b: bits of flags.
static void set_vxlan(uint8_t flags)
{
	struct gw *const both[] = {&a, &b};
	for (unsigned i = 0; i < 2; i++) {
		struct gw *g = both[i];
		if (flags & 1)
			vxlan_devices_publish(g->gw.fib->vteps, NULL, 0);
		else
			publish_device(g);
		if (flags & 2)
			vtep_publish(g->gw.fib->vteps, remote[i], NULL);
		else
			publish_remote(g, remote[i], flags & 4 ? IP_V6 : IP_V4, flags & 8);
		g->port[GW_WAN]->port.tx_offloads =
			offloads[i] ^ (flags & 16 ? RTE_ETH_TX_OFFLOAD_UDP_TSO : 0) ^
			(flags & 32 ? RTE_ETH_TX_OFFLOAD_UDP_CKSUM : 0) ^
			(flags & 64 ? RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO : 0);
	}
}

static void open_vxlan(void)
{
	struct gw *const both[] = {&a, &b};
	for (unsigned i = 0; i < 2; i++) {
		offloads[i] = both[i]->port[GW_WAN]->port.tx_offloads;
		remote[i] = vtep_take(both[i]->gw.fib->vteps);
		route_remote(both[i], i ? "10.2.50.0/24" : "10.1.50.0/24", remote[i]);
		route_remote(both[i], i ? "fd02:50::/64" : "fd01:50::/64", remote[i]);
	}
	set_vxlan(0);
}

static void start(void)
{
	static bool started;
	if (started)
		return;
	test_eal_init();
	gw_open_pair(&a, &b, &(struct gw_params){.pkts = 1023, .large = 63});
	a.gw.icmp_rate = b.gw.icmp_rate = 1000000;
	set_rules();
	open_vxlan();
	started = true;
}

// What of a tailnet is on: bits of flags.
static void set_tailnet(uint8_t flags)
{
	struct peer_path path = gw_path(&a);
	path.vni = flags & 1 ? 0x123456 : 0;
	path.derp = flags & 2;
	if (flags & 4)
		path.port = PORT_NONE;
	peer_set_path(a.gw.rcu, a.peer, &path);
	atomic_store(&a.peer->filtered, flags & 8);
	atomic_store(&b.peer->filtered, flags & 16);
	atomic_store(&b.peer->jailed, flags & 32);
	atomic_store(&a.gw.disco, flags & 64);
	atomic_store(&b.gw.disco, flags & 64);
	b.peer->tsmp_until = 0;
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

// An IP packet from a host behind A to one behind B (in its VXLAN), else as it is.
static void send_to_b(uint8_t *l3, uint32_t len, bool vxlan)
{
	if (len >= IP4_HDR_LEN && l3[0] >> 4 == 4) {
		memcpy(l3 + 16, vxlan ? "\x0a\2\x32" : "\x0a\2\0", 3);
	} else if (len >= IP6_HDR_LEN && l3[0] >> 4 == 6) {
		memset(l3 + 24, 0, 15);
		memcpy(l3 + 24, "\xfd\2\0", 3);
		l3[27] = vxlan ? 0x50 : 0;
	}
}

// An IP packet from a host behind A, else as it is.
static void make_sound(uint8_t *l3, uint32_t len)
{
	rte_be16_t total = rte_cpu_to_be_16((uint16_t)len);
	rte_be16_t behind = rte_cpu_to_be_16((uint16_t)(len - IP6_HDR_LEN));
	if (len >= IP4_HDR_LEN && l3[0] >> 4 == 4) {
		memcpy(l3 + 2, &total, 2);
		memcpy(l3 + 12, "\x0a\1", 2);
		csum_ip4_hdr_set(l3, RTE_MIN(rte_ipv4_hdr_len((void *)l3), len));
	} else if (len >= IP6_HDR_LEN && l3[0] >> 4 == 6) {
		memcpy(l3 + 4, &behind, 2);
		memcpy(l3 + 8, "\xfd\1", 2);
	}
}

static void push_sealed(const uint8_t *data, uint32_t len, uint8_t flags, bool to_vxlan)
{
	struct wg_data *h = (struct wg_data *)(room + 1000);
	struct keypair *kp = a.keypair;
	*h = (struct wg_data){
		.type = wg_type_field(WG_TYPE_DATA),
		.receiver = rte_cpu_to_le_32(kp->remote_index),
		.counter = rte_cpu_to_le_64(kp->send_counter),
	};
	memcpy(h + 1, data, len);
	if (to_vxlan)
		send_to_b((uint8_t *)(h + 1), len, true);
	if (flags & 16)
		make_sound((uint8_t *)(h + 1), len);
	struct aead_op op = {.data = (uint8_t *)(h + 1),
		.len = len,
		.counter = kp->send_counter++,
		.key = kp->send_key};
	aead_seal(a.gw.graph[0]->aead, &op, 1);
	push_udp(&a, &b, len + WG_DATA_OVERHEAD, flags & 4, 0);
}

// VXLAN, UDP and IP header before a frame that ends behind inner, with right lengths for len bytes
// at inner. Returns its start.
static uint8_t *put_vxlan(uint8_t *inner, uint32_t len, uint8_t family, bool tag)
{
	uint8_t *eth = inner - L2_LEN - (tag ? 4 : 0), *vxlan = eth - VXLAN_HDR_LEN;
	uint8_t *udp = vxlan - UDP_HDR_LEN;
	uint8_t *l3 = udp - (family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN);
	struct vxlan_header h = vxlan_header_of(VNI);
	uint32_t udp_len = RTE_MIN((uint32_t)(inner + len - udp), 65000u);
	memcpy(eth, device_mac, 6);
	memcpy(eth + 6, host_mac, 6);
	if (tag)
		memcpy(eth + 12, "\x81\0\0\7", 4);
	memcpy(inner - 2, len > 0 && inner[0] >> 4 == 6 ? "\x86\xdd" : "\x08\0", 2);
	memcpy(vxlan, &h, sizeof(h));
	vtep_put16(udp, 50001);
	vtep_put16(udp + 2, VXLAN_PORT);
	vtep_put16(udp + 4, udp_len);
	vtep_put16(udp + 6, 0);
	vtep_put_l3(l3, family, 9, 1);
	vtep_put16(l3 + (family == IP_V4 ? 2 : 4), udp_len + (family == IP_V4 ? IP4_HDR_LEN : 0));
	if (family == IP_V4)
		csum_ip4_hdr_set(l3, IP4_HDR_LEN);
	return l3;
}

// flags: 1 and 4 as in packet(); 2: nested; 8: over IPv6; 16: into the tunnel; 32: as the kernel
// puts TCP in VXLAN together; 64: tagged; 128: cut short.
static void push_vxlan(const uint8_t *data, uint32_t len, uint8_t flags, uint16_t damage)
{
	uint8_t *inner = room + 1000, family = flags & 8 ? IP_V6 : IP_V4;
	memcpy(inner, data, len);
	if (flags & 16) {
		send_to_b(inner, len, false);
		make_sound(inner, len);
	}
	if (flags & 2) {
		uint8_t *outer = put_vxlan(inner, len, IP_V4, false);
		len += (uint32_t)(inner - outer);
		inner = outer;
		memcpy(inner + 16, "\x0a\2\0\2", 4);
		csum_ip4_hdr_set(inner, IP4_HDR_LEN);
	}
	uint8_t *l3 = put_vxlan(inner, len, family, flags & 64), *l2 = l3 - L2_LEN;
	l3[(damage & 0xff) % (inner - l3)] ^= (uint8_t)(damage >> 8);
	memcpy(l2, a.port[GW_WAN]->port.mac.addr_bytes, 6);
	memset(l2 + 6, 2, 6);
	memcpy(l2 + 12, family == IP_V6 ? "\x86\xdd" : "\x08\0", 2);
	uint32_t whole = (uint32_t)(inner + len - l2);
	if (flags & 128)
		whole -= damage % RTE_MIN(whole, 200u);
	struct rte_mbuf *m = packet(&a, l2, whole, flags & 5, (uint16_t)(100 + damage % 1400));
	if (m && flags & 32) {
		m->ol_flags = 0;
		m->packet_type = VNET_TUNNEL_TCP;
	}
	push(&a, GW_WAN, m);
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

// What a worker hands up is what the control thread takes it for.
static void check_punted(const struct gw *g, struct rte_mbuf *m)
{
	struct ip_info ip;
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct pkt *p = pkt_of(m);
	if (p->reason == PUNT_RESOLVE)
		return;
	check(m->nb_segs == 1);
	if (p->reason == PUNT_DERP) {
		check(p->counter == g->peer->id && m->data_len >= WG_DATA_MIN_LEN);
		check(data[0] == WG_TYPE_DATA);
		return;
	}
	check(ip_parse(data, UINT16_MAX, &ip) == 0); // of a run of datagrams: all of it
	if (p->reason == PUNT_TSMP)
		check(p->counter == g->peer->id && ip.proto == 99 && !(ip.flags & IP_FLAG_FRAG) &&
			ip.total_len == m->data_len && ip.l3_len + 7 <= m->data_len);
	else if (p->reason == PUNT_TOO_BIG)
		check((ip.proto == IPPROTO_ICMP || ip.proto == IPPROTO_ICMPV6) &&
			ip.l3_len + 2 <= m->data_len);
	else
		check(ip.proto == IPPROTO_UDP && ip.l3_len + UDP_HDR_LEN < m->data_len);
}

static void drain(struct gw *g)
{
	struct rte_mbuf *m;
	struct worker_event e;
	while (gw_round(g) > 0 || g->gw.graph[0]->later.n > 0)
		;
	for (unsigned i = 0; i < NODE_COUNT; i++)
		check(g->gw.graph[0]->queue[i].n == 0);
	while ((m = punted_get(&g->gw))) {
		check_punted(g, m);
		rte_pktmbuf_free(m);
	}
	for (unsigned i = 0; i < PUNT_REASON_COUNT; i++)
		check(g->gw.punted_n[i] == 0);
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
			check(rte_mbuf_check(m, 1, &reason) == 0);
			if (m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG))
				check(m->tso_segsz > 0 &&
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
		push_sealed(data, len, flags, false);
		break;
	case WAN_DATAGRAM:
		memcpy(room + 1000, data, len);
		push_udp(&b, &a, len, flags, segsz);
		break;
	case RELAYED:
		memcpy(room + 1000, "\0\0\x7a\x12\0\0\7\0", 8);
		memcpy(room + 1008, data, len);
		push_udp(&b, &a, len + 8, flags, segsz);
		break;
	case VXLAN_IN:
		push_vxlan(data, len, flags, segsz);
		break;
	case VXLAN_OUT:
		push_sealed(data, len, flags, true);
		break;
	case VXLAN_STATE:
		run();
		set_vxlan((uint8_t)segsz);
		break;
	case TAILNET:
		run();
		set_tailnet((uint8_t)segsz);
		break;
	default:
		run();
		carry(data, len);
		break;
	}
}

// What waits for a way to the peer ends, as when the control thread gives it up.
static void give_up(struct gw *g)
{
	struct rte_mbuf *m = g->peer->staged_n > 0 ? rte_pktmbuf_alloc(g->gw.pool) : NULL;
	if (!m)
		return;
	memset(pkt_of(m), 0, sizeof(struct pkt));
	pkt_of(m)->from = FROM_SELF;
	pkt_of(m)->node = NODE_WG_ROUTE;
	pkt_of(m)->reason = SELF_GIVE_UP;
	pkt_of(m)->counter = g->peer->id;
	check(mailbox_put(g->gw.graph[0]->inbox, &m));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	start();
	set_tailnet(0);
	set_vxlan(0);
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
	give_up(&a);
	give_up(&b);
	run();
	check_sent(&a);
	check_sent(&b);
	fragments_clear(a.gw.graph[0]->state->fragments);
	fragments_clear(b.gw.graph[0]->state->fragments);
	check(rte_mempool_in_use_count(a.gw.pool) == 0);
	check(rte_mempool_in_use_count(a.gw.super_pool) == 0);
	check(rte_mempool_in_use_count(b.gw.pool) == 0);
	check(rte_mempool_in_use_count(b.gw.super_pool) == 0);
	return 0;
}
