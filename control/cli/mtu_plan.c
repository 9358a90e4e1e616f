#include "control/cli/mtu_plan.h"

#include <errno.h>
#include <stdarg.h>

#include "control/cli/values.h"

static const struct {
	const char *name;
	enum ledger_kind kind;
} kinds[] = {
	{"vlan", LEDGER_VLAN},
	{"wg4", LEDGER_WG4},
	{"wg6", LEDGER_WG6},
	{"wg", LEDGER_WG},
	{"vxlan", LEDGER_VXLAN4},
	{"vxlan4", LEDGER_VXLAN4},
	{"vxlan6", LEDGER_VXLAN6},
	{"relay4", LEDGER_RELAY4},
	{"relay6", LEDGER_RELAY6},
	{"derp4", LEDGER_DERP4},
	{"derp6", LEDGER_DERP6},
};

__attribute__((format(printf, 2, 3))) static int refuse(
	char err[static CLI_ERROR_LEN], const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(err, CLI_ERROR_LEN, format, args);
	va_end(args);
	return -EINVAL;
}

static bool find_kind(const char *name, enum ledger_kind *out)
{
	for (unsigned i = 0; i < RTE_DIM(kinds); i++) {
		if (strcmp(kinds[i].name, name) != 0)
			continue;
		*out = kinds[i].kind;
		return true;
	}
	return false;
}

// What may be printed again, and be the name of an interface.
static bool is_name(const char *text, size_t len)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-@";
	return len > 0 && len < MTU_NAME_LEN && strspn(text, letters) >= len;
}

static int take_kind(struct mtu_plan *p, char err[static CLI_ERROR_LEN])
{
	const char *name = p->name[p->n];
	struct ledger_layer *l = &p->layer[p->n];
	bool known = find_kind(name, &l->kind);
	if (p->n == 0 && known)
		return refuse(err,
			"'%s' is no link: begin with one and its MTU, such as eth0:1500,%s", name,
			name);
	if (p->n == 0) {
		l->kind = LEDGER_LINK;
		return 0;
	}
	if (!known)
		return refuse(err,
			"'%s' is no layer: there are vlan, wg4, wg6, wg, vxlan4, vxlan6, relay4, "
			"relay6, derp4 and derp6",
			name);
	return 0;
}

// A word, "NAME" or "NAME:MTU", of len bytes.
static int take_layer(
	struct mtu_plan *p, const char *word, size_t len, char err[static CLI_ERROR_LEN])
{
	char digits[8] = "";
	unsigned mtu = 0;
	const char *colon = memchr(word, ':', len);
	size_t name_len = colon ? (size_t)(colon - word) : len;
	if (p->n == LEDGER_LAYERS_MAX)
		return refuse(err, "there are more than %u layers", LEDGER_LAYERS_MAX);
	if (!is_name(word, name_len))
		return refuse(err,
			"layer %u has no name: write LINK:MTU,LAYER,..., such as "
			"eth0:1500,wg4,vxlan",
			p->n + 1);
	memcpy(p->name[p->n], word, name_len);
	if (take_kind(p, err) < 0)
		return -EINVAL;
	if (colon && len - name_len - 1 < sizeof(digits))
		memcpy(digits, colon + 1, len - name_len - 1);
	if (colon && (value_number(digits, UINT16_MAX, &mtu) < 0 || mtu == 0))
		return refuse(err, "the MTU of %s is no number of bytes up to %u", p->name[p->n],
			UINT16_MAX);
	if (p->n == 0 && !colon)
		return refuse(err, "what is the MTU of %s? Write %s:1500", p->name[0], p->name[0]);
	p->layer[p->n++].said[LEDGER_INTERFACE] = (uint16_t)mtu;
	return 0;
}

// What ledger_account() has against layer i.
static int refuse_layer(
	const struct mtu_plan *p, unsigned i, int error, char err[static CLI_ERROR_LEN])
{
	const struct ledger_layer *l = &p->layer[i];
	const char *name = p->name[i], *below = i > 0 ? p->name[i - 1] : "";
	unsigned below_mtu = i > 0 ? p->layer[i - 1].mtu : 0;
	switch (error) {
	case -EDOM:
		return refuse(err, "the MTU of %s is %u: IPv4 needs %u at least", name,
			l->said[LEDGER_INTERFACE], LEDGER_MTU_MIN4);
	case -ENOSPC:
		return refuse(err,
			"no room is left for %s: the %u bytes of %s less %u are under the %u that "
			"IPv4 needs",
			name, below_mtu, below, l->overhead, LEDGER_MTU_MIN4);
	case -EAFNOSUPPORT:
		return refuse(err,
			"%s goes over IPv6, which needs %u bytes, and %s has %u: take %.*s4, or "
			"raise its MTU",
			name, LEDGER_MTU_MIN6, below, below_mtu, (int)strlen(name) - 1, name);
	case -EMSGSIZE:
		if (l->kind == LEDGER_VLAN)
			return refuse(err, "the MTU of %s is more than the %u of %s", name,
				below_mtu, below);
		return refuse(err, "%s adds %u bytes: with an MTU of %u no IP packet holds that",
			name, l->overhead, l->mtu);
	default:
		return refuse(
			err, "%s needs Ethernet below, a link or VXLAN: %s has none", name, below);
	}
}

int mtu_plan_parse(const char *text, struct mtu_plan *out, char err[static CLI_ERROR_LEN])
{
	unsigned at;
	*out = (struct mtu_plan){};
	for (;;) {
		size_t len = strcspn(text, ",");
		if (take_layer(out, text, len, err) < 0)
			return -EINVAL;
		if (text[len] == '\0')
			break;
		text += len + 1;
	}
	int rc = ledger_account(out->layer, out->n, &at);
	return rc < 0 ? refuse_layer(out, at, rc, err) : 0;
}

static bool is_raised_tailnet(const struct ledger_layer *l)
{
	return (l->kind == LEDGER_WG || l->kind == LEDGER_WG4 || l->kind == LEDGER_WG6) &&
	       l->due == LEDGER_ROOM && l->mtu > LEDGER_MTU_TAILNET;
}

const char *mtu_plan_note(const struct mtu_plan *p, unsigned i, char note[static MTU_NOTE_LEN])
{
	const struct ledger_layer *l = &p->layer[i], *below = i > 0 ? &p->layer[i - 1] : NULL;
	*note = '\0';
	if (below && l->room != 0 && l->outer > below->mtu) {
		int n = snprintf(note, MTU_NOTE_LEN,
			"%s: full packets are %u bytes in %s, which takes %u: ", p->name[i],
			l->outer, p->name[i - 1], below->mtu);
		if (l->fragments > 1)
			n += snprintf(note + n, MTU_NOTE_LEN - n, "cut into %u", l->fragments);
		else
			n += snprintf(note + n, MTU_NOTE_LEN - n, "what carries it is cut");
		snprintf(note + n, MTU_NOTE_LEN - n, "; with an MTU of %u they fit", l->room);
	} else if (i > 0 && l->mtu < l->room) {
		snprintf(note, MTU_NOTE_LEN, "%s: its interface has %u, %u would fit", p->name[i],
			l->mtu, l->room);
	} else if (is_raised_tailnet(l)) {
		snprintf(note, MTU_NOTE_LEN,
			"%s: a node of a tailnet has %u unless it is raised at both ends: %s:%u",
			p->name[i], LEDGER_MTU_TAILNET, p->name[i], LEDGER_MTU_TAILNET);
	} else if (i + 1 == p->n && l->mss6 == 0) {
		snprintf(note, MTU_NOTE_LEN, "%s: IPv6 needs %u and does not go inside", p->name[i],
			LEDGER_MTU_MIN6);
	}
	return note;
}
