#include "control/path/portmap.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "control/path/portmap_priv.h"
#include "dataplane/base/log.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)

enum {
	RESEND_MS = 250, // of a request for a mapping, and so long for the last one
	SENDS_MAX = 4,
	CHECK_S = 30,	 // between looks at the epoch while a mapping is held
	RETRY_MIN_S = 5, // after nothing was found, doubled each time
	RETRY_MAX_S = PORTMAP_TRUST_PROBE_S,
	RENEW_MIN_S = 10, // between attempts to renew that were not answered
	DESTROY_MS = 250,
	UPNP_TIMEOUT_S = 30,	 // then its thread hangs
	DATAGRAMS_PER_TURN = 32, // datagrams read per turn of the loop
};

static uint64_t now(const struct portmap *pm)
{
	return pm->env.now_ns(pm->env.arg);
}

// -- states ---------------------------------------------------------------------------------------

static void nothing_found(struct portmap *pm, uint64_t now_ns)
{
	pm->state = NOTHING;
	pm->trying = NONE;
	pm->end_ns = now_ns + pm->retry_s * S;
	pm->retry_s = pm->retry_s * 2 < RETRY_MAX_S ? pm->retry_s * 2 : RETRY_MAX_S;
}

// Ask by a protocol that the gateway is known to speak. The mapping that is held stays until then.
static void begin_mapping(struct portmap *pm, enum protocol protocol, uint64_t now_ns)
{
	pm->state = MAPPING;
	pm->trying = protocol;
	pm->sends = 1;
	pm->resend_ns = now_ns + RESEND_MS * MS;
	if (protocol == UPNP) {
		pm->sends = SENDS_MAX;
		pm->resend_ns = now_ns + UPNP_TIMEOUT_S * S;
		if (!pm_post_upnp(pm, UPNP_MAP))
			nothing_found(pm, now_ns);
		return;
	}
	pm_send_map(pm, protocol, &pm->want);
	if (protocol == PMP && pm->pmp_external.family == IP_NONE)
		pm_send_probe(pm, true, false);
}

// It did not work by this protocol; the next one, if the gateway speaks it.
static void try_after(struct portmap *pm, enum protocol failed, uint64_t now_ns)
{
	if (failed < PMP && pm_recent(pm->pmp_seen_ns, now_ns))
		begin_mapping(pm, PMP, now_ns);
	else if (failed < PCP && pm_recent(pm->pcp_seen_ns, now_ns))
		begin_mapping(pm, PCP, now_ns);
	else if (failed < UPNP)
		begin_mapping(pm, UPNP, now_ns); // which looks for it first
	else
		nothing_found(pm, now_ns);
}

static void hold(struct portmap *pm, enum protocol protocol, const struct portmap_lease *lease,
	uint64_t now_ns)
{
	char text[ENDPOINT_TEXT_LEN];

	if (pm->held == NONE || !endpoint_equal(&pm->lease.external, &lease->external))
		log_info("portmap", "port %u is %s at the gateway, by %s", pm->port,
			endpoint_format(&lease->external, text), pm_name(protocol));
	pm->state = HELD;
	pm->trying = NONE;
	pm->held = protocol;
	pm->lease = *lease;
	pm->want.external = lease->external.addr;
	pm->want.external_port = lease->external.port;
	pm->refusal[0] = '\0';
	pm->retry_s = RETRY_MIN_S;
	pm->check_ns = now_ns + CHECK_S * S;
}

static void begin_probe(struct portmap *pm, uint64_t now_ns)
{
	pm_need_socket(pm);
	pm->asked = true;
	pm->probed_ns = now_ns;
	pm_send_probe(pm, true, true);
	if (pm->held != UPNP) // its renewals tell; and looking round would delay a deletion
		pm_post_upnp(pm, UPNP_PROBE);
	if (pm->held != NONE)
		return;
	pm->refusal[0] = '\0';
	pm->state = PROBING;
	pm->resend_ns = now_ns + PORTMAP_PROBE_TIMEOUT_MS / 2 * MS;
	pm->end_ns = now_ns + PORTMAP_PROBE_TIMEOUT_MS * MS;
}

// The renewal was not answered: again after half of what is left, until it is over.
static void renew_later(struct portmap *pm, uint64_t now_ns)
{
	const uint64_t left = pm->lease.expires_ns > now_ns ? pm->lease.expires_ns - now_ns : 0;
	const uint64_t pause = left / 2 > RENEW_MIN_S * S ? left / 2 : RENEW_MIN_S * S;

	pm->state = HELD;
	pm->trying = NONE;
	pm->lease.renew_ns = now_ns + pause;
	pm->check_ns = now_ns + CHECK_S * S;
}

static void lose(struct portmap *pm, uint64_t now_ns)
{
	log_info("portmap", "the mapping by %s is over", pm_name(pm->held));
	pm->held = NONE;
	begin_probe(pm, now_ns);
}

// -- answers --------------------------------------------------------------------------------------

static void refused(struct portmap *pm, const char *protocol, const char *why)
{
	snprintf(pm->refusal, sizeof(pm->refusal), "%s: %s", protocol, why);
}

static void on_external(struct portmap *pm, const struct portmap_response *r, uint64_t now_ns)
{
	if (r->result == NATPMP_UNSUPPORTED_VERSION)
		return; // also how it answers to PCP
	if (r->result != PORTMAP_SUCCESS) {
		refused(pm, pm_name(PMP), portmap_result_text(r));
		return;
	}
	pm->pmp_seen_ns = now_ns;
	if (r->external.bytes[0] == 0 || r->external.bytes[0] >= 224) {
		refused(pm, pm_name(PMP), "the gateway has no address itself");
		pm->pmp_seen_ns = 0;
		return;
	}
	pm->pmp_external = r->external;
	if (pm->held == PMP)
		pm->lease.external.addr = r->external;
}

static void on_granted(struct portmap *pm, enum protocol protocol, const struct portmap_response *r,
	uint64_t now_ns)
{
	struct portmap_lease lease;
	const int error = portmap_granted(r, &pm->want, now_ns, &lease);

	if (pm->state != MAPPING || pm->trying != protocol || error == -EPROTO)
		return;
	if (error == 0 && protocol == PMP) {
		lease.external.addr = pm->pmp_external;
		if (pm->pmp_external.family == IP_NONE)
			return; // it comes, or the request is sent again
	}
	if (error == 0) {
		hold(pm, protocol, &lease, now_ns);
		return;
	}
	refused(pm, pm_name(protocol), portmap_result_text(r));
	if (pm->held == protocol)
		pm->held = NONE;
	try_after(pm, protocol, now_ns);
}

// The gateway has begun anew: what was held there is gone, and probably to be had again.
static void on_lost_mappings(struct portmap *pm, enum protocol protocol, uint64_t now_ns)
{
	if (pm->held != protocol || pm->state != HELD)
		return;
	log_info("portmap", "the gateway has forgotten its mappings: asking again");
	begin_mapping(pm, protocol, now_ns);
}

static void on_response(struct portmap *pm, const struct portmap_response *r, uint64_t now_ns)
{
	const bool pcp = r->kind == PCP_ANNOUNCE || r->kind == PCP_MAP;
	const bool success = r->result == PORTMAP_SUCCESS;

	// Errors of a gateway that does not speak the protocol carry no epoch to go by.
	const bool continues =
		!success || portmap_epoch_continues(pcp ? &pm->pcp_epoch : &pm->pmp_epoch, r->kind,
				    r->epoch_s, now_ns);
	if (r->kind == PCP_ANNOUNCE && success)
		pm->pcp_seen_ns = now_ns;
	else if (r->kind == PCP_ANNOUNCE && r->result == PCP_NOT_AUTHORIZED)
		refused(pm, pm_name(PCP), portmap_result_text(r));
	else if (r->kind == NATPMP_EXTERNAL)
		on_external(pm, r, now_ns);
	else if (r->kind == NATPMP_MAP || r->kind == PCP_MAP)
		on_granted(pm, pcp ? PCP : PMP, r, now_ns);
	if (!continues)
		on_lost_mappings(pm, pcp ? PCP : PMP, now_ns);
	// NAT-PMP is preferred: with it there is nothing to wait for.
	if (pm->state == PROBING && pm_recent(pm->pmp_seen_ns, now_ns))
		begin_mapping(pm, PMP, now_ns);
}

static void run(struct portmap *pm);

void pm_on_readable(evutil_socket_t fd, short, void *arg)
{
	struct portmap *const pm = arg;

	for (unsigned i = 0; i < DATAGRAMS_PER_TURN; i++) {
		uint8_t packet[PORTMAP_RESPONSE_MAX + 1];
		struct portmap_response r;
		const ssize_t len = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

		if (len < 0)
			break;
		if (portmap_response_parse(packet, (size_t)len, &r) == 0)
			on_response(pm, &r, now(pm));
	}
	run(pm);
}

static void on_upnp_mapped(struct portmap *pm, const struct upnp_result *r, uint64_t now_ns)
{
	const struct portmap_lease lease = {
		.external = r->external,
		.lifetime_s = r->lifetime_s,
		.renew_ns = now_ns + UPNP_RENEW_S * S,
		.expires_ns = now_ns + r->lifetime_s * S,
	};

	if (pm->state != MAPPING || pm->trying != UPNP)
		return;
	if (r->external.port) {
		hold(pm, UPNP, &lease, now_ns);
		return;
	}
	if (r->error[0])
		refused(pm, pm_name(UPNP), r->error);
	if (pm->held != NONE)
		renew_later(pm, now_ns);
	else
		nothing_found(pm, now_ns);
}

void pm_on_upnp(evutil_socket_t, short, void *arg)
{
	struct portmap *const pm = arg;
	struct upnp_result r;

	while (upnp_take(pm->upnp, &r)) {
		if (r.generation != pm->generation)
			continue;
		pm->upnp_asked = true;
		if (r.seen)
			pm->upnp_seen_ns = now(pm);
		if (r.type == UPNP_MAP)
			on_upnp_mapped(pm, &r, now(pm));
	}
	run(pm);
}

// -- time -----------------------------------------------------------------------------------------

static void tick_probing(struct portmap *pm, uint64_t now_ns)
{
	if (now_ns >= pm->end_ns) {
		try_after(pm, NONE, now_ns);
	} else if (now_ns >= pm->resend_ns) {
		pm->resend_ns = UINT64_MAX;
		pm_send_probe(pm, true, true);
	}
}

static void tick_mapping(struct portmap *pm, uint64_t now_ns)
{
	if (now_ns < pm->resend_ns)
		return;
	if (pm->sends == SENDS_MAX) {
		if (pm->held != NONE)
			renew_later(pm, now_ns);
		else
			try_after(pm, pm->trying, now_ns);
		return;
	}
	pm->sends++;
	pm->resend_ns = now_ns + RESEND_MS * MS;
	pm_send_map(pm, pm->trying, &pm->want);
	if (pm->trying == PMP && pm->pmp_external.family == IP_NONE)
		pm_send_probe(pm, true, false);
}

static void tick_held(struct portmap *pm, uint64_t now_ns)
{
	if (now_ns >= pm->lease.expires_ns) {
		lose(pm, now_ns);
	} else if (now_ns >= pm->lease.renew_ns) {
		begin_mapping(pm, pm->held, now_ns);
	} else if (now_ns >= pm->probed_ns + PORTMAP_TRUST_PROBE_S * S - CHECK_S * S) {
		begin_probe(pm, now_ns); // what it speaks is shown, too
	} else if (now_ns >= pm->check_ns) {
		pm->check_ns = now_ns + CHECK_S * S;
		pm_send_probe(pm, pm->held == PMP, pm->held == PCP);
	}
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_ns(const struct portmap *pm)
{
	switch (pm->state) {
	case IDLE:
		break;
	case PROBING:
		return least(pm->end_ns, pm->resend_ns);
	case MAPPING:
		return pm->resend_ns;
	case HELD:
		return least(least(pm->lease.expires_ns, pm->lease.renew_ns),
			least(pm->check_ns,
				pm->probed_ns + PORTMAP_TRUST_PROBE_S * S - CHECK_S * S));
	case NOTHING:
		return pm->end_ns;
	}
	return UINT64_MAX;
}

// What is due, then tell what changed, then sleep.
static void run(struct portmap *pm)
{
	const uint64_t now_ns = now(pm);

	if (pm->state == PROBING)
		tick_probing(pm, now_ns);
	else if (pm->state == MAPPING)
		tick_mapping(pm, now_ns);
	else if (pm->state == HELD)
		tick_held(pm, now_ns);
	else if (pm->state == NOTHING && now_ns >= pm->end_ns)
		begin_probe(pm, now_ns);
	pm_update_info(pm, now_ns);
	const bool notify = pm->notify;
	pm->notify = false;
	const uint64_t next = next_ns(pm), wait = next > now_ns ? next - now_ns : 0;
	const struct timeval tv = {(time_t)(wait / S), (suseconds_t)(wait % S / 1000 + 1)};
	if (next == UINT64_MAX)
		evtimer_del(pm->timer);
	else
		evtimer_add(pm->timer, &tv);
	if (notify)
		pm->env.changed(pm->env.arg);
}

static void on_timer(evutil_socket_t, short, void *arg)
{
	run(arg);
}

// -- outside --------------------------------------------------------------------------------------

struct portmap *portmap_create(struct event_base *base, const struct portmap_env *env)
{
	struct portmap *const pm = calloc(1, sizeof(*pm));

	if (!pm)
		return NULL;
	pm->base = base;
	pm->env = *env;
	pm->fd = -1;
	pm->retry_s = RETRY_MIN_S;
	pm->timer = evtimer_new(base, on_timer, pm);
	if (!pm->timer) {
		free(pm);
		errno = ENOMEM;
		return NULL;
	}
	pm_update_info(pm, now(pm));
	pm->notify = false;
	return pm;
}

// Give back what is held; nobody waits for the answer.
static void release(struct portmap *pm)
{
	struct portmap_want want = pm->want;

	want.lifetime_s = 0;
	if (pm->held == PMP || pm->held == PCP)
		pm_send_map(pm, pm->held, &want);
	if (pm->upnp)
		pm_post_upnp(pm, UPNP_UNMAP);
	pm->held = NONE;
}

void portmap_set(
	struct portmap *pm, const struct ip_addr *gateway, const struct ip_addr *own, uint16_t port)
{
	if (ip_addr_equal(gateway, &pm->gateway) && ip_addr_equal(own, &pm->own) &&
		port == pm->port)
		return;
	release(pm);
	pm_close_socket(pm);
	pm->generation++;
	pm->gateway = *gateway;
	pm->own = *own;
	pm->port = port;
	pm->want = (struct portmap_want){
		.client = *own, .local_port = port, .lifetime_s = PORTMAP_LIFETIME_S};
	randombytes_buf(pm->want.nonce, sizeof(pm->want.nonce));
	pm->pmp_epoch = pm->pcp_epoch = (struct portmap_epoch){0};
	pm->pmp_external = (struct ip_addr){0};
	pm->asked = pm->upnp_asked = false;
	pm->pmp_seen_ns = pm->pcp_seen_ns = pm->upnp_seen_ns = 0;
	pm->refusal[0] = '\0';
	pm->retry_s = RETRY_MIN_S;
	pm->state = IDLE;
	if (gateway->family == IP_V4 && ip_addr_is_private(gateway) && own->family == IP_V4 && port)
		begin_probe(pm, now(pm));
	pm_update_info(pm, now(pm));
	evtimer_add(pm->timer, &(struct timeval){0}); // changed is called from the loop
}

void portmap_refresh(struct portmap *pm)
{
	if (pm->state != HELD && pm->state != NOTHING)
		return;
	pm->retry_s = RETRY_MIN_S;
	begin_probe(pm, now(pm));
	if (pm->held == UPNP) // there is no epoch: asking again is the way to know
		begin_mapping(pm, UPNP, now(pm));
	pm_update_info(pm, now(pm));
	evtimer_add(pm->timer, &(struct timeval){0});
}

const struct portmap_info *portmap_get(const struct portmap *pm)
{
	return &pm->info;
}

// Until the gateway says that it is deleted, or then.
static void await_deleted(const struct portmap *pm, uint64_t end_ns)
{
	struct pollfd p = {.fd = pm->fd, .events = POLLIN};
	uint8_t packet[PORTMAP_RESPONSE_MAX + 1];
	struct portmap_response r;

	for (uint64_t t = now(pm); t < end_ns; t = now(pm)) {
		if (poll(&p, 1, (int)((end_ns - t) / MS) + 1) <= 0)
			return;
		const ssize_t len = recv(pm->fd, packet, sizeof(packet), MSG_DONTWAIT);
		if (len < 0)
			return;
		if (portmap_response_parse(packet, (size_t)len, &r) == 0 &&
			(r.kind == NATPMP_MAP || r.kind == PCP_MAP))
			return;
	}
}

void portmap_destroy(struct portmap *pm)
{
	if (!pm)
		return;
	const bool wait = pm->fd >= 0 && (pm->held == PMP || pm->held == PCP);
	const uint64_t end_ns = now(pm) + DESTROY_MS * MS;
	release(pm);
	if (wait)
		await_deleted(pm, end_ns);
	if (pm->upnp_ready)
		event_free(pm->upnp_ready);
	const uint64_t now_ns = now(pm);
	upnp_destroy(pm->upnp, now_ns < end_ns ? (unsigned)((end_ns - now_ns) / MS) : 0);
	pm_close_socket(pm);
	event_free(pm->timer);
	sodium_memzero(pm->want.nonce, sizeof(pm->want.nonce));
	free(pm);
}
