// Why a peer's path is what it is, for people.
#include <errno.h>
#include <stdio.h>

#include "control/path/mesh_priv.h"

static bool in_session(const struct mesh_active *a, uint64_t now_ns)
{
	return a->sent_ns && now_ns - a->sent_ns <= PATH_SESSION_MS * MESH_MS;
}

static double seconds(uint64_t since_ns, uint64_t now_ns)
{
	return (double)(now_ns - since_ns) / 1e9;
}

static void why_udp(const struct mesh_peer *p, bool trusted, uint64_t now_ns, char *out, size_t max)
{
	const struct path_quality *best = peer_path_best(p->active->path);
	char addr[ENDPOINT_TEXT_LEN], vni[40] = "";

	if (best->addr.vni)
		snprintf(vni, sizeof(vni), " vni %u", best->addr.vni);
	else if (best->addr.local_port)
		snprintf(vni, sizeof(vni), " from our port %u (hard NAT)", best->addr.local_port);
	snprintf(out, max, "%s: %s%s %sanswered %.1f s ago in %.3g ms%s",
		best->addr.vni ? "peer relay" : "direct", endpoint_format(&best->addr.to, addr),
		vni, trusted ? "" : "last ", seconds(p->stats.last_pong_ns, now_ns),
		(double)best->latency_ns / 1e6,
		trusted	       ? ""
		: p->told.derp ? ": DERP as well, until it does again"
			       : "");
}

static bool best_is_relay(const struct mesh_peer *p)
{
	return peer_path_best(p->active->path)->addr.vni != 0;
}

static const char *call_text(const struct mesh_peer *p)
{
	if (p->active->call_ns)
		return "; waiting for STUN before calling it";
	if (p->stats.calls_rx == 0)
		return p->stats.calls_tx ? "; called, but it sent no call-me-maybe"
					 : "; it sent no call-me-maybe";
	return p->stats.pings_rx ? "; it does ping us" : "; none of its pings arrived";
}

static void why_derp(const struct mesh_peer *p, char *out, size_t max)
{
	const size_t n = peer_path_candidates(p->active->path);
	char way[24] = "no way";

	if (mesh_region(p))
		snprintf(way, sizeof(way), "DERP %u", mesh_region(p));
	if (n == 0)
		snprintf(out, max, "%s: no address of it is known%s", way, call_text(p));
	else if (p->stats.pings_tx == 0)
		snprintf(out, max, "%s: %zu address%s not pinged yet", way, n, n > 1 ? "es" : "");
	else
		snprintf(out, max, "%s: %zu address%s pinged, %s%s", way, n, n > 1 ? "es" : "",
			p->stats.pongs_rx > p->stats.pongs_derp_rx ? "none answers now"
								   : "none answered",
			call_text(p));
}

static void why_idle(const struct mesh_peer *p, char *out, size_t max)
{
	if (p->wg_only)
		snprintf(out, max, "plain WireGuard: %s",
			p->n_endpoints ? "its first address" : "no address of it is known");
	else if (!p->at_disco)
		snprintf(out, max, "it has no disco key: DERP alone");
	else if (mesh_region(p))
		snprintf(out, max, "not in use: DERP %u first", mesh_region(p));
	else
		snprintf(out, max, "not in use, and its DERP region is unknown");
}

static void fill_active(const struct mesh_peer *p, uint64_t now_ns, struct mesh_peer_info *out)
{
	const struct mesh_active *a = p->active;

	out->trusted = peer_path_trusted(a->path, now_ns);
	out->latency_ns = peer_path_best(a->path)->latency_ns;
	out->candidates = (unsigned)peer_path_candidates(a->path);
	out->in_session = in_session(a, now_ns);
	if (p->told.udp.port)
		why_udp(p, out->trusted, now_ns, out->why, sizeof(out->why));
	else
		why_derp(p, out->why, sizeof(out->why));
	if (!p->told.udp.port || best_is_relay(p))
		mesh_birthday_why(p, now_ns, out->why, sizeof(out->why));
}

int mesh_peer_info(const struct mesh *m, const struct key *node, struct mesh_peer_info *out)
{
	const struct mesh_peer *p = mesh_find(m, node);

	if (!p)
		return -ENOENT;
	*out = (struct mesh_peer_info){
		.route = p->told,
		.candidates = p->n_endpoints,
		.pings_tx = p->stats.pings_tx,
		.pongs_rx = p->stats.pongs_rx,
		.pongs_derp_rx = p->stats.pongs_derp_rx,
		.pings_rx = p->stats.pings_rx,
		.call_me_maybe_tx = p->stats.calls_tx,
		.call_me_maybe_rx = p->stats.calls_rx,
		.last_ping_ns = p->stats.last_ping_ns,
		.last_pong_ns = p->stats.last_pong_ns,
		.home_region = p->home,
		.seen_region = p->seen,
	};
	if (p->active && p->at_disco)
		fill_active(p, mesh_now(m), out);
	else
		why_idle(p, out->why, sizeof(out->why));
	return 0;
}
