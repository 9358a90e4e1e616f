// Answers of resolvers, in pieces for three readers: what is taken is kept, aged and handed on as a
// message that can be read again.
#include <stdlib.h>

#include "control/dns/cache.h"
#include "control/tailnet/peerapi_debug.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/dns_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dns_cache *cache;
	static uint8_t message[70000], out[70000];
	static struct dns_reply reply;
	struct dns_cached found;
	struct dns_query q;

	if (size < 3 || size > 66000)
		return 0;
	if (!cache)
		cache = dns_cache_create();
	// The question is asked by the first bytes, so that a fuzzer gets past it.
	const struct message asked = ask_for("www.a.test", data[0]);
	const size_t question = asked.len - DNS_OPT_LEN;
	memcpy(message, asked.bytes, question);
	memcpy(message + 2, data + 1, 2);
	size_t len = question;
	if (data[0] & 1) { // or everything is the fuzzer's
		memcpy(message, data, size);
		len = size;
	} else if (size > 11) {
		memcpy(message + 6, data + 3, 6);
		memcpy(message + len, data + 9, size - 9);
		len += size - 9;
	}
	(void)records_of(message, len);
	char *shown = peerapi_debug_answer(message, len);
	check(shown != NULL && shown[strlen(shown) - 1] == '\n');
	free(shown);
	if (dns_reply_read(message, len, asked.bytes, question, data[0] & 2, &reply) < 0)
		return 0;
	check(dns_query_read(asked.bytes, asked.len, &q) == 0);
	if (q.rcode) // a zone transfer and the like: never asked
		return 0;
	const struct dns_cache_key key = {.name = "www.a.test", .type = data[0]};
	dns_cache_put(cache, &key, 1000, message, &reply);
	check(dns_cache_get(cache, &key, 1000, &found) ==
		(reply.cacheable && reply.body_len <= DNS_CACHE_ANSWER_MAX));
	dns_cache_clear(cache);
	for (size_t room = 512; room < sizeof(out); room *= 4) {
		const size_t n =
			dns_answer_copy(out, room, asked.bytes, &q, message, &reply, data[2]);
		struct dns_query again;
		check(n >= question && n <= room && dns_query_read(out, n, &again) < 0);
		// Sections and records are where they should be. A name may point into an ID or a
		// TTL, and be another one now: that is its sender's doing.
		ns_msg m;
		check(ns_initparse(out, (int)n, &m) == 0);
	}
	return 0;
}
