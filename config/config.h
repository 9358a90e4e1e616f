// The configuration as a plain struct: what tailgate.conf says, checked, with defaults filled in.
// Reading a file changes nothing outside the struct. Any thread; nothing here is shared.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dataplane/base/log.h"
#include "dataplane/base/types.h"

enum {
	CONFIG_PEERS_MAX = 16384,
	CONFIG_ALLOWED_IPS_MAX = 4096, // per peer
	CONFIG_PORTS_MAX = 16,
	CONFIG_WORKERS_MAX = 32,
	CONFIG_CPU_MAX = 1023,	   // highest CPU number
	CONFIG_ADDRESSES_MAX = 16, // per interface
	CONFIG_ENDPOINTS_MAX = 8,
	CONFIG_NAME_LEN = 64,	 // peer and user names, with the final zero
	CONFIG_HOST_LEN = 256,	 // host name of an endpoint
	CONFIG_DEVICE_LEN = 256, // PCI address or vdev with arguments
	CONFIG_SOCKET_LEN = 108, // sun_path
	CONFIG_PATH_LEN = 1024,	 // of key files
	CONFIG_HOSTS_MAX = 16,
	CONFIG_NAT_POOL_MAX = 64, // addresses
	CONFIG_NAT_REMAP_MAX = 256,
	CONFIG_LEARNED_MAX = 64,
	CONFIG_PROTOCOLS_MAX = 16,
	CONFIG_DOMAINS_MAX = 1024,
	CONFIG_DOMAIN_LEN = 256, // with "*." and the final zero
	CONFIG_SERVICES_MAX = 128,
	CONFIG_BACKENDS_MAX = 8, // of one entry
	CONFIG_UDP_PORTS_MAX = 4,
	CONFIG_MTU_MIN = 576,
	CONFIG_MTU_MAX = 9216,
	CONFIG_TAILNET_MTU = 1280, // every path of a tailnet carries it
	CONFIG_TAILNET_TABLE = 52, // of the kernel (tailscale router_linux.go)
	CONFIG_ERROR_KEY_LEN = 96,
	CONFIG_ERROR_MESSAGE_LEN = 384,
	CONFIG_ERROR_TEXT_LEN = 1536,
};

enum config_poll {
	CONFIG_POLL_ADAPTIVE, // sleep when nothing arrives
	CONFIG_POLL_BUSY,     // never sleep
};

enum config_aead {
	CONFIG_AEAD_AUTO, // the fastest that the CPU offers
	CONFIG_AEAD_AVX512,
	CONFIG_AEAD_AVX2,
	CONFIG_AEAD_IPSEC_MB,
	CONFIG_AEAD_LIBSODIUM,
};

enum config_hugepages {
	CONFIG_HUGEPAGES_AUTO, // used when they are there
	CONFIG_HUGEPAGES_OFF,
	CONFIG_HUGEPAGES_REQUIRE, // refuse to start without
};

// Addresses of one interface, host bits kept: "10.0.0.1/24".
struct config_addresses {
	struct ip_ifaddr list[CONFIG_ADDRESSES_MAX];
	uint32_t count;
};

struct config_hosts {
	struct ip_addr list[CONFIG_HOSTS_MAX];
	uint32_t count;
};

struct config_endpoints {
	struct endpoint list[CONFIG_ENDPOINTS_MAX];
	uint32_t count;
};

enum config_nat_mapping {
	CONFIG_NAT_DEPENDENT,	// endpoint-dependent mapping and filtering (RFC 4787)
	CONFIG_NAT_INDEPENDENT, // endpoint-independent
};

struct config_port_range {
	uint16_t first, last; // host order
};

struct config_udp_ports {
	uint16_t list[CONFIG_UDP_PORTS_MAX]; // host order, each once, none 0
	uint32_t count;
};

// Networks of one family and length.
struct config_remap {
	struct ip_prefix known, real; // by what peers know the real one
};

// Address translation of what a tailnet's peers send to networks behind the gateway.
struct config_nat {
	struct config_port_range ports;
	uint32_t mapping;		 // enum config_nat_mapping
	uint32_t client_flows;		 // most flows of one client; 0: no limit
	uint32_t tcp_idle_s, udp_idle_s; // seconds without a packet that end a flow
	struct ip_addr pool[CONFIG_NAT_POOL_MAX];
	uint32_t n_pool; // 0: the address of the port that a flow leaves by
	struct config_remap remap[CONFIG_NAT_REMAP_MAX];
	uint32_t n_remap;
};

struct config_range { // networks in within, of at most longest bits
	struct ip_prefix within;
	uint8_t longest;
};

// Which of the kernel's routes a tailnet is offered.
struct config_learned {
	struct config_range range[CONFIG_LEARNED_MAX];
	uint32_t n_ranges;
	uint8_t protocol[CONFIG_PROTOCOLS_MAX]; // RTPROT_*
	uint32_t n_protocols;			// 0: those of routing daemons
	uint32_t limit;				// most networks
};

struct config_domains {
	char list[CONFIG_DOMAINS_MAX][CONFIG_DOMAIN_LEN];
	uint32_t count;
};

enum { // of IP
	CONFIG_PROTO_TCP = 6,
	CONFIG_PROTO_UDP = 17,
};

// Some ports of a service and where they lead. No two entries have a port of the same service.
struct config_service {
	char name[CONFIG_NAME_LEN + 8];		      // "svc:web"
	uint8_t proto;				      // 0: any, and all ports
	uint16_t first, last;			      // host order
	struct endpoint backend[CONFIG_BACKENDS_MAX]; // port 0: the same port
	uint32_t n_backends;
};

struct config_services {
	struct config_service list[CONFIG_SERVICES_MAX];
	uint32_t count;
};

// Exactly one of interface and device is set; the other is "".
struct config_port {
	char name[IFNAME_LEN];
	char interface[IFNAME_LEN];	   // shared with the kernel
	char device[CONFIG_DEVICE_LEN];	   // owned by DPDK
	char mirror[IFNAME_LEN];	   // owned: TAP of the host's own traffic; "": none
	struct config_addresses addresses; // owned: of the mirror
};

struct config_peer {
	char name[CONFIG_NAME_LEN]; // "": none given
	struct key public_key;
	struct key preshared_key; // zero: none
	// The endpoint as written. A host name leaves endpoint.addr.family IP_NONE until the daemon
	// resolves it; no endpoint at all leaves endpoint_host "" and endpoint_port 0.
	char endpoint_host[CONFIG_HOST_LEN]; // address or name, without brackets
	uint16_t endpoint_port;
	struct endpoint endpoint; // when endpoint_host is an address
	struct ip_prefix *allowed_ips;
	uint32_t n_allowed_ips;
	uint32_t persistent_keepalive_s; // 0: off
	bool roaming;			 // the peer's own or else the file's
};

struct config {
	struct key private_key;
	bool tailnet;			   // a node of a tailnet: keys and peers come from there
	char state_dir[CONFIG_PATH_LEN];   // of the tailnet's keys and netmap
	uint32_t listen_port;		   // 0: random
	uint32_t mtu;			   // bytes, of the tunnel
	struct config_addresses addresses; // of the host TUN
	char tun[IFNAME_LEN];		   // "": no host TUN
	bool routes;			   // install routes to allowed IPs on the TUN
	uint32_t workers;
	uint32_t cpus[CONFIG_WORKERS_MAX]; // of worker i
	uint32_t n_cpus;		   // 0 (not pinned) or workers
	uint32_t poll;			   // enum config_poll
	uint32_t aead;			   // enum config_aead
	uint32_t memory_mb;		   // MiB for packet buffers
	uint32_t hugepages;		   // enum config_hugepages
	bool roaming;			   // default of the peers
	bool mss_clamp;
	bool fragment; // cut IPv4 packets without DF that the tunnel does not take
	struct config_udp_ports vxlan_ports; // of VXLAN in the tunnel
	uint32_t vxlan_depth;		     // levels of VXLAN in VXLAN that are looked into
	bool coalesce;
	bool guard;		 // nftables rules beside shared ports
	uint32_t icmp_rate;	 // ICMP errors per second; 0: none are sent
	uint32_t handshake_rate; // initiations per second above which cookies are asked for
	struct config_endpoints endpoints; // where a tailnet's peers find us, beside what STUN says
	uint32_t birthday_ports; // more UDP ports, to get through a hard NAT; 0: it is not tried
	uint32_t birthday_rate;	 // pings per second of that
	uint32_t birthday_s;	 // seconds per attempt
	struct config_nat nat;
	struct config_hosts route_probes;
	struct config_learned learned;
	uint32_t announce_table; // of the kernel, for what a routing daemon announces; 0: none
	struct config_endpoints dns_listen; // where names are resolved for the LAN
	struct config_domains app_domains;
	struct config_services services;
	char socket[CONFIG_SOCKET_LEN];
	struct endpoint metrics;    // port 0: off
	uint32_t log_level;	    // enum log_level
	char user[CONFIG_NAME_LEN]; // drop privileges to; "": keep them

	struct config_port ports[CONFIG_PORTS_MAX]; // none: the daemon chooses
	uint32_t n_ports;
	struct config_peer *peers;
	uint32_t n_peers;
	uint32_t *peers_by_key; // n_peers indices in order of public_key, for config_peer_find
};

// A mistake, for people. line 0 or key "": it concerns the file as a whole.
struct config_error {
	char file[CONFIG_PATH_LEN];
	unsigned line;
	char key[CONFIG_ERROR_KEY_LEN]; // "peers[1].endpoint"
	char message[CONFIG_ERROR_MESSAGE_LEN];
};

// Read and check a file. 0 and *out, to be freed with config_free; or *out untouched, *err filled,
// and -EINVAL for a mistake in the file, -EACCES for permissions that are too wide, -ENOMEM, or the
// errno of reading the file or a key file. Relative key file paths start at the file's directory.
int config_load(const char *path, struct config **out, struct config_error *err) must_check;
// The same for a text in memory; name stands for the file in err, relative key files start at the
// working directory, and the text's own permissions are not looked at.
int config_parse_string(const char *text, const char *name, struct config **out,
	struct config_error *err) must_check;
// All defaults, no key, no ports, no peers; NULL when out of memory.
struct config *config_create(void) must_check;
#define CONFIG_MTU_VARIABLE "TS_DEBUG_MTU" // of the environment, as tailscaled has it
// The MTU of a tailnet where the file says none: the variable's, or else CONFIG_TAILNET_MTU. *mtu
// is set in any case. 0, -EINVAL: text is none that the key mtu may have. NULL: there is no
// variable.
int config_tailnet_mtu(const char *text, uint32_t *mtu);
// Wipes the keys. NULL is fine.
void config_free(struct config *c);

// Whether routes of that RTPROT_* are among those that may be offered.
bool config_learns_from(const struct config_learned *l, uint8_t protocol);
// The peer with this public key, or NULL. O(log n).
const struct config_peer *config_peer_find(const struct config *c, const struct key *public_key);

// "tailgate.conf:12: peers[1].endpoint: \"1.2.3.4\" has no port; ..."; returns text.
const char *config_error_format(
	const struct config_error *err, char text[static CONFIG_ERROR_TEXT_LEN]);

// docs/man/tailgate.conf.5 and tailgate.conf.example, made from the key table.
void config_print_man(FILE *out);
void config_print_example(FILE *out);
