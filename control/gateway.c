#include "control/gateway.h"

#include <errno.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_launch.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/eal.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mailbox.h"
#include "dataplane/port/pool.h"
#include "dataplane/table/peer_table.h"
#include "dataplane/wire/vxlan.h"
#include "dataplane/worker.h"

enum {
	POOL_ROOM = 2048 + RTE_PKTMBUF_HEADROOM,
	SUPER_COST = SUPER_ROOM + PKT_PRIV_LEN + (int)sizeof(struct rte_mbuf) + 64,
	POOL_COST = POOL_ROOM + PKT_PRIV_LEN + (int)sizeof(struct rte_mbuf) + 64,
	SUPERS_IN_FLIGHT = 128, // beside those that wait in receive slots
	CACHE = 256,
	SUPER_CACHE = 16,
	POOL_MIN = 4096,
};

static struct worker *workers[CONFIG_WORKERS_MAX]; // fixed between start and stop

// Large buffers for the receive slots of kernel ports and what is under way; the rest of the memory
// is small ones, but for what ports keep of their own.
static int create_pools(struct gateway *gw, const struct config *c, char err[static 256])
{
	unsigned kernel_ports = 1;
	for (unsigned i = 0; i < c->n_ports; i++)
		kernel_ports++;
	unsigned supers = (kernel_ports * PORT_BURST + SUPERS_IN_FLIGHT) * c->workers;
	int64_t fixed = (int64_t)supers * SUPER_COST;
	for (unsigned i = 0; i < c->n_ports; i++)
		fixed += (int64_t)port_owned_memory(c->ports[i].device, gw->n_workers);
	int64_t bytes = (int64_t)c->memory_mb * 1024 * 1024 / 100 * 85 - fixed;
	int64_t small = bytes / POOL_COST;
	if (small < POOL_MIN) {
		int64_t need = fixed + (int64_t)POOL_MIN * POOL_COST;
		snprintf(err, 256,
			"memory_mb = %u is too little for %u ports and %u workers: set at least %u",
			c->memory_mb, c->n_ports, c->workers,
			(unsigned)(need / 85 * 100 / 1024 / 1024 + 1));
		return -ENOMEM;
	}
	bool transparent = eal_transparent(c);
	gw->super_pool = pool_create(
		&(struct pool_params){"super", supers, SUPER_CACHE, SUPER_ROOM, transparent});
	gw->pool = pool_create(
		&(struct pool_params){"pool", (unsigned)small, CACHE, POOL_ROOM, transparent});
	if (gw->super_pool && gw->pool)
		return 0;
	snprintf(err, 256, "no room for packet buffers in memory_mb = %u: raise it", c->memory_mb);
	return -ENOMEM;
}

static int create_tables(struct gateway *gw, const struct config *c, char err[static 256])
{
	gw->rcu = rcu_create();
	gw->fib = fib_create(gw->rcu);
	gw->allowed = allowedips_create(gw->rcu);
	gw->index = index_create(gw->rcu);
	gw->peers = peer_table_create(gw->rcu, c->workers);
	gw->events = mailbox_create("events", sizeof(struct worker_event), EVENTS_SIZE);
	gw->punted = mailbox_create("punted", sizeof(struct rte_mbuf *), PUNTED_SIZE);
	if (gw->fib && gw->allowed && gw->index && gw->peers && gw->events && gw->punted)
		return 0;
	snprintf(err, 256, "no memory for the tables");
	return -ENOMEM;
}

static int add_port(struct gateway *gw, struct port *port)
{
	gw->port[port->id] = port;
	gw->n_ports = (uint16_t)(port->id + 1);
	return port->id;
}

static int open_port(struct gateway *gw, const struct config_port *p, char err[static 256])
{
	struct port *port, *mirror;
	struct port_params params = {
		.name = p->name,
		.device = p->interface[0] ? p->interface : p->device,
		.id = gw->n_ports,
		.n_queues = gw->n_workers,
		.pool = gw->pool,
		.super_pool = gw->super_pool,
	};
	if (p->interface[0]) {
		int r = port_shared_open(&params, &port, err);
		return r < 0 ? r : add_port(gw, port);
	}
	int r = port_owned_open(&params, &port, err);
	if (r < 0)
		return r;
	add_port(gw, port);
	if (!p->mirror[0])
		return 0;
	params.device = p->mirror;
	params.name = p->mirror;
	params.id = gw->n_ports;
	params.mtu = atomic_load(&port->mtu);
	r = port_mirror_open(&params, &mirror, err);
	if (r < 0)
		return r;
	add_port(gw, mirror);
	return port_mirror_pair(port, mirror, err);
}

static int open_ports(struct gateway *gw, const struct config *c, char err[static 256])
{
	gw->host_port = PORT_NONE;
	for (unsigned i = 0; i < c->n_ports; i++) {
		int r = open_port(gw, &c->ports[i], err);
		if (r < 0)
			return r;
	}
	if (!c->tun[0])
		return 0;
	struct port_params params = {
		.name = c->tun,
		.device = c->tun,
		.id = gw->n_ports,
		.n_queues = gw->n_workers,
		.mtu = (uint16_t)c->mtu,
		.pool = gw->pool,
		.super_pool = gw->super_pool,
	};
	struct port *tun;
	int r = port_tun_open(&params, &tun, err);
	if (r < 0)
		return r;
	gw->host_port = (uint16_t)add_port(gw, tun);
	return 0;
}

static const char *aead_name(uint32_t choice)
{
	static const char *const names[] = {
		[CONFIG_AEAD_AUTO] = "auto",
		[CONFIG_AEAD_AVX512] = "avx512",
		[CONFIG_AEAD_AVX2] = "avx2",
		[CONFIG_AEAD_IPSEC_MB] = "ipsec-mb",
		[CONFIG_AEAD_LIBSODIUM] = "libsodium",
	};
	return names[choice];
}

static int create_graphs(struct gateway *gw, const struct config *c, char err[static 256])
{
	for (uint16_t i = 0; i < gw->n_workers; i++) {
		gw->graph[i] = graph_create(gw, i, aead_name(c->aead));
		const char *name = gw->graph[i] ? aead_engine_name(gw->graph[i]->aead) : "";
		bool chosen = c->aead == CONFIG_AEAD_AUTO || strcmp(name, aead_name(c->aead)) == 0;
		if (!gw->graph[i] || !chosen) {
			snprintf(err, 256, "aead = \"%s\" cannot run here: use \"auto\"",
				aead_name(c->aead));
			return -ENOTSUP;
		}
	}
	return 0;
}

static uint64_t vxlan_ports(const struct config *c)
{
	struct vxlan_ports ports = {};
	static_assert((int)CONFIG_UDP_PORTS_MAX == (int)VXLAN_PORTS_MAX);
	for (uint32_t i = 0; i < c->vxlan_ports.count; i++)
		ports.port[i] = rte_cpu_to_be_16(c->vxlan_ports.list[i]);
	return vxlan_ports_pack(&ports);
}

void gateway_tune(struct gateway *gw, const struct config *c)
{
	atomic_store(&gw->tunnel_mtu, (uint16_t)c->mtu);
	atomic_store(&gw->mss_clamp, c->mss_clamp);
	atomic_store(&gw->fragment, c->fragment);
	atomic_store(&gw->coalesce, c->coalesce);
	atomic_store(&gw->vxlan_ports, vxlan_ports(c));
	atomic_store(&gw->vxlan_depth, (uint8_t)c->vxlan_depth);
	// The configuration's figure is for the gateway; each worker gets its share.
	atomic_store(&gw->icmp_rate, c->icmp_rate ? RTE_MAX(c->icmp_rate / gw->n_workers, 1u) : 0);
}

int gateway_create(const struct config *c, struct gateway **out, char err[static 256])
{
	struct gateway *gw = mem_alloc(sizeof(*gw));
	gw->n_workers = (uint16_t)c->workers;
	gw->host_port = PORT_NONE;
	gw->tsc_per_ns = (double)rte_get_tsc_hz() / 1e9;
	gateway_tune(gw, c);
	int r = create_pools(gw, c, err);
	if (r == 0)
		r = create_tables(gw, c, err);
	if (r == 0)
		r = open_ports(gw, c, err);
	if (r == 0)
		r = create_graphs(gw, c, err);
	if (r < 0) {
		gateway_destroy(gw);
		return r;
	}
	*out = gw;
	return 0;
}

int gateway_start(struct gateway *gw, bool busy)
{
	for (unsigned i = 0; i < gw->n_workers; i++) {
		workers[i] = worker_create(gw->graph[i], busy);
		int r = workers[i] ? rte_eal_remote_launch(worker_run, workers[i], i + 1) : -errno;
		if (r < 0)
			return r;
	}
	return 0;
}

void gateway_stop(struct gateway *gw)
{
	for (unsigned i = 0; i < gw->n_workers; i++) {
		if (workers[i])
			worker_stop(workers[i]);
	}
	rte_eal_mp_wait_lcore();
	for (unsigned i = 0; i < gw->n_workers; i++) {
		worker_destroy(workers[i]);
		workers[i] = NULL;
	}
}

static void drain_punted(struct gateway *gw)
{
	struct rte_mbuf *m;
	while (gw->punted && mailbox_get(gw->punted, &m, 1) == 1)
		rte_pktmbuf_free(m);
}

void gateway_destroy(struct gateway *gw)
{
	if (!gw)
		return;
	drain_punted(gw);
	for (unsigned i = 0; i < gw->n_workers; i++)
		graph_destroy(gw->graph[i]);
	for (unsigned i = 0; i < gw->n_ports; i++)
		gw->port[i]->ops->close(gw->port[i]);
	mailbox_destroy(gw->events);
	mailbox_destroy(gw->punted);
	if (gw->rcu) {
		for (unsigned i = 0; i < PORT_MAX; i++)
			free(atomic_load(&gw->port_addr6[i]));
		rules_publish(&gw->rules, gw->rcu, NULL);
		nat_config_publish(&gw->nat, gw->rcu, NULL);
		peer_table_destroy(gw->peers);
		allowedips_destroy(gw->allowed);
		index_destroy(gw->index);
		fib_destroy(gw->fib);
		rcu_destroy(gw->rcu);
	}
	rte_mempool_free(gw->pool);
	rte_mempool_free(gw->super_pool);
	free(gw);
}

uint16_t gateway_port_of(const struct gateway *gw, uint32_t ifindex)
{
	for (uint16_t i = 0; i < gw->n_ports; i++) {
		if (gw->port[i]->ifindex == ifindex && gw->port[i]->kind != PORT_MIRROR)
			return i;
	}
	return PORT_NONE;
}
