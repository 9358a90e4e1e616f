// What netcheck asks of names and of HTTP.
#include <errno.h>
#include <event2/dns.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/net/bypass.h"
#include "control/tailnet/priv.h"

enum {
	HTTPS_TIMEOUT_MS = 5000,
	CAPTIVE_TIMEOUT_MS = 3000,
	BODY_MAX = 65536,
	RESOLVED_MAX = 8,
};

struct tn_probe { // one fetch under way
	struct tailnet *t;
	struct fetch *fetch;
	uint32_t region;
	struct tn_probe *next;
};

static void unlink_probe(struct tn_probe *p)
{
	struct tn_probe **at = &p->t->probes;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
}

void tn_probes_end(struct tailnet *t)
{
	for (struct tn_probe *p = t->probes, *next; p; p = next) {
		next = p->next;
		fetch_cancel(p->fetch);
		free(p);
	}
	t->probes = NULL;
	if (t->dns)
		evdns_base_free(t->dns, 1);
	t->dns = NULL;
}

// False: it did not begin.
static bool begin(struct tailnet *t, uint32_t region, const struct fetch_request *r,
	void (*done)(void *arg, const struct fetch_answer *))
{
	struct tn_probe *p = mem_alloc(sizeof(*p));
	*p = (struct tn_probe){.t = t, .region = region, .next = t->probes};
	if (fetch_start(&p->fetch, t->net, r, done, p) < 0) {
		free(p);
		return false;
	}
	t->probes = p;
	return true;
}

static void https_done(void *arg, const struct fetch_answer *a)
{
	struct tn_probe *p = arg;
	struct tailnet *t = p->t;
	bool ok = a->error == 0 && a->status == 200;
	unlink_probe(p);
	netcheck_https(t->netcheck, p->region, ok ? (uint64_t)(a->seconds * 1e9) : 0, tn_now_ns(t));
	free(p);
}

void tn_https(void *arg, uint32_t region, const struct nm_derp_node *node)
{
	struct tailnet *t = arg;
	char url[320];
	snprintf(url, sizeof(url), "https://%s:%u/derp/latency-check", node->host,
		node->derp_port ? node->derp_port : 443);
	const struct fetch_request r = {
		.method = "GET",
		.url = url,
		.max = BODY_MAX,
		.timeout_ms = HTTPS_TIMEOUT_MS,
		.address = node->ipv4 && strcmp(node->ipv4, "none") != 0 ? node->ipv4 : NULL,
		.cert = node->cert,
	};
	if (!begin(t, region, &r, https_done))
		netcheck_https(t->netcheck, region, 0, tn_now_ns(t));
}

static void captive_done(void *arg, const struct fetch_answer *a)
{
	struct tn_probe *p = arg;
	struct tailnet *t = p->t;
	bool honest = a->error || (a->status == 204 && strncmp(a->header, "response ts_", 12) == 0);
	unlink_probe(p);
	netcheck_captive(t->netcheck, !honest, tn_now_ns(t));
	free(p);
}

void tn_captive(void *arg, const struct nm_derp_node *node)
{
	struct tailnet *t = arg;
	char url[320], header[300];
	snprintf(url, sizeof(url), "http://%s/generate_204?t=%llu", node->ipv4,
		(unsigned long long)(unix_now_ns() / 1000000000));
	snprintf(header, sizeof(header), "X-Tailscale-Challenge: ts_%s", node->host);
	const struct fetch_request r = {
		.method = "GET",
		.url = url,
		.max = BODY_MAX,
		.timeout_ms = CAPTIVE_TIMEOUT_MS,
		.header = header,
	};
	if (!begin(t, 0, &r, captive_done))
		netcheck_captive(t->netcheck, false, tn_now_ns(t));
}

struct query {
	struct tailnet *t;
	char host[256];
};

static void on_answer(int error, struct evutil_addrinfo *list, void *arg)
{
	struct query *q = arg;
	struct ip_addr found[RESOLVED_MAX];
	size_t n = 0;
	if (error == EVUTIL_EAI_CANCEL) // the daemon stops
		goto out;
	for (const struct evutil_addrinfo *i = list; i && n < RESOLVED_MAX; i = i->ai_next) {
		if (i->ai_family == AF_INET)
			found[n++] = ip_addr_v4(&((struct sockaddr_in *)i->ai_addr)->sin_addr);
		else if (i->ai_family == AF_INET6)
			found[n++] = ip_addr_v6(&((struct sockaddr_in6 *)i->ai_addr)->sin6_addr);
	}
	netcheck_resolved(q->t->netcheck, q->host, found, n, tn_now_ns(q->t));
out:
	if (list)
		evutil_freeaddrinfo(list);
	free(q);
}

void tn_resolve(void *arg, const char *host)
{
	struct tailnet *t = arg;
	const struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
	if (!t->dns) { // without any name server there is nothing to ask
		t->dns = evdns_base_new(t->params.base, EVDNS_BASE_INITIALIZE_NAMESERVERS);
		net_bypass_datagrams(t->params.base);
	}
	if (!t->dns) {
		netcheck_resolved(t->netcheck, host, NULL, 0, tn_now_ns(t));
		return;
	}
	struct query *q = mem_alloc(sizeof(*q));
	q->t = t;
	snprintf(q->host, sizeof(q->host), "%s", host);
	evdns_getaddrinfo(t->dns, q->host, NULL, &hints, on_answer, q);
}
