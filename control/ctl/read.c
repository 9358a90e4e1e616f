#include "control/ctl/read.h"

#include <stddef.h>

#define PORT_COUNTER(name, help)                                                                   \
	{                                                                                          \
#name, help, offsetof(struct port_stats, name)                                     \
	}
const struct port_counter port_counters[] = {
	PORT_COUNTER(rx_packets, "packets received; super-packets count once"),
	PORT_COUNTER(rx_bytes, "bytes received"),
	PORT_COUNTER(rx_supers, "super-packets received"),
	PORT_COUNTER(rx_errors, "received packets that were truncated or made no sense"),
	PORT_COUNTER(rx_missed, "packets lost for want of room in the kernel or the NIC"),
	PORT_COUNTER(rx_nombuf, "packets lost because the packet buffers were used up"),
	PORT_COUNTER(tx_packets, "packets sent; super-packets count once"),
	PORT_COUNTER(tx_bytes, "bytes sent"),
	PORT_COUNTER(tx_supers, "super-packets sent"),
	PORT_COUNTER(tx_errors, "packets that the kernel refused to send"),
	PORT_COUNTER(tx_full, "packets for which the ring or socket buffer was full"),
};
const unsigned n_port_counters = RTE_DIM(port_counters);

uint64_t read_port(const struct port *port, const struct port_counter *counter)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < port->n_queues; i++)
		sum += read_count(
			(const uint64_t *)((const char *)&port->stats[i] + counter->offset));
	return sum;
}

uint64_t read_drop(const struct gateway *gw, enum drop_reason reason)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < gw->n_workers; i++)
		sum += read_count(&gw->graph[i]->drops[reason]);
	return sum;
}

uint64_t read_counter(const struct gateway *gw, enum counter counter)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < gw->n_workers; i++)
		sum += read_count(&gw->graph[i]->counters[counter]);
	return sum;
}

struct node_stats read_node(const struct gateway *gw, enum node_id node)
{
	struct node_stats sum = {};
	for (unsigned i = 0; i < gw->n_workers; i++) {
		const struct node_stats *s = &gw->graph[i]->stats[node];
		sum.calls += read_count(&s->calls);
		sum.packets += read_count(&s->packets);
		sum.cycles += read_count(&s->cycles);
	}
	return sum;
}

const char *port_kind_name(enum port_kind kind)
{
	static const char *const names[] = {
		[PORT_TUN] = "host",
		[PORT_SHARED] = "shared",
		[PORT_MIRROR] = "mirror",
		[PORT_OWNED] = "owned",
	};
	return names[kind];
}

double tsc_hz(const struct gateway *gw)
{
	return gw->tsc_per_ns * 1e9;
}
