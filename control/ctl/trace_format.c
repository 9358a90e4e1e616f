#include "control/ctl/trace.h"

#include <stdarg.h>
#include <stdio.h>

#include "dataplane/wire/ether.h"
#include "dataplane/wire/wireguard.h"

// A growing text of TRACE_SUMMARY_LEN bytes.
struct text {
	char *at;
	size_t left;
};

static __attribute__((format(printf, 2, 3))) void put(struct text *t, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(t->at, t->left, format, args);
	va_end(args);
	size_t used = RTE_MIN((size_t)RTE_MAX(n, 0), t->left - 1);
	t->at += used;
	t->left -= used;
}

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

// The first n bytes of a UDP payload; false when they are no WireGuard message.
static bool put_wireguard(struct text *t, const uint8_t *p, size_t n)
{
	static const char *const names[] = {
		[WG_TYPE_INITIATION] = "initiation",
		[WG_TYPE_RESPONSE] = "response",
		[WG_TYPE_COOKIE] = "cookie reply",
		[WG_TYPE_DATA] = "data",
	};
	if (n < 8)
		return false;
	uint32_t type = le32(p);
	if (type < WG_TYPE_INITIATION || type > WG_TYPE_DATA)
		return false;
	put(t, "wireguard %s index 0x%08x", names[type], le32(p + 4));
	// Of the counter's 8 bytes the upper 4 may lie behind what was noted.
	if (type == WG_TYPE_DATA && n >= 16)
		put(t, " counter %lu", (uint64_t)le32(p + 12) << 32 | le32(p + 8));
	else if (type == WG_TYPE_DATA && n >= 12)
		put(t, " counter %u (low 32 bits)", le32(p + 8));
	return true;
}

static void put_l4(struct text *t, uint8_t proto, const uint8_t *p, size_t n)
{
	switch (proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		put(t, proto == IPPROTO_TCP ? " tcp" : " udp");
		if (n >= 4)
			put(t, " %u > %u", be16(p), be16(p + 2));
		if (proto == IPPROTO_UDP && n > UDP_HDR_LEN) {
			struct text before = *t;
			put(t, ", ");
			if (!put_wireguard(t, p + UDP_HDR_LEN, n - UDP_HDR_LEN)) {
				*t = before;
				*t->at = '\0';
			}
		}
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		put(t, proto == IPPROTO_ICMP ? " icmp" : " icmp6");
		if (n >= 2)
			put(t, " type %u code %u", p[0], p[1]);
		break;
	default:
		put(t, " protocol %u", proto);
	}
}

// False when p holds no IP header; an IPv6 destination that was cut off is left out.
static bool put_ip(struct text *t, const uint8_t *p, size_t n, uint32_t len)
{
	char src[ADDR_TEXT_LEN], dst[ADDR_TEXT_LEN];
	struct ip_addr a, b;
	if (n >= IP4_HDR_LEN && p[0] >> 4 == 4 && (p[0] & 15) * 4 >= IP4_HDR_LEN &&
		be16(p + 2) <= len) {
		size_t l3 = (size_t)(p[0] & 15) * 4;
		a = ip_addr_v4(p + 12);
		b = ip_addr_v4(p + 16);
		put(t, "%s > %s", ip_addr_format(&a, src), ip_addr_format(&b, dst));
		unsigned fragment = (be16(p + 6) & 0x1fffu) * 8;
		if (fragment > 0)
			put(t, " fragment at %u", fragment);
		else
			put_l4(t, p[9], p + l3, n > l3 ? n - l3 : 0);
		return true;
	}
	if (n < 24 || p[0] >> 4 != 6 || be16(p + 4) + (uint32_t)IP6_HDR_LEN > len)
		return false;
	a = ip_addr_v6(p + 8);
	if (n < IP6_HDR_LEN) {
		put(t, "%s > ...", ip_addr_format(&a, src));
		put_l4(t, p[6], NULL, 0);
		return true;
	}
	b = ip_addr_v6(p + 24);
	put(t, "%s > %s", ip_addr_format(&a, src), ip_addr_format(&b, dst));
	put_l4(t, p[6], p + IP6_HDR_LEN, n - IP6_HDR_LEN);
	return true;
}

static bool put_ethernet(struct text *t, const uint8_t *p, size_t n, uint32_t len)
{
	struct ether_info eth;
	if (ether_parse(p, (uint32_t)n, &eth) < 0)
		return false;
	struct text before = *t;
	put(t, "ethernet ");
	if (eth.vlan != 0)
		put(t, "vlan %u ", eth.vlan & 0xfffu);
	if (eth.type == RTE_ETHER_TYPE_ARP) {
		put(t, "arp");
		return true;
	}
	bool ip = eth.type == RTE_ETHER_TYPE_IPV4 || eth.type == RTE_ETHER_TYPE_IPV6;
	if (ip && put_ip(t, p + eth.l2_len, n - eth.l2_len, len - eth.l2_len))
		return true;
	*t = before;
	return false;
}

const char *trace_summary(
	const uint8_t *head, size_t head_len, uint32_t len, char text[static TRACE_SUMMARY_LEN])
{
	struct text t = {.at = text, .left = TRACE_SUMMARY_LEN};
	size_t n = RTE_MIN(head_len, (size_t)len);
	*text = '\0';
	// An Ethernet frame proves itself by type and IP version, so it may be tried first.
	if (len == 0)
		put(&t, "empty");
	else if (!put_ethernet(&t, head, n, len) && !put_ip(&t, head, n, len) &&
		 !put_wireguard(&t, head, n)) {
		put(&t, "bytes");
		for (size_t i = 0; i < RTE_MIN(n, (size_t)16); i++)
			put(&t, " %02x", head[i]);
	}
	return text;
}

static json_t *step_json(const struct gateway *gw, const struct trace_step *s, uint64_t start)
{
	char summary[TRACE_SUMMARY_LEN];
	bool dropped = s->drop > 0 && s->drop <= DROP_COUNT;
	enum drop_reason reason = (enum drop_reason)(dropped ? s->drop - 1 : 0);
	return json_pack("{s:s, s:I, s:I, s:i, s:s, s:s?, s:s?}",			     //
		"node", s->node < NODE_COUNT ? node_name((enum node_id)s->node) : "unknown", //
		"ns", (json_int_t)((double)(s->tsc - start) / gw->tsc_per_ns),		     //
		"len", (json_int_t)s->len, "segments", s->segments,			     //
		"summary", trace_summary(s->head, sizeof(s->head), s->len, summary),	     //
		"drop", dropped ? drop_label(reason) : NULL,				     //
		"help", dropped ? drop_help(reason) : NULL);
}

json_t *trace_json(const struct gateway *gw, unsigned worker, const struct trace *t)
{
	unsigned n = RTE_MIN(t->n, (unsigned)TRACE_STEPS);
	json_t *steps = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(steps, step_json(gw, &t->step[i], t->step[0].tsc));
	return json_pack("{s:i, s:s?, s:b, s:o}", "worker", (int)worker,	      //
		"port", t->port_in < gw->n_ports ? gw->port[t->port_in]->name : NULL, //
		"cut", n == TRACE_STEPS, "steps", steps);
}
