#include "control/tailnet/reach.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"

struct reach { // ctl only
	struct echo *echo;
	struct event *second;
	void (*changed)(void *arg);
	void *arg;
	struct reach_host host[CONFIG_HOSTS_MAX];
	unsigned n;
	bool refused; // the kernel did not send, and that was said
};

static bool judge(struct reach_host *h, bool hit)
{
	if (hit == !h->gone) {
		h->misses = h->hits = 0;
		return false;
	}
	uint8_t *run = hit ? &h->hits : &h->misses;
	if (++*run < (hit ? REACH_HITS : REACH_MISSES))
		return false;
	h->gone = !hit;
	h->misses = h->hits = 0;
	return true;
}

bool reach_tick(struct reach_host *h, uint16_t *seq)
{
	bool missed = h->asked != 0 && !h->answered;
	bool changed = missed && judge(h, false);
	h->asked = h->asked == UINT16_MAX ? 1 : (uint16_t)(h->asked + 1);
	h->answered = false;
	*seq = h->asked;
	return changed;
}

bool reach_reply(struct reach_host *h, uint16_t seq)
{
	if (seq != h->asked || h->asked == 0 || h->answered)
		return false;
	h->answered = true;
	return judge(h, true);
}

static void tell(struct reach *r, const struct reach_host *h)
{
	char text[ADDR_TEXT_LEN];
	ip_addr_format(&h->addr, text);
	if (h->gone)
		log_warn("tailnet", "%s does not answer: routes to it are withdrawn until it does",
			text);
	else
		log_info("tailnet", "%s answers again: routes to it are offered", text);
	r->changed(r->arg);
}

static void on_second(evutil_socket_t, short, void *arg)
{
	struct reach *r = arg;
	for (unsigned i = 0; i < r->n; i++) {
		uint16_t seq;
		if (reach_tick(&r->host[i], &seq))
			tell(r, &r->host[i]);
		// A network that is gone refuses to send: the host is as silent as any other.
		int error = echo_send(r->echo, &r->host[i].addr, seq);
		if ((error == -EPERM || error == -EMFILE) && !r->refused) {
			r->refused = true;
			log_error("tailnet",
				"route_probes: %s; the hosts cannot be asked and count as gone",
				strerror(-error));
		}
	}
}

static void on_reply(void *arg, const struct ip_addr *from, uint16_t seq)
{
	struct reach *r = arg;
	for (unsigned i = 0; i < r->n; i++) {
		if (ip_addr_equal(&r->host[i].addr, from) && reach_reply(&r->host[i], seq))
			tell(r, &r->host[i]);
	}
}

struct reach *reach_create(
	struct event_base *base, uint32_t mark, void (*changed)(void *arg), void *arg)
{
	const struct timeval second = {.tv_sec = 1};
	struct reach *r = mem_alloc(sizeof(*r));
	r->changed = changed;
	r->arg = arg;
	r->echo = echo_create(base, mark, on_reply, r);
	r->second = event_new(base, -1, EV_PERSIST, on_second, r);
	if (r->echo && r->second && event_add(r->second, &second) == 0)
		return r;
	reach_destroy(r);
	return NULL;
}

void reach_destroy(struct reach *r)
{
	if (!r)
		return;
	if (r->second)
		event_free(r->second);
	echo_destroy(r->echo);
	free(r);
}

void reach_set(struct reach *r, const struct config_hosts *hosts)
{
	struct reach_host now[CONFIG_HOSTS_MAX] = {0};
	for (unsigned i = 0; i < hosts->count; i++) {
		now[i].addr = hosts->list[i];
		for (unsigned j = 0; j < r->n; j++) {
			if (ip_addr_equal(&r->host[j].addr, &now[i].addr))
				now[i] = r->host[j];
		}
	}
	memcpy(r->host, now, sizeof(now));
	r->n = hosts->count;
}

const struct reach_host *reach_hosts(const struct reach *r, unsigned *n)
{
	*n = r->n;
	return r->host;
}
