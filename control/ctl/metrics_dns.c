// Metrics of the resolver.
#include "control/ctl/metrics.h"
#include "control/dns/dns.h"
#include "control/tailnet/tailnet.h"

static void labelled(struct evbuffer *out, const char *name, const char *help, const char *label,
	const char *const *values, const uint64_t *counts, unsigned n)
{
	metrics_family(out, name, "counter", NULL, help);
	for (unsigned i = 0; i < n; i++)
		evbuffer_add_printf(
			out, "%s_total{%s=\"%s\"} %lu\n", name, label, values[i], counts[i]);
}

static void query_families(struct evbuffer *out, const struct dns_totals *t)
{
	static const char *const askers[DNS_ASKERS] = {
		[DNS_ASKER_HOST] = "host", [DNS_ASKER_LAN] = "lan", [DNS_ASKER_PEER] = "peer"};
	static const char *const sources[DNS_SOURCES] = {
		[DNS_FROM_NETMAP] = "netmap",
		[DNS_FROM_CACHE] = "cache",
		[DNS_FROM_RESOLVER] = "resolver",
		[DNS_FROM_NOBODY] = "nobody",
	};
	static const char *const ways[] = {"doh", "udp", "tcp"};
	const uint64_t attempts[] = {t->doh, t->udp, t->tcp};
	labelled(out, "tailgate_dns_queries", "queries, by who asks", "from", askers, t->queries,
		DNS_ASKERS);
	labelled(out, "tailgate_dns_answers",
		"answers, by where they come from; of nobody: SERVFAIL", "source", sources,
		t->answers, DNS_SOURCES);
	labelled(out, "tailgate_dns_attempts", "questions to resolvers, by transport", "by", ways,
		attempts, RTE_DIM(ways));
}

static void trouble_families(struct evbuffer *out, const struct dns_totals *t)
{
	const struct {
		const char *name, *help;
		uint64_t count;
	} counters[] = {
		{"tailgate_dns_refused", "answers that say REFUSED", t->refused},
		{"tailgate_dns_no_query", "what came and was no query", t->no_query},
		{"tailgate_dns_unanswered", "questions that no resolver answered in time",
			t->unanswered},
		{"tailgate_dns_busy", "queries beyond what may wait, in all or of one client",
			t->busy},
		{"tailgate_dns_strays",
			"datagrams that answer nothing that was asked: forged, or late", t->strays},
		{"tailgate_dns_bad_answers", "answers by TCP or HTTPS that were none", t->bad},
		{"tailgate_dns_cache_evicted", "answers that left the cache before their time",
			t->cache_evicted},
	};
	for (unsigned i = 0; i < RTE_DIM(counters); i++)
		metrics_single(out, counters[i].name, "counter", NULL, counters[i].help,
			(double)counters[i].count);
	metrics_single(
		out, "tailgate_dns_waiting", "gauge", NULL, "questions under way", t->waiting);
	metrics_single(out, "tailgate_dns_cache_entries", "gauge", NULL, "answers in the cache",
		t->cache_entries);
	metrics_single(out, "tailgate_dns_cache_bytes", "gauge", "bytes", "memory of the cache",
		(double)t->cache_bytes);
}

static void resolver_sample(struct evbuffer *out, const char *name, const char *resolver)
{
	evbuffer_add_printf(out, "%s{resolver=\"", name);
	metrics_label(out, resolver);
	evbuffer_add_printf(out, "\"}");
}

static void resolver_families(
	struct evbuffer *out, const struct dns_resolver_totals *list, unsigned n)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} families[] = {
		{"tailgate_dns_resolver_asked", "attempts to ask the resolver",
			offsetof(struct dns_resolver_totals, asked)},
		{"tailgate_dns_resolver_answered", "attempts that it answered",
			offsetof(struct dns_resolver_totals, answered)},
		{"tailgate_dns_resolver_failed",
			"attempts that failed or were not answered in time",
			offsetof(struct dns_resolver_totals, failed)},
	};
	static const char latency[] = "tailgate_dns_resolver_latency_seconds";
	char name[64];
	for (unsigned k = 0; k < RTE_DIM(families); k++) {
		metrics_family(out, families[k].name, "counter", NULL, families[k].help);
		snprintf(name, sizeof(name), "%s_total", families[k].name);
		for (unsigned i = 0; i < n; i++) {
			resolver_sample(out, name, list[i].text);
			evbuffer_add_printf(out, " %lu\n",
				*(const uint64_t *)((const char *)&list[i] + families[k].offset));
		}
	}
	metrics_family(out, latency, "gauge", "seconds", "how long its last answer took");
	for (unsigned i = 0; i < n; i++) {
		resolver_sample(out, latency, list[i].text);
		evbuffer_add_printf(out, " %.3f\n", list[i].latency_ms / 1e3);
	}
}

bool metrics_dns_part(struct metrics_walk *w, struct evbuffer *out)
{
	struct dns_resolver_totals resolvers[DNS_RESOLVERS_MAX];
	struct dns *dns = w->d->tailnet != NULL ? tailnet_dns(w->d->tailnet) : NULL;
	struct dns_totals totals;
	if (dns == NULL)
		return true;
	dns_totals(dns, &totals);
	query_families(out, &totals);
	trouble_families(out, &totals);
	resolver_families(out, resolvers, dns_resolver_totals(dns, resolvers, DNS_RESOLVERS_MAX));
	return true;
}
