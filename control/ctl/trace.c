#include "control/ctl/trace.h"

#include <stdlib.h>

enum {
	TRACE_POLL_MS = 20,
	TRACE_TIMEOUT_S = 10,
	TRACE_TIMEOUT_MAX_S = 300,
	ALL_WORKERS = UINT32_MAX,
};

struct ctl_trace {
	struct ctl_server *server; // NULL: the server is gone, only memory is to be freed
	struct evhttp_request *req;
	struct event *timer;
	uint32_t packets, worker;
	unsigned polls_left;
	bool finishing; // workers let go of the slots within a grace period
};

static bool is_traced(const struct ctl_trace *t, unsigned worker)
{
	return t->worker == ALL_WORKERS || t->worker == worker;
}

static bool has_steps(const struct trace *t)
{
	return __atomic_load_n(&t->n, __ATOMIC_RELAXED) > 0;
}

static unsigned count_traced(const struct ctl_trace *t)
{
	const struct gateway *gw = t->server->d->gw;
	unsigned n = 0;
	for (unsigned w = 0; w < gw->n_workers; w++)
		for (unsigned i = 0; is_traced(t, w) && i < TRACE_SLOTS; i++)
			n += has_steps(&gw->graph[w]->trace[i]);
	return n;
}

struct found {
	unsigned worker;
	const struct trace *trace;
};

static int by_time(const void *a, const void *b)
{
	uint64_t x = ((const struct found *)a)->trace->step[0].tsc;
	uint64_t y = ((const struct found *)b)->trace->step[0].tsc;
	return (x > y) - (x < y);
}

// The earliest packets of all workers.
static json_t *collect(const struct ctl_trace *t, bool timed_out)
{
	const struct gateway *gw = t->server->d->gw;
	struct found *found = calloc((size_t)gw->n_workers * TRACE_SLOTS, sizeof(*found));
	unsigned n = 0;
	if (found == NULL)
		return NULL;
	for (unsigned w = 0; w < gw->n_workers; w++)
		for (unsigned i = 0; is_traced(t, w) && i < TRACE_SLOTS; i++)
			if (has_steps(&gw->graph[w]->trace[i]))
				found[n++] = (struct found){w, &gw->graph[w]->trace[i]};
	qsort(found, n, sizeof(*found), by_time);

	json_t *packets = json_array();
	for (unsigned i = 0; i < RTE_MIN(n, t->packets); i++)
		json_array_append_new(packets, trace_json(gw, found[i].worker, found[i].trace));
	free(found);
	return json_pack("{s:i, s:b, s:o}", "requested", (int)t->packets, "timed_out", timed_out,
		"packets", packets);
}

static void trace_answer(struct ctl_trace *t)
{
	bool timed_out = count_traced(t) < t->packets;
	ctl_reply_json(t->req, HTTP_OK, collect(t, timed_out));
	t->server->trace = NULL;
	t->server = NULL;
}

// No worker writes into the slots any more.
static void trace_released(void *arg)
{
	struct ctl_trace *t = arg;
	if (t->server != NULL)
		trace_answer(t);
	free(t);
}

static void trace_finish(struct ctl_trace *t)
{
	struct gateway *gw = t->server->d->gw;
	for (unsigned w = 0; w < gw->n_workers; w++)
		if (is_traced(t, w))
			atomic_store_explicit(&gw->graph[w]->trace_wanted, 0, memory_order_relaxed);
	t->finishing = true;
	event_free(t->timer);
	t->timer = NULL;
	rcu_defer(gw->rcu, trace_released, t);
}

static void trace_poll(evutil_socket_t, short, void *arg)
{
	struct ctl_trace *t = arg;
	if (count_traced(t) >= t->packets || --t->polls_left == 0)
		trace_finish(t);
}

void ctl_trace_abort(struct ctl_server *s)
{
	struct ctl_trace *t = s->trace;
	if (t == NULL)
		return;
	if (!t->finishing)
		trace_finish(t);
	trace_answer(t);
}

static void trace_start(struct ctl_trace *t)
{
	struct gateway *gw = t->server->d->gw;
	for (unsigned w = 0; w < gw->n_workers; w++) {
		struct graph *g = gw->graph[w];
		if (!is_traced(t, w))
			continue;
		for (unsigned i = 0; i < TRACE_SLOTS; i++)
			g->trace[i].n = 0;
		g->trace_used = 0; // the worker looks at it only when packets are wanted
		atomic_store_explicit(&g->trace_done, 0, memory_order_relaxed);
		atomic_store_explicit(&g->trace_wanted, t->packets, memory_order_release);
	}
}

void ctl_trace_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const names[] = {"packets", "worker", "timeout", NULL};
	static const struct timeval interval = {.tv_usec = TRACE_POLL_MS * 1000};
	struct query q;
	uint32_t packets, worker, timeout_s;
	if (!ctl_query(req, names, &q) ||
		!ctl_query_number(req, &q, "packets", 1, 1, TRACE_SLOTS, &packets) ||
		!ctl_query_number(req, &q, "worker", ALL_WORKERS, 0,
			RTE_MAX(s->d->gw->n_workers, 1u) - 1u, &worker) ||
		!ctl_query_number(
			req, &q, "timeout", TRACE_TIMEOUT_S, 1, TRACE_TIMEOUT_MAX_S, &timeout_s))
		return;
	if (s->trace != NULL) {
		ctl_reply_error(req, 409, "another trace is running; try again when it has ended");
		return;
	}
	struct ctl_trace *t = calloc(1, sizeof(*t));
	struct event *timer =
		t != NULL ? event_new(s->d->base, -1, EV_PERSIST, trace_poll, t) : NULL;
	if (timer == NULL || event_add(timer, &interval) < 0) {
		if (timer != NULL)
			event_free(timer);
		free(t);
		ctl_reply_error(req, HTTP_INTERNAL, "out of memory");
		return;
	}
	*t = (struct ctl_trace){
		.server = s,
		.req = req,
		.timer = timer,
		.packets = packets,
		.worker = worker,
		.polls_left = timeout_s * 1000 / TRACE_POLL_MS,
	};
	s->trace = t;
	trace_start(t);
}
