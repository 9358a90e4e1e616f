// The doctor at work: tries what looking does not tell, then collects the facts and answers. Three
// tries at once: the resolvers, a second connection to the coordination server, datagrams from
// peers that no firewall expects.
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/ctl/doctor.h"
#include "control/ctl/request.h"
#include "control/dns/dns.h"
#include "dataplane/base/mem.h"

enum {
	DOCTORS_MAX = 8,
	REACH_MS = 4000,
	PEERS_AT_ONCE = 500, // collected in one turn of the loop: 1-2 ms
	HTTP_CONFLICT = 409,
};

struct derp_sum {
	uint64_t tx_bytes, rx_bytes, dropped;
};

struct ctl_doctor {
	struct ctl_server *server;
	struct evhttp_request *req; // NULL: aborted
	struct ctl_doctor *next;
	struct event *turn;
	unsigned under_way; // tries, and one for beginning them
	struct doctor_tries tries;
	struct timespec begin;
	struct derp_sum derp; // at the beginning
	struct dns_probe probes[DNS_PROBES_MAX];
	unsigned n_probes;
	struct doctor_peer *peers;
	size_t n_peers, room;
};

static void free_doctor(struct ctl_doctor *w)
{
	if (w->turn != NULL)
		event_free(w->turn);
	free(w->peers);
	free(w);
}

static void unlink_doctor(struct ctl_doctor *w)
{
	struct ctl_doctor **at = &w->server->doctors;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
}

static struct derp_sum sum_derp(const struct tailnet *t)
{
	const struct nm_derp_map *map = &tailnet_netmap(t)->derp;
	struct derp_sum sum = {};
	for (uint32_t i = 0; i < map->n_regions; i++) {
		struct derp_region_info info;
		if (!tailnet_derp_info(t, map->regions[i].id, &info))
			continue;
		sum.tx_bytes += info.tx_bytes;
		sum.rx_bytes += info.rx_bytes;
		sum.dropped += info.tx_dropped;
	}
	return sum;
}

static uint64_t risen(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0; // a new map counts from 0 again
}

static void note_derp(struct ctl_doctor *w)
{
	const struct derp_sum now = sum_derp(w->server->d->tailnet);
	struct timespec end;
	clock_gettime(CLOCK_MONOTONIC, &end);
	w->tries.took_ms = (unsigned)((end.tv_sec - w->begin.tv_sec) * 1000 +
				      (end.tv_nsec - w->begin.tv_nsec) / 1000000);
	w->tries.derp_tx_bytes = risen(now.tx_bytes, w->derp.tx_bytes);
	w->tries.derp_rx_bytes = risen(now.rx_bytes, w->derp.rx_bytes);
	w->tries.derp_dropped = risen(now.dropped, w->derp.dropped);
}

static void answer(struct ctl_doctor *w)
{
	struct evhttp_request *req = w->req;
	struct doctor_facts *facts = calloc(1, sizeof(*facts));
	struct doctor_report *report = calloc(1, sizeof(*report));
	unlink_doctor(w);
	if (facts == NULL || report == NULL) {
		ctl_reply_error(req, HTTP_INTERNAL, "out of memory");
	} else {
		doctor_collect(w->server->d, facts);
		facts->tries = w->tries;
		facts->dns.probe = w->probes;
		facts->dns.n_probes = w->n_probes;
		facts->peers = w->peers;
		facts->n_peers = w->n_peers;
		doctor_check(facts, report);
		ctl_reply_json(req, HTTP_OK, doctor_json(report));
	}
	free(facts);
	free(report);
	free_doctor(w);
}

// Some peers more; those of 10,000 at once would hold the thread up.
static void on_turn(evutil_socket_t, short, void *arg)
{
	static const struct timeval soon = {};
	struct ctl_doctor *w = arg;
	const struct tailnet *t = w->server->d->tailnet;
	size_t n = 0;
	if (w->peers == NULL && t != NULL) {
		w->room = tailnet_netmap(t)->n_peers;
		w->peers = calloc(w->room + 1, sizeof(*w->peers));
	}
	if (w->peers != NULL)
		n = doctor_collect_peers(w->server->d, w->n_peers,
			RTE_MIN(w->room - w->n_peers, (size_t)PEERS_AT_ONCE),
			w->peers + w->n_peers);
	w->n_peers += n;
	if (n > 0)
		event_add(w->turn, &soon);
	else
		answer(w);
}

static void ended(struct ctl_doctor *w)
{
	if (--w->under_way > 0)
		return;
	if (w->req == NULL) {
		free_doctor(w);
		return;
	}
	if (w->tries.coord || w->tries.reach)
		note_derp(w);
	event_active(w->turn, EV_TIMEOUT, 0);
}

static void on_resolvers(void *arg, const struct dns_probe *probes, unsigned n)
{
	struct ctl_doctor *w = arg;
	w->n_probes = RTE_MIN(n, (unsigned)DNS_PROBES_MAX);
	memcpy(w->probes, probes, w->n_probes * sizeof(*probes));
	ended(w);
}

static void on_coord(void *arg, const struct coord_probe_result *result)
{
	struct ctl_doctor *w = arg;
	w->tries.fresh = *result;
	ended(w);
}

static void on_reach(void *arg, const struct mesh_reach *result)
{
	struct ctl_doctor *w = arg;
	w->tries.in = *result;
	if (w->req != NULL && result->from.port != 0) {
		const struct nm_peer *p =
			netmap_peer_by_key(tailnet_netmap(w->server->d->tailnet), &result->node);
		const char *name = p != NULL && p->node->name != NULL ? p->node->name : "a peer";
		snprintf(w->tries.in_name, sizeof(w->tries.in_name), "%.*s",
			(int)strcspn(name, "."), name);
	}
	ended(w);
}

static void try_all(struct ctl_doctor *w, struct tailnet *t)
{
	const uint32_t home = tailnet_netcheck(t)->preferred;
	const struct coord_status *coord = tailnet_coord(t);
	struct derp_region_info derp;
	w->derp = sum_derp(t);
	// What is known to be broken is not tried.
	w->tries.coord = coord->state == COORD_STREAMING && coord->trouble == COORD_TROUBLE_NONE;
	w->tries.reach = tailnet_state(t) == TAILNET_RUNNING && tailnet_netcheck(t)->udp &&
			 tailnet_derp_info(t, home, &derp) && derp.connected;
	w->under_way += 1 + w->tries.coord + w->tries.reach;
	dns_probe(tailnet_dns(t), on_resolvers, w);
	if (w->tries.coord)
		tailnet_coord_probe(t, on_coord, w);
	if (w->tries.reach)
		tailnet_reach(t, REACH_MS, on_reach, w);
}

void ctl_doctor_abort(struct ctl_server *s)
{
	for (struct ctl_doctor *w = s->doctors, *next; w != NULL; w = next) {
		next = w->next;
		ctl_reply_error(w->req, HTTP_SERVUNAVAIL, "the daemon stops");
		w->req = NULL;
		if (w->under_way == 0)
			free_doctor(w);
	}
	s->doctors = NULL;
}

void ctl_doctor_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const names[] = {"try", NULL};
	struct query q;
	uint32_t try;
	unsigned n = 0;
	if (!ctl_query(req, names, &q) || !ctl_query_number(req, &q, "try", 1, 0, 1, &try))
		return;
	for (const struct ctl_doctor *w = s->doctors; w != NULL; w = w->next)
		n++;
	if (n == DOCTORS_MAX) {
		ctl_reply_error(req, HTTP_CONFLICT, "too many wait for a report already");
		return;
	}
	struct ctl_doctor *w = mem_alloc(sizeof(*w));
	*w = (struct ctl_doctor){.server = s, .req = req, .next = s->doctors, .under_way = 1};
	w->turn = event_new(s->d->base, -1, 0, on_turn, w);
	if (w->turn == NULL) {
		free_doctor(w);
		ctl_reply_error(req, HTTP_INTERNAL, "out of memory");
		return;
	}
	s->doctors = w;
	clock_gettime(CLOCK_MONOTONIC, &w->begin);
	if (try && s->d->tailnet != NULL)
		try_all(w, s->d->tailnet);
	ended(w);
}
