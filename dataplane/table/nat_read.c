// The flow table as other threads see it, while its worker goes on: each flow has a version that is
// odd while it comes or goes. Counters and times are read as they are.
#include "dataplane/table/nat.h"

static bool is_whole(const struct nat_flow *f, uint32_t version)
{
	atomic_thread_fence(memory_order_acquire);
	return __atomic_load_n(&f->version, __ATOMIC_RELAXED) == version;
}

// False: nobody's, or just changing.
static bool view(const struct nat_flow *f, uint32_t now_ms, struct nat_view *v)
{
	uint32_t version = __atomic_load_n(&f->version, __ATOMIC_ACQUIRE);
	if (version & 1)
		return false;
	v->inside = f->side[NAT_INSIDE];
	v->outside = f->side[NAT_OUTSIDE];
	v->class = f->class;
	v->flags = f->flags;
	uint32_t last_ms = __atomic_load_n(&f->last_ms, __ATOMIC_RELAXED);
	// A packet may have passed since now_ms was taken.
	v->idle_ms = (int32_t)(now_ms - last_ms) > 0 ? now_ms - last_ms : 0;
	for (unsigned i = 0; i < 2; i++) {
		v->bytes[i] = __atomic_load_n(&f->bytes[i], __ATOMIC_RELAXED);
		v->packets[i] = __atomic_load_n(&f->packets[i], __ATOMIC_RELAXED);
	}
	return is_whole(f, version) && v->inside.family != IP_NONE && v->class < NAT_CLASS_COUNT;
}

unsigned nat_table_read(const struct nat_table *t, uint32_t *cursor, uint32_t now_ms,
	struct nat_view *out, unsigned n)
{
	uint32_t touched = __atomic_load_n(&t->touched, __ATOMIC_RELAXED), at = *cursor;
	unsigned got = 0;
	for (at = RTE_MAX(at, (uint32_t)NAT_NIL + 1); at < touched && got < n; at++) {
		const struct nat_flow *f = &t->flow[at];
		if (view(f, now_ms, &out[got]) && out[got].idle_ms < t->idle_ms[out[got].class])
			got++;
	}
	*cursor = at < touched ? at : 0;
	return got;
}

uint32_t nat_table_count(const struct nat_table *t)
{
	return __atomic_load_n(&t->n, __ATOMIC_RELAXED);
}

uint32_t nat_ports_in_use(const struct nat_table *t)
{
	return __atomic_load_n(&t->n_ports, __ATOMIC_RELAXED);
}

uint32_t nat_class_count(const struct nat_table *t, enum nat_class class)
{
	return __atomic_load_n(&t->list[class].n, __ATOMIC_RELAXED);
}
