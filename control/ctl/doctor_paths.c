// The network under the node, and the paths to its peers.
#include <stdio.h>

#include "control/ctl/doctor.h"

static const char udp[] = "UDP", nat[] = "NAT", derp[] = "DERP", paths[] = "paths";

// Until coordination works, no firewall is to blame: endpoints are exchanged through it.
static const char repair_first[] =
	"Repair coordination first (see above): endpoints are exchanged through it.";

static bool has_direct_v6(const struct doctor_facts *f)
{
	return f->net.ipv6 && f->net.global_v6.port != 0;
}

static void check_udp(const struct doctor_facts *f, struct doctor_report *r)
{
	char v4[ENDPOINT_TEXT_LEN] = "-", v6[ENDPOINT_TEXT_LEN] = "-";
	const struct netcheck_report *n = &f->net;
	if (n->global_v4.port != 0)
		endpoint_format(&n->global_v4, v4);
	if (n->global_v6.port != 0)
		endpoint_format(&n->global_v6, v6);
	if (!n->udp)
		doctor_note(r, "F126", DOCTOR_ERROR, udp,
			"UDP is blocked: all peers will be relayed over DERP on TCP 443. That is "
			"the best there is without UDP (F178).",
			"Let UDP out, at least to ports 3478 and from the port of this node, and "
			"its answers in. If the provider blocks it, ask for IPv6: it is usually "
			"not behind the same NAT (F127).",
			"no STUN server of %u region%s answered", f->n_regions,
			f->n_regions == 1 ? "" : "s");
	else if (n->global_v4.port == 0 && has_direct_v6(f))
		doctor_note(r, "F127", DOCTOR_INFO, udp,
			"Direct paths go over IPv6 alone: peers without it are relayed.",
			"Let UDP out over IPv4 as well, if this network has IPv4.",
			"STUN answers over IPv6 (%s), none over IPv4", v6);
	else
		doctor_note(r, "F133", DOCTOR_OK, udp, "", "",
			"STUN sees this node at %s, over IPv6 at %s", v4, v6);
	if (n->captive_portal == 1)
		doctor_note(r, "F142", DOCTOR_WARN, "captive portal",
			"This network wants a login of its own before it lets anything out.",
			"Log in to the network with a browser.",
			"a request for an empty page came back changed");
}

static void check_nat(const struct doctor_facts *f, struct doctor_report *r)
{
	char external[ENDPOINT_TEXT_LEN] = "";
	const struct portmap_info *m = &f->portmap;
	if (m->external.port != 0)
		endpoint_format(&m->external, external);
	if (!f->net.udp)
		return;
	if (f->net.mapping_varies == 1 && m->external.port == 0)
		doctor_note(r, "F128", DOCTOR_WARN, nat,
			"Hard NAT: its port differs by destination, so peers cannot guess it. "
			"Peers "
			"behind another hard NAT, too, are relayed; with the others direct paths "
			"work.",
			"Switch UPnP, NAT-PMP or PCP on in the router (F129), use its static port "
			"mapping (F131), forward UDP to this node, or give it a public address, as "
			"cloud NAT gateways need (F132).",
			"two STUN servers saw different ports of this node");
	else
		doctor_note(r, "F128", DOCTOR_OK, nat, "", "",
			f->public_address ? "none: the address that others see is our own"
			: f->net.mapping_varies == 1 ? "hard, but with a port mapping"
			: f->net.mapping_varies == 0 ? "the same port towards all"
						     : "one STUN server cannot tell");
	if (m->external.port != 0)
		doctor_note(r, "F129", DOCTOR_OK, "port mapping", "", "", "%s by %s", external,
			m->protocol != NULL ? m->protocol : "the router");
	else if (!f->public_address)
		doctor_note(r, "F129", DOCTOR_INFO, "port mapping",
			"The router forwards no port to this node. It is needed only where peers "
			"stay relayed.",
			"Switch UPnP, NAT-PMP or PCP on in the router.", "%s",
			m->text[0] != '\0' ? m->text : "none");
}

static void check_derp(const struct doctor_facts *f, struct doctor_report *r)
{
	const struct derp_region_info *d = &f->home_derp;
	unsigned answered = 0;
	for (uint32_t i = 0; i < f->net.n_latency && i < NETCHECK_REGIONS_MAX; i++) {
		const struct netcheck_latency *l = &f->net.latency[i];
		answered += l->v4_ns != 0 || l->v6_ns != 0 || l->https_ns != 0;
	}
	if (f->n_regions == 0)
		doctor_note(r, "F171", DOCTOR_ERROR, derp,
			"The coordination server names no relay: peers without a direct path are "
			"not reached at all, and nothing tells our own address.",
			"Give the server a DERP map (headscale: derp.urls or derp.paths).",
			"the DERP map is empty");
	else if (f->home[0] == '\0')
		doctor_note(r, "F166", DOCTOR_ERROR, derp,
			"Peers cannot start a path to this node, and what is not direct does not "
			"work.",
			"Let TCP 443 and UDP 3478 out to the servers of the DERP map.",
			"none of %u regions answers", f->n_regions);
	else if (!d->connected)
		doctor_note(r, "F165", DOCTOR_ERROR, derp,
			"Peers cannot start a path to this node.",
			"Let TCP 443 out to the server; check its certificate and that it runs.",
			"not connected to the home region %.60s%s%.160s", f->home,
			d->error[0] != '\0' ? ": " : "", d->error);
	else
		doctor_note(r, "F163", DOCTOR_OK, derp, "", "",
			"connected to the home region %.60s; %u of %u regions answered", f->home,
			answered, f->n_regions);
}

void doctor_check_network(const struct doctor_facts *f, struct doctor_report *r)
{
	if (f->net.unix_ns == 0) {
		doctor_note(r, "F142", DOCTOR_INFO, udp,
			"What the network lets through is not known yet.",
			"Run tailgate netcheck, then look again.", "no report yet");
	} else {
		check_udp(f, r);
		check_nat(f, r);
	}
	check_derp(f, r);
}

// --- Peers

static bool is_relayed(const struct doctor_peer *p)
{
	return p->active && !p->direct && !p->peer_relay;
}

// Another peer that is reached directly at an address where this one may be found as well: they
// share a NAT. NULL: none.
static const struct doctor_peer *direct_sibling(
	const struct doctor_facts *f, const struct doctor_peer *p)
{
	for (size_t i = 0; i < f->n_peers; i++) {
		const struct doctor_peer *other = &f->peers[i];
		if (other == p || !other->active || !other->direct)
			continue;
		for (unsigned k = 0; k < p->n_addresses; k++)
			if (ip_addr_equal(&p->addresses[k], &other->via))
				return other;
	}
	return NULL;
}

// One relayed peer: the most telling reason.
static void note_relayed(
	const struct doctor_facts *f, struct doctor_report *r, const struct doctor_peer *p)
{
	bool judge = doctor_coord_is_well(f);
	enum doctor_severity warn = judge ? DOCTOR_WARN : DOCTOR_INFO;
	bool silent = p->pings_sent > 0 && p->pongs_received == 0;
	const struct doctor_peer *sibling = silent ? direct_sibling(f, p) : NULL;
	if (!f->net.udp && f->net.unix_ns != 0)
		doctor_note(r, "F126", DOCTOR_INFO, paths, "UDP is blocked here (see above).", "",
			"%.60s is relayed by \"%.60s\"", p->name, p->region);
	else if (silent && p->cap > 0 && p->cap < DOCTOR_CAP_MIN)
		doctor_note(r, "F162", warn, paths,
			"Its client is old; falling back to DERP can be the way in which it fails.",
			judge ? "Upgrade the client there, then look again." : repair_first,
			"%.60s is relayed by \"%.60s\", its version is %.30s", p->name, p->region,
			p->version);
	else if (sibling != NULL)
		doctor_note(r, "F155", warn, paths,
			"Two nodes behind the same address connect in the same way as a rule. The "
			"way there is open, so it is this peer: its own firewall, or its client.",
			judge ? "On that peer, let UDP in and out, upgrade and restart the client, "
				"run tailscale netcheck."
			      : repair_first,
			"%.60s is relayed by \"%.60s\", while %.60s behind the same address is "
			"direct at %s",
			p->name, p->region, sibling->name, sibling->path);
	else if (silent && p->talks && f->net.mapping_varies == 1 && f->portmap.external.port == 0)
		doctor_note(r, "F128", warn, paths,
			"Hard NAT on both ends, most likely: neither can guess the other's port. "
			"What is left is a relay.",
			judge ? "Make one end reachable: a port mapping or a forwarded UDP port "
				"(F129, F131), IPv6, or a public address (F132); or let a node "
				"with one be a peer relay."
			      : repair_first,
			"%.60s is relayed by \"%.60s\", this end has a hard NAT, %u pings were "
			"not answered; %.160s",
			p->name, p->region, p->pings_sent, p->why);
	else if (silent && p->talks)
		doctor_note(r, f->public_address ? "F154" : "F161", warn, paths,
			f->public_address
				? "This node has a public address but the peer is relayed: UDP is "
				  "dropped on one of the two sides, at the provider's firewall, "
				  "the host's or the router's (F158)."
				: "WireGuard works over the relay, but no ping over UDP is "
				  "answered: a firewall or hard NAT on both sides, or a client "
				  "that is too old.",
			judge ? "Let UDP in to the port of this node on every firewall on the way, "
				"the host's, too (F133); then tailgate ping NODE. On the peer, run "
				"tailscale netcheck."
			      : repair_first,
			"%.60s is relayed by \"%.60s\": %u pings sent, none answered; %.200s",
			p->name, p->region, p->pings_sent, p->why);
	else
		doctor_note(r, "F116", DOCTOR_INFO, paths, "The path may still become direct.",
			judge ? "Run tailgate ping NODE and look again." : repair_first,
			"%.60s is relayed by \"%.60s\"; %.200s", p->name, p->region, p->why);
}

static void note_mtu(
	const struct doctor_facts *f, struct doctor_report *r, const struct doctor_peer *p)
{
	bool below_v6 = p->mtu < DOCTOR_MTU_MIN;
	doctor_note(r, "F077", below_v6 ? DOCTOR_WARN : DOCTOR_INFO, "path MTU",
		below_v6 ? "IPv6 cannot do with less than 1280: its larger packets are dropped."
			 : "Larger packets towards this peer are answered with 'too big', or cut "
			   "by the sender.",
		below_v6 ? "Raise the MTU of the network on the way, or leave IPv6 to other paths."
			 : "Nothing, unless a host on the way drops ICMP: then lower the tunnel's "
			   "MTU.",
		"%.60s takes packets up to %u bytes, the tunnel has %u", p->name, p->mtu,
		f->tunnel_mtu);
}

void doctor_check_peers(const struct doctor_facts *f, struct doctor_report *r)
{
	unsigned direct = 0, relayed = 0, peer_relayed = 0, idle = 0, told = 0;
	for (size_t i = 0; i < f->n_peers; i++) {
		const struct doctor_peer *p = &f->peers[i];
		direct += p->active && p->direct;
		peer_relayed += p->active && p->peer_relay;
		relayed += is_relayed(p);
		idle += !p->active;
		if (is_relayed(p) && told++ < DOCTOR_PEER_FINDINGS_MAX)
			note_relayed(f, r, p);
		if (p->active && p->mtu > 0 && p->mtu < f->tunnel_mtu &&
			told++ < DOCTOR_PEER_FINDINGS_MAX)
			note_mtu(f, r, p);
	}
	if (told > DOCTOR_PEER_FINDINGS_MAX)
		r->omitted += told - DOCTOR_PEER_FINDINGS_MAX;
	doctor_note(r, "F116", DOCTOR_OK, paths, "", "",
		"%u direct, %u by peer relays, %u by DERP, %u without traffic", direct,
		peer_relayed, relayed, idle);
}
