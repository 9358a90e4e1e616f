// Source: org.freedesktop.resolve1(5), "Link Object" calls of the manager.
#include "control/dns/resolved.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "control/dns/engine.h"
#include "dataplane/base/mem.h"

enum { CALLS = 3, LIMIT_US = 5000000 };

struct resolved { // ctl only
	sd_bus *bus;
	struct event *event;
	unsigned left; // calls without answer
	bool failed;
	void (*done)(void *arg, const char *why);
	void *arg;
};

static int on_reply(sd_bus_message *m, void *arg, sd_bus_error *)
{
	struct resolved *r = arg;
	const sd_bus_error *e = sd_bus_message_get_error(m);

	r->left--;
	if (r->failed || (!e && r->left))
		return 1;
	r->failed = e != NULL;
	r->done(r->arg, e ? (e->message ? e->message : e->name) : "");
	return 1;
}

static sd_bus_message *call(struct resolved *r, const char *member)
{
	sd_bus_message *m = NULL;

	if (sd_bus_message_new_method_call(r->bus, &m, "org.freedesktop.resolve1",
		    "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager", member) < 0)
		return NULL;
	return m;
}

// The message is the bus's then.
static int submit(struct resolved *r, sd_bus_message *m, int built)
{
	int error = m && built >= 0 ? sd_bus_call_async(r->bus, NULL, m, on_reply, r, LIMIT_US)
				    : -ENOMEM;

	sd_bus_message_unref(m);
	r->left += error >= 0;
	return error < 0 ? error : 0;
}

static int set_dns(struct resolved *r, uint32_t ifindex)
{
	sd_bus_message *m = call(r, "SetLinkDNS");
	int e = m ? sd_bus_message_append(m, "i", (int)ifindex) : -ENOMEM;

	if (e >= 0)
		e = sd_bus_message_open_container(m, 'a', "(iay)");
	if (e >= 0)
		e = sd_bus_message_open_container(m, 'r', "iay");
	if (e >= 0)
		e = sd_bus_message_append(m, "i", AF_INET);
	if (e >= 0)
		e = sd_bus_message_append_array(m, 'y', dns_service_v4.bytes, 4);
	if (e >= 0)
		e = sd_bus_message_close_container(m);
	if (e >= 0)
		e = sd_bus_message_close_container(m);
	return submit(r, m, e);
}

// Everything is asked of us ("."), and these are searched.
static int set_domains(struct resolved *r, uint32_t ifindex, const char *const *search, unsigned n)
{
	sd_bus_message *m = call(r, "SetLinkDomains");
	int e = m ? sd_bus_message_append(m, "i", (int)ifindex) : -ENOMEM;

	if (e >= 0)
		e = sd_bus_message_open_container(m, 'a', "(sb)");
	if (e >= 0)
		e = sd_bus_message_append(m, "(sb)", ".", true);
	for (unsigned i = 0; e >= 0 && i < n; i++)
		e = sd_bus_message_append(m, "(sb)", search[i], false);
	if (e >= 0)
		e = sd_bus_message_close_container(m);
	return submit(r, m, e);
}

static int set_default(struct resolved *r, uint32_t ifindex)
{
	sd_bus_message *m = call(r, "SetLinkDefaultRoute");
	const int e = m ? sd_bus_message_append(m, "ib", (int)ifindex, true) : -ENOMEM;

	return submit(r, m, e);
}

static void arm(struct resolved *r);

static void on_bus(evutil_socket_t, short, void *arg)
{
	struct resolved *r = arg;
	int e;

	while ((e = sd_bus_process(r->bus, NULL)) > 0)
		;
	if (e < 0 && !r->failed && r->left) {
		r->failed = true;
		r->done(r->arg, strerror(-e));
		return;
	}
	if (e >= 0)
		arm(r);
}

static void arm(struct resolved *r)
{
	const int wants = sd_bus_get_events(r->bus);
	const short what =
		(short)((wants & POLLIN ? EV_READ : 0) | (wants & POLLOUT ? EV_WRITE : 0));
	const struct timeval look = {.tv_sec = 1}; // sd-bus has time limits of its own

	event_assign(r->event, event_get_base(r->event), sd_bus_get_fd(r->bus), what, on_bus, r);
	event_add(r->event, &look);
}

struct resolved *resolved_tell(struct event_base *base, uint32_t ifindex, const char *const *search,
	unsigned n_search, void (*done)(void *arg, const char *why), void *arg)
{
	struct resolved *r = mem_alloc(sizeof(*r));

	r->done = done;
	r->arg = arg;
	r->event = event_new(base, -1, 0, on_bus, r);
	int e = r->event ? sd_bus_open_system(&r->bus) : -ENOMEM;
	if (e >= 0)
		e = set_dns(r, ifindex);
	if (e >= 0)
		e = set_domains(r, ifindex, search, n_search);
	if (e >= 0)
		e = set_default(r, ifindex);
	if (e < 0) {
		done(arg, strerror(-e));
		resolved_end(r);
		return NULL;
	}
	arm(r);
	return r;
}

void resolved_revert(struct resolved *r, uint32_t ifindex)
{
	sd_bus_message *m = r ? call(r, "RevertLink") : NULL;

	if (m && sd_bus_message_append(m, "i", (int)ifindex) >= 0)
		sd_bus_send(r->bus, m, NULL);
	sd_bus_message_unref(m);
	if (r)
		sd_bus_flush(r->bus);
}

void resolved_end(struct resolved *r)
{
	if (!r)
		return;
	if (r->event)
		event_free(r->event);
	sd_bus_unref(r->bus);
	free(r);
}
