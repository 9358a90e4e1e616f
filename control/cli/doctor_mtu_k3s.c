// What k3s and flannel were told and have written, and tunnels within their network.
#include <string.h>

#include "control/cli/doctor_mtu_priv.h"

enum { ACCOUNT_LAYERS = 4 }; // LAN, the tailnet below flannel, flannel, a tunnel in a pod

static const char k3s[] = "k3s", pods[] = "pods";

static void judge_iface(struct judge *j)
{
	const char *name = j->f->flannel_iface;
	const struct stack_link *l = stack_named(j->stack, name);
	if (l == NULL) {
		j->edit = true;
		doctor_mtu_note(j, "F085", "warn", k3s, "flannel does not start with that.",
			"Name the LAN's interface: see ip address.",
			"flannel-iface: %s, and there is no such interface", name);
	} else if (doctor_mtu_is_tunnel(l)) {
		j->edit = true;
		doctor_mtu_note(j, "F085", "error", k3s,
			"flannel lays its VXLAN over the tailnet's interface: 1230 bytes are left "
			"of 1280.",
			"Name the LAN's interface instead, on all nodes.", "flannel-iface: %s",
			name);
	} else
		doctor_mtu_note(j, "F085", "ok", k3s, "", "", "flannel-iface: %s", name);
}

static void judge_node_ip(struct judge *j)
{
	char text[ADDR_TEXT_LEN];
	if (j->f->node_ip.family == IP_NONE)
		return;
	ip_addr_format(&j->f->node_ip, text);
	for (unsigned i = 0; i < j->stack->n; i++)
		for (unsigned k = 0; k < j->stack->link[i].n_addresses; k++)
			if (ip_addr_equal(&j->stack->link[i].address[k].addr, &j->f->node_ip)) {
				doctor_mtu_note(j, "F089", "ok", k3s, "", "", "node-ip %s is on %s",
					text, j->stack->link[i].name);
				return;
			}
	doctor_mtu_note(j, "F089", "warn", k3s, "The other nodes do not reach this one by it.",
		"Set node-ip to an address of this host, or bring the tailnet up.",
		"node-ip %s is on none of the interfaces", text);
}

static void judge_lease(struct judge *j)
{
	for (unsigned i = 0; j->flannel != NULL && j->lan != NULL && i < j->lan->n_addresses; i++) {
		char text[ADDR_TEXT_LEN];
		if (!j->lan->address[i].leased || j->lan->address[i].addr.family != IP_V4)
			continue;
		doctor_mtu_note(j, "F090", "info", k3s,
			"When it changes, the other nodes send flannel's packets to the old one.",
			"Reserve it in the DHCP server, or set it by hand.",
			"%s on %s is leased (DHCP)", ip_addr_format(&j->lan->address[i].addr, text),
			j->lan->name);
	}
}

void doctor_mtu_judge_k3s(struct judge *j)
{
	if (j->f->k3s == DOCTOR_MTU_BAD)
		doctor_mtu_note(j, "F085", "warn", k3s,
			"Where flannel is told to run cannot be said.",
			"Be root, and have flannel-iface and node-ip once, in a line of their own.",
			"/etc/rancher/k3s/config.yaml cannot be read or understood");
	if (j->f->flannel_iface[0] != '\0')
		judge_iface(j);
	if ((j->tunnel != NULL || j->edit) && j->lan == NULL)
		doctor_mtu_note(j, "F085", "warn", k3s, "What mends it depends on that.",
			"Write the LAN's as flannel-iface into /etc/rancher/k3s/config.yaml, and "
			"run this again.",
			"which of the interfaces is the LAN's cannot be told");
	judge_node_ip(j);
	judge_lease(j);
}

static void judge_stale_env(struct judge *j)
{
	const unsigned says = j->f->flannel_mtu;
	// It reckons with 50 bytes over IPv6, too: no start of it gives another number.
	const bool restart = doctor_mtu_vxlan_kind(j->flannel) == LEDGER_VXLAN4;
	const char *remedy =
		restart ? "Have flannel write it anew, by a restart."
			: "Give flannel's backend an MTU 20 bytes below the LAN's (net-conf.json): "
			  "it reckons with IPv4.";
	j->restart |= restart;
	if (says == j->flannel->mtu)
		doctor_mtu_note(j, "F082", "warn", k3s, "New pods get no more than that.", remedy,
			"FLANNEL_MTU=%u is degraded: on %s %u fit", says,
			j->lan != NULL ? j->lan->name : "the LAN", j->want);
	else
		doctor_mtu_note(j, "F082", "error", k3s,
			"New pods get the MTU of the file, not the one of their network.", remedy,
			"FLANNEL_MTU=%u, but %s has %u and is to have %u", says, j->flannel->name,
			j->flannel->mtu, j->want);
}

void doctor_mtu_judge_env(struct judge *j)
{
	const unsigned says = j->f->flannel_mtu;
	if (j->f->env == DOCTOR_MTU_ABSENT)
		return;
	if (j->f->env == DOCTOR_MTU_BAD) {
		j->restart = true;
		doctor_mtu_note(j, "F082", "warn", k3s, "Pods get no MTU from it.",
			"Restart k3s: flannel writes it anew.",
			"/run/flannel/subnet.env cannot be read, or has no FLANNEL_MTU");
	} else if (j->flannel == NULL)
		doctor_mtu_note(j, "F082", "info", k3s, "", "",
			"FLANNEL_MTU=%u, and there is no VXLAN device of flannel's", says);
	else if (says != j->want)
		judge_stale_env(j);
	else
		doctor_mtu_note(j, "F082", "ok", k3s, "", "", "FLANNEL_MTU=%u, as %s", says,
			j->flannel->name);
}

// Layers from the LAN to a tunnel of inner bytes (0: as many as fit) in a pod. false: there is no
// such account.
static bool account(const struct judge *j, uint16_t inner, struct ledger_layer *layer, unsigned *n)
{
	unsigned at;
	*n = 0;
	memset(layer, 0, ACCOUNT_LAYERS * sizeof(*layer));
	layer[*n].kind = LEDGER_LINK;
	layer[(*n)++].said[LEDGER_INTERFACE] =
		j->lan != NULL ? doctor_mtu_of(j->lan) : DOCTOR_MTU_LAN;
	if (j->tunnel != NULL) {
		layer[*n].kind = LEDGER_WG;
		layer[(*n)++].said[LEDGER_INTERFACE] = doctor_mtu_of(j->tunnel);
	}
	layer[*n].kind = doctor_mtu_vxlan_kind(j->flannel);
	layer[(*n)++].said[LEDGER_INTERFACE] = j->has;
	layer[*n].kind = LEDGER_WG;
	layer[(*n)++].said[LEDGER_INTERFACE] = inner;
	return ledger_account(layer, *n, &at) == 0;
}

void doctor_mtu_judge_nested(struct judge *j)
{
	struct ledger_layer layer[ACCOUNT_LAYERS];
	unsigned n;
	if (j->flannel == NULL)
		return;
	if (account(j, 0, layer, &n)) {
		const unsigned permill = ledger_capacity_permill(layer, n);
		doctor_mtu_note(j, "F105", "info", pods,
			"A tunnel in a pod (a proxy of the Tailscale operator) adds its own "
			"header inside flannel's.",
			"", "%u bytes fit through a tunnel in a pod, %u.%u %% of one on the LAN",
			layer[n - 1].mtu, permill / 10, permill % 10);
	}
	if (!account(j, LEDGER_MTU_TAILNET, layer, &n))
		return;
	// Where there is no more room to give, nothing is wrong unless pods have such a tunnel.
	const bool best = j->has == j->want;
	if (layer[n - 1].fragments > 1)
		doctor_mtu_note(j, "F077", best ? "info" : "warn", pods,
			"Every full packet of a tailscaled in a pod is cut: twice the packets, "
			"and one lost piece loses all of it.",
			best ? "Give a tailscaled in a pod less than its 1280 (TS_DEBUG_MTU)."
			     : "Give flannel more room: see what is said about it here.",
			"%u-byte packets of a tailnet become %u bytes, pods take %u: cut into %u",
			LEDGER_MTU_TAILNET, layer[n - 1].outer, layer[n - 2].mtu,
			layer[n - 1].fragments);
	else
		doctor_mtu_note(j, "F077", "ok", pods, "", "",
			"%u-byte packets of a tailnet become %u bytes, pods take %u",
			LEDGER_MTU_TAILNET, layer[n - 1].outer, layer[n - 2].mtu);
}
