#include "control/resolve.h"

#include <errno.h>
#include <event2/dns.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/base/log.h"

enum {
	AGAIN_S = 30,	       // between looks at the peers
	SESSION_LIVES_S = 135, // a peer heard of within this time is where it was
	NAMES_PER_TURN = 64,   // queries started at once
};

struct resolve { // ctl only
	struct event_base *base;
	struct wg *wg;
	const struct config *config;
	struct evdns_base *dns;
	struct event *tick;
	uint32_t next; // peer to look at
};

struct query {
	struct resolve *r;
	struct key peer;
	uint16_t port;
	char host[CONFIG_HOST_LEN];
};

static bool first_address(const struct evutil_addrinfo *list, struct ip_addr *out)
{
	for (; list; list = list->ai_next) {
		if (list->ai_family == AF_INET) {
			*out = ip_addr_v4(&((struct sockaddr_in *)list->ai_addr)->sin_addr);
			return true;
		}
		if (list->ai_family == AF_INET6) {
			*out = ip_addr_v6(&((struct sockaddr_in6 *)list->ai_addr)->sin6_addr);
			return true;
		}
	}
	return false;
}

static void on_answer(int error, struct evutil_addrinfo *list, void *arg)
{
	struct query *q = arg;
	struct endpoint e = {.port = q->port};
	if (error == EVUTIL_EAI_CANCEL) // the daemon stops
		goto out;
	if (error == 0 && first_address(list, &e.addr))
		wg_peer_endpoint(q->r->wg, &q->peer, &e);
	else
		log_warn("resolve", "endpoint %s: %s; trying again in %u s", q->host,
			error ? evutil_gai_strerror(error) : "no address", AGAIN_S);
out:
	if (list)
		evutil_freeaddrinfo(list);
	free(q);
}

static void ask(struct resolve *r, const struct config_peer *p)
{
	const struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
	struct query *q = malloc(sizeof(*q));
	if (!q)
		return;
	*q = (struct query){.r = r, .peer = p->public_key, .port = p->endpoint_port};
	memcpy(q->host, p->endpoint_host, sizeof(q->host));
	evdns_getaddrinfo(r->dns, q->host, NULL, &hints, on_answer, q);
}

static bool lives(struct resolve *r, const struct config_peer *p)
{
	uint64_t at = wg_peer_handshake_unix_ns(r->wg, &p->public_key);
	return at / 1000000000 + SESSION_LIVES_S > (uint64_t)time(NULL);
}

static void on_tick(evutil_socket_t, short, void *arg)
{
	struct resolve *r = arg;
	unsigned asked = 0;
	for (uint32_t i = 0; r->config && i < r->config->n_peers && asked < NAMES_PER_TURN; i++) {
		const struct config_peer *p = &r->config->peers[r->next++ % r->config->n_peers];
		if (!p->endpoint_host[0] || p->endpoint.port != 0 || lives(r, p))
			continue;
		ask(r, p);
		asked++;
	}
}

void resolve_set(struct resolve *r, const struct config *c)
{
	r->config = c;
	on_tick(-1, 0, r);
}

struct resolve *resolve_create(struct event_base *base, struct wg *wg)
{
	const struct timeval interval = {.tv_sec = AGAIN_S};
	struct resolve *r = mem_alloc(sizeof(*r));
	*r = (struct resolve){.base = base, .wg = wg};
	r->dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	// Without the file the resolver asks 127.0.0.1; names fail then, and say so.
	if (r->dns)
		evdns_base_resolv_conf_parse(r->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
	r->tick = event_new(base, -1, EV_PERSIST, on_tick, r);
	if (r->dns && r->tick && event_add(r->tick, &interval) == 0)
		return r;
	resolve_destroy(r);
	return NULL;
}

void resolve_destroy(struct resolve *r)
{
	if (!r)
		return;
	if (r->dns)
		evdns_base_free(r->dns, 1);
	if (r->tick)
		event_free(r->tick);
	free(r);
}
