// Bridges and the pods behind them: what keeps the MTU that it was made with.
#include <string.h>

#include "control/cli/doctor_mtu_priv.h"

enum { LIST_LEN = 160 };

static const char bridges[] = "bridges", pods[] = "pods";

// What a bridge is to have; 0: that is free.
static uint16_t bridge_want(const struct judge *j, const struct stack_link *bridge)
{
	return strcmp(bridge->name, "cni0") == 0 ? doctor_mtu_flannel_has(j) : 0;
}

static void judge_overlay_member(
	struct judge *j, const struct stack_link *bridge, const struct stack_link *l)
{
	if (l->master == bridge->ifindex && l->kind == STACK_VXLAN && bridge->mtu > l->mtu)
		doctor_mtu_note(j, "F096", "error", bridges, doctor_mtu_set(bridge, l->mtu),
			"A bridge does not cut: full packets into the overlay are lost.",
			"Lower it to the overlay's MTU.", "%s has %u, but its member %s %u",
			bridge->name, bridge->mtu, l->name, l->mtu);
}

// The veths of a bridge whose MTU is other than it should be, together.
static void judge_members(struct judge *j, const struct stack_link *bridge)
{
	const unsigned want = bridge_want(j, bridge) != 0 ? bridge_want(j, bridge) : bridge->mtu;
	unsigned n = 0, n_large = 0, n_small = 0;
	char list[LIST_LEN] = "";
	for (unsigned i = 0; i < j->stack->n; i++) {
		const struct stack_link *l = &j->stack->link[i];
		if (l->master != bridge->ifindex || l->kind != STACK_VETH)
			continue;
		n++;
		n_large += l->mtu > want;
		n_small += l->mtu < want && bridge_want(j, bridge) != 0;
		if (l->mtu > want || (l->mtu < want && bridge_want(j, bridge) != 0))
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s %u",
				*list != '\0' ? ", " : "", l->name, l->mtu);
	}
	if (n_large + n_small > 0) {
		json_t *steps = bridge_want(j, bridge) != 0 ? json_array() : NULL;
		if (steps != NULL)
			doctor_mtu_restart_pods(steps);
		doctor_mtu_note(j, "F098", n_large > 0 ? "error" : "warn", pods, steps,
			n_large > 0 ? "Full packets of these pods are lost: a bridge does not cut."
				    : "These pods are older than the change and send small "
				      "packets.",
			"Pods get their MTU when they start: start them anew (those of other "
			"namespaces, too).",
			"%u of %u on %s have another MTU than %u: %s", n_large + n_small, n,
			bridge->name, want, list);
	} else if (n > 0)
		doctor_mtu_note(j, "F104", "ok", pods, NULL, "", "", "%u on %s (%u): fit", n,
			bridge->name, bridge->mtu);
}

void doctor_mtu_judge_bridge(struct judge *j, const struct stack_link *bridge)
{
	const unsigned want = bridge_want(j, bridge);
	if (want != 0 && bridge->mtu != want)
		doctor_mtu_note(j, "F096", bridge->mtu > want ? "error" : "warn", bridges,
			doctor_mtu_set(bridge, want),
			bridge->mtu > want
				? "Full packets of the pods do not fit into flannel: cut or lost."
				: "It keeps the MTU that it was made with: pods get less than "
				  "fits.",
			"Set it by hand: a restart of k3s does not. Then start the pods anew.",
			"%s has a stale MTU of %u, pods in %s are to have %u", bridge->name,
			bridge->mtu, j->flannel->name, want);
	else if (want != 0)
		doctor_mtu_note(j, "F103", "ok", bridges, NULL, "", "", "%s (%u), as %s",
			bridge->name, bridge->mtu, j->flannel->name);
	for (unsigned i = 0; i < j->stack->n && want == 0; i++)
		judge_overlay_member(j, bridge, &j->stack->link[i]);
	judge_members(j, bridge);
}
