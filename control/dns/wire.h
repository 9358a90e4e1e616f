// DNS messages in memory. glibc's resolver library (arpa/nameser.h) takes them apart and compresses
// names; nothing is allocated. Pure. Sources: RFC 1035, 2308, 6891.
#pragma once

#include <arpa/nameser.h>

#include "dataplane/base/types.h"

enum {
	DNS_HEADER_LEN = 12,
	DNS_NAME_LEN = 1025,	 // NS_MAXDNAME: a name as text, with escapes and the final zero
	DNS_UDP_MIN = 512,	 // what every datagram may have, without EDNS
	DNS_UDP_MAX = 4095,	 // the most that a client's EDNS gets
	DNS_EDNS_ASK = 1232,	 // what we ask of resolvers: no fragments (DNS flag day 2020)
	DNS_OPT_LEN = 11,	 // of our OPT record, without options
	DNS_RECORDS_MAX = 512,	 // of an answer that is taken
	DNS_LOCAL_TTL_S = 5,	 // of names of the tailnet
	DNS_NEGATIVE_TTL_S = 10, // of names that the tailnet has not: all timers of the SOA
	DNS_TTL_MAX_S = 86400,
	DNS_NEGATIVE_MAX_S = 3600,
};

// A query as a client sends it.
struct dns_query {
	char name[DNS_NAME_LEN]; // lower case, without the final dot; "" is the root
	uint16_t id, type;
	uint16_t udp_size; // bytes of a datagram that the client takes, DNS_UDP_MIN..DNS_UDP_MAX
	uint16_t question_len;
	bool rd, cd, edns, dnssec_ok;
	uint8_t rcode; // what it gets whatever its name: 0: nothing, go on
};

// 0; -EBADMSG: no query, and nothing to answer (too short, an answer). A query that cannot be taken
// has its rcode set: FORMERR, NOTIMP (opcode, class, zone transfers), BADVERS of EDNS (16).
int dns_query_read(const uint8_t *message, size_t len, struct dns_query *out) must_check;

// What a resolver's answer has; offsets point into the message.
struct dns_reply {
	uint8_t rcode; // the header's 4 bits
	bool truncated, authentic;
	bool cacheable; // there is a TTL to go by
	uint16_t question_len;
	uint16_t counts[3]; // answer, authority, additional of the body
	uint32_t ttl_s;	    // the smallest of the answer; of a negative one by its SOA
	size_t len;	    // of the message
	size_t body_len;    // ... without OPT and what follows it
	uint16_t n_ttls;
	uint16_t ttl_at[DNS_RECORDS_MAX]; // last: a copy may end behind the n_ttls-th
};

// 0, or -EBADMSG: damaged, no answer, or not to this question. question: as dns_question_write made
// it, without its OPT record; the ID, and with same_case every letter, has to be the same.
int dns_reply_read(const uint8_t *message, size_t len, const uint8_t *question, size_t question_len,
	bool same_case, struct dns_reply *out) must_check;

// A record of an answer, for whoever looks at what was resolved.
struct dns_record {
	const char *name; // lower case, without the final dot
	uint16_t type;
	uint32_t ttl_s;
	struct ip_addr addr; // of A and AAAA
	const char *target;  // of CNAME, as name; else NULL
};

// Each record of the answer section, until fn returns false. 0 or -EBADMSG.
int dns_answer_walk(const uint8_t *message, size_t len,
	bool (*fn)(void *arg, const struct dns_record *), void *arg) must_check;

// --- Making messages. A buffer of the caller's with at least DNS_HEADER_LEN bytes.

struct dns_writer {
	uint8_t *at;
	size_t len, room;
	bool full;
};

// A query: header, question with the letters' case shuffled by mix (bit i: of letter i; 0: all
// lower), EDNS. Returns its length, 0: no such name.
size_t dns_question_write(uint8_t *to, size_t room, uint16_t id, const char *name, uint16_t type,
	bool cd, bool dnssec_ok, const uint8_t mix[32]);
// The beginning of an answer to query: its header and question.
void dns_answer_begin(struct dns_writer *, uint8_t *to, size_t room, const uint8_t *query,
	const struct dns_query *, unsigned rcode, bool authoritative);
void dns_answer_address(struct dns_writer *, const struct ip_addr *);
void dns_answer_ptr(struct dns_writer *, const char *target);
// In the authority section, of a negative answer.
void dns_answer_soa(struct dns_writer *, const char *zone, uint32_t serial);
// With EDNS if the query has it. Returns the length, at most room.
size_t dns_answer_end(struct dns_writer *, const struct dns_query *, unsigned rcode);
// The answer of a resolver for this client: ID, flags and the question's letters as the client has
// them, TTLs less age_s, EDNS as the client's. room: what the client takes; an answer that does not
// fit keeps nothing but the question, with TC. Returns the length.
size_t dns_answer_copy(uint8_t *to, size_t room, const uint8_t *query, const struct dns_query *,
	const uint8_t *message, const struct dns_reply *, uint32_t age_s);

// "a.b" is within "b" and "": whole labels, both in lower case.
bool dns_name_within(const char *name, const char *suffix);
// As queries have it: lower case, without the final dot. 0 or -EINVAL: no name.
int dns_name_read(const char *text, char out[static DNS_NAME_LEN]) must_check;
// 10.in-addr.arpa, ...: the address, IP_NONE where the name has none.
struct ip_addr dns_reverse_read(const char *name);
// "AAAA" or "TYPE28"; 0: unknown.
uint16_t dns_type_read(const char *text);
const char *dns_type_text(uint16_t type, char text[static 16]);
const char *dns_rcode_text(unsigned rcode);
