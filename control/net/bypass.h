// Sockets of our own that stay outside of the tunnel, whatever routes lead into it: a mark that ip
// rules look at before the tailnet's table. Without such rules it changes nothing. [any thread]
#pragma once

enum {
	NET_BYPASS_MARK = 0x80000,
	NET_BYPASS_MASK = 0xff0000, // other bits of a mark are other programs' (tailscale tsconst)
};

struct event_base;

// Not being allowed to (without CAP_NET_ADMIN there are no such routes either) is fine.
void net_bypass(int fd);
// All datagram sockets that the loop waits for: those of evdns, which has no other way to say it.
void net_bypass_datagrams(struct event_base *);
