// The end of flows. Each class has a list by when a flow was put there; packets only write the time
// at which they pass, and whoever comes to the list's front is put behind again if it is in use.
// That happens eight times within an idle time: so much later than due may a flow's memory be free.
// What is past its idle time is never found, whether it lies there still or not.
#include "dataplane/table/nat_priv.h"

enum {
	LOOKS = 8,	 // within an idle time
	CANDIDATES = 16, // for making room, of a class
};

void nat_list_add(struct nat_table *t, uint32_t number, uint32_t now_ms)
{
	struct nat_flow *f = &t->flow[number];
	struct nat_list *l = &t->list[f->class];
	f->queued_ms = now_ms;
	f->prev = l->last;
	f->next = NAT_NIL;
	if (l->last)
		t->flow[l->last].next = number;
	else
		l->first = number;
	l->last = number;
	l->n++;
}

void nat_list_remove(struct nat_table *t, uint32_t number)
{
	struct nat_flow *f = &t->flow[number];
	struct nat_list *l = &t->list[f->class];
	if (f->prev)
		t->flow[f->prev].next = f->next;
	else
		l->first = f->next;
	if (f->next)
		t->flow[f->next].prev = f->prev;
	else
		l->last = f->prev;
	l->n--;
}

void nat_set_class(struct nat_table *t, struct nat_flow *f, enum nat_class class, uint32_t now_ms)
{
	uint32_t number = nat_number(t, f);
	nat_list_remove(t, number);
	f->class = (uint8_t) class;
	nat_list_add(t, number, now_ms);
}

static void look_at(struct nat_table *t, uint32_t number, uint32_t now_ms)
{
	struct nat_flow *f = &t->flow[number];
	rte_prefetch0(&t->flow[f->next]);
	if (nat_is_idle(t, f, now_ms)) {
		nat_close(t, f);
		t->expired++;
		return;
	}
	nat_list_remove(t, number);
	nat_list_add(t, number, now_ms);
}

bool nat_expire(struct nat_table *t, uint32_t now_ms, unsigned budget)
{
	unsigned turn = t->turn++;
	for (unsigned i = 0; i < NAT_CLASS_COUNT; i++) {
		unsigned class = (turn + i) % NAT_CLASS_COUNT;
		const struct nat_list *l = &t->list[class];
		while (l->first &&
			now_ms - t->flow[l->first].queued_ms >= t->idle_ms[class] / LOOKS) {
			if (budget-- == 0)
				return true;
			look_at(t, l->first, now_ms);
		}
	}
	return false;
}

void nat_evict(struct nat_table *t, struct nat_flow *f, uint32_t now_ms)
{
	*(nat_is_idle(t, f, now_ms) ? &t->expired : &t->evicted) += 1;
	nat_close(t, f);
}

// Whether a flow may end for another one of this client: it is idle, or its client has no fewer.
static bool may_evict(
	const struct nat_table *t, const struct nat_flow *f, uint16_t client, uint32_t now_ms)
{
	if (nat_is_idle(t, f, now_ms))
		return true;
	// The flow that is to be made counts already.
	return f->last_ms != now_ms &&
	       (f->client == client || nat_client_flows(t->clients, f->client) + 1 >=
					       nat_client_flows(t->clients, client));
}

// Among those that have waited longest, the one that is idle longest of the client that has most.
static struct nat_flow *candidate(
	const struct nat_table *t, enum nat_class class, uint16_t client, uint32_t now_ms)
{
	struct nat_flow *best = NULL;
	uint32_t most = 0, number = t->list[class].first;
	for (unsigned i = 0; i < CANDIDATES && number; i++, number = t->flow[number].next) {
		struct nat_flow *f = &t->flow[number];
		uint32_t flows = nat_client_flows(t->clients, f->client);
		if (nat_is_idle(t, f, now_ms))
			return f;
		if (!may_evict(t, f, client, now_ms))
			continue;
		if (!best || flows > most ||
			(flows == most && now_ms - f->last_ms > now_ms - best->last_ms)) {
			best = f;
			most = flows;
		}
	}
	return best;
}

bool nat_make_room(struct nat_table *t, enum nat_class class, uint16_t client, uint32_t now_ms)
{
	// After its own class: what is worth least.
	const enum nat_class order[] = {class, NAT_TCP_CLOSING, NAT_TCP_OPENING, NAT_ICMP,
		NAT_OTHER, NAT_UDP, NAT_TCP_OPEN};
	for (unsigned i = 0; i < RTE_DIM(order); i++) {
		struct nat_flow *f = candidate(t, order[i], client, now_ms);
		if (!f)
			continue;
		nat_evict(t, f, now_ms);
		return true;
	}
	return false;
}

// Of one class: the one of the client that is quiet for longest, among those that wait longest.
static struct nat_flow *own(
	const struct nat_table *t, enum nat_class class, uint16_t client, uint32_t now_ms)
{
	struct nat_flow *best = NULL;
	uint32_t number = t->list[class].first;
	for (unsigned i = 0; i < CANDIDATES && number; i++, number = t->flow[number].next) {
		struct nat_flow *f = &t->flow[number];
		if (f->client == client && (nat_is_quiet(f, now_ms) || nat_is_idle(t, f, now_ms)) &&
			(!best || now_ms - f->last_ms > now_ms - best->last_ms))
			best = f;
	}
	return best;
}

bool nat_make_room_own(struct nat_table *t, uint16_t client, uint32_t now_ms)
{
	static const enum nat_class order[] = {
		NAT_TCP_CLOSING, NAT_TCP_OPENING, NAT_ICMP, NAT_OTHER, NAT_UDP};
	for (unsigned i = 0; i < RTE_DIM(order); i++) {
		struct nat_flow *f = own(t, order[i], client, now_ms);
		if (!f)
			continue;
		nat_evict(t, f, now_ms);
		return true;
	}
	return false;
}
