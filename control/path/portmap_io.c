// What portmap sends, and what it says of itself.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/net/bypass.h"
#include "control/path/portmap_priv.h"
#include "dataplane/base/log.h"

bool pm_recent(uint64_t seen_ns, uint64_t now_ns)
{
	return seen_ns && now_ns < seen_ns + PORTMAP_TRUST_PROBE_S * UINT64_C(1000000000);
}

// -- what the others see --------------------------------------------------------------------------

const char *pm_name(enum protocol protocol)
{
	static const char *const names[] = {
		[NONE] = "", [PMP] = "NAT-PMP", [PCP] = "PCP", [UPNP] = "UPnP"};

	return names[protocol];
}

static void explain(const struct portmap *pm, uint64_t now_ns, char *text, size_t size)
{
	const char *const spoken = pm_recent(pm->pmp_seen_ns, now_ns)	 ? pm_name(PMP)
				   : pm_recent(pm->pcp_seen_ns, now_ns)	 ? pm_name(PCP)
				   : pm_recent(pm->upnp_seen_ns, now_ns) ? pm_name(UPNP)
									 : "";
	char gateway[ADDR_TEXT_LEN];

	text[0] = '\0';
	if (pm->held != NONE)
		return;
	if (pm->gateway.family == IP_NONE)
		snprintf(text, size, "there is no gateway");
	else if (pm->state == IDLE)
		snprintf(text, size,
			"the gateway %s has no private IPv4 address: no router at home",
			ip_addr_format(&pm->gateway, gateway));
	else if (pm->refusal[0])
		snprintf(text, size, "%s", pm->refusal);
	else if (pm->state == NOTHING && spoken[0])
		snprintf(text, size, "the gateway %s speaks %s, but gives no mapping",
			ip_addr_format(&pm->gateway, gateway), spoken);
	else if (pm->state == NOTHING)
		snprintf(text, size, "the gateway %s answers neither NAT-PMP, PCP nor UPnP",
			ip_addr_format(&pm->gateway, gateway));
	else
		snprintf(
			text, size, "asking the gateway %s", ip_addr_format(&pm->gateway, gateway));
}

static bool info_equal(const struct portmap_info *a, const struct portmap_info *b)
{
	return a->upnp == b->upnp && a->pmp == b->pmp && a->pcp == b->pcp &&
	       endpoint_equal(&a->external, &b->external) && a->protocol == b->protocol &&
	       strcmp(a->text, b->text) == 0;
}

void pm_update_info(struct portmap *pm, uint64_t now_ns)
{
	struct portmap_info info = {
		.pmp = pm->asked ? pm_recent(pm->pmp_seen_ns, now_ns) : -1,
		.pcp = pm->asked ? pm_recent(pm->pcp_seen_ns, now_ns) : -1,
		.upnp = pm->upnp_asked ? pm_recent(pm->upnp_seen_ns, now_ns) : -1,
		.protocol = pm_name(pm->held),
	};

	if (pm->held != NONE) {
		info.external = pm->lease.external;
		info.expires_ns = pm->lease.expires_ns;
	}
	explain(pm, now_ns, info.text, sizeof(info.text));
	pm->notify |= !info_equal(&info, &pm->info);
	pm->info = info;
}

// -- datagrams ------------------------------------------------------------------------------------

static void send_bytes(const struct portmap *pm, const void *bytes, size_t len)
{
	// A lost one is sent again; an ICMP error of one before says nothing new.
	if (pm->fd >= 0 && send(pm->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
		errno == ECONNREFUSED && send(pm->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug("portmap", "the gateway refuses datagrams");
}

void pm_send_probe(const struct portmap *pm, bool pmp, bool pcp)
{
	struct natpmp_external_request external;
	struct pcp_request announce;

	natpmp_external_request_write(&external);
	pcp_announce_request_write(&announce, &pm->own);
	if (pmp)
		send_bytes(pm, &external, sizeof(external));
	if (pcp)
		send_bytes(pm, &announce, sizeof(announce));
}

void pm_send_map(const struct portmap *pm, enum protocol protocol, const struct portmap_want *want)
{
	struct natpmp_map_request natpmp;
	struct pcp_map_request pcp;

	if (protocol == PMP) {
		natpmp_map_request_write(&natpmp, want);
		send_bytes(pm, &natpmp, sizeof(natpmp));
	} else {
		pcp_map_request_write(&pcp, want);
		send_bytes(pm, &pcp, sizeof(pcp));
	}
}

static int open_socket(const struct portmap *pm)
{
	struct sockaddr_in own = {.sin_family = AF_INET};
	struct sockaddr_in gateway = {.sin_family = AF_INET, .sin_port = htons(PORTMAP_PORT)};

	memcpy(&own.sin_addr, pm->own.bytes, sizeof(own.sin_addr));
	memcpy(&gateway.sin_addr, pm->gateway.bytes, sizeof(gateway.sin_addr));
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		net_bypass(fd);
	// Connected: the kernel drops what comes from anywhere else.
	if (fd >= 0 && (bind(fd, (const struct sockaddr *)&own, sizeof(own)) ||
			       connect(fd, (const struct sockaddr *)&gateway, sizeof(gateway)))) {
		const int error = errno;

		close(fd);
		return -error;
	}
	return fd >= 0 ? fd : -errno;
}

void pm_close_socket(struct portmap *pm)
{
	if (pm->readable)
		event_free(pm->readable);
	pm->readable = NULL;
	if (pm->fd >= 0)
		close(pm->fd);
	pm->fd = -1;
}

// Without a socket nothing is answered, which is what the retry is for.
void pm_need_socket(struct portmap *pm)
{
	if (pm->fd >= 0)
		return;
	const int fd = open_socket(pm);
	if (fd < 0) {
		log_warn("portmap", "no socket towards the gateway: %s", strerror(-fd));
		return;
	}
	pm->fd = fd;
	pm->readable = event_new(pm->base, fd, EV_READ | EV_PERSIST, pm_on_readable, pm);
	if (!pm->readable || event_add(pm->readable, NULL))
		pm_close_socket(pm);
}

// -- UPnP -----------------------------------------------------------------------------------------

static bool need_upnp(struct portmap *pm)
{
	if (pm->upnp)
		return true;
	pm->upnp = upnp_create();
	if (!pm->upnp)
		return false;
	pm->upnp_ready =
		event_new(pm->base, upnp_fd(pm->upnp), EV_READ | EV_PERSIST, pm_on_upnp, pm);
	if (pm->upnp_ready && event_add(pm->upnp_ready, NULL) == 0)
		return true;
	if (pm->upnp_ready)
		event_free(pm->upnp_ready);
	pm->upnp_ready = NULL;
	upnp_destroy(pm->upnp, 0);
	pm->upnp = NULL;
	return false;
}

bool pm_post_upnp(struct portmap *pm, enum upnp_job_type type)
{
	const struct upnp_job job = {
		.type = type,
		.generation = pm->generation,
		.gateway = pm->gateway,
		.own = pm->own,
		.port = pm->port,
		.wanted_port = pm->want.external_port,
	};

	if (!need_upnp(pm))
		return false;
	upnp_post(pm->upnp, &job);
	return true;
}
