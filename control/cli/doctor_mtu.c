// The judgement: facts in, findings out.
#include "control/cli/doctor_mtu_priv.h"

#include <stdarg.h>
#include <string.h>

#include "dataplane/wire/ledger.h"

enum {
	EVIDENCE_LEN = 512,
	LAN_MTU = 1500,	    // Ethernet's, where the LAN's interface is not known
	ACCOUNT_LAYERS = 4, // LAN, the tailnet below flannel, flannel, a tunnel in a pod
};

static const char overlay[] = "overlay", pods[] = "pods", k3s[] = "k3s", tunnels[] = "tunnels",
		  lan_check[] = "LAN";

// --- Findings and steps

void doctor_mtu_note(struct judge *j, const char *id, const char *severity, const char *check,
	json_t *steps, const char *meaning, const char *remedy, const char *evidence, ...)
{
	char text[EVIDENCE_LEN];
	va_list args;
	va_start(args, evidence);
	vsnprintf(text, sizeof(text), evidence, args);
	va_end(args);
	json_t *finding = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o*}", "id", id, "severity",
		severity, "check", check, "evidence", text, "meaning", meaning, "remedy", remedy,
		"commands", steps);
	// A finding that is lost would be good news.
	if (json_array_append_new(j->findings, finding) < 0)
		j->failed = true;
}

__attribute__((format(printf, 2, 3))) static void command(json_t *steps, const char *format, ...)
{
	char text[EVIDENCE_LEN];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_array_append_new(steps, json_string(text));
}

json_t *doctor_mtu_set(const struct stack_link *l, unsigned mtu)
{
	if (l->odd_name)
		return NULL;
	json_t *steps = json_array();
	command(steps, "ip link set dev %s mtu %u", l->name, mtu);
	return steps;
}

static const char *unit_of(const struct judge *j)
{
	return j->f->agent ? "k3s-agent" : "k3s";
}

void doctor_mtu_restart_pods(json_t *steps)
{
	// All of the namespace but the operator: each gets its MTU when it starts.
	command(steps,
		"kubectl delete pods -n tailscale $(kubectl get pods -n tailscale --no-headers -o "
		"name | grep -v operator | xargs -I{} basename {})");
}

// --- What is what

static uint16_t mtu_of(const struct stack_link *l)
{
	return l->mtu < UINT16_MAX ? l->mtu : UINT16_MAX;
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool is_tailnet_address(const struct ip_addr *a)
{
	static const char *const nets[] = {"100.64.0.0/10", "fd7a:115c:a1e0::/48"};
	for (unsigned i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
		struct ip_prefix net;
		if (ip_prefix_parse(nets[i], &net) == 0 && ip_prefix_contains(&net, a))
			return true;
	}
	return false;
}

// WireGuard in one of its forms. An address alone says little: providers use 100.64.0.0/10, too.
static bool is_tunnel(const struct stack_link *l)
{
	if (l->kind == STACK_WIREGUARD)
		return true;
	if ((l->kind == STACK_TUN || l->kind == STACK_PLAIN) &&
		(starts(l->name, "tailscale") || starts(l->name, "tailgate") ||
			starts(l->name, "wg")))
		return true;
	for (unsigned i = 0; l->kind == STACK_TUN && i < l->n_addresses; i++)
		if (is_tailnet_address(&l->address[i].addr))
			return true;
	return false;
}

static bool is_flannel(const struct stack_link *l)
{
	return l->kind == STACK_VXLAN && starts(l->name, "flannel");
}

static bool may_be_lan(const struct stack_link *l)
{
	return (l->kind == STACK_PLAIN || l->kind == STACK_VLAN || l->kind == STACK_VETH) &&
	       l->n_addresses > 0 && l->master == 0 && !is_tunnel(l) && !l->odd_name;
}

static const struct stack_link *only_lan(const struct stack *s)
{
	const struct stack_link *only = NULL;
	for (unsigned i = 0; i < s->n; i++) {
		if (!may_be_lan(&s->link[i]))
			continue;
		if (only != NULL)
			return NULL;
		only = &s->link[i];
	}
	return only;
}

static const struct stack_link *find_flannel(const struct stack *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (is_flannel(&s->link[i]))
			return &s->link[i];
	return NULL;
}

static void find(struct judge *j)
{
	const struct stack_link *named = stack_named(j->stack, j->f->flannel_iface);
	j->flannel = find_flannel(j->stack);
	const struct stack_link *lower =
		j->flannel != NULL ? stack_lower(j->stack, j->flannel) : NULL;
	if (lower != NULL && is_tunnel(lower))
		j->tunnel = lower;
	if (lower != NULL && j->tunnel == NULL)
		j->lan = lower;
	else if (named != NULL && !is_tunnel(named))
		j->lan = named;
	else
		j->lan = only_lan(j->stack);
}

static enum ledger_kind vxlan_kind(const struct stack_link *l)
{
	return l->local.family == IP_V6 || l->remote.family == IP_V6 ? LEDGER_VXLAN6
								     : LEDGER_VXLAN4;
}

// What flannel's devices are to have once it rides on the LAN. 0: there is no flannel.
static uint16_t flannel_want(const struct judge *j)
{
	if (j->flannel == NULL)
		return 0;
	return ledger_inside(j->lan != NULL ? mtu_of(j->lan) : LAN_MTU, vxlan_kind(j->flannel));
}

uint16_t doctor_mtu_flannel_has(const struct judge *j)
{
	const struct stack_link *lower = j->tunnel != NULL ? j->tunnel : j->lan;
	if (j->flannel == NULL)
		return 0;
	if (lower == NULL)
		return mtu_of(j->flannel);
	return ledger_lower(
		mtu_of(j->flannel), ledger_inside(mtu_of(lower), vxlan_kind(j->flannel)));
}

// --- Flannel over the tailnet

static json_t *mend_ride(const struct judge *j)
{
	static const char file[] = "/etc/rancher/k3s/config.yaml";
	const char *lan = j->lan != NULL && !j->lan->odd_name ? j->lan->name : "LAN_INTERFACE";
	const struct stack_link *now = stack_named(j->stack, j->f->flannel_iface);
	const struct stack_link *bridge = stack_named(j->stack, "cni0");
	const unsigned want = j->flannel != NULL ? flannel_want(j) : 0;
	json_t *steps = json_array();
	if (j->f->k3s == DOCTOR_MTU_ABSENT)
		command(steps, "mkdir -p /etc/rancher/k3s && echo 'flannel-iface: %s' > %s", lan,
			file);
	else if (j->f->k3s == DOCTOR_MTU_READ && j->f->flannel_iface[0] == '\0')
		command(steps, "sed -i '$a flannel-iface: %s' %s", lan, file);
	else if (j->f->k3s == DOCTOR_MTU_READ && (now == NULL || is_tunnel(now)))
		command(steps, "sed -i 's/^flannel-iface:.*/flannel-iface: %s/' %s", lan, file);
	command(steps, "systemctl restart %s", unit_of(j));
	command(steps, "sleep 30 && kubectl get nodes");
	if (bridge != NULL && want > 0 && bridge->mtu != want)
		command(steps, "ip link set dev cni0 mtu %u", want);
	doctor_mtu_restart_pods(steps);
	command(steps, "tailgate doctor mtu --verify");
	return steps;
}

// Layers from the LAN to a tunnel of inner bytes (0: as many as fit) in a pod. false: there is no
// such account.
static bool account(const struct judge *j, uint16_t inner, struct ledger_layer *layer, unsigned *n)
{
	unsigned at;
	*n = 0;
	memset(layer, 0, ACCOUNT_LAYERS * sizeof(*layer));
	layer[*n].kind = LEDGER_LINK;
	layer[(*n)++].said[LEDGER_INTERFACE] = j->lan != NULL ? mtu_of(j->lan) : LAN_MTU;
	if (j->tunnel != NULL) {
		layer[*n].kind = LEDGER_WG;
		layer[(*n)++].said[LEDGER_INTERFACE] = mtu_of(j->tunnel);
	}
	layer[*n].kind = vxlan_kind(j->flannel);
	layer[(*n)++].said[LEDGER_INTERFACE] = doctor_mtu_flannel_has(j);
	layer[*n].kind = LEDGER_WG;
	layer[(*n)++].said[LEDGER_INTERFACE] = inner;
	return ledger_account(layer, *n, &at) == 0;
}

static void judge_nested(struct judge *j)
{
	struct ledger_layer layer[ACCOUNT_LAYERS];
	unsigned n;
	if (j->flannel == NULL)
		return;
	if (account(j, 0, layer, &n)) {
		const unsigned permill = ledger_capacity_permill(layer, n);
		doctor_mtu_note(j, "F105", "info", pods, NULL,
			"A tunnel in a pod (a proxy of the Tailscale operator) adds its own "
			"header inside flannel's.",
			"", "%u bytes fit through a tunnel in a pod, %u.%u %% of one on the LAN",
			layer[n - 1].mtu, permill / 10, permill % 10);
	}
	if (!account(j, LEDGER_MTU_TAILNET, layer, &n))
		return;
	// Where there is no more room to give, nothing is wrong unless pods have such a tunnel.
	const bool best = doctor_mtu_flannel_has(j) == flannel_want(j);
	if (layer[n - 1].fragments > 1)
		doctor_mtu_note(j, "F077", best ? "info" : "warn", pods, NULL,
			"Every full packet of a tailscaled in a pod is cut: twice the packets, "
			"and one lost piece loses all of it.",
			best ? "Give a tailscaled in a pod less than its 1280 (TS_DEBUG_MTU)."
			     : "Give flannel more room: see what is said about it here.",
			"%u-byte packets of a tailnet become %u bytes, pods take %u: cut into %u",
			LEDGER_MTU_TAILNET, layer[n - 1].outer, layer[n - 2].mtu,
			layer[n - 1].fragments);
	else
		doctor_mtu_note(j, "F077", "ok", pods, NULL, "", "",
			"%u-byte packets of a tailnet become %u bytes, pods take %u",
			LEDGER_MTU_TAILNET, layer[n - 1].outer, layer[n - 2].mtu);
}

// --- VXLAN devices

static void judge_ride(struct judge *j, const struct stack_link *l, const struct stack_link *lower)
{
	const bool flannel = l == j->flannel;
	doctor_mtu_note(j, "F074", flannel ? "error" : "warn", overlay,
		flannel ? mend_ride(j) : NULL,
		"VXLAN within WireGuard: each packet pays for both, and what pods send through "
		"a tunnel of their own pays a third time.",
		flannel ? "Have flannel use the LAN's interface, on all nodes; node-ip stays the "
			  "tailnet's address. The LAN addresses have to be fixed or reserved ones."
			: "Carry it by the LAN where hosts share one; or lay the MTUs out with "
			  "tailgate mtu plan.",
		"%s (VNI %u, MTU %u) rides on %s (MTU %u)", l->name, l->vni, l->mtu, lower->name,
		lower->mtu);
}

static void judge_room(struct judge *j, const struct stack_link *l, const struct stack_link *lower)
{
	const unsigned room = ledger_inside(mtu_of(lower), vxlan_kind(l));
	if (l->mtu > room)
		doctor_mtu_note(j, "F069", "error", overlay, doctor_mtu_set(l, room),
			"Full packets are larger than what carries them: cut in pieces or lost.",
			"Lower it to what fits; then its bridge and pods.",
			"%s has an MTU of %u, but of %s's %u it is %u that fit", l->name, l->mtu,
			lower->name, lower->mtu, room);
	else if (l->mtu < room && is_flannel(l) && !is_tunnel(lower)) {
		json_t *steps = json_array();
		command(steps, "systemctl restart %s", unit_of(j));
		doctor_mtu_note(j, "F102", "warn", overlay, steps,
			"It was made for a smaller network, such as the tailnet's interface, and "
			"has not been since the change.",
			"Restart what made it.", "%s has an MTU of %u, but on %s (%u) %u fit",
			l->name, l->mtu, lower->name, lower->mtu, room);
	} else
		doctor_mtu_note(j, l->mtu == room ? "F102" : "F069", "ok", overlay, NULL, "", "",
			"%s (%u) on %s (%u): fits", l->name, l->mtu, lower->name, lower->mtu);
}

static void judge_vxlan(struct judge *j, const struct stack_link *l)
{
	const struct stack_link *lower = stack_lower(j->stack, l);
	if (lower == NULL) {
		doctor_mtu_note(j, "F069", "info", overlay, NULL,
			"Which interface carries it is up to the routes, or it is in another "
			"network namespace.",
			"Run tailgate doctor mtu there, or make the device with 'dev'.",
			"%s (VNI %u, MTU %u) does not say what carries it", l->name, l->vni,
			l->mtu);
		return;
	}
	if (is_tunnel(lower))
		judge_ride(j, l, lower);
	judge_room(j, l, lower);
}

// --- What k3s and flannel say

static void judge_iface(struct judge *j)
{
	const char *name = j->f->flannel_iface;
	const struct stack_link *l = stack_named(j->stack, name);
	if (l == NULL)
		doctor_mtu_note(j, "F085", "warn", k3s, NULL, "flannel does not start with that.",
			"Name the LAN's interface: see ip address.",
			"flannel-iface: %s, and there is no such interface", name);
	else if (is_tunnel(l))
		doctor_mtu_note(j, "F085", "error", k3s, j->tunnel == NULL ? mend_ride(j) : NULL,
			"flannel lays its VXLAN over the tailnet's interface: 1230 bytes are left "
			"of 1280.",
			"Name the LAN's interface instead, on all nodes.", "flannel-iface: %s",
			name);
	else
		doctor_mtu_note(j, "F085", "ok", k3s, NULL, "", "", "flannel-iface: %s", name);
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
				doctor_mtu_note(j, "F089", "ok", k3s, NULL, "", "",
					"node-ip %s is on %s", text, j->stack->link[i].name);
				return;
			}
	doctor_mtu_note(j, "F089", "warn", k3s, NULL,
		"The other nodes do not reach this one by it.",
		"Set node-ip to an address of this host, or bring the tailnet up.",
		"node-ip %s is on none of the interfaces", text);
}

static void judge_lease(struct judge *j)
{
	for (unsigned i = 0; j->flannel != NULL && j->lan != NULL && i < j->lan->n_addresses; i++) {
		char text[ADDR_TEXT_LEN];
		if (!j->lan->address[i].leased || j->lan->address[i].addr.family != IP_V4)
			continue;
		doctor_mtu_note(j, "F090", "info", k3s, NULL,
			"When it changes, the other nodes send flannel's packets to the old one.",
			"Reserve it in the DHCP server, or set it by hand.",
			"%s on %s is leased (DHCP)", ip_addr_format(&j->lan->address[i].addr, text),
			j->lan->name);
	}
}

static void judge_k3s(struct judge *j)
{
	if (j->f->k3s == DOCTOR_MTU_BAD)
		doctor_mtu_note(j, "F085", "warn", k3s, NULL,
			"Where flannel is told to run cannot be said.",
			"Be root, and have flannel-iface and node-ip once, in a line of their own.",
			"/etc/rancher/k3s/config.yaml cannot be read or understood");
	if (j->f->flannel_iface[0] != '\0')
		judge_iface(j);
	judge_node_ip(j);
	judge_lease(j);
}

static void judge_env(struct judge *j)
{
	if (j->f->env == DOCTOR_MTU_ABSENT)
		return;
	if (j->f->env == DOCTOR_MTU_BAD) {
		doctor_mtu_note(j, "F082", "warn", k3s, NULL, "Pods get no MTU from it.",
			"Restart k3s: flannel writes it anew.",
			"/run/flannel/subnet.env cannot be read, or has no FLANNEL_MTU");
		return;
	}
	const unsigned says = j->f->flannel_mtu;
	if (j->flannel == NULL)
		doctor_mtu_note(j, "F082", "info", k3s, NULL, "", "",
			"FLANNEL_MTU=%u, and there is no VXLAN device of flannel's", says);
	else if (says != j->flannel->mtu) {
		json_t *steps = json_array();
		command(steps, "systemctl restart %s", unit_of(j));
		doctor_mtu_note(j, "F082", "error", k3s, steps,
			"New pods get the MTU of the file, not the one of their network.",
			"Have flannel write it anew.", "FLANNEL_MTU=%u, but %s has %u", says,
			j->flannel->name, j->flannel->mtu);
	} else
		doctor_mtu_note(j, "F082", "ok", k3s, NULL, "", "", "FLANNEL_MTU=%u, as %s", says,
			j->flannel->name);
}

// --- Below

static void judge_tunnel(struct judge *j, const struct stack_link *l)
{
	const unsigned room = j->lan != NULL ? ledger_inside(mtu_of(j->lan), LEDGER_WG) : 0;
	if (j->lan != NULL && l->mtu > ledger_inside(mtu_of(j->lan), LEDGER_WG4))
		doctor_mtu_note(j, "F068", "warn", tunnels, doctor_mtu_set(l, room),
			"Full packets are larger outside than the LAN takes: cut, or lost.",
			"Lower it, also where the interface is configured.",
			"%s has an MTU of %u, but %s (%u) takes %u of it", l->name, l->mtu,
			j->lan->name, j->lan->mtu, room);
	else
		doctor_mtu_note(j, "F101", l->mtu == LEDGER_MTU_TAILNET ? "ok" : "info", tunnels,
			NULL, "A node of a tailnet has 1280 unless it was raised on purpose.", "",
			"%s (%u)", l->name, l->mtu);
}

static void judge_lan(struct judge *j)
{
	if (j->lan != NULL)
		doctor_mtu_note(j, "F100", j->lan->mtu == LAN_MTU ? "ok" : "info", lan_check, NULL,
			"All else is derived from it; every host of the network needs the same.",
			"", "%s (%u)", j->lan->name, j->lan->mtu);
}

json_t *doctor_mtu_judge(const struct doctor_mtu_facts *f)
{
	struct judge j = {.f = f, .stack = &f->stack, .findings = json_array()};
	find(&j);
	judge_lan(&j);
	for (unsigned i = 0; i < f->stack.n; i++)
		if (is_tunnel(&f->stack.link[i]))
			judge_tunnel(&j, &f->stack.link[i]);
	judge_k3s(&j);
	for (unsigned i = 0; i < f->stack.n; i++)
		if (f->stack.link[i].kind == STACK_VXLAN)
			judge_vxlan(&j, &f->stack.link[i]);
	judge_env(&j);
	for (unsigned i = 0; i < f->stack.n; i++)
		if (f->stack.link[i].kind == STACK_BRIDGE)
			doctor_mtu_judge_bridge(&j, &f->stack.link[i]);
	judge_nested(&j);
	if (f->stack.omitted > 0)
		doctor_mtu_note(&j, "F069", "warn", overlay, NULL, "The rest was not looked at.",
			"Take the numbers with care.", "%u interfaces beyond the first %u",
			f->stack.omitted, f->stack.n);
	if (j.failed) {
		json_decref(j.findings);
		return NULL;
	}
	return json_pack("{s:o}", "findings", j.findings);
}

void doctor_mtu_keep_wrong(json_t *report)
{
	json_t *findings = json_object_get(report, "findings");
	for (size_t i = json_array_size(findings); i-- > 0;) {
		const json_t *severity = json_object_get(json_array_get(findings, i), "severity");
		const char *text = json_string_value(severity);
		if (text != NULL && (strcmp(text, "ok") == 0 || strcmp(text, "info") == 0))
			json_array_remove(findings, i);
	}
}
