// What the network between us and the world looks like: STUN to the DERP regions, from the
// WireGuard port; which region is nearest and to be home; our addresses as others see them; whether
// the NAT maps by destination. Without an answer over UDP, HTTPS. An engine: datagrams and time in,
// datagrams and a report out. Plan and rules: tailscale net/netcheck/netcheck.go. [ctl]
#pragma once

#include "control/coord/netmap.h"
#include "dataplane/base/types.h"

enum {
	NETCHECK_REGIONS_MAX = 256,
	NETCHECK_GLOBALS_MAX = 8,
	NETCHECK_STUN_TIMEOUT_MS = 3000,
	NETCHECK_REPORT_TIMEOUT_MS = 5000,
};

struct netcheck_latency {
	uint32_t region;
	uint64_t v4_ns, v6_ns, https_ns; // 0: no answer; https_ns: or of ICMP, if that was quicker
};

struct netcheck_report {
	uint64_t unix_ns; // 0: there is none yet
	bool full;	  // all regions were asked
	bool udp, ipv4, ipv6, ipv4_can_send, ipv6_can_send, os_has_ipv6, icmpv4;
	int8_t mapping_varies;		      // -1: unknown
	int8_t upnp, pmp, pcp;		      // -1: not checked
	int8_t captive_portal;		      // -1: not checked
	uint32_t preferred;		      // home region; 0: none
	struct endpoint global_v4, global_v6; // port 0: none
	// All seen, best first, and by how many answers. See netcheck_globals.
	struct endpoint globals[NETCHECK_GLOBALS_MAX];
	uint32_t global_seen[NETCHECK_GLOBALS_MAX];
	uint32_t n_globals;
	struct netcheck_latency latency[NETCHECK_REGIONS_MAX]; // that answered, by region
	uint32_t n_latency;
};

struct netcheck; // with the history of five minutes

struct netcheck_io {
	void *arg;
	// A datagram from the WireGuard port; false: it cannot be sent (no route, no IPv6).
	bool (*send)(void *arg, const struct endpoint *to, const uint8_t *data, size_t len);
	// Addresses of a DERP node's host name; answer later by netcheck_resolved. May be called
	// again.
	void (*resolve)(void *arg, const char *host);
	// Ask https://HOST:PORT/derp/latency-check and answer by netcheck_https. Without an answer
	// the next node of the region is asked.
	void (*https)(void *arg, uint32_t region, const struct nm_derp_node *);
	// An ICMP echo, when UDP is blocked; answer by netcheck_icmp. NULL: cannot.
	void (*icmp)(void *arg, uint32_t region, const struct ip_addr *);
	// http://ADDRESS/generate_204 for the captive portal; answer each by netcheck_captive.
	void (*captive)(void *arg, const struct nm_derp_node *);
	void (*random)(void *arg, void *out, size_t len);
	// The report is complete. Perhaps from within netcheck_start. Not for destroying.
	void (*done)(void *arg, const struct netcheck_report *);
};

struct netcheck *netcheck_create(const struct netcheck_io *) must_check;
void netcheck_destroy(struct netcheck *); // NULL is fine
// Copied; to be called when it changed: a run under way ends without a report, the next is full.
void netcheck_set_map(struct netcheck *, const struct nm_derp_map *);
// Which families have an address beyond the link, and whether the kernel knows IPv6 at all. Without
// this call: all; sending shows.
void netcheck_set_host(struct netcheck *, bool have_v4, bool have_v6, bool os_has_ipv6);
// What portmap_info says, for this and the next reports.
void netcheck_set_portmap(struct netcheck *, int8_t upnp, int8_t pmp, int8_t pcp);
// Also known of the DERP connections: a frame of the home region came at heard_ns (0: never).
void netcheck_home_heard(struct netcheck *, uint64_t heard_ns);
// Begin a report, incremental if the last full one is younger than five minutes and force_full is
// not set. Nothing when one is under way. only_tcp: no UDP (attribute only-tcp-443).
void netcheck_start(
	struct netcheck *, bool force_full, bool only_tcp, uint64_t now_ns, uint64_t unix_ns);
bool netcheck_running(const struct netcheck *);
// A STUN datagram; true: it was an answer to one of ours, from whom we asked.
bool netcheck_input(struct netcheck *, const struct endpoint *from, const uint8_t *packet,
	size_t len, uint64_t now_ns);
void netcheck_resolved(
	struct netcheck *, const char *host, const struct ip_addr *list, size_t n, uint64_t now_ns);
// latency_ns 0: no answer.
void netcheck_https(struct netcheck *, uint32_t region, uint64_t latency_ns, uint64_t now_ns);
void netcheck_icmp(struct netcheck *, uint32_t region, uint64_t latency_ns, uint64_t now_ns);
// One node has answered, or not: is_captive false. A wrong answer is a portal's.
void netcheck_captive(struct netcheck *, bool is_captive, uint64_t now_ns);
void netcheck_tick(struct netcheck *, uint64_t now_ns);
uint64_t netcheck_next_ns(const struct netcheck *);		      // UINT64_MAX: not needed
const struct netcheck_report *netcheck_last(const struct netcheck *); // never NULL
// Our addresses to advertise: the best of each family, and those seen more than once; what one
// server alone saw is a hard NAT's. Returns how many.
size_t netcheck_globals(const struct netcheck_report *, struct endpoint *out, size_t max);
// The lowest latency of the region by any way; 0: no answer, or no such region.
uint64_t netcheck_region_ns(const struct netcheck_report *, uint32_t region);

// The lines of 'tailscale netcheck', from the empty line to the last region. Free it.
char *netcheck_text(const struct netcheck_report *, const struct nm_derp_map *, bool verbose);
// Its JSON with the real one's names; free it.
char *netcheck_json(const struct netcheck_report *, bool indent);
