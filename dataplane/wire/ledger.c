#include "dataplane/wire/ledger.h"

#include <errno.h>

enum { UNIT = 1024 }; // of costs, so that shares of a stream's packets can be told

// What packets take on the link, in 1/UNIT. Fragments of fragments at 7 layers: below 2^16 packets
// of 2^16 bytes.
struct cost {
	uint64_t packets, bytes;
};

static bool is_stream(enum ledger_kind kind)
{
	return kind == LEDGER_DERP4 || kind == LEDGER_DERP6;
}

static bool is_wireguard(enum ledger_kind kind)
{
	return kind != LEDGER_LINK && kind != LEDGER_VLAN && kind != LEDGER_VXLAN4 &&
	       kind != LEDGER_VXLAN6;
}

static enum ip_family family_of(enum ledger_kind kind)
{
	switch (kind) {
	case LEDGER_WG4:
	case LEDGER_VXLAN4:
	case LEDGER_RELAY4:
	case LEDGER_DERP4:
		return IP_V4;
	case LEDGER_WG6:
	case LEDGER_WG:
	case LEDGER_VXLAN6:
	case LEDGER_RELAY6:
	case LEDGER_DERP6:
		return IP_V6;
	default:
		return IP_NONE;
	}
}

// A tag on a link, or on a tag on a link: MTUs do not count it.
static bool is_on_link(const struct ledger_layer *layer, unsigned i)
{
	while (i > 0 && layer[i].kind == LEDGER_VLAN)
		i--;
	return layer[i].kind == LEDGER_LINK;
}

// How a packet of len bytes is cut for a network of mtu: n times full bytes, then last, which alone
// need not be a multiple of 8 (RFC 791 section 3.2, RFC 8200 section 4.5, and as Linux does).
// False: it cannot be.
static bool cut(uint32_t len, uint16_t mtu, enum ip_family family, uint32_t *n, uint32_t *full,
	uint32_t *last)
{
	uint32_t header = family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	uint32_t each = family == IP_V4 ? header : header + LEDGER_FRAGMENT6_LEN;
	uint32_t most = mtu > each ? mtu - each : 0, chunk = most & ~7u;
	if (chunk == 0 || len <= header)
		return false;
	uint32_t payload = len - header;
	*n = payload > most ? (payload - most + chunk - 1) / chunk : 0;
	*full = each + chunk;
	*last = each + payload - *n * chunk;
	return true;
}

uint32_t ledger_fragments(uint32_t len, uint16_t mtu, enum ip_family family)
{
	uint32_t n, full, last;
	if (len <= mtu)
		return 1;
	return cut(len, mtu, family, &n, &full, &last) ? n + 1 : 0;
}

// Padding of WireGuard is what the interface's MTU allows.
static uint32_t inner_of(const struct ledger_layer *l, uint32_t len)
{
	return is_wireguard(l->kind) ? wg_padded_len(len, l->mtu) : len;
}

static struct cost cost_of(const struct ledger_layer *layer, unsigned i, uint32_t len);

static struct cost add(struct cost a, struct cost b, uint32_t times)
{
	return (struct cost){a.packets + b.packets * times, a.bytes + b.bytes * times};
}

// Full segments of a stream; a packet takes its share of them.
static struct cost cost_of_stream(const struct ledger_layer *layer, unsigned i, uint32_t len)
{
	const struct ledger_layer *below = &layer[i - 1];
	struct cost segment = cost_of(layer, i - 1, below->mtu);
	uint32_t bytes = inner_of(&layer[i], len) + layer[i].overhead;
	uint32_t room = ledger_mss(below->mtu, family_of(layer[i].kind)) - LEDGER_TIMESTAMPS_LEN;
	return (struct cost){segment.packets * bytes / room, segment.bytes * bytes / room};
}

// Of a packet of len bytes in layer i. Each layer asks at most twice.
static struct cost cost_of(const struct ledger_layer *layer, unsigned i, uint32_t len)
{
	uint32_t n, full, last;
	if (i == 0)
		return (struct cost){UNIT, (uint64_t)(len + LEDGER_FRAME_LEN) * UNIT};
	if (is_stream(layer[i].kind))
		return cost_of_stream(layer, i, len);
	if (layer[i].kind == LEDGER_VLAN && is_on_link(layer, i)) {
		struct cost tagged = cost_of(layer, i - 1, len);
		tagged.bytes += ETHER_VLAN_LEN * UNIT;
		return tagged;
	}
	uint32_t outer = inner_of(&layer[i], len) + layer[i].overhead;
	if (outer <= layer[i - 1].mtu || layer[i].kind == LEDGER_VLAN ||
		!cut(outer, layer[i - 1].mtu, family_of(layer[i].kind), &n, &full, &last))
		return cost_of(layer, i - 1, outer);
	return add(cost_of(layer, i - 1, last), cost_of(layer, i - 1, full), n);
}

// Whether what is said of a layer, and its place among the others, can be.
static int check_input(const struct ledger_layer *layer, unsigned i)
{
	const struct ledger_layer *l = &layer[i];
	enum ledger_kind below = i > 0 ? layer[i - 1].kind : LEDGER_KINDS;
	if ((unsigned)l->kind >= LEDGER_KINDS || (l->kind == LEDGER_LINK) != (i == 0))
		return -EINVAL;
	if (l->kind == LEDGER_VLAN && below != LEDGER_LINK && below != LEDGER_VLAN &&
		below != LEDGER_VXLAN4 && below != LEDGER_VXLAN6)
		return -EINVAL;
	if (i == 0 && l->said[LEDGER_INTERFACE] == 0)
		return -EDOM;
	for (unsigned s = 0; s < LEDGER_SOURCES; s++)
		if (l->said[s] && l->said[s] < LEDGER_MTU_MIN4)
			return -EDOM;
	if (family_of(l->kind) == IP_V6 && l->kind != LEDGER_WG &&
		layer[i - 1].mtu < LEDGER_MTU_MIN6)
		return -EAFNOSUPPORT;
	return 0;
}

// The largest packet in one piece; 0: as large as may be.
static uint16_t room_of(const struct ledger_layer *layer, unsigned i)
{
	if (is_stream(layer[i].kind))
		return 0;
	if (i == 0)
		return layer[i].said[LEDGER_INTERFACE];
	return is_on_link(layer, i) ? layer[i - 1].mtu
				    : ledger_inside(layer[i - 1].mtu, layer[i].kind);
}

// An interface is believed even where it is wrong, since packets of that size are sent into it; the
// others only say less.
static int settle(struct ledger_layer *layer, unsigned i)
{
	struct ledger_layer *l = &layer[i];
	l->overhead = i == 0 || is_on_link(layer, i) ? 0 : ledger_overhead(l->kind);
	l->room = room_of(layer, i);
	l->mtu = l->room;
	l->due = LEDGER_ROOM;
	if (l->said[LEDGER_INTERFACE]) {
		l->mtu = l->said[LEDGER_INTERFACE];
		l->due = LEDGER_INTERFACE;
	} else if (is_stream(l->kind)) {
		l->mtu = LEDGER_MTU_TAILNET;
		l->due = LEDGER_INTERFACE;
	}
	for (unsigned s = LEDGER_INTERFACE + 1; s < LEDGER_SOURCES; s++) {
		if (l->said[s] == 0 || l->said[s] >= l->mtu)
			continue;
		l->mtu = l->said[s];
		l->due = (enum ledger_source)s;
	}
	if (l->mtu < LEDGER_MTU_MIN4)
		return -ENOSPC;
	if (i > 0 && l->kind == LEDGER_VLAN && l->mtu > layer[i - 1].mtu)
		return -EMSGSIZE;
	return 0;
}

static int fill(struct ledger_layer *layer, unsigned i)
{
	struct ledger_layer *l = &layer[i];
	int rc = settle(layer, i);
	if (rc < 0)
		return rc;
	l->outer = l->mtu + l->overhead;
	if (!is_stream(l->kind) && l->outer > UINT16_MAX)
		return -EMSGSIZE;
	// A tag is no packet of its own: what carries it is the larger one.
	l->fragments = 1;
	if (i > 0 && !is_stream(l->kind) && l->kind != LEDGER_VLAN)
		l->fragments =
			(uint16_t)ledger_fragments(l->outer, layer[i - 1].mtu, family_of(l->kind));
	l->mss4 = ledger_mss(l->mtu, IP_V4);
	l->mss6 = l->mtu >= LEDGER_MTU_MIN6 ? ledger_mss(l->mtu, IP_V6) : 0;
	struct cost cost = cost_of(layer, i, l->mtu);
	uint64_t payload = (uint64_t)(l->mss4 - LEDGER_TIMESTAMPS_LEN) * UNIT;
	l->packets_x100 = (uint32_t)((cost.packets * 100 + UNIT / 2) / UNIT);
	l->payload_permill = (uint16_t)((payload * 1000 + cost.bytes / 2) / cost.bytes);
	return 0;
}

int ledger_account(struct ledger_layer *layer, unsigned n, unsigned *at)
{
	*at = n;
	if (n == 0 || n > LEDGER_LAYERS_MAX)
		return -E2BIG;
	for (unsigned i = 0; i < n; i++) {
		*at = i;
		int rc = check_input(layer, i);
		if (rc == 0)
			rc = fill(layer, i);
		if (rc < 0)
			return rc;
	}
	return 0;
}

uint32_t ledger_capacity_permill(const struct ledger_layer *layer, unsigned n)
{
	uint32_t whole = ledger_inside(layer[0].mtu, LEDGER_WG);
	return (layer[n - 1].mtu * 1000u + whole / 2) / whole;
}
