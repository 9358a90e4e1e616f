// Bridges and the pods behind them: what keeps the MTU that it was made with.
#include <string.h>

#include "control/cli/doctor_mtu_priv.h"

enum { LIST_LEN = 160 };

static const char bridges[] = "bridges", pods[] = "pods";

static bool is_flannels(const struct judge *j, const struct stack_link *bridge)
{
	return j->want != 0 && strcmp(bridge->name, "cni0") == 0;
}

static void judge_overlay_member(
	struct judge *j, const struct stack_link *bridge, const struct stack_link *l)
{
	if (l->master != bridge->ifindex || l->kind != STACK_VXLAN || bridge->mtu <= l->mtu)
		return;
	doctor_mtu_set(j, bridge, l->mtu);
	doctor_mtu_note(j, "F096", "error", bridges,
		"A bridge does not cut: full packets into the overlay are lost.",
		"Lower it to the overlay's MTU.", "%s has %u, but its member %s %u", bridge->name,
		bridge->mtu, l->name, l->mtu);
}

static void judge_flannels_bridge(struct judge *j, const struct stack_link *bridge)
{
	if (bridge->mtu == j->want) {
		doctor_mtu_note(j, "F103", "ok", bridges, "", "", "%s (%u): fits", bridge->name,
			bridge->mtu);
		return;
	}
	doctor_mtu_set(j, bridge, j->want);
	if (bridge->mtu == j->has)
		doctor_mtu_note(j, "F103", "warn", bridges,
			"It is made for flannel as it is now, and stays so when that has changed.",
			"Set it by hand afterwards; then start the pods anew.",
			"%s is degraded, as %s: %u instead of %u", bridge->name, j->flannel->name,
			bridge->mtu, j->want);
	else
		doctor_mtu_note(j, "F096", bridge->mtu > j->has ? "error" : "warn", bridges,
			bridge->mtu > j->has
				? "Full packets of the pods do not fit into flannel: cut or lost."
				: "It keeps the MTU that it was made with: pods get less than "
				  "fits.",
			"Set it by hand: a restart of k3s does not. Then start the pods anew.",
			"%s has a stale MTU of %u, pods in %s are to have %u", bridge->name,
			bridge->mtu, j->flannel->name, j->want);
}

// Of the pods of a bridge.
struct pods {
	unsigned n, n_hidden, n_large, n_small, n_proxies;
	char list[LIST_LEN]; // of those that are large or small
	char proxies[LIST_LEN];
};

static bool is_proxy(const struct judge *j, const struct stack_link *l)
{
	for (unsigned i = 0; l->lower_elsewhere && i < j->f->n_proxies; i++)
		if (j->f->proxy[i] == l->netnsid)
			return true;
	return false;
}

// inside: the MTU at the pod's end.
static void append(char *list, const struct stack_link *l, unsigned inside)
{
	const size_t used = strlen(list);
	if (inside == l->mtu)
		snprintf(list + used, LIST_LEN - used, "%s%s %u", used > 0 ? ", " : "", l->name,
			l->mtu);
	else
		snprintf(list + used, LIST_LEN - used, "%s%s %u (in the pod %u)",
			used > 0 ? ", " : "", l->name, l->mtu, inside);
}

// A pod's interface has two ends; each sends only what its own MTU allows, and takes no more.
static void look_at_pod(const struct judge *j, const struct stack_link *bridge,
	const struct stack_link *l, struct pods *p)
{
	const bool flannels = is_flannels(j, bridge);
	const unsigned peer = stack_peer_mtu(j->stack, l), inside = peer != 0 ? peer : l->mtu;
	const unsigned high = inside > l->mtu ? inside : l->mtu;
	const unsigned low = inside < l->mtu ? inside : l->mtu;
	const bool large = high > (flannels ? j->has : bridge->mtu);
	const bool small = flannels && (low < j->want || high > j->want) && !large;
	p->n++;
	p->n_hidden += l->peer_hidden;
	p->n_large += large;
	p->n_small += small;
	if (large || small)
		append(p->list, l, inside);
	if (!is_proxy(j, l))
		return;
	p->n_proxies++;
	append(p->proxies, l, inside);
}

static void note_wrong_pods(struct judge *j, const struct stack_link *bridge, const struct pods *p)
{
	const bool flannels = is_flannels(j, bridge);
	const bool degraded = flannels && p->n_large == 0 && j->has != j->want;
	j->pods |= flannels;
	doctor_mtu_note(j, degraded ? "F104" : "F098", p->n_large > 0 ? "error" : "warn", pods,
		p->n_large > 0 ? "Full packets of these pods are lost: a bridge does not cut."
		: degraded     ? "They have what flannel has, and keep it when that has changed."
			       : "These pods are older than the change and send small packets.",
		"Pods get their MTU when they start: start them anew (those of other namespaces, "
		"too).",
		"%u of %u on %s have another MTU than %u: %s", p->n_large + p->n_small, p->n,
		bridge->name, flannels ? j->want : bridge->mtu, p->list);
}

static void judge_pods(struct judge *j, const struct stack_link *bridge)
{
	struct pods p = {};
	for (unsigned i = 0; i < j->stack->n; i++) {
		const struct stack_link *l = &j->stack->link[i];
		if (l->master == bridge->ifindex && l->kind == STACK_VETH)
			look_at_pod(j, bridge, l, &p);
	}
	if (p.n_large + p.n_small > 0)
		note_wrong_pods(j, bridge, &p);
	else if (p.n > 0)
		doctor_mtu_note(j, "F104", "ok", pods, "", "", "%u on %s (%u): fit", p.n,
			bridge->name, bridge->mtu);
	if (p.n_large + p.n_small == 0 && p.n_proxies > 0)
		doctor_mtu_note(j, "F099", "ok", pods, "", "", "%u of them run a tailscaled: %s",
			p.n_proxies, p.proxies);
	if (p.n_hidden > 0 && is_flannels(j, bridge))
		doctor_mtu_note(j, "F084", "warn", pods,
			"Only the host's ends of their interfaces have been seen.",
			"Be root; or ask a pod: kubectl exec POD -- ip link show eth0.",
			"the MTU within %u of %u pods on %s cannot be read", p.n_hidden, p.n,
			bridge->name);
}

void doctor_mtu_judge_bridge(struct judge *j, const struct stack_link *bridge)
{
	if (is_flannels(j, bridge))
		judge_flannels_bridge(j, bridge);
	for (unsigned i = 0; i < j->stack->n && !is_flannels(j, bridge); i++)
		judge_overlay_member(j, bridge, &j->stack->link[i]);
	judge_pods(j, bridge);
}
