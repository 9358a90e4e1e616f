#include "control/kernel/mirror.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <rte_common.h>
#include <stdalign.h>
#include <stdlib.h>

#include "control/kernel/mirror_tables.h"
#include "dataplane/base/log.h"

enum {
	GROUPS = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE |
		 RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_RULE |
		 1 << (RTNLGRP_IPV6_RULE - 1),
	REQUEST_BYTES = 64,
	SOCKET_BYTES = 4 << 20,	   // receive buffer: a burst of routes
	BUFFER_BYTES = 64 << 10,   // above the kernel's 32 KiB per part of a dump
	READS_PER_WAKE_UP = 8,	   // about a thousand routes each
	RESYNC_DELAY_US = 20000,   // an interface that goes down has more to say
	RESYNC_RETRY_US = 1000000, // after a dump that the kernel refused
};

static const struct {
	uint16_t type;
	uint16_t fixed_len;
	uint8_t family; // its first byte; the rest is zero
	uint32_t extra; // IFLA_EXT_MASK; 0: none
	void (*sweep)(struct mirror *);
} stages[] = {
	{RTM_GETLINK, sizeof(struct ifinfomsg), AF_UNSPEC, 0, links_sweep},
	{RTM_GETLINK, sizeof(struct ifinfomsg), AF_BRIDGE, RTEXT_FILTER_BRVLAN_COMPRESSED,
		bridges_look},
	{RTM_GETADDR, sizeof(struct ifaddrmsg), AF_UNSPEC, 0, addrs_sweep},
	{RTM_GETROUTE, sizeof(struct rtmsg), AF_UNSPEC, 0, routes_sweep},
	{RTM_GETNEIGH, sizeof(struct ndmsg), AF_UNSPEC, 0, neighs_sweep},
	{RTM_GETNEIGH, sizeof(struct ndmsg), AF_BRIDGE, 0, fdb_sweep},
};

static bool is_dumping(const struct mirror *m)
{
	return m->stage < RTE_DIM(stages);
}

static void resync_in(struct mirror *m, long us)
{
	struct timeval delay = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
	if (m->resync && !evtimer_pending(m->resync, NULL))
		evtimer_add(m->resync, &delay);
}

void mirror_want_resync(struct mirror *m)
{
	if (is_dumping(m))
		m->want_resync = true;
	else
		resync_in(m, RESYNC_DELAY_US);
}

static void dump_failed(struct mirror *m, int error)
{
	log_warn("kernel", "the kernel does not list its tables: %s; trying again",
		strerror(-error));
	m->stage = RTE_DIM(stages);
	resync_in(m, RESYNC_RETRY_US);
}

// Ask for all of one kind; the answers come to the same socket as the notifications, in order.
static void dump_stage(struct mirror *m)
{
	uint8_t bytes[REQUEST_BYTES] __attribute__((aligned(8)));
	struct nlmsghdr *nh = mnl_nlmsg_put_header(bytes);
	nh->nlmsg_type = stages[m->stage].type;
	nh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nh->nlmsg_seq = ++m->dump_seq;
	*(uint8_t *)mnl_nlmsg_put_extra_header(nh, stages[m->stage].fixed_len) =
		stages[m->stage].family;
	if (stages[m->stage].extra)
		mnl_attr_put_u32(nh, IFLA_EXT_MASK, stages[m->stage].extra);
	m->torn = false;
	if (mnl_socket_sendto(m->socket, nh, nh->nlmsg_len) < 0)
		dump_failed(m, -errno);
}

static void dump_start(evutil_socket_t, short, void *arg)
{
	struct mirror *m = arg;
	m->epoch++;
	m->stage = 0;
	m->want_resync = false;
	dump_stage(m);
}

static void dump_done(struct mirror *m)
{
	if (m->torn)
		m->want_resync = true;
	else
		stages[m->stage].sweep(m);
	m->stage++;
	if (is_dumping(m)) {
		dump_stage(m);
		return;
	}
	m->stats.resyncs++;
	m->neighs_stale = true;
	m->changed |= !m->ready;
	m->ready = true;
	if (m->want_resync)
		resync_in(m, RESYNC_DELAY_US);
}

static void apply(struct mirror *m, const struct nlmsghdr *nh)
{
	struct rt_message msg;
	int error = rt_parse(nh, &msg);
	m->stats.messages++;
	if (nh->nlmsg_type == RTM_DELRULE && m->env.on_rule_gone)
		m->env.on_rule_gone(m->env.arg);
	m->stats.malformed += error == -EINVAL;
	if (error)
		return;
	switch (msg.kind) {
	case RT_LINK:
		link_apply(m, &msg);
		break;
	case RT_ADDR:
		addr_apply(m, &msg);
		break;
	case RT_ROUTE:
		route_apply(m, &msg);
		break;
	case RT_NEIGH:
		neigh_apply(m, &msg);
		break;
	case RT_FDB:
		fdb_apply(m, &msg);
		break;
	case RT_BRIDGE_VLAN:
		bridge_vlan_apply(m, &msg);
		break;
	}
}

static int error_of(const struct nlmsghdr *nh)
{
	int error = 0;
	if (mnl_nlmsg_get_payload_len(nh) >= sizeof(error))
		memcpy(&error, mnl_nlmsg_get_payload(nh), sizeof(error));
	return error;
}

static void control_message(struct mirror *m, const struct nlmsghdr *nh)
{
	if (nh->nlmsg_type == NLMSG_OVERRUN)
		mirror_want_resync(m);
	if (!is_dumping(m) || nh->nlmsg_seq != m->dump_seq)
		return;
	if (nh->nlmsg_type == NLMSG_ERROR) {
		dump_failed(m, error_of(nh));
	} else if (nh->nlmsg_type == NLMSG_DONE) {
		m->torn |= error_of(nh) < 0;
		dump_done(m);
	}
}

static void datagram(struct mirror *m, const uint8_t *bytes, size_t len)
{
	const struct nlmsghdr *nh;
	while ((nh = rt_next(&bytes, &len))) {
		m->torn |= (nh->nlmsg_flags & NLM_F_DUMP_INTR) && nh->nlmsg_seq == m->dump_seq;
		if (nh->nlmsg_type < NLMSG_MIN_TYPE)
			control_message(m, nh);
		else
			apply(m, nh);
	}
	m->stats.malformed += len > 0;
}

// What a wake-up brought is complete: tell of it once.
static void settle(struct mirror *m)
{
	if (is_dumping(m))
		return;
	covered_sync(m);
	vxlan_refresh(m);
	if (m->neighs_stale) {
		m->neighs_stale = false;
		neighs_sync(m);
	}
	vxlan_settle(m);
	if (!m->changed)
		return;
	m->changed = false;
	m->generation++;
	m->env.on_change(m->env.arg, m->generation);
}

void mirror_feed(struct mirror *m, const uint8_t *bytes, size_t len)
{
	datagram(m, bytes, len);
	settle(m);
}

// Bytes of the next datagram; 0: one to be left aside; -errno.
static ssize_t receive(struct mirror *m)
{
	struct sockaddr_nl from;
	socklen_t from_len = sizeof(from);
	ssize_t len = recvfrom(mnl_socket_get_fd(m->socket), m->buffer, BUFFER_BYTES, MSG_TRUNC,
		(struct sockaddr *)&from, &from_len);
	if (len < 0)
		return -errno;
	if (from_len != sizeof(from) || from.nl_pid != 0) // not the kernel
		return 0;
	if (len <= BUFFER_BYTES)
		return len;
	mirror_want_resync(m); // cut off
	return 0;
}

static void readable(evutil_socket_t, short, void *arg)
{
	struct mirror *m = arg;
	for (int i = 0; i < READS_PER_WAKE_UP; i++) {
		ssize_t len = receive(m);
		if (len == -EAGAIN)
			break;
		if (len == -ENOBUFS) {
			m->stats.overruns++;
			mirror_want_resync(m);
		} else if (len < 0 && len != -EINTR) {
			log_warn("kernel", "netlink: %s", strerror((int)-len));
			break;
		} else if (len > 0) {
			datagram(m, m->buffer, (size_t)len);
		}
	}
	settle(m);
}

static void socket_close(struct mirror *m)
{
	if (m->readable)
		event_free(m->readable);
	if (m->resync)
		event_free(m->resync);
	if (m->socket)
		mnl_socket_close(m->socket);
	netlink_close(m->requests);
	free(m->buffer);
}

static int socket_open(struct mirror *m, struct event_base *base)
{
	int size = SOCKET_BYTES;
	m->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!m->socket)
		return -errno;
	int fd = mnl_socket_get_fd(m->socket);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)); // less is fine
	if (mnl_socket_bind(m->socket, GROUPS, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	m->requests = netlink_open();
	if (!m->requests)
		return -errno;
	m->buffer = malloc(BUFFER_BYTES);
	m->readable = event_new(base, fd, EV_READ | EV_PERSIST, readable, m);
	m->resync = evtimer_new(base, dump_start, m);
	if (!m->buffer || !m->readable || !m->resync || event_add(m->readable, NULL) < 0)
		return -ENOMEM;
	return 0;
}

struct mirror *mirror_create(struct event_base *base, struct fib *fib, const struct mirror_env *env)
{
	struct mirror *m = mem_alloc(sizeof(*m));
	m->env = *env;
	m->fib = fib;
	m->stage = RTE_DIM(stages);
	if (!base) {
		m->ready = true;
		return m;
	}
	int error = socket_open(m, base);
	if (error) {
		mirror_destroy(m);
		errno = -error;
		return NULL;
	}
	dump_start(-1, 0, m);
	return m;
}

void mirror_destroy(struct mirror *m)
{
	if (!m)
		return;
	socket_close(m);
	routes_fini(m);
	neighs_fini(m);
	fdb_fini(m);
	links_fini(m);
	free(m);
}

void mirror_set_tunnel(struct mirror *m, uint32_t ifindex)
{
	uint32_t old = m->env.tunnel_ifindex;
	m->env.tunnel_ifindex = ifindex;
	hops_refresh(m, old, NULL);
	hops_refresh(m, ifindex, NULL);
	m->watch_generation++;
}

void mirror_port_moved(struct mirror *m, uint32_t before, uint32_t now)
{
	hops_refresh(m, before, NULL);
	hops_refresh(m, now, NULL);
	m->fdb_changed = true;
	m->changed = true;
	mirror_want_resync(m); // its neighbours and addresses; on_change follows
}

bool mirror_ready(const struct mirror *m)
{
	return m->ready;
}

uint32_t mirror_generation(const struct mirror *m)
{
	return m->generation;
}

void mirror_stats(const struct mirror *m, struct mirror_stats *out)
{
	*out = m->stats;
	out->routes = m->n_routes;
	out->neighbours = m->n_neighs;
	out->fdb = m->n_fdb;
}

struct netlink *mirror_netlink(struct mirror *m)
{
	return m->requests;
}
