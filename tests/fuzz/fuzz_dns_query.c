// Queries as clients send them, through the engine: whatever is answered is a message that can be
// read, with the query's ID, no larger than the client takes.
#include "control/dns/engine.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/dns_text.h"

static const char *const base[] = {"203.0.113.1"};

static const struct dns_view *the_view(void)
{
	static struct dns_view *view;
	if (view)
		return view;
	struct netmap *nm = dns_netmap(DNS_TEST_SELF,
		"\"Proxied\":true,\"Domains\":[\"lab.test\"],\"Resolvers\":[{\"Addr\":"
		"\"192.0.2.53\"}],\"Routes\":{\"corp.test\":[{\"Addr\":\"10.0.0.53\"}],\"here."
		"test\":"
		"null},\"ExtraRecords\":[{\"Name\":\"db.lab.test\",\"Value\":\"100.64.0.9\"}],"
		"\"ExitNodeFilteredSet\":[\".hidden.test\"]");
	const struct dns_view_from from = {.netmap = nm, .base = base, .n_base = 1};
	view = dns_view_create(&from);
	netmap_destroy(nm);
	return view;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct dns_route *route = NULL;
	struct dns_query q;
	uint8_t answer[DNS_UDP_MAX + 1];
	size_t len = 0;

	if (size < 1)
		return 0;
	const struct dns_client client = {
		.who = (enum dns_asker)(data[0] % DNS_ASKERS), .stream = data[0] & 0x80};
	switch (dns_engine(the_view(), &client, data + 1, size - 1, 1900000000, &q, answer,
		sizeof(answer), &len, &route)) {
	case DNS_IGNORE:
		break;
	case DNS_FORWARD:
		check(route && route->n && !q.rcode);
		break;
	case DNS_ANSWER:
		check(len >= DNS_HEADER_LEN && (client.stream || len <= q.udp_size));
		check(memcmp(answer, data + 1, 2) == 0 && (answer[2] & 0x80));
		check(strcmp(records_of(answer, len).text, "damaged") != 0);
	}
	return 0;
}
