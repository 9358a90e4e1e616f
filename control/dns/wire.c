#include "control/dns/wire.h"

#include <ctype.h>
#include <errno.h>
#include <resolv.h>
#include <rte_common.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
	FLAG_QR = 0x80, // of byte 2
	FLAG_AA = 0x04,
	FLAG_TC = 0x02,
	FLAG_RD = 0x01,
	FLAG_RA = 0x80, // of byte 3
	FLAG_AD = 0x20,
	FLAG_CD = 0x10,
	OPT_DO = 0x8000, // of the OPT record's TTL
	POINTER_TO_QUESTION = 0xc000 | DNS_HEADER_LEN,
	BADVERS = 16,
};

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

// Names of records end without a dot, the root's is ".".
static void plain(const char *from, char to[static DNS_NAME_LEN])
{
	snprintf(to, DNS_NAME_LEN, "%s", strcmp(from, ".") == 0 ? "" : from);
	lower(to);
}

static bool read_question(ns_msg *m, struct dns_query *q)
{
	ns_rr rr;

	if (ns_msg_count(*m, ns_s_qd) != 1 || ns_parserr(m, ns_s_qd, 0, &rr) < 0)
		return false;
	plain(ns_rr_name(rr), q->name);
	q->type = ns_rr_type(rr);
	const uint8_t *end = ns_msg_base(*m) + DNS_HEADER_LEN;
	for (; *end; end += *end + 1) // it is copied into the answer: no pointers
		if (*end > NS_MAXLABEL)
			return false;
	q->question_len = (uint16_t)(end + 5 - ns_msg_base(*m) - DNS_HEADER_LEN);
	if (ns_rr_class(rr) != ns_c_in || q->type == ns_t_axfr || q->type == ns_t_ixfr)
		q->rcode = ns_r_notimpl;
	return true;
}

static bool read_edns(ns_msg *m, struct dns_query *q)
{
	ns_rr rr;

	for (int i = 0; i < ns_msg_count(*m, ns_s_ar); i++) {
		if (ns_parserr(m, ns_s_ar, i, &rr) < 0)
			return false;
		if (ns_rr_type(rr) != ns_t_opt)
			continue;
		if (q->edns || strcmp(ns_rr_name(rr), ".") != 0)
			return false;
		q->edns = true;
		q->dnssec_ok = ns_rr_ttl(rr) & OPT_DO;
		const unsigned size = ns_rr_class(rr) + 0U;
		q->udp_size = (uint16_t)RTE_MIN(RTE_MAX(size, DNS_UDP_MIN + 0U), DNS_UDP_MAX + 0U);
		if ((ns_rr_ttl(rr) >> 16 & 0xff) != 0)
			q->rcode = BADVERS;
	}
	return true;
}

int dns_query_read(const uint8_t *message, size_t len, struct dns_query *q)
{
	ns_msg m;

	*q = (struct dns_query){.udp_size = DNS_UDP_MIN};
	if (len < DNS_HEADER_LEN || len > UINT16_MAX || (message[2] & FLAG_QR))
		return -EBADMSG;
	q->id = (uint16_t)get16(message);
	q->rd = message[2] & FLAG_RD;
	q->cd = message[3] & FLAG_CD;
	if ((message[2] >> 3 & 0xf) != ns_o_query) {
		q->rcode = ns_r_notimpl;
		return 0;
	}
	// Records are few in a query; many of them would only cost time.
	if (get16(message + 6) + get16(message + 8) + get16(message + 10) > 16 ||
		ns_initparse(message, (int)len, &m) < 0 || !read_question(&m, q) ||
		!read_edns(&m, q)) {
		q->rcode = ns_r_formerr;
		q->edns = false;
	}
	return 0;
}

// TTLs and where they are. What follows the OPT record, at the end as a rule, is left out with it.
static bool read_records(ns_msg *m, struct dns_reply *r, uint32_t *soa_ttl, bool *answered)
{
	bool past_opt = false;
	ns_rr rr;

	r->ttl_s = DNS_TTL_MAX_S;
	r->body_len = (size_t)(DNS_HEADER_LEN + r->question_len);
	for (int s = ns_s_an; s <= ns_s_ar; s++)
		for (int i = 0; i < ns_msg_count(*m, s); i++) {
			if (ns_parserr(m, s, i, &rr) < 0)
				return false;
			if (ns_rr_type(rr) == ns_t_opt || ns_rr_type(rr) == ns_t_tsig)
				past_opt = true;
			if (past_opt)
				continue;
			const uint8_t *data = ns_rr_rdata(rr);
			r->ttl_at[r->n_ttls++] = (uint16_t)(data - ns_msg_base(*m) - 6);
			r->body_len = (size_t)(data + ns_rr_rdlen(rr) - ns_msg_base(*m));
			r->counts[s - ns_s_an]++;
			*answered |= s == ns_s_an;
			if (ns_rr_ttl(rr) < r->ttl_s)
				r->ttl_s = ns_rr_ttl(rr);
			if (s != ns_s_ns || ns_rr_type(rr) != ns_t_soa || ns_rr_rdlen(rr) < 22)
				continue;
			const uint32_t least = (uint32_t)ns_get32(data + ns_rr_rdlen(rr) - 4);
			*soa_ttl = least < ns_rr_ttl(rr) ? least : ns_rr_ttl(rr);
		}
	return true;
}

// ID, name, type and class. Lengths of labels are below the letters, type and class no letters'
// business.
static bool same_question(
	const uint8_t *message, size_t len, const uint8_t *question, size_t n, bool same_case)
{
	const uint8_t *a = message + DNS_HEADER_LEN, *b = question + DNS_HEADER_LEN;

	if (len < n || get16(message) != get16(question) || get16(message + 4) != 1)
		return false;
	n -= DNS_HEADER_LEN;
	for (size_t i = 0; i < n && !same_case; i++)
		if (tolower(a[i]) != tolower(b[i]) || (i + 4 >= n && a[i] != b[i]))
			return false;
	return !same_case || memcmp(a, b, n) == 0;
}

int dns_reply_read(const uint8_t *message, size_t len, const uint8_t *question, size_t question_len,
	bool same_case, struct dns_reply *r)
{
	uint32_t soa_ttl = UINT32_MAX;
	bool answered = false;
	ns_msg m;

	memset(r, 0, offsetof(struct dns_reply, ttl_at));
	if (len < DNS_HEADER_LEN || len > UINT16_MAX || !(message[2] & FLAG_QR) ||
		(message[2] >> 3 & 0xf) != ns_o_query ||
		!same_question(message, len, question, question_len, same_case) ||
		get16(message + 6) + get16(message + 8) + get16(message + 10) > DNS_RECORDS_MAX ||
		ns_initparse(message, (int)len, &m) < 0)
		return -EBADMSG;
	r->len = len;
	r->rcode = message[3] & 0xf;
	r->truncated = message[2] & FLAG_TC;
	r->authentic = message[3] & FLAG_AD;
	r->question_len = (uint16_t)(question_len - DNS_HEADER_LEN);
	if (!read_records(&m, r, &soa_ttl, &answered))
		return -EBADMSG;
	if (r->rcode == ns_r_nxdomain || (r->rcode == ns_r_noerror && !answered)) {
		r->cacheable = soa_ttl != UINT32_MAX; // RFC 2308, 5
		r->ttl_s = soa_ttl < r->ttl_s ? soa_ttl : r->ttl_s;
		r->ttl_s = r->ttl_s < DNS_NEGATIVE_MAX_S ? r->ttl_s : DNS_NEGATIVE_MAX_S;
	} else {
		r->cacheable = r->rcode == ns_r_noerror;
	}
	r->cacheable &= !r->truncated && r->ttl_s > 0;
	return 0;
}

static bool read_record(ns_msg *m, const ns_rr *rr, struct dns_record *out,
	char name[static DNS_NAME_LEN], char target[static DNS_NAME_LEN])
{
	char raw[DNS_NAME_LEN];

	plain(ns_rr_name(*rr), name);
	*out = (struct dns_record){.name = name, .type = ns_rr_type(*rr), .ttl_s = ns_rr_ttl(*rr)};
	if (out->type == ns_t_a && ns_rr_rdlen(*rr) == 4)
		out->addr = ip_addr_v4(ns_rr_rdata(*rr));
	if (out->type == ns_t_aaaa && ns_rr_rdlen(*rr) == 16)
		out->addr = ip_addr_v6(ns_rr_rdata(*rr));
	if (out->type != ns_t_cname)
		return true;
	if (ns_name_uncompress(
		    ns_msg_base(*m), ns_msg_end(*m), ns_rr_rdata(*rr), raw, sizeof(raw)) < 0)
		return false;
	plain(raw, target);
	out->target = target;
	return true;
}

int dns_answer_walk(const uint8_t *message, size_t len,
	bool (*fn)(void *arg, const struct dns_record *), void *arg)
{
	char name[DNS_NAME_LEN], target[DNS_NAME_LEN];
	struct dns_record record;
	ns_msg m;
	ns_rr rr;

	if (len < DNS_HEADER_LEN || len > UINT16_MAX || get16(message + 6) > DNS_RECORDS_MAX ||
		ns_initparse(message, (int)len, &m) < 0)
		return -EBADMSG;
	for (int i = 0; i < ns_msg_count(m, ns_s_an); i++) {
		if (ns_parserr(&m, ns_s_an, i, &rr) < 0 ||
			!read_record(&m, &rr, &record, name, target))
			return -EBADMSG;
		if (!fn(arg, &record))
			break;
	}
	return 0;
}

// -- making ---------------------------------------------------------------------------------------

static void put(struct dns_writer *w, const void *bytes, size_t n)
{
	if (w->room - w->len < n) {
		w->full = true;
		return;
	}
	memcpy(w->at + w->len, bytes, n);
	w->len += n;
}

static void put16(struct dns_writer *w, unsigned v)
{
	const uint8_t bytes[] = {(uint8_t)(v >> 8), (uint8_t)v};
	put(w, bytes, sizeof(bytes));
}

static void put32(struct dns_writer *w, uint32_t v)
{
	put16(w, v >> 16);
	put16(w, v & 0xffff);
}

static bool put_name(struct dns_writer *w, const char *name)
{
	unsigned char bytes[NS_MAXCDNAME + 1];

	if (ns_name_pton(*name ? name : ".", bytes, sizeof(bytes)) < 0)
		return false;
	const unsigned char *end = bytes;
	if (ns_name_skip(&end, bytes + sizeof(bytes)) < 0)
		return false;
	put(w, bytes, (size_t)(end - bytes));
	return true;
}

static void count(struct dns_writer *w, size_t at)
{
	const unsigned n = get16(w->at + at) + 1;

	w->at[at] = (uint8_t)(n >> 8);
	w->at[at + 1] = (uint8_t)n;
}

static void put_opt(struct dns_writer *w, unsigned size, unsigned rcode, bool dnssec_ok)
{
	put(w, "", 1); // the root
	put16(w, ns_t_opt);
	put16(w, size);
	put32(w, (uint32_t)(rcode >> 4) << 24 | (dnssec_ok ? OPT_DO : 0));
	put16(w, 0);
	if (!w->full)
		count(w, 10);
}

// By the wire's labels, so that escapes do not count as letters.
static void shuffle_case(uint8_t *name, const uint8_t mix[32])
{
	unsigned i = 0;

	for (; *name; name += *name + 1)
		for (unsigned j = 1; j <= *name; j++, i++)
			if (isalpha(name[j]))
				name[j] =
					(uint8_t)(mix[i / 8 % 32] >> i % 8 & 1 ? toupper(name[j])
									       : tolower(name[j]));
}

size_t dns_question_write(uint8_t *to, size_t room, uint16_t id, const char *name, uint16_t type,
	bool cd, bool dnssec_ok, const uint8_t mix[32])
{
	struct dns_writer w = {.at = to, .room = room};
	const uint8_t head[8] = {FLAG_RD, cd ? FLAG_CD : 0, 0, 1};

	put16(&w, id);
	put(&w, head, sizeof(head));
	put16(&w, 0);
	if (!put_name(&w, name) || w.full)
		return 0;
	shuffle_case(to + DNS_HEADER_LEN, mix);
	put16(&w, type);
	put16(&w, ns_c_in);
	put_opt(&w, DNS_EDNS_ASK, 0, dnssec_ok);
	return w.full ? 0 : w.len;
}

void dns_answer_begin(struct dns_writer *w, uint8_t *to, size_t room, const uint8_t *query,
	const struct dns_query *q, unsigned rcode, bool authoritative)
{
	*w = (struct dns_writer){.at = to, .room = room};
	memset(to, 0, DNS_HEADER_LEN);
	w->len = DNS_HEADER_LEN;
	memcpy(to, query, 2);
	to[2] = (uint8_t)(FLAG_QR | (query[2] & 0x78) | (authoritative ? FLAG_AA : 0) |
			  (q->rd ? FLAG_RD : 0));
	to[3] = (uint8_t)((q->rd ? FLAG_RA : 0) | (q->cd ? FLAG_CD : 0) | (rcode & 0xf));
	put(w, query + DNS_HEADER_LEN, q->question_len);
	if (q->question_len && !w->full)
		count(w, 4);
}

// A record of the question's name. Returns where the length of its data goes.
static size_t put_record(struct dns_writer *w, uint16_t type, uint32_t ttl_s)
{
	put16(w, POINTER_TO_QUESTION);
	put16(w, type);
	put16(w, ns_c_in);
	put32(w, ttl_s);
	put16(w, 0);
	return w->len - 2;
}

static void end_record(struct dns_writer *w, size_t len_at, size_t count_at)
{
	if (w->full)
		return;
	const size_t n = w->len - len_at - 2;
	w->at[len_at] = (uint8_t)(n >> 8);
	w->at[len_at + 1] = (uint8_t)n;
	count(w, count_at);
}

void dns_answer_address(struct dns_writer *w, const struct ip_addr *a)
{
	const bool v4 = a->family == IP_V4;
	const size_t len_at = put_record(w, v4 ? ns_t_a : ns_t_aaaa, DNS_LOCAL_TTL_S);

	put(w, a->bytes, v4 ? 4 : 16);
	end_record(w, len_at, 6);
}

void dns_answer_ptr(struct dns_writer *w, const char *target)
{
	const size_t start = w->len, len_at = put_record(w, ns_t_ptr, DNS_LOCAL_TTL_S);

	if (put_name(w, target))
		end_record(w, len_at, 6);
	else
		w->len = start;
}

void dns_answer_soa(struct dns_writer *w, const char *zone, uint32_t serial)
{
	const size_t start = w->len;

	if (!put_name(w, zone))
		return;
	put16(w, ns_t_soa);
	put16(w, ns_c_in);
	put32(w, DNS_NEGATIVE_TTL_S);
	put16(w, 0);
	const size_t len_at = w->len - 2;
	if (!put_name(w, zone) || !put_name(w, zone)) {
		w->len = start;
		return;
	}
	put32(w, serial);
	for (unsigned i = 0; i < 4; i++) // refresh, retry, expire, minimum
		put32(w, DNS_NEGATIVE_TTL_S);
	end_record(w, len_at, 8);
}

// Only the question is left, and the client asks again over TCP.
static void cut(struct dns_writer *w, const struct dns_query *q)
{
	w->full = false;
	w->len = (size_t)(DNS_HEADER_LEN + q->question_len);
	memset(w->at + 6, 0, 6);
	w->at[2] |= FLAG_TC;
}

size_t dns_answer_end(struct dns_writer *w, const struct dns_query *q, unsigned rcode)
{
	if (w->full || (q->edns && w->room - w->len < DNS_OPT_LEN))
		cut(w, q);
	if (q->edns)
		put_opt(w, DNS_UDP_MAX, rcode, q->dnssec_ok);
	return w->len;
}

static void age_ttl(uint8_t *at, uint32_t age_s)
{
	uint32_t ttl = (uint32_t)ns_get32(at);

	ttl = ttl > DNS_TTL_MAX_S ? DNS_TTL_MAX_S : ttl;
	ns_put32(ttl > age_s ? ttl - age_s : 0, at);
}

size_t dns_answer_copy(uint8_t *to, size_t room, const uint8_t *query, const struct dns_query *q,
	const uint8_t *message, const struct dns_reply *r, uint32_t age_s)
{
	struct dns_writer w;

	dns_answer_begin(&w, to, room, query, q, r->rcode, false);
	if (r->authentic && (q->dnssec_ok || (query[3] & FLAG_AD)))
		to[3] |= FLAG_AD;
	if (r->question_len != q->question_len || r->truncated) {
		w.full = true;
		return dns_answer_end(&w, q, r->rcode);
	}
	const size_t start = (size_t)(DNS_HEADER_LEN + r->question_len);
	put(&w, message + start, r->body_len - start);
	if (!w.full) {
		for (unsigned i = 0; i < 3; i++)
			ns_put16(r->counts[i], to + 6 + 2 * i);
		for (unsigned i = 0; i < r->n_ttls; i++)
			age_ttl(to + r->ttl_at[i], age_s);
	}
	return dns_answer_end(&w, q, r->rcode);
}
