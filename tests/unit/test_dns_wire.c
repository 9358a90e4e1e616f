#include "tests/unit/dns_text.h"

#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

#include <errno.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

static struct dns_query read_query(const struct message *m)
{
	struct dns_query q;
	assert_int_equal(dns_query_read(m->bytes, m->len, &q), 0);
	return q;
}

static void test_query(void **)
{
	struct message m = ask_for("www.Example.com", ns_t_aaaa);
	struct dns_query q = read_query(&m);
	assert_string_equal(q.name, "www.example.com");
	assert_int_equal(q.type, ns_t_aaaa);
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.rcode, 0);
	assert_true(q.edns && q.rd && !q.cd && !q.dnssec_ok);
	assert_int_equal(q.udp_size, DNS_EDNS_ASK);
	m = ask_plainly("", ns_t_ns);
	q = read_query(&m);
	assert_string_equal(q.name, "");
	assert_int_equal(q.udp_size, DNS_UDP_MIN);
	assert_false(q.edns);
}

// What a client says of its datagrams is believed within limits.
static void test_edns_size(void **)
{
	static const struct {
		uint16_t says, is;
	} cases[] = {{0, 512}, {100, 512}, {512, 512}, {1232, 1232}, {4095, 4095}, {4096, 4095},
		{65535, 4095}};
	for (unsigned i = 0; i < N(cases); i++) {
		struct message m = ask_plainly("a.test", ns_t_a);
		put_opt_record(&m, cases[i].says);
		assert_int_equal(read_query(&m).udp_size, cases[i].is);
	}
}

static void test_query_refusals(void **)
{
	const struct message well = ask_plainly("a.test", ns_t_a);
	struct dns_query q;
	for (size_t n = 0; n < DNS_HEADER_LEN; n++)
		assert_int_equal(dns_query_read(well.bytes, n, &q), -EBADMSG);
	for (size_t n = DNS_HEADER_LEN; n < well.len; n++) {
		assert_int_equal(dns_query_read(well.bytes, n, &q), 0);
		assert_int_equal(q.rcode, ns_r_formerr);
	}
	static const struct {
		const char *name;
		size_t at;
		uint8_t value;
		int rcode; // -1: no query at all
	} cases[] = {
		{"an answer", 2, 0x80, -1},
		{"a notification", 2, 0x20, ns_r_notimpl},
		{"an update", 2, 0x28, ns_r_notimpl},
		{"no question", 5, 0, ns_r_formerr},
		{"two questions", 5, 2, ns_r_formerr},
		{"many records", 7, 200, ns_r_formerr},
		{"records that are not there", 11, 1, ns_r_formerr},
		{"another class", 12 + 8 + 3, 3, ns_r_notimpl},
		{"a zone transfer", 12 + 8 + 1, ns_t_axfr, ns_r_notimpl},
		{"part of one", 12 + 8 + 1, ns_t_ixfr, ns_r_notimpl},
		{"a pointer for a name", 12, 0xc0, ns_r_formerr},
		{"a label that is too long", 12, 64, ns_r_formerr},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		struct message m = well;
		m.bytes[cases[i].at] = cases[i].value;
		const int r = dns_query_read(m.bytes, m.len, &q);
		if (cases[i].rcode < 0 ? r != -EBADMSG : r != 0 || q.rcode != cases[i].rcode)
			fail_msg("%s: %d, rcode %u", cases[i].name, r, q.rcode);
	}
	struct message m = ask_for("a.test", ns_t_a);
	put_opt_record(&m, 1232);
	assert_int_equal(read_query(&m).rcode, ns_r_formerr); // EDNS twice
	m = ask_for("a.test", ns_t_a);
	m.bytes[m.len - 5] = 1; // version of EDNS
	assert_int_equal(read_query(&m).rcode, 16);
}

// A chain of pointers that ends nowhere must end.
static void test_loops(void **)
{
	struct message m = ask_plainly("a.test", ns_t_a);
	struct message r = reply_to(&m, 0);
	struct dns_reply reply;
	static const uint8_t loops[][4] = {
		{0xc0, 0x0c + 12}, {0xc0, 0xff}, {0xff, 0xff}, {0xc0, 24}};
	for (unsigned i = 0; i < N(loops); i++) {
		struct message bad = r;
		bad.bytes[7] = 1;
		const size_t at = bad.len;
		put_bytes(&bad, loops[i], 2);
		if (i == 3) {
			bad.bytes[at] = (uint8_t)(0xc0 | at >> 8);
			bad.bytes[at + 1] = (uint8_t)at;
		}
		put_bytes(&bad, "\0\1\0\1\0\0\0\1\0\4\1\2\3\4", 14);
		assert_int_equal(
			dns_reply_read(bad.bytes, bad.len, m.bytes, m.len, true, &reply), -EBADMSG);
		struct found f = records_of(bad.bytes, bad.len);
		assert_string_equal(f.text, "damaged");
	}
}

static void test_reply(void **)
{
	const struct message m = ask_for("a.test", ns_t_a);
	const size_t question = m.len - DNS_OPT_LEN;
	struct message r = reply_to(&m, 0);
	struct dns_reply reply;
	put_record(&r, 0, ns_t_a, 300, "\1\2\3\4", 4);
	put_record(&r, 0, ns_t_a, 60, "\1\2\3\5", 4);
	const size_t body = r.len;
	put_opt_record(&r, 1232);
	assert_int_equal(dns_reply_read(r.bytes, r.len, m.bytes, question, true, &reply), 0);
	assert_true(reply.cacheable && !reply.truncated);
	assert_int_equal(reply.ttl_s, 60);
	assert_int_equal(reply.n_ttls, 2);
	assert_int_equal(reply.body_len, body);
	assert_int_equal(reply.counts[0], 2);
	assert_int_equal(reply.counts[2], 0);
}

// How long an answer counts.
static void test_reply_ttl(void **)
{
	const struct message m = ask_plainly("a.test", ns_t_a);
	static const struct {
		const char *name;
		unsigned rcode;
		int64_t ttl, soa_ttl, minimum; // -1: no such record
		bool truncated, cacheable;
		uint32_t expected;
	} cases[] = {
		{"an answer", 0, 30, -1, -1, false, true, 30},
		{"for ever", 0, 0x7fffffff, -1, -1, false, true, DNS_TTL_MAX_S},
		{"for no time", 0, 0, -1, -1, false, false, 0},
		{"cut", 0, 30, -1, -1, true, false, 30},
		{"no such name", 3, -1, 100, 20, false, true, 20},
		{"no such name, a short SOA", 3, -1, 10, 20, false, true, 10},
		{"no such name, for a week", 3, -1, 604800, 604800, false, true,
			DNS_NEGATIVE_MAX_S},
		{"no such name, nobody says for how long", 3, -1, -1, -1, false, false, 0},
		{"no such type", 0, -1, 100, 20, false, true, 20},
		{"no such type, without SOA", 0, -1, -1, -1, false, false, 0},
		{"a failure", 2, -1, 100, 20, false, false, 0},
		{"a refusal", 5, 30, -1, -1, false, false, 0},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		struct message r = reply_to(&m, cases[i].rcode);
		struct dns_reply reply;
		if (cases[i].ttl >= 0)
			put_record(&r, 0, ns_t_a, (uint32_t)cases[i].ttl, "\1\2\3\4", 4);
		if (cases[i].soa_ttl >= 0)
			put_soa_record(&r, (uint32_t)cases[i].soa_ttl, (uint32_t)cases[i].minimum);
		if (cases[i].truncated)
			r.bytes[2] |= 2;
		assert_int_equal(dns_reply_read(r.bytes, r.len, m.bytes, m.len, true, &reply), 0);
		if (reply.cacheable != cases[i].cacheable ||
			(reply.cacheable && reply.ttl_s != cases[i].expected))
			fail_msg("%s: %d, %u s", cases[i].name, reply.cacheable, reply.ttl_s);
	}
}

// What somebody else says, or says to something else.
static void test_reply_refusals(void **)
{
	const struct message m = ask_plainly("a.test", ns_t_a);
	struct message well = reply_to(&m, 0);
	put_record(&well, 0, ns_t_a, 30, "\1\2\3\4", 4);
	struct dns_reply reply;
	for (size_t n = 0; n < well.len; n++)
		assert_int_equal(
			dns_reply_read(well.bytes, n, m.bytes, m.len, true, &reply), -EBADMSG);
	static const struct {
		const char *name;
		size_t at;
		uint8_t value;
	} cases[] = {
		{"another ID", 1, 0x35},
		{"a query", 2, 0x01},
		{"another opcode", 2, 0x90},
		{"no question", 5, 0},
		{"another letter", 13, 'b'},
		{"a letter of the other case", 13, 'A'},
		{"another type", 12 + 8 + 1, ns_t_aaaa},
		{"another class", 12 + 8 + 3, 3},
		{"more records than there are", 7, 2},
		{"records without end", 6, 0xff},
		{"data that goes on behind the end", 12 + 12 + 11, 5},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		struct message r = well;
		r.bytes[cases[i].at] = cases[i].value;
		if (dns_reply_read(r.bytes, r.len, m.bytes, m.len, true, &reply) != -EBADMSG)
			fail_msg("%s: taken", cases[i].name);
	}
	well.bytes[13] = 'A'; // over TCP nobody guesses
	assert_int_equal(dns_reply_read(well.bytes, well.len, m.bytes, m.len, false, &reply), 0);
	well.bytes[12 + 8 + 1] ^= 0x20; // a type is no letter
	assert_int_equal(
		dns_reply_read(well.bytes, well.len, m.bytes, m.len, false, &reply), -EBADMSG);
}

static void test_copy(void **)
{
	struct message asked = ask_for("a.test", ns_t_a);
	const size_t question = asked.len - DNS_OPT_LEN;
	struct message r = reply_to(&asked, 0);
	struct dns_reply reply;
	uint8_t out[DNS_TEST_MAX];
	put_record(&r, 0, ns_t_a, 300, "\1\2\3\4", 4);
	put_opt_record(&r, 1232);
	assert_int_equal(dns_reply_read(r.bytes, r.len, asked.bytes, question, true, &reply), 0);

	struct message client = ask_plainly("a.test", ns_t_a);
	client.bytes[0] = 0x77;
	client.bytes[13] = 'A';
	struct dns_query q = read_query(&client);
	size_t n = dns_answer_copy(out, 512, client.bytes, &q, r.bytes, &reply, 100);
	assert_int_equal(out[0], 0x77);
	assert_int_equal(out[13], 'A');
	assert_int_equal(out[11], 0); // no EDNS: the client has none
	assert_string_equal(records_of(out, n).text, "a.test A 200 1.2.3.4");
	n = dns_answer_copy(out, 512, client.bytes, &q, r.bytes, &reply, 1000);
	assert_string_equal(records_of(out, n).text, "a.test A 0 1.2.3.4");

	client = ask_for("a.test", ns_t_a);
	q = read_query(&client);
	n = dns_answer_copy(out, 512, client.bytes, &q, r.bytes, &reply, 0);
	assert_int_equal(out[11], 1);
	assert_string_equal(records_of(out, n).text, "a.test A 300 1.2.3.4");
}

// What does not fit is left out as a whole, and the client told.
static void test_copy_cut(void **)
{
	const struct message asked = ask_plainly("a.test", ns_t_txt);
	struct message r = reply_to(&asked, 0);
	struct dns_reply reply;
	uint8_t out[DNS_TEST_MAX], data[256];
	memset(data, 'x', sizeof(data));
	data[0] = 255;
	for (unsigned i = 0; i < 4; i++)
		put_record(&r, 0, ns_t_txt, 300, data, sizeof(data));
	assert_int_equal(dns_reply_read(r.bytes, r.len, asked.bytes, asked.len, true, &reply), 0);
	struct dns_query q = read_query(&asked);
	size_t n = dns_answer_copy(out, 512, asked.bytes, &q, r.bytes, &reply, 0);
	assert_int_equal(n, asked.len);
	assert_true(out[2] & 2);
	assert_int_equal(records_of(out, n).n, 0);
	n = dns_answer_copy(out, r.len, asked.bytes, &q, r.bytes, &reply, 0);
	assert_int_equal(n, r.len);
	assert_false(out[2] & 2);
	// The OPT record needs its place, too.
	struct message edns = ask_for("a.test", ns_t_txt);
	q = read_query(&edns);
	n = dns_answer_copy(out, r.len + DNS_OPT_LEN - 1, edns.bytes, &q, r.bytes, &reply, 0);
	assert_true(out[2] & 2);
	n = dns_answer_copy(out, r.len + DNS_OPT_LEN, edns.bytes, &q, r.bytes, &reply, 0);
	assert_false(out[2] & 2);
	assert_int_equal(n, r.len + DNS_OPT_LEN);
}

static void test_question_letters(void **)
{
	uint8_t mix[32], m[64];
	memset(mix, 0xff, sizeof(mix));
	assert_true(dns_question_write(m, sizeof(m), 1, "a-b.test", ns_t_a, false, false, mix) > 0);
	assert_memory_equal(m + 12, "\3A-B\4TEST", 10);
	memset(mix, 0x01, sizeof(mix));
	assert_true(dns_question_write(m, sizeof(m), 1, "abc.test", ns_t_a, false, false, mix) > 0);
	assert_memory_equal(m + 12, "\3Abc\4test", 10);
	assert_int_equal(dns_question_write(m, sizeof(m), 1, "a..b", ns_t_a, false, false, mix), 0);
	assert_int_equal(dns_question_write(m, 20, 1, "a.test", ns_t_a, false, false, mix), 0);
	char longest[300];
	memset(longest, 'a', sizeof(longest));
	longest[64] = '\0';
	assert_int_equal(
		dns_question_write(m, sizeof(m), 1, longest, ns_t_a, false, false, mix), 0);
}

static void test_within(void **)
{
	static const struct {
		const char *name, *suffix;
		bool within;
	} cases[] = {
		{"a.b.c", "c", true},
		{"a.b.c", "b.c", true},
		{"a.b.c", "a.b.c", true},
		{"a.b.c", "", true},
		{"", "", true},
		{"", "c", false},
		{"a.bb.c", "b.c", false},
		{"c", "b.c", false},
		{"a.b.c", "a.b", false},
	};
	for (unsigned i = 0; i < N(cases); i++)
		if (dns_name_within(cases[i].name, cases[i].suffix) != cases[i].within)
			fail_msg("%s in %s", cases[i].name, cases[i].suffix);
}

static void test_reverse(void **)
{
	static const struct {
		const char *name, *address; // "": none
	} cases[] = {
		{"2.0.64.100.in-addr.arpa", "100.64.0.2"},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa",
			"fd7a:115c:a1e0::2"},
		{"0.64.100.in-addr.arpa", ""},
		{"1.2.0.64.100.in-addr.arpa", ""},
		{"256.0.64.100.in-addr.arpa", ""},
		{"in-addr.arpa", ""},
		{".in-addr.arpa", ""},
		{"x.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa", ""},
		{"2.0.0.ip6.arpa", ""},
		{"200.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa", ""},
		{"alice.lab.test", ""},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char text[ADDR_TEXT_LEN] = "";
		const struct ip_addr a = dns_reverse_read(cases[i].name);
		if (a.family != IP_NONE)
			ip_addr_format(&a, text);
		assert_string_equal(text, cases[i].address);
	}
}

static void test_names_and_types(void **)
{
	char name[DNS_NAME_LEN], text[300], type[16];
	assert_int_equal(dns_name_read("Alice.Lab.Test.", name), 0);
	assert_string_equal(name, "alice.lab.test");
	assert_int_equal(dns_name_read(".", name), 0);
	assert_string_equal(name, "");
	assert_int_equal(dns_name_read("", name), -EINVAL);
	assert_int_equal(dns_name_read("a..b", name), -EINVAL);
	memset(text, 'a', sizeof(text));
	text[299] = '\0';
	assert_int_equal(dns_name_read(text, name), -EINVAL);
	assert_int_equal(dns_type_read("aaaa"), ns_t_aaaa);
	assert_int_equal(dns_type_read("ALL"), ns_t_any);
	assert_int_equal(dns_type_read("TYPE65"), 65);
	assert_int_equal(dns_type_read("TYPE65536"), 0);
	assert_int_equal(dns_type_read("TYPE-1"), 0);
	assert_int_equal(dns_type_read("TYPE"), 0);
	assert_int_equal(dns_type_read("BOGUS"), 0);
	assert_string_equal(dns_type_text(65, type), "HTTPS");
	assert_string_equal(dns_type_text(9999, type), "TYPE9999");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_edns_size),
		cmocka_unit_test(test_query_refusals),
		cmocka_unit_test(test_loops),
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_reply_ttl),
		cmocka_unit_test(test_reply_refusals),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_copy_cut),
		cmocka_unit_test(test_question_letters),
		cmocka_unit_test(test_within),
		cmocka_unit_test(test_reverse),
		cmocka_unit_test(test_names_and_types),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
