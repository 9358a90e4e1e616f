#include <errno.h>
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <miniupnpc/upnperrors.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "control/path/portmap_priv.h"

enum {
	JOB_TYPES = UPNP_UNMAP + 1,
	DEVICES_MAX = 4,
	DISCOVERIES = 2,  // multicast gets lost, and the library asks once
	DISCOVERED_S = 5, // for so long nobody new comes
	URL_LEN = 256,
	PORT_FIRST = 1024, // of those that gateways give to everyone
	CONFLICTS_MAX = 4, // other ports tried when one is taken
	MULTICAST_TTL = 2,
	ADDRESS_LEN = 64,
	PORT_LEN = 6,
	// UPnP error codes
	INVALID_ARGS = 402,
	CONFLICT = 718,
	ONLY_PERMANENT_LEASES = 725,
};

struct upnp {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	int fd;
	bool end, ended, abandoned; // under lock
	struct upnp_job jobs[JOB_TYPES];
	struct upnp_result results[JOB_TYPES]; // the last of each type; type 0: taken

	// Of the thread.
	char urls[DEVICES_MAX][URL_LEN]; // descriptions of the gateway, by discovery
	unsigned n_urls;
	struct ip_addr urls_of;
	time_t discovered_s;
	bool mapped;
	char mapped_control[MINIUPNPC_URL_MAXSIZE], mapped_service[MINIUPNPC_URL_MAXSIZE];
	char mapped_port[PORT_LEN];
};

// -- discovery ------------------------------------------------------------------------------------

// The same description at the gateway's address: some gateways name another one of theirs, and
// other devices are none of our business. false: no such URL.
static bool at_gateway(const char *url, const struct ip_addr *gateway, char out[static URL_LEN])
{
	char host[ADDRESS_LEN], rest[URL_LEN] = "", text[ADDR_TEXT_LEN];
	unsigned port = 80;

	if (sscanf(url, "http://%63[0-9.]%255[^\n]", host, rest) < 1)
		return false;
	const char *path = rest;
	if (rest[0] == ':') {
		char *end;

		port = (unsigned)strtoul(rest + 1, &end, 10);
		path = end;
	}
	if (port == 0 || port > UINT16_MAX || (path[0] && path[0] != '/'))
		return false;
	for (const char *c = path; *c; c++)
		if ((unsigned char)*c <= ' ')
			return false;
	const int len = snprintf(out, URL_LEN, "http://%s:%u%s", ip_addr_format(gateway, text),
		port, path[0] ? path : "/");
	return len > 0 && len < URL_LEN;
}

static void keep_url(struct upnp *u, const char *url, const struct ip_addr *gateway)
{
	char here[URL_LEN];

	if (u->n_urls == DEVICES_MAX || !at_gateway(url, gateway, here))
		return;
	for (unsigned i = 0; i < u->n_urls; i++)
		if (strcmp(u->urls[i], here) == 0)
			return;
	strcpy(u->urls[u->n_urls++], here);
}

static time_t monotonic_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void discover_once(struct upnp *u, const struct upnp_job *job)
{
	// Version 2 answers to 1 as well.
	static const char *const wanted[] = {
		"urn:schemas-upnp-org:device:InternetGatewayDevice:1", NULL};
	char own[ADDR_TEXT_LEN];
	int error = 0;
	struct UPNPDev *const devices =
		upnpDiscoverDevices(wanted, UPNP_DISCOVER_MS, ip_addr_format(&job->own, own), NULL,
			UPNP_LOCAL_PORT_ANY, 0, MULTICAST_TTL, &error, 0);

	for (const struct UPNPDev *d = devices; d; d = d->pNext)
		keep_url(u, d->descURL, &job->gateway);
	freeUPNPDevlist(devices);
}

static bool discover(struct upnp *u, const struct upnp_job *job)
{
	u->n_urls = 0;
	u->urls_of = job->gateway;
	for (unsigned i = 0; i < DISCOVERIES && u->n_urls == 0; i++)
		discover_once(u, job);
	u->discovered_s = monotonic_s();
	return u->n_urls > 0;
}

// By a discovery that was good, or just now.
static bool discovered(struct upnp *u, const struct upnp_job *job)
{
	const bool here = ip_addr_equal(&u->urls_of, &job->gateway);

	if (here && (u->n_urls || monotonic_s() < u->discovered_s + DISCOVERED_S))
		return u->n_urls > 0;
	return discover(u, job);
}

// -- mapping --------------------------------------------------------------------------------------

struct igd {
	struct UPNPUrls urls;
	struct IGDdatas data;
	char own[ADDRESS_LEN];
};

// A connected gateway first, as the library looks for it. false: there is none.
static bool open_igd(struct upnp *u, struct igd *igd)
{
	struct UPNPDev devices[DEVICES_MAX];
	char none[] = "";

	for (unsigned i = 0; i < u->n_urls; i++)
		devices[i] = (struct UPNPDev){
			.pNext = i + 1 < u->n_urls ? &devices[i + 1] : NULL,
			.descURL = u->urls[i],
			.st = none,
			.usn = none,
		};
	memset(igd, 0, sizeof(*igd));
	const int found = u->n_urls ? UPNP_GetValidIGD(devices, &igd->urls, &igd->data, igd->own,
					      sizeof(igd->own))
				    : 0;
	if (found == 1 || found == 2)
		return true;
	if (found)
		FreeUPNPUrls(&igd->urls);
	return false;
}

// The description may name any host: one that is not the gateway has no say.
static bool controls_gateway(const struct igd *igd, const struct ip_addr *gateway)
{
	char prefix[ADDR_TEXT_LEN + 8], text[ADDR_TEXT_LEN];
	const int len =
		snprintf(prefix, sizeof(prefix), "http://%s", ip_addr_format(gateway, text));

	return igd->urls.controlURL && strncmp(igd->urls.controlURL, prefix, (size_t)len) == 0 &&
	       (igd->urls.controlURL[len] == ':' || igd->urls.controlURL[len] == '/');
}

static void say(struct upnp_result *r, const char *what, int error)
{
	const char *const text = strupnperror(error);

	snprintf(r->error, sizeof(r->error), "%s: %s (%d)", what, text ? text : "error", error);
}

static int add_once(const struct upnp_job *job, const struct igd *igd, uint16_t wanted,
	uint32_t lifetime_s, char port[static PORT_LEN])
{
	static const char name[] = "tailscale-portmap"; // the real client's
	char own_port[PORT_LEN], lifetime[12], own[ADDR_TEXT_LEN], given[PORT_LEN] = "";
	int error = INVALID_ARGS;

	snprintf(port, PORT_LEN, "%u", wanted);
	snprintf(own_port, sizeof(own_port), "%u", job->port);
	snprintf(lifetime, sizeof(lifetime), "%u", lifetime_s);
	ip_addr_format(&job->own, own);
	if (strstr(igd->data.first.servicetype, "WANIPConnection:2"))
		error = UPNP_AddAnyPortMapping(igd->urls.controlURL, igd->data.first.servicetype,
			port, own_port, own, name, "UDP", NULL, lifetime, given);
	if (error == UPNPCOMMAND_SUCCESS && given[0])
		strcpy(port, given);
	else
		error = UPNP_AddPortMapping(igd->urls.controlURL, igd->data.first.servicetype, port,
			own_port, own, name, "UDP", NULL, lifetime);
	return error;
}

static uint16_t random_port(void)
{
	return (uint16_t)(PORT_FIRST + randombytes_uniform(UINT16_MAX + 1 - PORT_FIRST));
}

// 0 or the UPnP error; the port and the lifetime that it got.
static int add_mapping(const struct upnp_job *job, const struct igd *igd,
	char port[static PORT_LEN], uint32_t *lifetime_s)
{
	uint16_t wanted = job->wanted_port >= PORT_FIRST ? job->wanted_port : random_port();
	int error = CONFLICT;

	*lifetime_s = PORTMAP_LIFETIME_S;
	for (unsigned i = 0; i < CONFLICTS_MAX && error == CONFLICT; i++) {
		error = add_once(job, igd, wanted, *lifetime_s, port);
		if (error == INVALID_ARGS || error == ONLY_PERMANENT_LEASES) {
			*lifetime_s = 0;
			error = add_once(job, igd, wanted, 0, port);
		}
		wanted = random_port();
	}
	return error;
}

static void unmap(struct upnp *u)
{
	if (u->mapped)
		UPNP_DeletePortMapping(
			u->mapped_control, u->mapped_service, u->mapped_port, "UDP", NULL);
	u->mapped = false;
}

static void remember_mapping(struct upnp *u, const struct igd *igd, const char *port)
{
	if (strcmp(u->mapped_port, port) != 0)
		unmap(u); // another port than the last time
	u->mapped = true;
	snprintf(u->mapped_control, sizeof(u->mapped_control), "%s", igd->urls.controlURL);
	snprintf(u->mapped_service, sizeof(u->mapped_service), "%s", igd->data.first.servicetype);
	snprintf(u->mapped_port, sizeof(u->mapped_port), "%s", port);
}

static void map_at(
	struct upnp *u, const struct upnp_job *job, struct igd *igd, struct upnp_result *r)
{
	char external[16] = "", port[PORT_LEN], *end;
	struct ip_addr addr;

	if (!controls_gateway(igd, &job->gateway)) {
		snprintf(r->error, sizeof(r->error), "it leaves the control to another host");
		return;
	}
	int error = UPNP_GetExternalIPAddress(
		igd->urls.controlURL, igd->data.first.servicetype, external);
	if (error || ip_addr_parse(external, &addr) || addr.family != IP_V4 || !addr.bytes[0]) {
		snprintf(r->error, sizeof(r->error), "the gateway has no address itself");
		return;
	}
	error = add_mapping(job, igd, port, &r->lifetime_s);
	if (error) {
		say(r, "refused", error);
		return;
	}
	const unsigned long number = strtoul(port, &end, 10);
	if (*end || number == 0 || number > UINT16_MAX) {
		snprintf(r->error, sizeof(r->error), "it gave no port");
		return;
	}
	remember_mapping(u, igd, port);
	r->external = (struct endpoint){addr, (uint16_t)number};
	if (r->lifetime_s == 0) // for good; asked again all the same
		r->lifetime_s = PORTMAP_LIFETIME_S;
}

static void map(struct upnp *u, const struct upnp_job *job, struct upnp_result *r)
{
	struct igd igd;

	r->seen = discovered(u, job);
	if (!r->seen)
		return;
	if (!open_igd(u, &igd)) {
		u->n_urls = 0; // look again next time
		snprintf(r->error, sizeof(r->error), "no connection to the world that it knows");
		return;
	}
	map_at(u, job, &igd, r);
	FreeUPNPUrls(&igd.urls);
}

// -- the thread -----------------------------------------------------------------------------------

static void upnp_free(struct upnp *u)
{
	close(u->fd);
	pthread_cond_destroy(&u->changed);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

// What is to be deleted goes before what is to be made.
static bool next_job(struct upnp *u, struct upnp_job *out)
{
	for (unsigned type = JOB_TYPES; type-- > UPNP_NOTHING + 1;)
		if (u->jobs[type].type) {
			*out = u->jobs[type];
			u->jobs[type].type = UPNP_NOTHING;
			return true;
		}
	return false;
}

static void work(struct upnp *u, const struct upnp_job *job)
{
	struct upnp_result r = {.type = job->type, .generation = job->generation};

	if (job->type == UPNP_UNMAP) {
		unmap(u);
		return;
	}
	if (job->type == UPNP_PROBE)
		r.seen = discover(u, job);
	else
		map(u, job, &r);
	pthread_mutex_lock(&u->lock);
	u->results[r.type] = r;
	pthread_mutex_unlock(&u->lock);
	eventfd_write(u->fd, 1);
}

static void *upnp_thread(void *arg)
{
	struct upnp *const u = arg;
	struct upnp_job job;

	pthread_mutex_lock(&u->lock);
	while (!u->end) {
		if (!next_job(u, &job)) {
			pthread_cond_wait(&u->changed, &u->lock);
			continue;
		}
		pthread_mutex_unlock(&u->lock);
		work(u, &job);
		pthread_mutex_lock(&u->lock);
	}
	pthread_mutex_unlock(&u->lock);
	unmap(u);
	pthread_mutex_lock(&u->lock);
	u->ended = true;
	pthread_cond_signal(&u->changed);
	const bool abandoned = u->abandoned;
	pthread_mutex_unlock(&u->lock);
	if (abandoned)
		upnp_free(u);
	return NULL;
}

// Signals are the main thread's.
static int start_thread(struct upnp *u)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	const int error = pthread_create(&u->thread, NULL, upnp_thread, u);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

struct upnp *upnp_create(void)
{
	struct upnp *const u = calloc(1, sizeof(*u));
	pthread_condattr_t monotonic;

	if (!u)
		return NULL;
	u->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pthread_mutex_init(&u->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&u->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	const int error = u->fd < 0 ? errno : start_thread(u);
	if (error) {
		upnp_free(u);
		errno = error;
		return NULL;
	}
	return u;
}

void upnp_destroy(struct upnp *u, unsigned timeout_ms)
{
	struct timespec until;

	if (!u)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	until.tv_sec += timeout_ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&u->lock);
	u->end = true;
	pthread_cond_signal(&u->changed);
	while (!u->ended && pthread_cond_timedwait(&u->changed, &u->lock, &until) == 0)
		;
	const bool ended = u->ended;
	const pthread_t thread = u->thread;
	u->abandoned = !ended;
	pthread_mutex_unlock(&u->lock);
	if (!ended) {
		pthread_detach(thread);
		return;
	}
	pthread_join(thread, NULL);
	upnp_free(u);
}

int upnp_fd(const struct upnp *u)
{
	return u->fd;
}

void upnp_post(struct upnp *u, const struct upnp_job *job)
{
	pthread_mutex_lock(&u->lock);
	u->jobs[job->type] = *job;
	pthread_cond_signal(&u->changed);
	pthread_mutex_unlock(&u->lock);
}

bool upnp_take(struct upnp *u, struct upnp_result *out)
{
	bool found = false;
	eventfd_t count;

	pthread_mutex_lock(&u->lock);
	for (unsigned type = 0; type < JOB_TYPES && !found; type++) {
		found = u->results[type].type != UPNP_NOTHING;
		if (found)
			*out = u->results[type];
		u->results[type].type = UPNP_NOTHING;
	}
	if (!found)
		eventfd_read(u->fd, &count);
	pthread_mutex_unlock(&u->lock);
	return found;
}
