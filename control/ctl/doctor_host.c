// What is not the gateway's own doing: forwarding and checks of the kernel, other programs' ports,
// routes of the networks behind it.
#include <stdio.h>
#include <string.h>

#include "control/ctl/doctor.h"

static const char forwarding[] = "forwarding", routes[] = "routes", nat_ports[] = "nat_ports";

// "a, b" of what a list has.
static void add_text(char list[static DOCTOR_TEXT_LEN / 2], const char *text)
{
	const size_t n = strlen(list);
	snprintf(list + n, DOCTOR_TEXT_LEN / 2 - n, "%s%s", n > 0 ? ", " : "", text);
}

// --- Forwarding by the kernel

static void check_family(
	const struct doctor_host *h, enum ip_family family, struct doctor_report *r)
{
	const bool v4 = family == IP_V4;
	const int on = v4 ? h->forward4 : h->forward6;
	char list[DOCTOR_TEXT_LEN / 2] = "", text[PREFIX_TEXT_LEN];
	for (unsigned i = 0; i < h->n_routes; i++)
		if (h->route[i].by_kernel && h->route[i].prefix.addr.family == family)
			add_text(list, ip_prefix_format(&h->route[i].prefix, text));
	if (list[0] == '\0')
		return;
	if (on == 0)
		doctor_note(r, "F209", DOCTOR_ERROR, forwarding,
			"These networks are behind an interface that is no port of this gateway, "
			"so "
			"the kernel has to forward, and does not: nobody reaches them.",
			v4 ? "sysctl -w net.ipv4.ip_forward=1, and the same in "
			     "/etc/sysctl.d/99-tailgate.conf; or name the interface in 'ports': "
			     "then the workers forward."
			   : "sysctl -w net.ipv6.conf.all.forwarding=1, and the same in "
			     "/etc/sysctl.d/99-tailgate.conf; or name the interface in 'ports': "
			     "then the workers forward.",
			"%s is 0, needed for %.200s",
			v4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding", list);
	else
		doctor_note(r, "F209", DOCTOR_OK, forwarding, "", "",
			"the kernel forwards for %.200s", list);
}

static void check_forwarding(const struct doctor_host *h, struct doctor_report *r)
{
	bool by_kernel = false;
	for (unsigned i = 0; i < h->n_routes; i++)
		by_kernel |= h->route[i].by_kernel;
	check_family(h, IP_V4, r);
	check_family(h, IP_V6, r);
	if (h->n_routes > 0 && !by_kernel)
		doctor_note(r, "F209", DOCTOR_OK, forwarding, "", "",
			"the workers forward to all %u advertised networks: ip_forward is not "
			"needed",
			h->n_routes);
}

static void check_rp_filter(const struct doctor_host *h, struct doctor_report *r)
{
	char list[DOCTOR_TEXT_LEN / 2] = "", remedy[DOCTOR_TEXT_LEN];
	if (!h->uses_exit || h->answers_marked || h->n_strict == 0)
		return;
	for (unsigned i = 0; i < h->n_strict; i++)
		add_text(list, h->strict[i]);
	snprintf(remedy, sizeof(remedy),
		"sysctl -w net.ipv4.conf.all.src_valid_mark=1 with --netfilter-mode=on, or for "
		"each of them: sysctl -w net.ipv4.conf.%s.rp_filter=2",
		h->strict[0]);
	doctor_note(r, "rp_filter", DOCTOR_WARN, "exit node",
		"The default route leads into the tunnel, so the kernel takes answers to this "
		"machine's own connections (coordination server, DERP) for forged and drops them.",
		remedy, "rp_filter is 1 (strict) on %.200s, and src_valid_mark does not help",
		list);
}

// --- Routes

static void check_twins(const struct doctor_host *h, struct doctor_report *r)
{
	char text[PREFIX_TEXT_LEN];
	for (unsigned i = 0; i < h->n_routes && h->accept_routes; i++) {
		const struct doctor_route *route = &h->route[i];
		if (route->twin[0] == '\0')
			continue;
		doctor_note(r, "F218", DOCTOR_WARN, routes,
			"A router that accepts what it advertises can send its own network's "
			"packets to its twin. Tailgate does not: networks that it advertises stay "
			"outside of the tunnel. tailscaled as twin does.",
			"--accept-routes=false on routers of the same network, unless they need "
			"other routes.",
			"%s is advertised here and served by %s, and --accept-routes is on",
			ip_prefix_format(&route->prefix, text), route->twin);
	}
}

static const char *kind_of(const struct doctor_socket *s)
{
	return s->tcp ? "TCP" : "UDP";
}

static void note_silent(const struct doctor_silent_host *s, struct doctor_report *r)
{
	const bool v4 = s->addr.family == IP_V4;
	char host[ADDR_TEXT_LEN], via[ADDR_TEXT_LEN], remedy[DOCTOR_TEXT_LEN];
	ip_addr_format(&s->addr, host);
	if (s->via.family != IP_NONE)
		ip_addr_format(&s->via, via);
	else
		snprintf(via, sizeof(via), "THIS_GATEWAY");
	snprintf(remedy, sizeof(remedy),
		"On that network's default router (or on %s itself): %s via %s. Networks behind "
		"other nodes need the same. Or translate: tailgate set --snat-subnet-routes=true",
		host, v4 ? "ip route add 100.64.0.0/10" : "ip -6 route add fd7a:115c:a1e0::/48",
		via);
	doctor_note(r, "F216", DOCTOR_WARN, routes,
		"Without SNAT hosts see the nodes' own addresses. They answer to their default "
		"router, which has to know that these are reached by this gateway. (If the host is "
		"off, or its firewall silent, it is that.)",
		remedy,
		"%u requests of peers to %s, the last %lld s ago, and nothing came back "
		"(--snat-subnet-routes=false)",
		s->requests, host, (long long)s->age_s);
}

static void check_silent(const struct doctor_host *h, struct doctor_report *r)
{
	for (unsigned i = 0; i < h->n_silent && !h->snat; i++) {
		const struct doctor_silent_host *s = &h->silent[i];
		if (s->requests >= DOCTOR_REQUESTS_MIN && s->age_s <= DOCTOR_REQUESTS_AGE_S &&
			!s->no_neighbour)
			note_silent(s, r);
	}
}

// --- Ports of the translation

static bool overlaps(const struct doctor_host *h)
{
	return h->local_first > 0 && h->local_first <= h->nat_last && h->nat_first <= h->local_last;
}

static void check_ports(const struct doctor_host *h, struct doctor_report *r)
{
	char remedy[DOCTOR_TEXT_LEN];
	if (h->nat_first == 0)
		return;
	snprintf(remedy, sizeof(remedy),
		"sysctl -w net.ipv4.ip_local_reserved_ports=%u-%u (add to what is there), or move "
		"net.ipv4.ip_local_port_range or nat_ports.",
		h->nat_first, h->nat_last);
	if (overlaps(h) && !h->local_reserved)
		doctor_note(r, "nat_ports", DOCTOR_WARN, nat_ports,
			"Some connections of this machine's own get a port whose answers the "
			"workers "
			"take: they fail.",
			remedy, "nat_ports %u-%u overlaps with net.ipv4.ip_local_port_range %u-%u",
			h->nat_first, h->nat_last, h->local_first, h->local_last);
	for (unsigned i = 0; i < h->n_sockets; i++)
		doctor_note(r, "nat_ports", DOCTOR_WARN, nat_ports,
			"What comes for these ports belongs to the translation: the program is not "
			"reached from outside.",
			"Have it listen elsewhere, or move nat_ports and restart tailgated.",
			"%.60s listens on %s %u, one of nat_ports %u-%u",
			h->socket[i].user[0] != '\0' ? h->socket[i].user : "a program",
			kind_of(&h->socket[i]), h->socket[i].port, h->nat_first, h->nat_last);
	if (h->n_sockets == 0 && (!overlaps(h) || h->local_reserved))
		doctor_note(r, "nat_ports", DOCTOR_OK, nat_ports, "", "", "%u-%u: nobody else's",
			h->nat_first, h->nat_last);
}

void doctor_check_host(const struct doctor_facts *f, struct doctor_report *r)
{
	const struct doctor_host *h = &f->host;
	check_forwarding(h, r);
	check_rp_filter(h, r);
	check_twins(h, r);
	check_silent(h, r);
	check_ports(h, r);
}
