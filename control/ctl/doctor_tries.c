// What came of what the doctor tried.
#include <stdio.h>

#include "control/ctl/doctor.h"

static const char udp_in[] = "UDP in", derp[] = "DERP";

// Whoever sends to this node unasked should get through: it has an address of its own outside.
static bool should_be_reached(const struct doctor_facts *f)
{
	return f->public_address || f->portmap.external.port != 0 ||
	       (f->published != NULL && f->published->count > 0);
}

static void note_reached(const struct doctor_facts *f, struct doctor_report *r)
{
	const struct doctor_tries *t = &f->tries;
	char from[ENDPOINT_TEXT_LEN];
	endpoint_format(&t->in.from, from);
	doctor_note(r, "F156", DOCTOR_OK, udp_in, "", "",
		"%.60s reached UDP %u from %s without having been sent anything; %u asked, %u did "
		"so",
		t->in_name, f->port, from, t->in.asked, t->in.reached);
}

static void check_reach(const struct doctor_facts *f, struct doctor_report *r)
{
	const struct doctor_tries *t = &f->tries;
	if (!t->reach || !doctor_coord_is_well(f))
		return;
	if (t->in.asked == 0)
		doctor_note(r, "F156", DOCTOR_OK, udp_in, "", "",
			"not tested: it takes a peer that is online and was sent nothing for 10 "
			"minutes");
	else if (t->in.from.port != 0)
		note_reached(f, r);
	else if (should_be_reached(f))
		doctor_note(r, "F158", DOCTOR_WARN, udp_in,
			"Datagrams that nobody was asked for are dropped on the way in, between "
			"the world and this gateway, though it has an address outside: by the "
			"provider's firewall, or the router's. The host's own firewall does not "
			"see them: they are taken before it.",
			"Let UDP in to the port of this node in the provider's security group, "
			"forward it in the router, then run tailgate doctor udp-reach (F133, "
			"F134).",
			"%u peer%s asked over DERP to send to UDP %u of this node, nothing came",
			t->in.asked, t->in.asked == 1 ? "" : "s", f->port);
	else
		doctor_note(r, "F134", DOCTOR_INFO, udp_in,
			"Behind this NAT only answers come in, as is usual. Peers behind a hard "
			"NAT stay relayed.",
			"If that is a problem, forward a UDP port of the router to the port of "
			"this node; to each of several nodes another one (F136).",
			"%u peer%s asked over DERP to send to UDP %u of this node, nothing came",
			t->in.asked, t->in.asked == 1 ? "" : "s", f->port);
}

// The address that this machine sends from is another than the one that peers are told: a
// reserved address whose egress is not configured.
static void check_published(const struct doctor_facts *f, struct doctor_report *r)
{
	char published[ENDPOINT_TEXT_LEN], seen[ENDPOINT_TEXT_LEN];
	const struct endpoint *v4 = &f->net.global_v4, *v6 = &f->net.global_v6;
	for (uint32_t i = 0; f->published != NULL && i < f->published->count; i++) {
		const struct endpoint *e = &f->published->list[i];
		const struct endpoint *out = e->addr.family == IP_V4 ? v4 : v6;
		if (out->port == 0 || ip_addr_equal(&out->addr, &e->addr))
			continue;
		endpoint_format(e, published);
		endpoint_format(out, seen);
		doctor_note(r, "F159", DOCTOR_WARN, "published address",
			"Answers leave from another address than the one that peers send to: their "
			"firewalls and NATs drop them.",
			"Send from the published address: give it to the interface and make it the "
			"source of the default route (with a reserved address: ip addr add "
			"ADDRESS/32 dev IF; ip route replace default via ANCHOR_GATEWAY dev IF "
			"onlink), or take it out of 'endpoints'.",
			"peers are told %s, STUN sees %s", published, seen);
	}
}

static void note_rate(const struct doctor_facts *f, struct doctor_report *r)
{
	const struct doctor_tries *t = &f->tries;
	const double s = t->took_ms / 1e3;
	const double out = (double)t->derp_tx_bytes * 8e-6 / s,
		     in = (double)t->derp_rx_bytes * 8e-6 / s;
	if (t->derp_dropped > 0)
		doctor_note(r, "F173", DOCTOR_WARN, derp,
			"More is to go over DERP than the relay or its connection takes: relays "
			"make nodes reachable, they are slow.",
			"Find out why there is no direct path (see paths), let a node with a "
			"public address be a peer relay, or run a DERP server of your own nearby.",
			"in %.1f s %.1f Mb/s out, %.1f Mb/s in, and %llu packets dropped", s, out,
			in, (unsigned long long)t->derp_dropped);
	else
		doctor_note(r, "F173", DOCTOR_OK, derp, "", "",
			"nothing dropped; in %.1f s %.1f Mb/s out, %.1f Mb/s in", s, out, in);
}

void doctor_check_tries(const struct doctor_facts *f, struct doctor_report *r)
{
	check_reach(f, r);
	check_published(f, r);
	if (f->tries.took_ms > 0)
		note_rate(f, r);
	if (f->home_is_here)
		doctor_note(r, "F175", DOCTOR_INFO, derp,
			"It relays for other nodes; for direct paths to this one it does nothing.",
			"", "the home DERP server %.60s runs on this machine", f->home);
}
