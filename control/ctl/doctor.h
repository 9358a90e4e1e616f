// What is wrong with the node, what it means and what to do about it: a pure function over the
// facts, in the order in which one should look: coordination before any firewall is blamed.
// doctor_collect.c gets the facts. [ctl]
#pragma once

#include <jansson.h>

#include "control/dns/dns.h"
#include "config/config.h"
#include "control/path/derp_pool.h"
#include "control/tailnet/tailnet.h"

enum {
	DOCTOR_FINDINGS_MAX = 96,
	DOCTOR_PEER_FINDINGS_MAX = 24, // peers with a finding of their own; the rest is counted
	DOCTOR_TEXT_LEN = 480,
	DOCTOR_NAME_LEN = 64,
	DOCTOR_ADDRESSES_MAX = 8, // of a peer
	DOCTOR_VERSION_LEN = 32,
	DOCTOR_MINORS_BEHIND_MAX = 16, // of client versions: about a year and a half
	DOCTOR_CAP_MIN = 113,	       // headscale 0.29 refuses older clients
	DOCTOR_EXPIRY_WARN_S = 7 * 86400,
	DOCTOR_CLOCK_WARN_S = 60,
	DOCTOR_CLOCK_ERROR_S = 3600,
	DOCTOR_SILENT_S = 120,	// of the map stream
	DOCTOR_MTU_MIN = 1280,	// what IPv6 takes for granted
	DOCTOR_ROUTES_MAX = 64, // advertised ones that are looked at
	DOCTOR_SOCKETS_MAX = 8,
	DOCTOR_SILENT_HOSTS_MAX = 8,
	DOCTOR_STRICT_MAX = 8,
	DOCTOR_REQUESTS_MIN = 3, // in vain, before that is worth a word
	DOCTOR_REQUESTS_AGE_S = 600,
};

enum doctor_severity {
	DOCTOR_OK,
	DOCTOR_INFO,
	DOCTOR_WARN,
	DOCTOR_ERROR,
};

struct doctor_finding {
	const char *id;	   // row of the feature list, or a word where there is none
	const char *check; // what was looked at
	enum doctor_severity severity;
	char evidence[DOCTOR_TEXT_LEN], meaning[DOCTOR_TEXT_LEN], remedy[DOCTOR_TEXT_LEN];
};

struct doctor_report {
	struct doctor_finding finding[DOCTOR_FINDINGS_MAX];
	unsigned n, omitted;
};

struct doctor_peer {
	char name[DOCTOR_NAME_LEN], version[DOCTOR_VERSION_LEN], region[DOCTOR_NAME_LEN];
	char path[ENDPOINT_TEXT_LEN];			// of a direct path or a peer relay; ""
	struct ip_addr via;				// of a direct path; IP_NONE
	struct ip_addr addresses[DOCTOR_ADDRESSES_MAX]; // where it may be found
	unsigned n_addresses;
	bool online, active;
	bool direct, peer_relay;	     // neither and active: over DERP
	bool talks;			     // WireGuard's handshake is younger than three minutes
	unsigned pings_sent, pongs_received; // pongs over UDP only
	uint32_t cap;			     // capability version; 0: unknown
	uint16_t mtu;			     // largest inner packet; 0: unknown
	char why[200];
};

struct doctor_dns {
	bool accept;			    // this machine asks us
	char host_error[DOCTOR_TEXT_LEN];   // why it does not although it should; ""
	char listen_error[DOCTOR_TEXT_LEN]; // an address at which we cannot listen; ""
	unsigned unsupported;		    // resolvers that cannot be asked
	const struct dns_probe *probe;
	unsigned n_probes;
};

// An advertised network.
struct doctor_route {
	struct ip_prefix prefix;
	bool by_kernel; // it lies behind an interface that is no port: the kernel forwards
	char twin[DOCTOR_NAME_LEN]; // another node that serves the same; ""
};

// A program's socket.
struct doctor_socket {
	uint16_t port;
	bool tcp;
	char user[DOCTOR_NAME_LEN]; // "nginx (process 7)"; "": not told
};

// A host behind us that peers asked, and that said nothing since.
struct doctor_silent_host {
	struct ip_addr addr, via; // via: of ours, towards it; IP_NONE: unknown
	uint32_t requests;
	int64_t age_s;	   // of the last one
	bool no_neighbour; // on our own network, and it does not answer ARP or ND
};

// What the kernel and the hosts of the networks behind us have to do.
struct doctor_host {
	struct doctor_route route[DOCTOR_ROUTES_MAX];
	unsigned n_routes;
	bool accept_routes, snat, uses_exit;
	int forward4, forward6;			    // sysctls; -1: unknown
	char strict[DOCTOR_STRICT_MAX][IFNAME_LEN]; // ports of the kernel with rp_filter = 1
	unsigned n_strict;
	bool answers_marked;		  // a strict rp_filter finds the way of our own sockets
	uint16_t nat_first, nat_last;	  // ports of the translation; 0: none
	uint16_t local_first, local_last; // where the kernel chooses; 0: unknown
	bool local_reserved;		  // it does not choose those of the translation
					  // (ip_local_reserved_ports)
	struct doctor_socket socket[DOCTOR_SOCKETS_MAX]; // that listen on one of these
	unsigned n_sockets;
	struct doctor_silent_host silent[DOCTOR_SILENT_HOSTS_MAX];
	unsigned n_silent;
};

// What was tried besides looking.
struct doctor_tries {
	bool coord; // a second connection to the server
	struct coord_probe_result fresh;
	bool reach; // whether datagrams come in that nobody was asked for
	struct mesh_reach in;
	char in_name[DOCTOR_NAME_LEN]; // of the node that reached us
	// What went over DERP meanwhile, all regions.
	unsigned took_ms; // 0: not watched
	uint64_t derp_tx_bytes, derp_rx_bytes, derp_dropped;
};

struct doctor_facts {
	int64_t now_s; // seconds since 1970
	// Coordination.
	bool is_node; // of a tailnet; otherwise only the port counts
	enum tailnet_state state;
	bool want_running, has_netmap;
	struct coord_status coord;
	int64_t stream_age_s, heard_age_s; // -1: no stream
	int64_t clock_offset_s;		   // server's minus ours
	int64_t key_expiry;		   // seconds since 1970; 0: never
	uint32_t cap;			   // what we declare
	// The shared port.
	uint16_t port, port_configured;
	char port_user[DOCTOR_NAME_LEN]; // who has the configured one; ""
	bool misplaced_defaults;	 // there is an /etc/defaults/tailscaled
	// The network.
	struct netcheck_report net;
	struct portmap_info portmap;
	bool public_address; // the address that others see is our own
	uint32_t n_regions;
	char home[DOCTOR_NAME_LEN]; // code of the home region; "": none
	struct derp_region_info home_derp;
	bool home_is_here;			  // on an address of this machine
	const struct config_endpoints *published; // that peers are told; NULL: none
	struct doctor_tries tries;
	uint16_t tunnel_mtu;
	const struct doctor_peer *peers;
	size_t n_peers;
	const char *const *health;
	unsigned n_health;
	struct doctor_dns dns;
	struct doctor_host host;
};

void doctor_check(const struct doctor_facts *, struct doctor_report *out);
// {"findings": [...], "omitted": n}; NULL: out of memory.
json_t *doctor_json(const struct doctor_report *) must_check;

struct daemon;
struct ctl_server;
struct evhttp_request;

// The facts of the running gateway, but for peers and tries.
void doctor_collect(const struct daemon *, struct doctor_facts *out);
// Peers of the netmap, from index at on, n at most; returns how many there were.
size_t doctor_collect_peers(
	const struct daemon *, size_t at, size_t n, struct doctor_peer *out) must_check;
// GET /tailgate/v0/doctor?try=0|1: answered when what is tried has ended, as a rule within 5 s.
void ctl_doctor_handle(struct ctl_server *, struct evhttp_request *);
// Those that wait are refused.
void ctl_doctor_abort(struct ctl_server *);

// --- Between the files of the checks.

// A finding with its evidence; NULL when there is no room.
struct doctor_finding *doctor_note(struct doctor_report *, const char *id, enum doctor_severity,
	const char *check, const char *meaning, const char *remedy, const char *evidence, ...)
	__attribute__((format(printf, 7, 8)));
bool doctor_coord_is_well(const struct doctor_facts *);
void doctor_check_tries(const struct doctor_facts *, struct doctor_report *);
void doctor_check_network(const struct doctor_facts *, struct doctor_report *);
void doctor_check_peers(const struct doctor_facts *, struct doctor_report *);
void doctor_check_dns(const struct doctor_facts *, struct doctor_report *);
void doctor_check_host(const struct doctor_facts *, struct doctor_report *);

// --- And of the facts.

void doctor_collect_host(const struct daemon *, struct doctor_host *out);
// Who has a socket, by its inode in /proc/net; "" stays if nobody is found.
void doctor_socket_user(unsigned long inode, char out[static DOCTOR_NAME_LEN]);

// A line of /proc/net/udp, udp6, tcp or tcp6.
struct doctor_socket_line {
	uint16_t port;
	bool tcp;
	bool listens;  // it takes what anybody sends
	bool loopback; // but on this machine alone
	unsigned long inode;
};
// false: the head, or no such line.
bool doctor_socket_read(const char *line, bool tcp, struct doctor_socket_line *out);
// Whether a list as in ip_local_reserved_ports ("80,1000-2000") holds all ports from first to last.
bool doctor_ports_hold(const char *list, uint16_t first, uint16_t last);
