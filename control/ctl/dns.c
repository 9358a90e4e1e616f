#include "control/ctl/dns.h"

#include <stdio.h>
#include <stdlib.h>

#include "control/ctl/doctor.h"
#include "control/dns/dns.h"
#include "dataplane/base/mem.h"

enum { WAITING_MAX = 16, HTTP_CONFLICT = 409 };

struct ctl_doctor {
	struct ctl_server *server;
	struct evhttp_request *req; // NULL: aborted
	struct ctl_doctor *next;
};

void ctl_dns_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const none[] = {NULL};
	struct query q;
	if (!ctl_query(req, none, &q))
		return;
	if (!s->d->tailnet)
		ctl_reply_error(req, HTTP_SERVUNAVAIL,
			"names are resolved on a tailnet only: see 'tailgate up'");
	else
		ctl_reply_json(req, HTTP_OK, dns_info(tailnet_dns(s->d->tailnet)));
}

static void reply(struct ctl_server *s, struct evhttp_request *req, const struct dns_probe *probes,
	unsigned n)
{
	struct doctor_peer *peers = NULL;
	struct doctor_facts *facts = calloc(1, sizeof(*facts));
	struct doctor_report *report = calloc(1, sizeof(*report));
	if (facts == NULL || report == NULL || doctor_collect(s->d, facts, &peers) < 0) {
		ctl_reply_error(req, HTTP_INTERNAL, "out of memory");
	} else {
		facts->dns.probe = probes;
		facts->dns.n_probes = n;
		doctor_check(facts, report);
		ctl_reply_json(req, HTTP_OK, doctor_json(report));
	}
	free(peers);
	free(facts);
	free(report);
}

static void on_probes(void *arg, const struct dns_probe *probes, unsigned n)
{
	struct ctl_doctor *w = arg;
	if (w->req) {
		struct ctl_doctor **at = &w->server->doctors;
		while (*at != w)
			at = &(*at)->next;
		*at = w->next;
		reply(w->server, w->req, probes, n);
	}
	free(w);
}

void ctl_doctor_abort(struct ctl_server *s)
{
	for (struct ctl_doctor *w = s->doctors; w; w = w->next) {
		ctl_reply_error(w->req, HTTP_SERVUNAVAIL, "the daemon stops");
		w->req = NULL;
	}
	s->doctors = NULL;
}

void ctl_doctor_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const none[] = {NULL};
	struct query q;
	unsigned waiting = 0;
	if (!ctl_query(req, none, &q))
		return;
	if (!s->d->tailnet) {
		reply(s, req, NULL, 0);
		return;
	}
	for (const struct ctl_doctor *w = s->doctors; w; w = w->next)
		waiting++;
	if (waiting == WAITING_MAX) {
		ctl_reply_error(req, HTTP_CONFLICT, "too many wait for a report already");
		return;
	}
	struct ctl_doctor *w = mem_alloc(sizeof(*w));
	*w = (struct ctl_doctor){.server = s, .req = req, .next = s->doctors};
	s->doctors = w;
	dns_probe(tailnet_dns(s->d->tailnet), on_probes, w);
}
