// What the kernel counts: packets that are cut, lost or sent again while the doctor looks, and
// since the start. Symptoms, not causes; where nothing adds headers, they are only to be known.
#include <inttypes.h>

#include "control/cli/doctor_mtu_priv.h"

enum {
	SEGMENTS_MIN = 50,	// sent meanwhile, for a share of them to mean something
	SEGMENTS_TOTAL = 10000, // the same since the start
	AGAIN_PERMILL = 20,	// sent again, of a network that is well
	RX_DROPPED_MIN = 10,	// meanwhile: a few are unknown protocols, such as LLDP
	RX_DROPPED_PERMILL = 10,
	REMEDY_LEN = 256,
};

static const char counters[] = "counters", lan_check[] = "LAN", pods[] = "pods";

static const char *bad(const struct judge *j)
{
	return j->tunnels ? "warn" : "info";
}

static bool is_known(const struct judge *j, enum doctor_mtu_count c)
{
	return (j->f->count.known & j->f->count_before.known & (1u << c)) != 0;
}

static uint64_t total(const struct judge *j, enum doctor_mtu_count c)
{
	return is_known(j, c) ? j->f->count.value[c] : 0;
}

// While we looked. 0, too, when it has been set back.
static uint64_t growth(const struct judge *j, enum doctor_mtu_count c)
{
	const uint64_t now = total(j, c), before = j->f->count_before.value[c];
	return is_known(j, c) && now > before ? now - before : 0;
}

static bool is_share(uint64_t part, uint64_t whole, unsigned permill)
{
	return (double)part * 1000 >= (double)whole * permill;
}

static void judge_again(struct judge *j)
{
	const uint64_t sent = growth(j, COUNT_SENT), again = growth(j, COUNT_SENT_AGAIN);
	const uint64_t all = total(j, COUNT_SENT), all_again = total(j, COUNT_SENT_AGAIN);
	if (!is_known(j, COUNT_SENT) || !is_known(j, COUNT_SENT_AGAIN))
		return;
	const bool now = sent >= SEGMENTS_MIN && is_share(again, sent, AGAIN_PERMILL);
	const bool ever = all >= SEGMENTS_TOTAL && is_share(all_again, all, AGAIN_PERMILL);
	doctor_mtu_note(j, "F080",
		now    ? bad(j)
		: ever ? "info"
		       : "ok",
		counters,
		"Segments were lost: full ones that are cut or do not fit, or a bad line.",
		"Mend what else is found here; if nothing is, look at the line: ping -f, ethtool "
		"-S.",
		"TCP sent %" PRIu64 " of %" PRIu64 " segments again in %u ms, %" PRIu64
		" of %" PRIu64 " since the start",
		again, sent, DOCTOR_MTU_WATCH_MS, all_again, all);
}

static void judge_fragments(struct judge *j)
{
	const uint64_t cut = growth(j, COUNT_CUT), lost = growth(j, COUNT_LOST);
	const uint64_t ever = total(j, COUNT_CUT) + total(j, COUNT_LOST) + total(j, COUNT_REFUSED);
	char remedy[REMEDY_LEN];
	const uint16_t lan = j->lan != NULL ? doctor_mtu_of(j->lan) : DOCTOR_MTU_LAN;
	int n = snprintf(remedy, sizeof(remedy),
		"MTUs with which nothing is cut: %u for a tunnel on %s",
		ledger_inside(lan, LEDGER_WG), j->lan != NULL ? j->lan->name : "the LAN");
	if (j->want != 0)
		snprintf(remedy + n, sizeof(remedy) - n, ", %u for pods, %u for a tunnel in one",
			j->want, ledger_inside(j->want, LEDGER_WG));
	if (!is_known(j, COUNT_CUT) || !is_known(j, COUNT_REFUSED) || !is_known(j, COUNT_LOST))
		return;
	doctor_mtu_note(j, "F111",
		cut + lost > 0 ? bad(j)
		: ever > 0     ? "info"
			       : "ok",
		counters,
		"Packets larger than their way are cut, and one lost piece loses the packet.",
		remedy,
		"%" PRIu64 " fragments made and %" PRIu64 " packets incomplete in %u ms; %" PRIu64
		" and %" PRIu64 " since the start, %" PRIu64 " refused for their size",
		cut, lost, DOCTOR_MTU_WATCH_MS, total(j, COUNT_CUT), total(j, COUNT_LOST),
		total(j, COUNT_REFUSED));
}

// Of a link that was there before, too.
static void judge_dropped(struct judge *j, const struct stack_link *l)
{
	const struct stack_link *was = stack_find(&j->f->before, l->ifindex);
	if (was == NULL || was->rx_dropped > l->rx_dropped || was->rx_packets > l->rx_packets)
		return;
	const uint64_t dropped = l->rx_dropped - was->rx_dropped;
	const uint64_t packets = l->rx_packets - was->rx_packets;
	const bool many =
		dropped >= RX_DROPPED_MIN && is_share(dropped, packets, RX_DROPPED_PERMILL);
	doctor_mtu_note(j, "F081",
		many	      ? bad(j)
		: dropped > 0 ? "info"
			      : "ok",
		lan_check,
		"Packets reached this host and were not taken: too many at a time, often "
		"fragments, or of unknown protocols.",
		"ip -s link says how it goes on; more room: ethtool -G, or CPU for its "
		"interrupts.",
		"%s dropped %" PRIu64 " of %" PRIu64 " received in %u ms, %" PRIu64
		" since it was made",
		l->name, dropped, packets, DOCTOR_MTU_WATCH_MS, l->rx_dropped);
}

static void judge_processes(struct judge *j)
{
	if (j->f->n_userspace > 0)
		doctor_mtu_note(j, "F087", "info", pods,
			"Proxies in pods run so, without an interface: as the Tailscale operator "
			"starts them. It is not what is wrong.",
			"", "%u tailscaled with --tun=userspace-networking", j->f->n_userspace);
}

void doctor_mtu_judge_symptoms(struct judge *j)
{
	if (j->lan != NULL)
		judge_dropped(j, j->lan);
	judge_again(j);
	judge_fragments(j);
	judge_processes(j);
}
