// IP rules that make the kernel ask our table before main, but for our own sockets (net/bypass.h).
// Who deletes them gets them back; a daemon that was killed leaves them behind, pointing at a table
// from which all routes into the tunnel went with the TUN.
#include <errno.h>
#include <linux/rtnetlink.h>

#include "control/net/bypass.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"

enum {
	AGAIN_MS = 250,
};

// Source: tailscale wgengine/router/osrouter/router_linux.go, baseIPRules.
static const struct {
	uint32_t priority;
	bool ours;     // of marked packets only
	uint8_t table; // 0: unreachable
} rules[] = {
	{5210, true, RT_TABLE_MAIN},
	{5230, true, RT_TABLE_DEFAULT},
	{5250, true, 0},
	{5270, false, TAILNET_TABLE},
};

static void each(struct tailnet *t, int (*fn)(struct netlink *, const struct netlink_rule *),
	const char *failed)
{
	static const enum ip_family families[] = {IP_V4, IP_V6};
	for (unsigned i = 0; i < RTE_DIM(rules) * RTE_DIM(families); i++) {
		const struct netlink_rule rule = {
			.family = families[i % 2],
			.priority = rules[i / 2].priority,
			.mark = rules[i / 2].ours ? NET_BYPASS_MARK : 0,
			.mask = rules[i / 2].ours ? NET_BYPASS_MASK : 0,
			.table = rules[i / 2].table,
		};
		int r = fn(mirror_netlink(t->params.mirror), &rule);
		bool absent = rule.family == IP_V6 && (r == -EAFNOSUPPORT || r == -EOPNOTSUPP);
		if (r < 0 && failed && !absent)
			log_error("tailnet",
				"ip rule %u: %s: %s; routes of the tailnet are not used",
				rule.priority, failed, strerror(-r));
	}
}

static void on_again(evutil_socket_t, short, void *arg)
{
	struct tailnet *t = arg;
	if (t->kernel.ruled)
		each(t, netlink_rule_add, "cannot be restored");
}

int tn_lookup_init(struct tailnet *t)
{
	int r = netlink_table_clear(mirror_netlink(t->params.mirror), TAILNET_TABLE);
	if (r < 0)
		log_warn("tailnet", "table %d: %s", TAILNET_TABLE, strerror(-r));
	each(t, netlink_rule_del, NULL);
	t->rules_again = event_new(t->params.base, -1, 0, on_again, t);
	return t->rules_again ? 0 : -ENOMEM;
}

void tn_lookup_set(struct tailnet *t, bool on)
{
	if (on == t->kernel.ruled)
		return;
	t->kernel.ruled = on;
	if (on)
		each(t, netlink_rule_add, "cannot be added");
	else
		each(t, netlink_rule_del, NULL);
}

void tailnet_rule_gone(struct tailnet *t)
{
	static const struct timeval later = {.tv_usec = AGAIN_MS * 1000};
	if (t->kernel.ruled && !event_pending(t->rules_again, EV_TIMEOUT, NULL))
		event_add(t->rules_again, &later);
}
