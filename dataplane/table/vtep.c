#include "dataplane/table/vtep.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/wire/csum.h"

struct vtep_control {
	struct rcu *rcu;
	uint16_t free[VTEP_MAX]; // numbers, last given first
	uint16_t n_free;
};

struct retired {
	struct vtep_table *t;
	uint16_t number;
};

uint16_t vtep_take(struct vtep_table *t)
{
	struct vtep_control *c = t->control;
	return c->n_free > 0 ? c->free[--c->n_free] : (uint16_t)VTEP_NONE;
}

static void give_number(void *arg)
{
	struct retired *r = arg;
	struct vtep_control *c = r->t->control;
	c->free[c->n_free++] = r->number;
	free(r);
}

void vtep_give(struct vtep_table *t, uint16_t number)
{
	vtep_publish(t, number, NULL);
	struct retired *r = mem_alloc(sizeof(*r));
	*r = (struct retired){.t = t, .number = number};
	rcu_defer(t->control->rcu, give_number, r);
}

bool vtep_publish(struct vtep_table *t, uint16_t number, const struct vtep *v)
{
	struct vtep *old = atomic_load_explicit(&t->vtep[number], memory_order_relaxed),
		    *now = NULL;
	if (v ? old && memcmp(old, v, sizeof(*v)) == 0 : !old)
		return false;
	if (v) {
		now = mem_alloc(sizeof(*now));
		memcpy(now, v, sizeof(*now)); // padding too: it is compared
	}
	atomic_store_explicit(&t->vtep[number], now, memory_order_release);
	if (old)
		rcu_defer(t->control->rcu, free, old);
	return true;
}

void vtep_finish(struct vtep *v)
{
	bool v4 = v->family == IP_V4;
	uint32_t l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	uint8_t *udp = v->outer + sizeof(v->outer) - VXLAN_HDR_LEN - UDP_HDR_LEN,
		*l3 = udp - l3_len;
	v->ip_sum = v4 ? csum_fold(csum_ip4_plain_hdr(l3)) : 0;
	uint64_t pseudo = v4 ? csum_pseudo4(l3, IPPROTO_UDP, 0) : csum_pseudo6(l3, IPPROTO_UDP, 0);
	v->udp_pseudo = csum_fold(pseudo);
}

static int by_key(const void *a, const void *b)
{
	const struct vxlan_device *x = a, *y = b;
	if (x->vni != y->vni)
		return x->vni < y->vni ? -1 : 1;
	return (x->port > y->port) - (x->port < y->port);
}

static bool port_known(struct vxlan_ports *ports, rte_be16_t port)
{
	for (unsigned i = 0; i < VXLAN_PORTS_MAX; i++) {
		if (ports->port[i] == 0)
			ports->port[i] = port;
		if (ports->port[i] == port)
			return true;
	}
	return false;
}

static struct vxlan_devices *devices_of(struct vxlan_device *device, uint32_t n)
{
	struct vxlan_ports ports = {0};
	struct vxlan_devices *d = mem_alloc(sizeof(*d) + n * sizeof(d->device[0]));
	qsort(device, n, sizeof(*device), by_key);
	for (uint32_t i = 0; i < n; i++) {
		if (port_known(&ports, rte_cpu_to_be_16(device[i].port)))
			memcpy(&d->device[d->n++], &device[i], sizeof(device[i]));
	}
	d->ports = vxlan_ports_pack(&ports);
	return d;
}

static bool same(const struct vxlan_devices *a, const struct vxlan_devices *b)
{
	return a && b && a->ports == b->ports && a->n == b->n &&
	       memcmp(a->device, b->device, a->n * sizeof(a->device[0])) == 0;
}

bool vxlan_devices_publish(struct vtep_table *t, struct vxlan_device *device, uint32_t n)
{
	struct vxlan_devices *old = atomic_load_explicit(&t->devices, memory_order_relaxed);
	struct vxlan_devices *now = n > 0 ? devices_of(device, n) : NULL;
	if (same(old, now) || (!old && !now)) {
		free(now);
		return false;
	}
	atomic_store_explicit(&t->devices, now, memory_order_release);
	if (old)
		rcu_defer(t->control->rcu, free, old);
	return true;
}

const struct vxlan_device *vxlan_device_find(
	const struct vxlan_devices *d, uint32_t vni, uint16_t port)
{
	struct vxlan_device key = {.vni = vni, .port = port};
	return d ? bsearch(&key, d->device, d->n, sizeof(key), by_key) : NULL;
}

const struct vxlan_device *vxlan_device_of(const struct vxlan_devices *d, uint32_t ifindex)
{
	for (uint32_t i = 0; d && i < d->n; i++) {
		if (d->device[i].ifindex == ifindex)
			return &d->device[i];
	}
	return NULL;
}

struct vtep_table *vtep_table_create(struct rcu *rcu)
{
	struct vtep_table *t = mem_alloc(sizeof(*t));
	t->control = mem_alloc(sizeof(*t->control));
	t->control->rcu = rcu;
	for (unsigned i = VTEP_MAX - 1; i > VTEP_NONE; i--)
		t->control->free[t->control->n_free++] = (uint16_t)i;
	return t;
}

static void table_free(void *arg)
{
	struct vtep_table *t = arg;
	for (unsigned i = 0; i < VTEP_MAX; i++)
		free(atomic_load_explicit(&t->vtep[i], memory_order_relaxed));
	free(atomic_load_explicit(&t->devices, memory_order_relaxed));
	free(t->control);
	free(t);
}

void vtep_table_destroy(struct vtep_table *t)
{
	if (t)
		rcu_defer(t->control->rcu, table_free, t);
}
