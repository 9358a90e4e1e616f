// The judgement: facts in, findings out. Here: who is who, the overlays, and what carries them.
#include "control/cli/doctor_mtu_priv.h"

#include <stdarg.h>
#include <string.h>

static const char overlay[] = "overlay", tunnels[] = "tunnels", lan_check[] = "LAN";

void doctor_mtu_note(struct judge *j, const char *id, const char *severity, const char *check,
	const char *meaning, const char *remedy, const char *evidence, ...)
{
	char text[DOCTOR_MTU_TEXT_LEN];
	va_list args;
	va_start(args, evidence);
	vsnprintf(text, sizeof(text), evidence, args);
	va_end(args);
	json_t *finding = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", id, "severity",
		severity, "check", check, "evidence", text, "meaning", meaning, "remedy", remedy);
	// A finding that is lost would be good news.
	if (json_array_append_new(j->findings, finding) < 0)
		j->failed = true;
}

void doctor_mtu_set(struct judge *j, const struct stack_link *l, unsigned mtu)
{
	if (!l->odd_name && json_array_append_new(j->sets,
				    json_sprintf("ip link set dev %s mtu %u", l->name, mtu)) < 0)
		j->failed = true;
}

// --- What is what

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

// An address alone says little: providers use 100.64.0.0/10, too.
bool doctor_mtu_is_tunnel(const struct stack_link *l)
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
	       l->n_addresses > 0 && l->master == 0 && !doctor_mtu_is_tunnel(l) && !l->odd_name;
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

enum ledger_kind doctor_mtu_vxlan_kind(const struct stack_link *l)
{
	return l->local.family == IP_V6 || l->remote.family == IP_V6 ? LEDGER_VXLAN6
								     : LEDGER_VXLAN4;
}

static void find_lan(struct judge *j)
{
	const struct stack_link *named = stack_named(j->stack, j->f->flannel_iface);
	if (j->lower != NULL && j->tunnel == NULL)
		j->lan = j->lower;
	else if (named != NULL && !doctor_mtu_is_tunnel(named))
		j->lan = named;
	else
		j->lan = only_lan(j->stack);
}

static void find(struct judge *j)
{
	j->flannel = find_flannel(j->stack);
	j->lower = j->flannel != NULL ? stack_lower(j->stack, j->flannel) : NULL;
	if (j->lower != NULL && doctor_mtu_is_tunnel(j->lower))
		j->tunnel = j->lower;
	find_lan(j);
	for (unsigned i = 0; i < j->stack->n; i++)
		j->tunnels |= doctor_mtu_is_tunnel(&j->stack->link[i]) ||
			      j->stack->link[i].kind == STACK_VXLAN;
	if (j->flannel == NULL)
		return;
	const enum ledger_kind kind = doctor_mtu_vxlan_kind(j->flannel);
	j->has = j->want = doctor_mtu_of(j->flannel);
	if (j->lower != NULL) {
		j->want = ledger_inside(doctor_mtu_of(j->lower), kind);
		j->has = ledger_lower(j->has, j->want);
	}
	if (j->tunnel != NULL)
		j->want = ledger_inside(
			j->lan != NULL ? doctor_mtu_of(j->lan) : DOCTOR_MTU_LAN, kind);
}

// --- VXLAN devices

static void judge_ride(struct judge *j, const struct stack_link *l, const struct stack_link *lower)
{
	const bool flannel = l == j->flannel;
	j->edit |= flannel;
	doctor_mtu_note(j, "F074", flannel ? "error" : "warn", overlay,
		"VXLAN within WireGuard: each packet pays for both, and what pods send through "
		"a tunnel of their own pays a third time.",
		flannel ? "Have flannel use the LAN's interface, on all nodes: only its packets "
			  "move there, node-ip stays the tailnet's address. The LAN addresses have "
			  "to be fixed or reserved ones."
			: "Carry it by the LAN where hosts share one; or lay the MTUs out with "
			  "tailgate mtu plan.",
		"%s (VNI %u, MTU %u) rides on %s (MTU %u)", l->name, l->vni, l->mtu, lower->name,
		lower->mtu);
}

static void judge_small_flannel(struct judge *j)
{
	const struct stack_link *l = j->flannel;
	if (j->tunnel == NULL)
		doctor_mtu_set(j, l, j->want);
	doctor_mtu_note(j, "F102", "warn", overlay,
		"It is made for a smaller network, such as the tailnet's interface.",
		j->tunnel != NULL ? "It gets more when flannel starts on the LAN."
				  : "Set it by hand: a start of flannel on the same interface does "
				    "not. Then its bridge and pods.",
		"%s is degraded: an MTU of %u, and on %s %u fit", l->name, l->mtu,
		j->lan != NULL ? j->lan->name : "the LAN", j->want);
}

static void judge_room(struct judge *j, const struct stack_link *l, const struct stack_link *lower)
{
	const unsigned room = ledger_inside(doctor_mtu_of(lower), doctor_mtu_vxlan_kind(l));
	if (l->mtu > room) {
		if (l != j->flannel || j->tunnel == NULL)
			doctor_mtu_set(j, l, room);
		doctor_mtu_note(j, "F069", "error", overlay,
			"Full packets are larger than what carries them: cut in pieces or lost.",
			"Lower it to what fits; then its bridge and pods.",
			"%s has an MTU of %u, but of %s's %u it is %u that fit", l->name, l->mtu,
			lower->name, lower->mtu, room);
	} else if (l == j->flannel && l->mtu < j->want)
		judge_small_flannel(j);
	else
		doctor_mtu_note(j, l == j->flannel ? "F102" : "F069", "ok", overlay, "", "",
			"%s (%u) on %s (%u): fits", l->name, l->mtu, lower->name, lower->mtu);
}

// flannel keeps the address that it started with.
static void judge_source(struct judge *j)
{
	const struct stack_link *l = j->flannel, *lower = j->lower;
	char text[ADDR_TEXT_LEN];
	if (l->local.family == IP_NONE || lower->n_addresses == STACK_ADDRESSES_MAX)
		return;
	for (unsigned i = 0; i < lower->n_addresses; i++)
		if (ip_addr_equal(&lower->address[i].addr, &l->local)) {
			doctor_mtu_note(j, "F091", "ok", overlay, "", "", "%s sends from %s, of %s",
				l->name, ip_addr_format(&l->local, text), lower->name);
			return;
		}
	j->restart = true;
	doctor_mtu_note(j, "F091", "error", overlay,
		"The address has changed since flannel started, by DHCP perhaps: the other nodes "
		"go on sending to the old one.",
		"Start flannel anew, which tells the others; and have the address reserved or "
		"fixed.",
		"%s sends from %s, which is no address of %s", l->name,
		ip_addr_format(&l->local, text), lower->name);
}

static void judge_vxlan(struct judge *j, const struct stack_link *l)
{
	const struct stack_link *lower = stack_lower(j->stack, l);
	if (lower == NULL) {
		doctor_mtu_note(j, "F069", "info", overlay,
			"Which interface carries it is up to the routes, or it is in another "
			"network namespace.",
			"Run tailgate doctor mtu there, or make the device with 'dev'.",
			"%s (VNI %u, MTU %u) does not say what carries it", l->name, l->vni,
			l->mtu);
		return;
	}
	if (doctor_mtu_is_tunnel(lower))
		judge_ride(j, l, lower);
	judge_room(j, l, lower);
	if (l == j->flannel)
		judge_source(j);
}

// --- Below

static void judge_tunnel(struct judge *j, const struct stack_link *l)
{
	const unsigned room = j->lan != NULL ? ledger_inside(doctor_mtu_of(j->lan), LEDGER_WG) : 0;
	if (j->lan != NULL && l->mtu > ledger_inside(doctor_mtu_of(j->lan), LEDGER_WG4)) {
		doctor_mtu_set(j, l, room);
		doctor_mtu_note(j, "F068", "warn", tunnels,
			"Full packets are larger outside than the LAN takes: cut, or lost.",
			"Lower it, also where the interface is configured.",
			"%s has an MTU of %u, but %s (%u) takes %u of it", l->name, l->mtu,
			j->lan->name, j->lan->mtu, room);
	} else
		doctor_mtu_note(j, "F101", l->mtu == LEDGER_MTU_TAILNET ? "ok" : "info", tunnels,
			"A node of a tailnet has 1280 unless it was raised on purpose.", "",
			"%s (%u)", l->name, l->mtu);
}

static void judge_lan(struct judge *j)
{
	if (j->lan != NULL)
		doctor_mtu_note(j, "F100", j->lan->mtu == DOCTOR_MTU_LAN ? "ok" : "info", lan_check,
			"All else is derived from it; every host of the network needs the same.",
			"", "%s (%u)", j->lan->name, j->lan->mtu);
}

static void judge(struct judge *j)
{
	const struct stack *s = j->stack;
	judge_lan(j);
	for (unsigned i = 0; i < s->n; i++)
		if (doctor_mtu_is_tunnel(&s->link[i]))
			judge_tunnel(j, &s->link[i]);
	doctor_mtu_judge_k3s(j);
	for (unsigned i = 0; i < s->n; i++)
		if (s->link[i].kind == STACK_VXLAN)
			judge_vxlan(j, &s->link[i]);
	doctor_mtu_judge_env(j);
	for (unsigned i = 0; i < s->n; i++)
		if (s->link[i].kind == STACK_BRIDGE)
			doctor_mtu_judge_bridge(j, &s->link[i]);
	doctor_mtu_judge_nested(j);
	doctor_mtu_judge_symptoms(j);
	if (s->omitted > 0)
		doctor_mtu_note(j, "F069", "warn", overlay, "The rest was not looked at.",
			"Take the numbers with care.", "%u interfaces beyond the first %u",
			s->omitted, s->n);
}

json_t *doctor_mtu_judge(const struct doctor_mtu_facts *f)
{
	struct judge j = {
		.f = f, .stack = &f->stack, .findings = json_array(), .sets = json_array()};
	json_t *report = NULL;
	find(&j);
	judge(&j);
	json_t *steps = doctor_mtu_steps(&j);
	if (!j.failed && steps != NULL)
		report = json_pack("{s:O, s:O}", "findings", j.findings, "commands", steps);
	json_decref(j.findings);
	json_decref(j.sets);
	json_decref(steps);
	return report;
}

// Whether an array of words has this one.
static bool is_one(const char *text, const char *const *words)
{
	for (; *words != NULL; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

void doctor_mtu_keep_verified(json_t *report)
{
	static const char *const good[] = {"ok", "info", NULL};
	static const char *const kept[] = {"F082", "F099", "F103", "F104", NULL};
	json_t *findings = json_object_get(report, "findings");
	for (size_t i = json_array_size(findings); i-- > 0;) {
		const json_t *finding = json_array_get(findings, i);
		const char *severity = json_string_value(json_object_get(finding, "severity"));
		const char *id = json_string_value(json_object_get(finding, "id"));
		if (severity != NULL && is_one(severity, good) && !(id && is_one(id, kept)))
			json_array_remove(findings, i);
	}
}
