// What 'tailscale dns status' and 'tailscale dns query' ask for.
#include <sodium.h>
#include <stdlib.h>

#include "control/ctl/local_priv.h"
#include "control/dns/dns.h"
#include "control/dns/wire.h"
#include "dataplane/base/mem.h"

enum { RESOLVERS_MAX = 8 };

static json_t *texts(const char *const *list, unsigned n)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

// apitype.DNSOSConfig.
void local_handle_dns_os(struct local_request *r)
{
	struct dns_os os;

	dns_os(tailnet_dns(r->t), &os);
	local_json(r, HTTP_OK,
		json_pack("{s:o, s:o, s:[]}", "Nameservers", texts(os.servers, os.n_servers),
			"SearchDomains", texts(os.search, os.n_search), "MatchDomains"));
}

struct asked {
	struct local_waiting *waiting;
	char name[DNS_NAME_LEN];
};

// apitype.DNSQueryResponse.
static json_t *response(
	const struct tailnet *t, const char *name, const uint8_t *answer, size_t len)
{
	const size_t room = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
	const char *resolvers[RESOLVERS_MAX];
	char *text = mem_alloc(room);
	json_t *list = json_array();

	sodium_bin2base64(text, room, answer, len, sodium_base64_VARIANT_ORIGINAL);
	const unsigned n = dns_resolvers_of(tailnet_dns(t), name, resolvers, RESOLVERS_MAX);
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s}", "Addr", resolvers[i]));
	json_t *o = json_pack("{s:s, s:o}", "Bytes", text, "Resolvers", list);
	free(text);
	return o;
}

static void on_answer(void *arg, const uint8_t *answer, size_t len)
{
	struct asked *a = arg;
	struct local_request r;

	if (local_resume(a->waiting, &r))
		local_json(&r, HTTP_OK, response(r.t, a->name, answer, len));
	free(a);
}

void local_handle_dns_query(struct local_request *r)
{
	static const uint8_t lower[32];
	static const struct dns_client client = {.who = DNS_ASKER_HOST,
		.addr = {.bytes = {127, 0, 0, 1}, .family = IP_V4},
		.stream = true};
	const char *name = local_query(r, "name"), *type_text = local_query(r, "type");
	const uint16_t type = dns_type_read(type_text ? type_text : "A");
	uint8_t query[512];
	char plain[DNS_NAME_LEN];

	if (!type || !name || dns_name_read(name, plain) < 0) {
		local_text(
			r, HTTP_BADREQUEST, !type ? "unknown DNS message type" : "invalid 'name'");
		return;
	}
	const size_t len =
		dns_question_write(query, sizeof(query), 1, plain, type, false, false, lower);
	struct local_waiting *waiting = local_wait(r);
	if (waiting == NULL)
		return;
	struct asked *a = mem_alloc(sizeof(*a));
	a->waiting = waiting;
	memcpy(a->name, plain, sizeof(plain));
	dns_answer(tailnet_dns(r->t), &client, query, len, on_answer, a);
}
