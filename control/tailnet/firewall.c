// The host's firewall as the settings want it, while the node is up.
#include "control/kernel/netfilter.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"

void tn_firewall_settle(struct tailnet *t)
{
	const struct gateway *gw = t->params.gw;
	char err[256];
	if (gw->host_port == PORT_NONE)
		return;
	const struct netfilter_params p = {
		.tun = gw->port[gw->host_port]->device,
		.mode = t->active ? (enum netfilter_mode)t->prefs->netfilter_mode : NETFILTER_OFF,
		.masquerade = !t->prefs->no_snat,
		.stateful = !t->prefs->no_stateful,
	};
	if (!t->firewall && p.mode == NETFILTER_OFF)
		return;
	if (!t->firewall)
		t->firewall = netfilter_create();
	if (t->firewall && netfilter_set(t->firewall, &p, err) == 0)
		return;
	log_warn("tailnet",
		"%s; what the kernel forwards from the tunnel is left to the host's own rules, "
		"which --netfilter-mode=off says on purpose",
		t->firewall ? err : "no nftables context");
}
