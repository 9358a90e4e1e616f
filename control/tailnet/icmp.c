// ICMP echoes through the host's own stack: pings for people, into the tunnel, and what netcheck
// asks when UDP is blocked, which stays outside. Their sockets are there for as long as something
// waits.
#include <errno.h>

#include "control/net/bypass.h"
#include "control/tailnet/priv.h"

static void on_reply(void *arg, const struct ip_addr *from, uint16_t seq)
{
	struct tailnet *t = arg;
	if (tn_ping_echoed(t, from, seq))
		return;
	for (unsigned i = 0; i < t->n_echoes; i++) {
		const struct tn_echo e = t->echoes[i];
		if (e.seq != seq || !ip_addr_equal(&e.to, from))
			continue;
		t->echoes[i] = t->echoes[--t->n_echoes];
		uint64_t now = tn_now_ns(t);
		netcheck_icmp(t->netcheck, e.region, RTE_MAX(now - e.sent_ns, 1u), now);
		return;
	}
}

static int send_by(struct tailnet *t, struct echo **echo, uint32_t mark, const struct ip_addr *to,
	uint16_t *seq)
{
	if (!*echo)
		*echo = echo_create(t->params.base, mark, on_reply, t);
	*seq = ++t->echo_seq;
	return *echo ? echo_send(*echo, to, *seq) : -ENOMEM;
}

int tn_echo_send(struct tailnet *t, const struct ip_addr *to, uint16_t *seq)
{
	return send_by(t, &t->echo, 0, to, seq);
}

void tn_icmp(void *arg, uint32_t region, const struct ip_addr *to)
{
	struct tailnet *t = arg;
	struct tn_echo e = {.region = region, .to = *to, .sent_ns = tn_now_ns(t)};
	if (t->n_echoes < RTE_DIM(t->echoes) &&
		send_by(t, &t->netcheck_echo, NET_BYPASS_MARK, to, &e.seq) == 0)
		t->echoes[t->n_echoes++] = e;
	else
		netcheck_icmp(t->netcheck, region, 0, tn_now_ns(t));
}

void tn_icmp_over(struct tailnet *t)
{
	t->n_echoes = 0;
}

static void end(struct echo **echo)
{
	echo_destroy(*echo);
	*echo = NULL;
}

void tn_echo_tick(struct tailnet *t)
{
	if (!tn_ping_waits_for_echo(t))
		end(&t->echo);
	if (t->n_echoes == 0)
		end(&t->netcheck_echo);
}

void tn_echo_end(struct tailnet *t)
{
	end(&t->echo);
	end(&t->netcheck_echo);
}
