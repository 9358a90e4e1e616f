#include "control/dns/engine.h"

#include <errno.h>
#include <stdlib.h>

const struct ip_addr dns_service_v4 = {.bytes = {100, 100, 100, 100}, .family = IP_V4};
const struct ip_addr dns_service_v6 = {
	.bytes = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, [15] = 0x53}, .family = IP_V6};

static const char service_name[] = "magicdns.localhost-tailscale-daemon";

struct job {
	const struct dns_view *view;
	const uint8_t *message;
	const struct dns_query *q;
	struct dns_writer w;
	uint8_t *answer;
	size_t room;
	uint32_t now_s;
};

// The SOA of the tailnet's zone that the name is in, if it is in one.
static size_t negative(struct job *j, unsigned rcode)
{
	const struct dns_route *zone = dns_view_route(j->view, j->q->name);

	dns_answer_begin(&j->w, j->answer, j->room, j->message, j->q, rcode, true);
	if (zone->local)
		dns_answer_soa(&j->w, zone->suffix, j->now_s);
	return dns_answer_end(&j->w, j->q, rcode);
}

static size_t bare(struct job *j, unsigned rcode)
{
	dns_answer_begin(&j->w, j->answer, j->room, j->message, j->q, rcode, true);
	return dns_answer_end(&j->w, j->q, rcode);
}

static size_t address(struct job *j, const struct ip_addr *a)
{
	if (a->family == IP_NONE)
		return negative(j, ns_r_noerror);
	dns_answer_begin(&j->w, j->answer, j->room, j->message, j->q, ns_r_noerror, true);
	dns_answer_address(&j->w, a);
	return dns_answer_end(&j->w, j->q, ns_r_noerror);
}

static size_t pointer(struct job *j, const char *name)
{
	dns_answer_begin(&j->w, j->answer, j->room, j->message, j->q, ns_r_noerror, true);
	dns_answer_ptr(&j->w, name);
	return dns_answer_end(&j->w, j->q, ns_r_noerror);
}

static size_t host(struct job *j, const struct dns_host *h)
{
	switch (j->q->type) {
	case ns_t_a:
		return address(j, &h->v4);
	case ns_t_aaaa:
		return address(j, &h->v6);
	case ns_t_any:
		return address(j, &h->first);
	case ns_t_ns:
	case ns_t_soa:
	case ns_t_hinfo:
		return bare(j, ns_r_notimpl);
	default:
		return negative(j, ns_r_noerror);
	}
}

// "192-168-1-2-via-7", alone or below ts.net or tailscale.net: the address of 4via6.
static bool via_address(const char *name, struct ip_addr *out)
{
	static const uint8_t via[8] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0x0b, 0x1a};
	const char *mark = strstr(name, "-via-"), *dot = strchr(name, '.');
	const size_t len = mark ? (size_t)(mark - name) : 0;
	char text[ADDR_TEXT_LEN], *end;
	struct ip_addr v4;

	if (!mark || len >= sizeof(text) || (dot && dot < mark))
		return false;
	if (dot && !dns_name_within(dot + 1, "ts.net") &&
		!dns_name_within(dot + 1, "tailscale.net"))
		return false;
	for (size_t i = 0; i < len; i++)
		text[i] = name[i] == '-' ? '.' : name[i];
	text[len] = '\0';
	const char *site = mark + strlen("-via-");
	if (*site < '0' || *site > '9' || ip_addr_parse(text, &v4) < 0 || v4.family != IP_V4)
		return false;
	errno = 0;
	const bool hex = site[0] == '0' && site[1] == 'x';
	const unsigned long long id = strtoull(site, &end, hex ? 16 : 10);
	if (errno || id > UINT32_MAX || (*end && *end != '.') || (hex && end <= site + 2))
		return false;
	*out = (struct ip_addr){.family = IP_V6};
	memcpy(out->bytes, via, sizeof(via));
	for (unsigned i = 0; i < 4; i++)
		out->bytes[8 + i] = (uint8_t)(id >> (24 - 8 * i));
	memcpy(out->bytes + 12, v4.bytes, 4);
	return true;
}

// Names of what browses for printers and the like: nobody above is bothered with it.
static bool is_bonjour(const char *name)
{
	static const char *const first[] = {"b.", "db.", "r.", "dr.", "lb."};

	for (unsigned i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		const size_t n = strlen(first[i]);
		if (strncmp(name, first[i], n) == 0)
			return strncmp(name + n, "_dns-sd._udp.", 13) == 0;
	}
	return false;
}

// An address of the IPv6 range that stands for an IPv4 one of the tailnet (tailscale net/tsaddr).
static bool auto_v6(const struct ip_addr *a, struct ip_addr *v4)
{
	static const uint8_t range[13] = {
		0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0xab, 0x12, 0x48, 0x43, 0xcd, 0x96, 0x62};

	if (a->family != IP_V6 || memcmp(a->bytes, range, sizeof(range)) != 0)
		return false;
	const uint8_t bytes[4] = {100, a->bytes[13], a->bytes[14], a->bytes[15]};
	*v4 = ip_addr_v4(bytes);
	return true;
}

static size_t reverse(struct job *j)
{
	struct ip_addr v4;

	if (is_bonjour(j->q->name))
		return dns_engine_refuse(j->message, j->q, ns_r_nxdomain, j->answer, j->room);
	const struct ip_addr a = dns_reverse_read(j->q->name);
	if (a.family == IP_NONE)
		return 0;
	if (ip_addr_equal(&a, &dns_service_v4) || ip_addr_equal(&a, &dns_service_v6))
		return pointer(j, service_name);
	const char *name = auto_v6(&a, &v4) ? dns_view_name(j->view, &v4) : NULL;
	if (!name)
		name = dns_view_name(j->view, &a);
	return name ? pointer(j, name) : 0;
}

// What the netmap, or nobody, may answer. 0: others are asked.
static size_t local(struct job *j)
{
	const struct dns_query *q = j->q;
	struct ip_addr a;
	size_t n = q->type == ns_t_ptr ? reverse(j) : 0;

	if (n)
		return n;
	if (dns_name_within(q->name, "onion")) // RFC 7686
		return bare(j, ns_r_nxdomain);
	if (strcmp(q->name, service_name) == 0 && (q->type == ns_t_a || q->type == ns_t_aaaa))
		return address(j, q->type == ns_t_a ? &dns_service_v4 : &dns_service_v6);
	if ((q->type == ns_t_a || q->type == ns_t_aaaa || q->type == ns_t_any) &&
		via_address(q->name, &a)) {
		static const struct ip_addr none = {0};
		return address(j, q->type == ns_t_a ? &none : &a);
	}
	const struct dns_host *h = q->type == ns_t_ptr ? NULL : dns_view_host(j->view, q->name);
	if (h)
		return host(j, h);
	return dns_view_route(j->view, q->name)->local ? negative(j, ns_r_nxdomain) : 0;
}

enum dns_verdict dns_engine(const struct dns_view *view, const struct dns_client *client,
	const uint8_t *message, size_t len, uint32_t now_s, struct dns_query *q, uint8_t *answer,
	size_t room, size_t *answer_len, const struct dns_route **route)
{
	struct job j = {.view = view,
		.message = message,
		.q = q,
		.answer = answer,
		.room = room,
		.now_s = now_s};

	if (dns_query_read(message, len, q) < 0)
		return DNS_IGNORE;
	if (!client->stream && j.room > q->udp_size)
		j.room = q->udp_size;
	unsigned rcode = q->rcode;
	if (!rcode && client->who == DNS_ASKER_PEER && dns_view_is_filtered(view, q->name))
		rcode = ns_r_refused;
	*answer_len = rcode ? dns_engine_refuse(message, q, rcode, answer, j.room)
		      : client->who == DNS_ASKER_PEER ? 0
						      : local(&j);
	if (*answer_len)
		return DNS_ANSWER;
	const bool base = client->who == DNS_ASKER_PEER && !view->own_host && view->base.n;
	*route = base ? &view->base : dns_view_route(view, q->name);
	if ((*route)->n)
		return DNS_FORWARD;
	*answer_len = dns_engine_refuse(message, q, ns_r_servfail, answer, j.room);
	return DNS_ANSWER;
}

size_t dns_engine_refuse(const uint8_t *message, const struct dns_query *q, unsigned rcode,
	uint8_t *answer, size_t room)
{
	struct dns_writer w;

	dns_answer_begin(&w, answer, room, message, q, rcode, false);
	return dns_answer_end(&w, q, rcode);
}
