// DNS messages for tests, and a netmap with names.
#pragma once

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/netmap.h"
#include "control/dns/wire.h"

enum { DNS_TEST_MAX = 4096 };

static const uint8_t dns_lower[32];

struct message {
	uint8_t bytes[DNS_TEST_MAX];
	size_t len;
};

static inline struct message ask_for(const char *name, uint16_t type)
{
	struct message m;
	m.len = dns_question_write(
		m.bytes, sizeof(m.bytes), 0x1234, name, type, false, false, dns_lower);
	return m;
}

// Without EDNS.
static inline struct message ask_plainly(const char *name, uint16_t type)
{
	struct message m = ask_for(name, type);
	m.len -= DNS_OPT_LEN;
	m.bytes[11] = 0;
	return m;
}

static inline void put_bytes(struct message *m, const void *bytes, size_t n)
{
	memcpy(m->bytes + m->len, bytes, n);
	m->len += n;
}

// An answer to the question without records.
static inline struct message reply_to(const struct message *question, unsigned rcode)
{
	struct message m = *question;
	const unsigned char *end = m.bytes + DNS_HEADER_LEN;
	while (*end)
		end += *end + 1;
	m.len = (size_t)(end + 5 - m.bytes);
	m.bytes[2] |= 0x80;
	m.bytes[3] = (uint8_t)(0x80 | rcode);
	memset(m.bytes + 6, 0, 6);
	return m;
}

// A record of the question's name, into section 0 (answer) to 2.
static inline void put_record(struct message *m, unsigned section, uint16_t type, uint32_t ttl,
	const void *data, uint16_t len)
{
	uint8_t head[12] = {0xc0, 0x0c, (uint8_t)(type >> 8), (uint8_t)type, 0, 1,
		(uint8_t)(ttl >> 24), (uint8_t)(ttl >> 16), (uint8_t)(ttl >> 8), (uint8_t)ttl,
		(uint8_t)(len >> 8), (uint8_t)len};
	put_bytes(m, head, sizeof(head));
	put_bytes(m, data, len);
	m->bytes[7 + 2 * section]++;
}

static inline void put_opt_record(struct message *m, uint16_t size)
{
	const uint8_t opt[] = {0, 0, 41, (uint8_t)(size >> 8), (uint8_t)size, 0, 0, 0, 0, 0, 0};
	put_bytes(m, opt, sizeof(opt));
	m->bytes[11]++;
}

static inline void put_soa_record(struct message *m, uint32_t ttl, uint32_t minimum)
{
	uint8_t soa[24] = {0xc0, 0x0c, 0xc0, 0x0c};
	for (unsigned i = 0; i < 4; i++)
		soa[20 + i] = (uint8_t)(minimum >> (24 - 8 * i));
	put_record(m, 1, ns_t_soa, ttl, soa, sizeof(soa));
}

static inline unsigned rcode_of(const uint8_t *m)
{
	return m[3] & 0xf;
}

struct found {
	unsigned n;
	char text[512];
};

static inline bool note_record(void *arg, const struct dns_record *r)
{
	struct found *f = arg;
	char type[16], addr[ADDR_TEXT_LEN] = "";
	const size_t n = strlen(f->text);
	if (r->addr.family != IP_NONE)
		ip_addr_format(&r->addr, addr);
	snprintf(f->text + n, sizeof(f->text) - n, "%s%s %s %u %s%s", n ? "; " : "", r->name,
		dns_type_text(r->type, type), r->ttl_s, addr, r->target ? r->target : "");
	f->n++;
	return true;
}

// "alice.lab.test A 5 100.64.0.2; ..."
static inline struct found records_of(const uint8_t *m, size_t len)
{
	struct found f = {0};
	if (dns_answer_walk(m, len, note_record, &f) < 0)
		snprintf(f.text, sizeof(f.text), "damaged");
	return f;
}

#define DNS_TEST_SELF_KEY "nodekey:1111111111111111111111111111111111111111111111111111111111111111"
#define DNS_TEST_NODE(id, key, name, more)                                                         \
	"{\"ID\":" #id ",\"StableID\":\"n" #id "\",\"Name\":\"" name "\",\"Key\":\"nodekey:" key   \
	"\",\"DiscoKey\":\"discokey:" key "\",\"MachineAuthorized\":true," more "}"
#define DNS_TEST_KEY(c)                                                                            \
	c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c  \
		c c c c c c c c c c c c c c c c c c c

// The self node "gw", peers alice (both families), six (IPv6 alone), web (its subdomains are it);
// dns: members of DNSConfig; caps: of the self node.
static inline struct netmap *dns_netmap(const char *self_more, const char *dns)
{
	struct key own;
	struct netmap_delta delta;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	memset(&own, 0x11, sizeof(own));
	fprintf(f,
		"{\"Node\":" DNS_TEST_NODE(1, DNS_TEST_KEY("1"), "gw.lab.test.",
			"%s") ",\"Peers\":[" DNS_TEST_NODE(2, DNS_TEST_KEY("2"), "Alice.lab.test.",
			"\"Addresses\":[\"100.64.0.2/32\",\"fd7a:115c:a1e0::2/128\"]") "," DNS_TEST_NODE(3,
			DNS_TEST_KEY("3"), "six.lab.test.",
			"\"Addresses\":[\"fd7a:115c:a1e0::3/128\"]") "," DNS_TEST_NODE(4,
			DNS_TEST_KEY("4"), "web.lab.test.",
			"\"Addresses\":[\"100.64.0.4/"
			"32\"],\"CapMap\":{\"dns-subdomain-resolve\":null}") "],\"DNSConfig\":{%s}"
									     "}",
		self_more, dns);
	fclose(f);
	struct netmap *nm = netmap_create(&own);
	netmap_stream_start(nm);
	if (netmap_apply(nm, text, len, 1900000000, &delta) < 0) {
		fprintf(stderr, "%s\n%s\n", nm->error, text);
		abort();
	}
	free(text);
	return nm;
}

#define DNS_TEST_SELF "\"Addresses\":[\"100.64.0.1/32\",\"fd7a:115c:a1e0::1/128\"]"
