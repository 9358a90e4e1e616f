// What the coordination server asks of a node: pings, and c2n requests (tailscale ipn/ipnlocal
// c2n.go). Both come over the authenticated channel; their size is bounded by the map message.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/json.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"

enum {
	REQUEST_TIMEOUT_MS = 10000,
	TYPES_MAX = 4,
};

struct request { // one type of one ping request
	struct tailnet *t;
	char url[512];
	char type[16];
	char ip[ADDR_TEXT_LEN];
};

static const struct {
	const char *name;
	enum tailnet_ping_type type;
} types[] = {
	{"disco", TAILNET_PING_DISCO},
	{"TSMP", TAILNET_PING_TSMP},
	{"ICMP", TAILNET_PING_ICMP},
	{"peerapi", TAILNET_PING_PEERAPI},
};

static void answer(void *arg, const struct tailnet_pong *pong)
{
	struct request *r = arg;
	char endpoint[ENDPOINT_TEXT_LEN];
	const char *code = tailnet_region_code(r->t, pong->derp_region);
	json_t *o = json_pack("{s:s,s:s}", "Type", r->type, "IP", r->ip);
	if (pong->peer) {
		const struct nm_node *n = pong->peer->node;
		json_object_set_new(o, "NodeIP", json_string(r->ip));
		json_object_set_new(o, "NodeName", json_string(n->name ? n->name : ""));
	}
	if (pong->error[0])
		json_object_set_new(o, "Err", json_string(pong->error));
	else
		json_object_set_new(o, "LatencySeconds", json_real(pong->seconds));
	if (pong->endpoint.port && !pong->relay_vni)
		json_object_set_new(
			o, "Endpoint", json_string(endpoint_format(&pong->endpoint, endpoint)));
	if (pong->derp_region) {
		json_object_set_new(o, "DERPRegionID", json_integer(pong->derp_region));
		json_object_set_new(o, "DERPRegionCode", json_string(code));
	}
	if (pong->is_local)
		json_object_set_new(o, "IsLocalIP", json_true());
	char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (text && coord_client_post(r->t->coord, r->url, text, strlen(text)) < 0)
		log_debug("tailnet", "the answer to a ping request could not be sent");
	free(text);
	free(r);
}

static void ping_one(struct tailnet *t, const char *url, const char *type, const char *ip)
{
	struct ip_addr to;
	for (unsigned i = 0; i < RTE_DIM(types); i++) {
		if (strcmp(types[i].name, type) != 0 || ip_addr_parse(ip, &to) < 0)
			continue;
		struct request *r = mem_alloc(sizeof(*r));
		r->t = t;
		snprintf(r->url, sizeof(r->url), "%s", url);
		snprintf(r->type, sizeof(r->type), "%s", type);
		snprintf(r->ip, sizeof(r->ip), "%s", ip);
		tailnet_ping(t, &to, types[i].type, 0, REQUEST_TIMEOUT_MS, answer, r);
		return;
	}
}

void tn_ping_request(void *arg, const char *request)
{
	struct tailnet *t = arg;
	json_t *o = json_loads(request, 0, NULL);
	const char *url = json_string_value(json_object_get(o, "URL"));
	const char *list = json_string_value(json_object_get(o, "Types"));
	const char *ip = json_string_value(json_object_get(o, "IP"));
	char type[16];
	if (url && list && ip && strlen(url) < sizeof(((struct request *)0)->url)) {
		for (unsigned n = 0; *list && n < TYPES_MAX; n++) {
			size_t len = strcspn(list, ",");
			snprintf(type, sizeof(type), "%.*s", (int)len, list);
			ping_one(t, url, type, ip);
			list += len + (list[len] == ',');
		}
	}
	json_decref(o);
}

static char *respond(const char *status, const char *body, size_t body_len, size_t *len)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	fprintf(f, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
		body_len);
	fwrite(body, 1, body_len, f);
	fclose(f);
	*len = size;
	return text;
}

char *tn_c2n(void *t, const char *request, size_t len, size_t *answer_len)
{
	static const struct {
		const char *method, *path;
		char *(*body)(struct tailnet *); // NULL: empty
	} answers[] = {
		{"GET", "/vip-services", tn_services_answer},
		{"GET", "/appconnector/routes", tn_appc_answer},
		{"POST", "/netfilter-kind", NULL},
		{"POST", "/logtail/flush", NULL},
	};
	char method[8], path[128];
	const char *end = memmem(request, len, "\r\n\r\n", 4);
	if (!end || sscanf(request, "%7[A-Z] %127[^ ?\r\n]", method, path) != 2)
		return respond("400 Bad Request", "", 0, answer_len);
	size_t body_len = len - (size_t)(end + 4 - request);
	if (strcmp(path, "/echo") == 0)
		return respond("200 OK", end + 4, body_len, answer_len);
	for (unsigned i = 0; i < RTE_DIM(answers); i++) {
		if (strcmp(path, answers[i].path) != 0)
			continue;
		if (strcmp(method, answers[i].method) != 0)
			return respond("405 Method Not Allowed", "", 0, answer_len);
		char *body = answers[i].body ? answers[i].body(t) : NULL;
		char *whole =
			respond("200 OK", body ? body : "", body ? strlen(body) : 0, answer_len);
		free(body);
		return whole;
	}
	static const char unknown[] = "unknown c2n path\n";
	return respond("400 Bad Request", unknown, sizeof(unknown) - 1, answer_len);
}
