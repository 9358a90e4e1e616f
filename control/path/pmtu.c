#include "control/path/pmtu.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

static const uint64_t MS = UINT64_C(1000000); // ns

static bool within(uint64_t at_ns, unsigned ms, uint64_t now_ns)
{
	return at_ns != 0 && now_ns - at_ns <= ms * MS;
}

static uint64_t round_trip(uint64_t rtt_ns)
{
	return rtt_ns < PMTU_RTT_MAX_MS * MS ? rtt_ns : PMTU_RTT_MAX_MS * MS;
}

void pmtu_reset(struct pmtu *p)
{
	*p = (struct pmtu){0};
}

static void set_mtu(struct pmtu *p, uint16_t mtu, uint64_t now_ns)
{
	if (p->mtu != mtu)
		p->changed_ns = now_ns;
	p->mtu = mtu;
}

static void stop(struct pmtu *p, uint64_t now_ns)
{
	p->state = PMTU_IDLE;
	p->ended_ns = now_ns;
	p->n_round = 0;
}

void pmtu_set_limits(struct pmtu *p, uint16_t min, uint16_t top, uint64_t now_ns)
{
	if (p->min == min && p->top == top)
		return;
	p->min = min;
	p->top = top;
	if (p->state != PMTU_IDLE)
		stop(p, now_ns);
	if (p->mtu > top)
		set_mtu(p, top, now_ns);
	p->ended_ns = p->raised_ns = 0; // a check, and a look for more, are due
	if (min >= top)
		set_mtu(p, 0, now_ns);
}

void pmtu_traffic(struct pmtu *p, enum pmtu_traffic traffic, uint64_t now_ns)
{
	p->traffic_ns = now_ns;
	if (traffic != PMTU_SMALL)
		p->full_ns = now_ns;
	if (traffic != PMTU_SUSPECT)
		p->suspect_ns = 0;
	else if (p->suspect_ns == 0)
		p->suspect_ns = now_ns;
}

void pmtu_hint(struct pmtu *p, uint16_t mtu)
{
	if (mtu >= p->min && mtu < p->top)
		p->hint = mtu;
}

// --- When.

// The next look for more; UINT64_MAX: none, or not before a check.
static uint64_t raise_ns(const struct pmtu *p, uint64_t now_ns)
{
	if (p->mtu == 0 || p->mtu >= p->top || !within(p->proven_ns, PMTU_CHECK_MS, now_ns))
		return UINT64_MAX;
	return p->raised_ns ? p->raised_ns + PMTU_RAISE_MS * MS : now_ns;
}

static uint64_t check_ns(const struct pmtu *p, uint64_t now_ns)
{
	if (p->ended_ns == 0 || p->suspect_ns > p->ended_ns)
		return now_ns;
	return p->ended_ns +
	       (within(p->full_ns, PMTU_TRAFFIC_MS, now_ns) ? PMTU_CHECK_FULL_MS : PMTU_CHECK_MS) *
		       MS;
}

static void begin(struct pmtu *p, enum pmtu_state state, uint16_t good, uint16_t goal)
{
	p->state = state;
	p->good = good;
	p->goal = p->bad = goal;
	p->checked = false;
	p->rounds = p->refutals = p->empty = 0;
	p->needed = state == PMTU_RAISE ? 1 : PMTU_REFUTALS;
	p->n_round = 0;
}

// What is due while no search is under way.
static void begin_due(struct pmtu *p, uint64_t now_ns)
{
	if (p->min >= p->top || !within(p->traffic_ns, PMTU_TRAFFIC_MS, now_ns))
		return;
	if (now_ns >= raise_ns(p, now_ns)) {
		p->raised_ns = now_ns;
		begin(p, PMTU_RAISE, p->mtu, p->top);
	} else if (now_ns >= check_ns(p, now_ns)) {
		begin(p, PMTU_SEARCH, 0, p->mtu ? p->mtu : p->top);
	}
}

// --- What to ask.

struct sizes {
	uint16_t *list;
	unsigned n;
};

static void add(struct sizes *s, uint32_t size)
{
	unsigned at = s->n;

	for (unsigned i = 0; i < s->n; i++)
		if (s->list[i] == size)
			return;
	if (s->n == PMTU_ROUND_MAX)
		return;
	for (; at > 0 && s->list[at - 1] < size; at--)
		s->list[at] = s->list[at - 1];
	s->list[at] = (uint16_t)size;
	s->n++;
}

// Evenly between both, neither included.
static void add_between(struct sizes *s, uint32_t low, uint32_t high)
{
	for (uint32_t i = 1; i <= PMTU_GRID; i++) {
		uint32_t size = low + (high - low) * i / (PMTU_GRID + 1);
		if (size > low && size < high && s->n < PMTU_ROUND_MAX - 1)
			add(s, size);
	}
}

static bool converged(const struct pmtu *p)
{
	return p->bad - p->good <= 1;
}

static void add_round(struct pmtu *p, struct sizes *s)
{
	uint16_t low = p->good ? p->good : p->min;

	add(s, p->goal);
	// A check of what has been fine is one probe; the rest follows if it is not answered.
	if (p->rounds == 0 && p->state == PMTU_SEARCH) {
		if (p->mtu == 0 || p->suspect_ns)
			add(s, p->min);
		return;
	}
	if (p->hint > low && p->hint < p->bad) {
		add(s, p->hint);
		add(s, p->hint + 1u);
	}
	if (converged(p)) {
		p->checked = true; // single ones may have been lost
		add(s, p->bad);
		add_between(s, p->good, p->goal);
	} else {
		add_between(s, low, p->bad);
	}
	add(s, low); // whether the path works at all
}

// --- What came of it.

static void finish(struct pmtu *p, uint16_t mtu, uint64_t now_ns)
{
	set_mtu(p, mtu, now_ns);
	p->proven_ns = now_ns;
	stop(p, now_ns);
}

static struct pmtu_probe *round_of(struct pmtu *p)
{
	return p->probes + p->n_probes - p->n_round;
}

// The round is over. Its sizes are in descending order.
static void judge(struct pmtu *p)
{
	const struct pmtu_probe *round = round_of(p);
	bool alive = false, goal_asked = false;

	for (unsigned i = 0; i < p->n_round; i++) {
		alive |= round[i].answered;
		goal_asked |= round[i].size == p->goal;
	}
	p->empty = alive ? 0 : p->empty + 1;
	if (!alive)
		return;
	p->refutals += goal_asked && p->good < p->goal;
	for (unsigned i = 0; i < p->n_round; i++) {
		const struct pmtu_probe *probe = &round[i];
		if (probe->answered)
			continue;
		if (probe->size > p->good && probe->size < p->bad)
			p->bad = probe->size;
		// It loses what is not too large: more has to be seen of it.
		if (probe->size < p->good && p->needed < PMTU_REFUTALS_MAX)
			p->needed += 2;
	}
}

static bool ended(struct pmtu *p, uint64_t now_ns)
{
	const bool raises = p->state == PMTU_RAISE;

	if (p->good == p->goal) {
		finish(p, p->goal, now_ns);
	} else if (raises && p->rounds > 0 && p->good <= p->mtu) {
		stop(p, now_ns);
	} else if (p->empty >= PMTU_EMPTY_MAX || p->rounds >= PMTU_ROUNDS_MAX) {
		stop(p, now_ns); // the path itself is in question: not our affair
	} else if (p->good && converged(p) && p->checked && p->refutals >= p->needed) {
		p->raised_ns = raises ? p->raised_ns : now_ns;
		finish(p, p->good, now_ns);
	} else {
		return false;
	}
	return true;
}

unsigned pmtu_tick(
	struct pmtu *p, uint64_t rtt_ns, uint64_t now_ns, uint16_t out[static PMTU_ROUND_MAX])
{
	struct sizes sizes = {.list = out};

	if (p->state != PMTU_IDLE) {
		if (now_ns < p->round_end_ns)
			return 0;
		judge(p);
		p->rounds += p->rounds < UINT8_MAX;
		if (ended(p, now_ns))
			return 0;
	} else {
		begin_due(p, now_ns);
		if (p->state == PMTU_IDLE)
			return 0;
	}
	add_round(p, &sizes);
	p->n_round = 0;
	p->round_end_ns = now_ns + PMTU_ROUND_MS * MS + 2 * round_trip(rtt_ns);
	return sizes.n;
}

void pmtu_sent(struct pmtu *p, uint16_t size, const uint8_t txid[static DISCO_TXID_LEN])
{
	if (p->n_probes == PMTU_KEPT) {
		memmove(p->probes, p->probes + 1, sizeof(p->probes) - sizeof(p->probes[0]));
		p->n_probes--;
	}
	struct pmtu_probe *probe = &p->probes[p->n_probes++];
	*probe = (struct pmtu_probe){.size = size};
	memcpy(probe->txid, txid, sizeof(probe->txid));
	p->n_round += p->n_round < PMTU_ROUND_MAX;
}

// The round ends with its last answer, or soon after that of its smallest: what is larger was sent
// before it.
static void shorten(struct pmtu *p, uint64_t rtt_ns, uint64_t now_ns)
{
	const struct pmtu_probe *round = round_of(p);
	uint64_t end_ns = now_ns + PMTU_LARGER_MS * MS + round_trip(rtt_ns) / 2;
	bool all = true;

	for (unsigned i = 0; i < p->n_round; i++)
		all &= round[i].answered;
	if (all || p->good == p->goal)
		p->round_end_ns = now_ns;
	else if (p->n_round > 0 && round[p->n_round - 1].answered && end_ns < p->round_end_ns)
		p->round_end_ns = end_ns;
}

int pmtu_answered(
	struct pmtu *p, const uint8_t txid[static DISCO_TXID_LEN], uint64_t rtt_ns, uint64_t now_ns)
{
	unsigned i = 0;

	while (i < p->n_probes && sodium_memcmp(p->probes[i].txid, txid, DISCO_TXID_LEN) != 0)
		i++;
	if (i == p->n_probes || p->probes[i].answered)
		return -ENOENT;
	p->probes[i].answered = true;
	if (p->state == PMTU_IDLE)
		return 0;
	if (p->probes[i].size > p->good)
		p->good = p->probes[i].size < p->goal ? p->probes[i].size : p->goal;
	if (p->good >= p->bad)
		p->bad = p->goal; // one was lost that is not too large
	shorten(p, rtt_ns, now_ns);
	return 0;
}

uint64_t pmtu_next_ns(const struct pmtu *p, uint64_t now_ns)
{
	if (p->state != PMTU_IDLE)
		return p->round_end_ns;
	if (p->min >= p->top || !within(p->traffic_ns, PMTU_TRAFFIC_MS, now_ns))
		return UINT64_MAX;
	const uint64_t check = check_ns(p, now_ns), raise = raise_ns(p, now_ns);
	const uint64_t next_ns = raise < check ? raise : check;
	return next_ns <= p->traffic_ns + PMTU_TRAFFIC_MS * MS ? next_ns : UINT64_MAX;
}
