// The exit node that the gateway uses itself: which node the settings mean.
#include <errno.h>

#include "control/tailnet/exit_suggest.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"

bool tn_uses_exit(const struct prefs *p)
{
	return p->exit_node_id[0] || p->exit_node_ip[0] || p->auto_exit_node[0];
}

static const struct nm_peer *by_stable_id(const struct netmap *nm, const char *id)
{
	for (size_t i = 0; i < nm->n_peers; i++) {
		const char *its = nm->peers[i]->node->stable_id;
		if (its && strcmp(its, id) == 0)
			return nm->peers[i];
	}
	return NULL;
}

const struct nm_peer *tn_exit_peer(const struct tailnet *t)
{
	struct ip_addr addr;
	if (t->prefs->exit_node_id[0])
		return by_stable_id(t->netmap, t->prefs->exit_node_id);
	if (ip_addr_parse(t->prefs->exit_node_ip, &addr) < 0)
		return NULL;
	return netmap_peer_by_addr(t->netmap, &addr);
}

const struct nm_peer *tailnet_exit_node(const struct tailnet *t)
{
	return t->stale ? NULL : tn_exit_peer(t);
}

bool tailnet_offers_exit(const struct nm_node *node)
{
	return exit_offered(node);
}

const struct nm_node *tailnet_suggest_exit(const struct tailnet *read_only, const char **why)
{
	struct tailnet *t = (struct tailnet *)read_only; // what it said last is its own
	const struct nm_node *n = exit_suggest(tailnet_netmap(t), netcheck_last(t->netcheck),
		t->exit_suggested, randombytes_random(), why);
	if (n && n->stable_id)
		snprintf(t->exit_suggested, sizeof(t->exit_suggested), "%s", n->stable_id);
	return n;
}

// The settings name this node by its stable ID from now on: addresses may be given to others.
static void pin(struct tailnet *t, const struct nm_node *n)
{
	char err[PREFS_ERROR_LEN];
	json_t *masked = json_pack("{s:b,s:s,s:b,s:s,s:b,s:s}", "ExitNodeIDSet", 1, "ExitNodeID",
		n->stable_id, "ExitNodeIPSet", 1, "ExitNodeIP", "", "AutoExitNodeSet", 1,
		"AutoExitNode", t->prefs->auto_exit_node);
	struct prefs *now = prefs_patch(t->prefs, masked, err);
	json_decref(masked);
	int r = now ? prefs_save(t->state_dir, now) : -EINVAL;
	if (r < 0)
		log_error("tailnet", "%s: %s", t->state_dir, now ? strerror(-r) : err);
	if (!now)
		return;
	prefs_destroy(t->prefs);
	t->prefs = now;
	tn_changed(t, TAILNET_CHANGED_PREFS);
}

// Automatic: another one only once this one is offline, or no exit node any more.
static const struct nm_node *automatic(struct tailnet *t)
{
	const char *why;
	const struct nm_peer *now = by_stable_id(t->netmap, t->prefs->exit_node_id);
	if (now && now->unusable == NM_USABLE && now->node->online != NM_OFFLINE &&
		exit_offered(now->node))
		return NULL;
	return tailnet_suggest_exit(t, &why);
}

static void resolve(struct tailnet *t)
{
	const struct nm_peer *peer = tn_exit_peer(t);
	const struct nm_node *n = NULL;
	if (t->prefs->auto_exit_node[0])
		n = automatic(t);
	else if (!t->prefs->exit_node_id[0] && peer)
		n = peer->node;
	if (n && n->stable_id && strcmp(n->stable_id, t->prefs->exit_node_id) != 0)
		pin(t, n);
}

void tn_exit_settle(struct tailnet *t)
{
	if (!t->active)
		return;
	if (tn_uses_exit(t->prefs))
		resolve(t);
	const struct nm_peer *peer = tn_exit_peer(t);
	int64_t id = peer && peer->unusable == NM_USABLE ? peer->node->id : 0;
	if (id == t->exit_id)
		return;
	t->exit_id = id;
	if (id)
		log_info("tailnet", "exit node: %s", peer->node->name ? peer->node->name : "");
	else
		log_info("tailnet", "exit node: %s",
			tn_uses_exit(t->prefs) ? "not known yet; nothing leaves without it"
					       : "none");
	tn_peers_again(t);
}
