// Keeps a port mapping, as tailgated does, for tests/net/portmap.sh.
//
// usage: portmap_probe GATEWAY OWN PORT
// Writes a line whenever something changed: the protocol and external address of the mapping, what
// the gateway speaks (1, 0, -1 for not asked), and why there is none. SIGHUP: look again now.
// SIGTERM: delete it and end.
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "control/path/portmap.h"

struct probe {
	struct event_base *base;
	struct portmap *pm;
};

static uint64_t now_ns(void *)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void changed(void *arg)
{
	struct probe *const p = arg;
	const struct portmap_info *const info = portmap_get(p->pm);
	char external[ENDPOINT_TEXT_LEN] = "-";

	if (info->external.port)
		endpoint_format(&info->external, external);
	printf("mapping %s %s upnp %d pmp %d pcp %d %s\n",
		info->protocol[0] ? info->protocol : "none", external, info->upnp, info->pmp,
		info->pcp, info->text);
}

static void on_signal(evutil_socket_t signal_number, short, void *arg)
{
	struct probe *const p = arg;

	if (signal_number == SIGHUP)
		portmap_refresh(p->pm);
	else
		event_base_loopbreak(p->base);
}

int main(int argc, char **argv)
{
	struct probe p = {.base = event_base_new()};
	const struct portmap_env env = {.arg = &p, .now_ns = now_ns, .changed = changed};
	struct ip_addr gateway, own;

	if (argc != 4 || ip_addr_parse(argv[1], &gateway) || ip_addr_parse(argv[2], &own)) {
		fprintf(stderr, "usage: portmap_probe GATEWAY OWN PORT\n");
		return 2;
	}
	setlinebuf(stdout);
	struct event *const signals[] = {evsignal_new(p.base, SIGHUP, on_signal, &p),
		evsignal_new(p.base, SIGTERM, on_signal, &p)};
	for (unsigned i = 0; i < 2; i++)
		event_add(signals[i], NULL);
	p.pm = portmap_create(p.base, &env);
	portmap_set(p.pm, &gateway, &own, (uint16_t)atoi(argv[3]));
	event_base_dispatch(p.base);
	portmap_destroy(p.pm);
	for (unsigned i = 0; i < 2; i++)
		event_free(signals[i]);
	event_base_free(p.base);
	printf("ended\n");
	return 0;
}
