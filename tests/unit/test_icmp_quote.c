// What routers say of packets that are too large: read, and everything else refused.
#include "tests/unit/vectors.h"

#include <errno.h>

#include "dataplane/wire/csum.h"
#include "dataplane/wire/icmp_quote.h"

enum { MAX = 600, PAYLOAD = 24 };

// An error, then what a case does to it.
struct error {
	uint8_t bytes[MAX];
	size_t len;
	uint8_t *icmp, *quote, *udp; // in bytes
	bool v4;
};

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void finish(struct error *e)
{
	size_t l3_len = (size_t)(e->icmp - e->bytes), icmp_len = e->len - l3_len;
	uint64_t sum = 0;
	if (e->v4) {
		put16(e->bytes + 2, (uint16_t)e->len);
		csum_ip4_hdr_set(e->bytes, (uint32_t)l3_len);
	} else {
		put16(e->bytes + 4, (uint16_t)icmp_len);
		sum = csum_pseudo6(e->bytes, IPPROTO_ICMPV6, (uint32_t)icmp_len);
	}
	memset(e->icmp + 2, 0, 2);
	uint16_t csum = csum_finish(csum_add(e->icmp, (uint32_t)icmp_len, sum));
	memcpy(e->icmp + 2, &csum, 2);
}

// From 192.0.2.9 to 192.0.2.1 about 192.0.2.1:41641 to 198.51.100.2:51820; 2001:db8:: likewise.
static void put_ip(uint8_t *l3, bool v4, uint8_t from, uint8_t to, uint8_t proto, uint16_t payload)
{
	static const uint8_t net4[2][3] = {{192, 0, 2}, {198, 51, 100}};
	if (v4) {
		l3[0] = 0x45;
		put16(l3 + 2, (uint16_t)(IP4_HDR_LEN + payload));
		l3[8] = 64;
		l3[9] = proto;
		memcpy(l3 + 12, net4[0], 3);
		memcpy(l3 + 16, net4[to == 2], 3);
		l3[15] = from;
		l3[19] = to;
		return;
	}
	l3[0] = 0x60;
	put16(l3 + 4, payload);
	l3[6] = proto;
	l3[7] = 64;
	memcpy(l3 + 8, (uint8_t[]){0x20, 1, 0xd, 0xb8}, 4);
	memcpy(l3 + 24, (uint8_t[]){0x20, 1, 0xd, 0xb8}, 4);
	l3[23] = from;
	l3[39] = to;
}

static struct error *error_of(struct error *e, bool v4)
{
	size_t l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	*e = (struct error){.len = 2 * l3_len + 8 + UDP_HDR_LEN + PAYLOAD, .v4 = v4};
	e->icmp = e->bytes + l3_len;
	e->quote = e->icmp + 8;
	e->udp = e->quote + l3_len;
	put_ip(e->bytes, v4, 9, 1, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, (uint16_t)(e->len - l3_len));
	put_ip(e->quote, v4, 1, 2, IPPROTO_UDP, 1480);
	if (v4)
		e->quote[6] = 0x40; // DF
	e->icmp[0] = v4 ? 3 : 2;
	e->icmp[1] = v4 ? 4 : 0;
	put16(e->icmp + 6, 1400);
	put16(e->udp, 41641);
	put16(e->udp + 2, 51820);
	for (unsigned i = 0; i < PAYLOAD; i++)
		e->udp[UDP_HDR_LEN + i] = (uint8_t)i;
	finish(e);
	return e;
}

static int read_error(const struct error *e, struct icmp_quote *out)
{
	uint8_t *exact = malloc(e->len ? e->len : 1); // so that sanitizers see what lies behind
	memcpy(exact, e->bytes, e->len);
	int rc = icmp_quote_read(exact, e->len, out);
	if (rc == 0)
		out->payload = e->bytes + (out->payload - exact);
	free(exact);
	return rc;
}

static void test_read(void **)
{
	for (unsigned v4 = 0; v4 < 2; v4++) {
		struct error e;
		struct icmp_quote q;
		char from[ENDPOINT_TEXT_LEN], to[ENDPOINT_TEXT_LEN];
		assert_int_equal(read_error(error_of(&e, v4), &q), 0);
		assert_int_equal(q.mtu, 1400);
		assert_false(q.may_cut);
		assert_int_equal(q.total_len, v4 ? 1500 : 1520);
		assert_string_equal(endpoint_format(&q.from, from),
			v4 ? "192.0.2.1:41641" : "[2001:db8::1]:41641");
		assert_string_equal(endpoint_format(&q.to, to),
			v4 ? "198.51.100.2:51820" : "[2001:db8::2]:51820");
		assert_int_equal(q.len, PAYLOAD);
		assert_ptr_equal(q.payload, e.udp + UDP_HDR_LEN);
		// Ethernet's padding behind it is not quoted.
		e.len += 6;
		assert_int_equal(read_error(&e, &q), 0);
		assert_int_equal(q.len, PAYLOAD);
	}
}

// Each with the checksum set right again afterwards, unless it says otherwise.
static const struct {
	const char *name;
	int family; // 4, 6; 0: both
	int want;
	size_t cut;  // bytes at the end
	char where;  // i ICMP, q quote, u its UDP, l header; 0: nothing is changed
	unsigned at; // there
	uint8_t value;
	bool keep_sum;
} refusals[] = {
	{"another type", 0, -ENOMSG, 0, 'i', 0, 11, false},
	{"host unreachable", 4, -ENOMSG, 0, 'i', 1, 1, false},
	{"a code that is not defined", 6, -ENOMSG, 0, 'i', 1, 1, false},
	{"not ICMP", 4, -ENOMSG, 0, 'l', 9, IPPROTO_UDP, false},
	{"the other ICMP", 4, -ENOMSG, 0, 'l', 9, IPPROTO_ICMPV6, false},
	{"the other ICMP", 6, -EBADMSG, 0, 'l', 6, IPPROTO_ICMP, true}, // checksum, or no message
	{"a fragment", 4, -ENOMSG, 0, 'l', 6, 0x20, false},
	{"a wrong checksum", 0, -EBADMSG, 0, 'i', 2, 0x55, true},
	{"a damaged quote", 0, -EBADMSG, 0, 'u', 9, 0xee, true},
	{"a quote of TCP", 4, -EPROTONOSUPPORT, 0, 'q', 9, IPPROTO_TCP, false},
	{"a quote of TCP", 6, -EPROTONOSUPPORT, 0, 'q', 6, IPPROTO_TCP, false},
	{"a quote of a fragment header", 6, -EPROTONOSUPPORT, 0, 'q', 6, IPPROTO_FRAGMENT, false},
	{"a quote of a first fragment", 4, -EPROTONOSUPPORT, 0, 'q', 6, 0x60, false},
	{"a quote of a later fragment", 4, -EPROTONOSUPPORT, 0, 'q', 7, 0x08, false},
	{"a quote of the other version", 4, -EBADMSG, 0, 'q', 0, 0x65, false},
	{"a quote of the other version", 6, -EBADMSG, 0, 'q', 0, 0x45, false},
	{"a quote with too short a header", 4, -EBADMSG, 0, 'q', 0, 0x44, false},
	{"a quote whose options are not there", 4, -EBADMSG, 0, 'q', 0, 0x4f, false},
	{"a quote without ports", 0, -EBADMSG, PAYLOAD + UDP_HDR_LEN, 0, 0, 0, false},
	{"a quote cut in UDP's header", 0, -EBADMSG, PAYLOAD + 1, 0, 0, 0, false},
	{"a quote cut in its IP header", 0, -EBADMSG, PAYLOAD + UDP_HDR_LEN + 10, 0, 0, 0, false},
	{"no quote", 4, -EBADMSG, PAYLOAD + UDP_HDR_LEN + IP4_HDR_LEN, 0, 0, 0, false},
	{"no quote", 6, -EBADMSG, PAYLOAD + UDP_HDR_LEN + IP6_HDR_LEN, 0, 0, 0, false},
	{"cut in ICMP's header", 4, -EBADMSG, PAYLOAD + UDP_HDR_LEN + IP4_HDR_LEN + 4, 0, 0, 0,
		false},
};

static void refuse(unsigned i, bool v4)
{
	struct error e;
	struct icmp_quote q;
	error_of(&e, v4);
	uint8_t *where = refusals[i].where == 'i'   ? e.icmp
			 : refusals[i].where == 'q' ? e.quote
			 : refusals[i].where == 'u' ? e.udp
						    : e.bytes;
	if (refusals[i].where)
		where[refusals[i].at] = refusals[i].value;
	e.len -= refusals[i].cut;
	if (!refusals[i].keep_sum)
		finish(&e);
	int rc = read_error(&e, &q);
	if (rc != refusals[i].want &&
		!(refusals[i].want == -EBADMSG && rc == -ENOMSG && refusals[i].where == 'l'))
		fail_msg("%s, IPv%d: %d", refusals[i].name, v4 ? 4 : 6, rc);
}

static void test_refusals(void **)
{
	for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		if (refusals[i].family != 6)
			refuse(i, true);
		if (refusals[i].family != 4)
			refuse(i, false);
	}
}

static void test_mtu(void **)
{
	struct error e;
	struct icmp_quote q;
	for (unsigned v4 = 0; v4 < 2; v4++) {
		error_of(&e, v4);
		put16(e.icmp + 6, 0); // as before RFC 1191: says nothing
		finish(&e);
		assert_int_equal(read_error(&e, &q), -EBADMSG);
	}
	error_of(&e, false);
	memset(e.icmp + 4, 0xff, 4); // whether it can be is the caller's affair
	finish(&e);
	assert_int_equal(read_error(&e, &q), 0);
	assert_int_equal(q.mtu, UINT32_MAX);
	error_of(&e, true);
	e.quote[6] = 0; // no DF
	finish(&e);
	assert_int_equal(read_error(&e, &q), 0);
	assert_true(q.may_cut);
}

static void test_every_length(void **)
{
	struct error e;
	struct icmp_quote q;
	for (unsigned v4 = 0; v4 < 2; v4++) {
		for (size_t len = 0; len < error_of(&e, v4)->len; len++) {
			e.len = len;
			assert_int_not_equal(read_error(&e, &q), 0);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_mtu),
		cmocka_unit_test(test_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
