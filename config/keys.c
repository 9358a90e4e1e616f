#include "config/keys.h"

#include <ctype.h>
#include <stdlib.h>

#include "config/value.h"

static const struct config_choice poll_choices[] = {
	{"adaptive", CONFIG_POLL_ADAPTIVE},
	{"busy", CONFIG_POLL_BUSY},
	{},
};

static const struct config_choice aead_choices[] = {
	{"auto", CONFIG_AEAD_AUTO},
	{"avx512", CONFIG_AEAD_AVX512},
	{"avx2", CONFIG_AEAD_AVX2},
	{"ipsec-mb", CONFIG_AEAD_IPSEC_MB},
	{"libsodium", CONFIG_AEAD_LIBSODIUM},
	{},
};

static const struct config_choice hugepages_choices[] = {
	{"auto", CONFIG_HUGEPAGES_AUTO},
	{"off", CONFIG_HUGEPAGES_OFF},
	{"require", CONFIG_HUGEPAGES_REQUIRE},
	{},
};

static const struct config_choice log_level_choices[] = {
	{"error", LOG_LEVEL_ERROR},
	{"warn", LOG_LEVEL_WARN},
	{"info", LOG_LEVEL_INFO},
	{"debug", LOG_LEVEL_DEBUG},
	{},
};

static const struct config_choice nat_mapping_choices[] = {
	{"endpoint-dependent", CONFIG_NAT_DEPENDENT},
	{"endpoint-independent", CONFIG_NAT_INDEPENDENT},
	{},
};

// clang-format off
#define FIELD(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define TOP(member) .section = SECTION_TOP, FIELD(struct config, member)
#define PORT(member) .section = SECTION_PORT, FIELD(struct config_port, member)
#define PEER(member) .section = SECTION_PEER, FIELD(struct config_peer, member)
// Of types that fill several fields.
#define WHOLE_NAT .section = SECTION_TOP, FIELD(struct config, nat)
#define WHOLE_LEARNED .section = SECTION_TOP, FIELD(struct config, learned)
#define WHOLE_PEER .section = SECTION_PEER, .offset = 0, .size = sizeof(struct config_peer)

const struct config_key config_keys[] = {
	{.name = "private_key_file", TOP(private_key), .type = &type_secret_file,
		.absent = "required, or private_key, or tailnet",
		.example = "\"/etc/tailgate/private.key\"", .live = true,
		.help = "File with this gateway's private key, one line as 'wg genkey' writes it. A "
			"relative name starts at the directory of tailgate.conf. A file that group or "
			"others can read is refused: chmod 600 it."},
	{.name = "private_key", TOP(private_key), .type = &type_secret,
		.absent = "required, or private_key_file",
		.example = "\"(44 characters of base64)\"",
		.help = "The private key itself, in base64. A tailgate.conf that holds a key must not be "
			"readable by group or others. private_key_file is better: copies of the "
			"configuration then carry no secret."},
	{.name = "tailnet", TOP(tailnet), .type = &type_bool, .number = false,
		.help = "Be a node of a tailnet: keys, addresses and peers come from a coordination server, "
			"see 'tailgate up'. So it is also without any configuration file."},
	{.name = "state_dir", TOP(state_dir), .type = &type_path, .text = "/var/lib/tailgate",
		.help = "Directory of a tailnet node's keys, settings and last netmap, mode 0700."},
	{.name = "listen_port", TOP(listen_port), .type = &type_number, .max = 65535, .number = 41641,
		.help = "UDP port that peers send to. 0 picks a random one. When the port is taken, a "
			"random one is used and 'tailgate status' says so."},
	{.name = "mtu", TOP(mtu), .type = &type_number, .unit = "bytes", .min = CONFIG_MTU_MIN,
		.max = CONFIG_MTU_MAX,
		.number = 1420,
		.help = "Largest inner packet, on a tailnet by default 1280 or $TS_DEBUG_MTU. WireGuard adds 60 bytes to it over IPv4 and 80 over IPv6, so "
			"1420 fits a link of 1500 in both cases."},
	{.name = "tun", TOP(tun), .type = &type_ifname, .text = "tailgate0",
		.help = "Name of the TUN interface through which the host itself reaches the peers. The "
			"empty string makes none."},
	{.name = "addresses", TOP(addresses), .type = &type_addresses, .absent = "none",
		.example = "[ \"10.0.0.1/24\", \"fd00::1/64\" ]", .live = true,
		.help = "Addresses of the TUN interface with the length of their network."},
	{.name = "routes", TOP(routes), .type = &type_bool, .number = true,
		.help = "Install kernel routes for the peers' allowed_ips through the TUN interface, as "
			"wg-quick does. With false they are yours to install."},
	{.name = "ports", .section = SECTION_TOP, .type = &type_section,
		.absent = "the interface of the default route, shared",
		.help = "The interfaces that Tailgate works on; see PORTS."},
	{.name = "peers", .section = SECTION_TOP, .type = &type_section, .absent = "none",
		.help = "The WireGuard peers; see PEERS."},
	{.name = "roaming", TOP(roaming), .type = &type_bool, .number = true,
		.help = "Follow a peer to the address that its last authentic packet came from. With false "
			"a peer's packets only ever go to its configured endpoint. A peer's own roaming key "
			"comes first."},
	{.name = "workers", TOP(workers), .type = &type_number, .unit = "threads", .min = 1,
		.max = CONFIG_WORKERS_MAX, .number = 1,
		.help = "Threads that forward packets, beside the control thread."},
	{.name = "cpus", TOP(cpus), .type = &type_cpus, .absent = "[ ]: the scheduler chooses",
		.max = CONFIG_CPU_MAX,
		.example = "[ ]",
		.help = "CPU of each worker, as many as there are workers."},
	{.name = "poll", TOP(poll), .type = &type_choice, .choices = poll_choices,
		.number = CONFIG_POLL_ADAPTIVE,
		.help = "What a worker does when no packet arrives: adaptive waits in the kernel after a "
			"short while, so that an idle gateway costs no CPU; busy keeps its CPU at full load "
			"for the lowest latency."},
	{.name = "aead", TOP(aead), .type = &type_choice, .choices = aead_choices,
		.number = CONFIG_AEAD_AUTO,
		.help = "Implementation of ChaCha20-Poly1305. auto takes the fastest that the CPU runs; a "
			"named one that it cannot run is refused at start."},
	{.name = "memory_mb", TOP(memory_mb), .type = &type_number, .unit = "MiB", .min = 16,
		.max = 65536, .number = 64, .help = "Memory for packet buffers."},
	{.name = "hugepages", TOP(hugepages), .type = &type_choice, .choices = hugepages_choices,
		.number = CONFIG_HUGEPAGES_AUTO,
		.help = "Huge pages for the packet buffers: auto uses reserved ones when enough are free, "
			"else, without a device port, the kernel's transparent ones; require refuses to "
			"start without reserved ones."},
	{.name = "mss_clamp", TOP(mss_clamp), .type = &type_bool, .number = true,
		.help = "Lower the MSS of TCP connections to what fits into the tunnel and the path to the "
			"peer, both ways."},
	{.name = "fragment", TOP(fragment), .type = &type_bool, .number = true,
		.help = "Cut IPv4 packets that are larger than the tunnel or the path to the peer takes, "
			"and allow it (no DF), before they are encrypted. With false their senders are told "
			"what fits, and have to do it themselves. What has come in fragments is always cut again."},
	{.name = "vxlan_ports", TOP(vxlan_ports), .type = &type_udp_ports, .min = 1, .max = 65535,
		.number = 4789 << 16 | 8472, .absent = "[ 4789, 8472 ]", .example = "[ 4789, 8472 ]",
		.help = "UDP ports of VXLAN that rides in the tunnel, 8472 being flannel's; at most 4. TCP "
			"inside it gets an MSS that fits, too, hosts inside are told of packets that do "
			"not, and its datagrams are never joined. [ ] treats it as any UDP."},
	{.name = "vxlan_depth", TOP(vxlan_depth), .type = &type_number, .unit = "levels", .min = 1,
		.max = 4, .number = 1,
		.help = "How deep VXLAN within VXLAN is looked into for that."},
	{.name = "coalesce", TOP(coalesce), .type = &type_bool, .number = true,
		.help = "Join decrypted TCP segments of one flow into super-packets where the next port "
			"takes them. It makes bulk transfer several times cheaper."},
	{.name = "guard", TOP(guard), .type = &type_bool, .number = true,
		.help = "Keep the kernel off the packets that Tailgate takes from shared ports, with an "
			"nftables table of its own. Without it the kernel answers and forwards them a "
			"second time."},
	{.name = "icmp_rate", TOP(icmp_rate), .type = &type_number, .unit = "messages per second",
		.max = 1000000, .number = 1000,
		.help = "Most ICMP errors that are sent to tell a sender of a packet too big, without a "
			"route or at the end of its TTL. 0 sends none."},
	{.name = "handshake_rate", TOP(handshake_rate), .type = &type_number,
		.unit = "initiations per second", .min = 1, .max = 1000000, .number = 1000,
		.help = "Handshake initiations from everywhere above which senders have to show a cookie "
			"before they get an answer."},
	{.name = "endpoints", TOP(endpoints), .type = &type_endpoints, .absent = "none",
		.example = "[ \"203.0.113.5:41641\" ]",
		.help = "On a tailnet: addresses with ports at which peers reach this gateway although "
			"nothing tells it so, as behind a firewall that forwards a port."},
	{.name = "birthday_ports", TOP(birthday_ports), .type = &type_number, .unit = "ports",
		.max = 512, .number = 256,
		.help = "On a tailnet, behind a NAT that maps each destination to another port: UDP ports "
			"from which a peer that is only reached over DERP is pinged, so that one of them "
			"meets its guesses. They are open only while they are needed. 0 tries nothing of "
			"the kind, nor guesses ports of peers behind such a NAT."},
	{.name = "birthday_rate", TOP(birthday_rate), .type = &type_number,
		.unit = "pings per second", .min = 10, .max = 10000, .number = 200,
		.help = "Most pings of these attempts, to all peers together, with those that peers are "
			"asked for."},
	{.name = "birthday_s", TOP(birthday_s), .type = &type_number, .unit = "seconds", .min = 1,
		.max = 300, .number = 20,
		.help = "How long one attempt takes at most. After one in vain there is a pause of 5 "
			"minutes, doubled each time up to an hour."},
	{.name = "route_probes", TOP(route_probes), .type = &type_hosts, .absent = "none",
		.example = "[ \"10.1.0.254\" ]",
		.help = "On a tailnet: hosts behind this gateway that are asked for an ICMP echo every "
			"second. While none of an advertised network's answers, the network is not offered, "
			"so that another gateway takes it over."},
	{.name = "advertise_learned", WHOLE_LEARNED, .type = &type_ranges, .absent = "none",
		.example = "[ \"10.0.0.0/8\", \"172.16.0.0/12 le 28\" ]",
		.help = "On a tailnet: networks in these that a routing daemon (FRR, BIRD) has put into the "
			"kernel's main table are advertised, as long as it has them there. Longer ones than "
			"\"le\" says, 24 or for IPv6 64 bits without it, are not, nor are default routes, the "
			"tailnet's own ranges and what leads into the tunnel."},
	{.name = "learned_protocols", WHOLE_LEARNED, .type = &type_protocols,
		.absent = "all of routing daemons: not static and boot",
		.example = "[ \"bgp\" ]",
		.help = "Whose routes these are, as 'ip route' shows it behind proto: babel, bgp, bird, "
			"eigrp, isis, openr, ospf, rip, zebra; static; boot (added with 'ip route')."},
	{.name = "learned_limit", TOP(learned.limit), .type = &type_number, .unit = "networks",
		.min = 1, .max = 4096, .number = 256,
		.help = "Most networks that are advertised so. Further ones are left out, with a line in "
			"the log."},
	{.name = "announce_table", TOP(announce_table), .type = &type_number, .max = 254,
		.number = 0,
		.help = "On a tailnet: number of a kernel table that has the ways into the tailnet, its own "
			"ranges and accepted routes, for a routing daemon to announce. They are there "
			"while this node serves the first of its networks: peers take from no other what "
			"hosts there answer. Networks in advertise_learned are left out: they are this "
			"site's. 254 is main, 0 is none."},
	{.name = "nat_ports", TOP(nat.ports), .type = &type_port_range,
		.number = 16384 << 16 | 29999,
		.help = "On a tailnet: ports that flows of peers get when they leave under an address of "
			"this gateway; 1024 at least. The guard keeps the kernel off them on shared ports, so "
			"no service of the host can be reached there, and net.ipv4.ip_local_port_range has "
			"to lie elsewhere."},
	{.name = "nat_addresses", WHOLE_NAT, .type = &type_pool,
		.absent = "none: the address of the port that they leave by",
		.example = "[ \"203.0.113.6\", \"2001:db8::6\" ]",
		.help = "On a tailnet: addresses for these flows. They have to be routed to this gateway, "
			"or be addresses of its interface. A client keeps the address that it was given."},
	{.name = "nat_mapping", TOP(nat.mapping), .type = &type_choice,
		.choices = nat_mapping_choices, .number = CONFIG_NAT_DEPENDENT,
		.help = "On a tailnet: endpoint-dependent gives each flow a port of its own and lets only "
			"its other end answer; endpoint-independent keeps one port per socket of a client "
			"and lets anybody send there, as games and telephony like it (RFC 4787)."},
	{.name = "nat_client_flows", TOP(nat.client_flows), .type = &type_number, .unit = "flows",
		.max = 1048576, .number = 65536,
		.help = "On a tailnet: most translated flows of one client address. 0 is no limit."},
	{.name = "nat_tcp_idle_s", TOP(nat.tcp_idle_s), .type = &type_number, .unit = "seconds",
		.min = 60, .max = 864000, .number = 7440,
		.help = "On a tailnet: an open TCP connection that is silent for this long is forgotten "
			"(RFC 5382: at least 7440)."},
	{.name = "nat_udp_idle_s", TOP(nat.udp_idle_s), .type = &type_number, .unit = "seconds",
		.min = 10, .max = 86400, .number = 300,
		.help = "The same for UDP (RFC 4787: at least 120)."},
	{.name = "nat_remap", WHOLE_NAT, .type = &type_remap, .absent = "none",
		.example = "[ \"10.9.0.0/24 = 192.168.1.0/24\" ]",
		.help = "On a tailnet: peers know the network on the right by the addresses of the one on "
			"the left, host by host; for sites whose networks overlap. Advertise the one on the "
			"left."},
	{.name = "dns_listen", TOP(dns_listen), .type = &type_dns_listen, .absent = "none",
		.example = "[ \"192.168.1.1\" ]",
		.help = "On a tailnet: addresses at which names are resolved for the hosts of the LAN, by UDP "
			"and TCP on port 53: names of the tailnet, its split DNS, and everything else. The "
			"gateway's own host finds it at 100.100.100.100."},
	{.name = "app_domains", TOP(app_domains), .type = &type_domains, .absent = "none",
		.example = "[ \"*.example.com\", \"example.org\" ]",
		.help = "On a tailnet: domains that this gateway stands for as an app connector, beside "
			"those that the coordination server names. \"*.example.com\" is whatever lies below "
			"example.com. It takes 'tailgate set --advertise-connector'; the addresses that the "
			"gateway resolves these names to become routes that it advertises."},
	{.name = "services", TOP(services), .type = &type_services, .absent = "none",
		.example = "[ \"svc:web tcp:443 = 10.1.0.5:8443, 10.1.0.6:8443\" ]",
		.help = "On a tailnet: ports of services that this gateway hosts, and the backends to which "
			"they lead; of several, a client stays with one. A service has addresses of its own, "
			"which the coordination server gives out; its other ports are closed. Ports are "
			"tcp:443, udp:5000-5010 or, for all there is, *. A backend without a port is reached "
			"at the port of the service."},
	{.name = "socket", TOP(socket), .type = &type_path, .text = "/run/tailgate/tailgated.sock",
		.help = "Unix socket of the tailgate command."},
	{.name = "metrics", TOP(metrics), .type = &type_listen, .absent = "\"\": off",
		.example = "\"127.0.0.1:9641\"",
		.help = "Address and TCP port on which counters are served as OpenMetrics."},
	{.name = "log_level", TOP(log_level), .type = &type_choice, .choices = log_level_choices,
		.number = LOG_LEVEL_INFO, .help = "Least important kind of log line that is written."},
	{.name = "user", TOP(user), .type = &type_text, .text = "",
		.help = "User to become after start-up; capabilities that are needed later are kept. The "
			"empty string keeps the user."},

	{.name = "name", PORT(name), .type = &type_ifname, .absent = "required",
		.example = "\"lan\"", .live = true,
		.help = "What status, counters and logs call the port; at most 15 characters."},
	{.name = "interface", PORT(interface), .type = &type_ifname, .absent = "this or device",
		.example = "\"eth1\"", .live = true,
		.help = "A shared port: a network interface that the kernel keeps, with its addresses."},
	{.name = "device", PORT(device), .type = &type_device, .absent = "this or interface",
		.example = "\"0000:01:00.0\"",
		.help = "An owned port: a device that DPDK drives alone, as PCI address such as "
			"\"0000:01:00.0\" (bound to vfio-pci) or virtual device with its arguments such as "
			"\"net_memif0,role=client\"."},
	{.name = "mirror", PORT(mirror), .type = &type_ifname, .absent = "the port's name",
		.example = "\"lan\"",
		.help = "Of an owned port: name of the TAP interface through which the host's own traffic "
			"(ARP, DHCP, SSH, BGP) uses the device. The empty string makes none."},
	{.name = "addresses", PORT(addresses), .type = &type_addresses, .absent = "none",
		.example = "[ \"192.168.1.1/24\" ]",
		.help = "Of an owned port: addresses of the mirror with the length of their network."},

	{.name = "name", PEER(name), .type = &type_text, .text = "", .example = "\"site-b\"", .live = true,
		.help = "What status and logs call the peer; without it they show its key."},
	{.name = "public_key", PEER(public_key), .type = &type_public_key, .absent = "required",
		.example = "\"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"", .live = true,
		.help = "The peer's public key in base64, as 'wg pubkey' writes it."},
	{.name = "preshared_key_file", PEER(preshared_key), .type = &type_secret_file,
		.absent = "no preshared key", .example = "\"/etc/tailgate/site-b.psk\"",
		.help = "File with a key that both sides share, as 'wg genpsk' writes it. The same rules as "
			"for private_key_file."},
	{.name = "preshared_key", PEER(preshared_key), .type = &type_secret,
		.absent = "no preshared key", .example = "\"(44 characters of base64)\"",
		.help = "The preshared key itself, in base64. The same rules as for private_key."},
	{.name = "endpoint", WHOLE_PEER, .type = &type_endpoint,
		.absent = "none: wait for the peer to call", .example = "\"203.0.113.5:41641\"", .live = true,
		.help = "Where the peer is: \"203.0.113.5:41641\", \"[2001:db8::5]:41641\" or "
			"\"gw.example.org:41641\"."},
	{.name = "allowed_ips", WHOLE_PEER, .type = &type_allowed_ips, .absent = "none",
		.example = "[ \"10.2.0.0/24\", \"fd00:2::/64\" ]", .live = true,
		.help = "Networks behind the peer: packets to them go to it, and only packets from them are "
			"accepted of it. A network belongs to one peer; of overlapping ones the longest "
			"counts."},
	{.name = "persistent_keepalive", PEER(persistent_keepalive_s), .type = &type_number,
		.unit = "seconds", .max = 65535, .number = 0,
		.help = "Send something at least this often, so that a NAT on the way keeps its mapping. 25 "
			"suits most; 0 is off."},
	{.name = "roaming", PEER(roaming), .type = &type_bool, .number = true,
		.absent = "the top-level roaming",
		.example = "true",
		.help = "Follow this peer to a new address."},
};
// clang-format on

const unsigned config_n_keys = sizeof(config_keys) / sizeof(config_keys[0]);

const char *config_section_name(enum config_section section)
{
	static const char *const names[SECTIONS] = {"", "ports", "peers"};
	return names[section];
}

const struct config_key *config_key_find(enum config_section section, const char *name)
{
	for (unsigned i = 0; i < config_n_keys; i++) {
		if (config_keys[i].section == section && strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	}
	return NULL;
}

enum { NAME_MAX_LEN = 32 }; // longer names are nobody's typing error

// Lower case without underscores; returns the length, 0 when it is too long.
static unsigned plain_name(const char *name, char out[static NAME_MAX_LEN + 1])
{
	unsigned n = 0;
	for (; *name; name++) {
		if (*name == '_' || *name == '-')
			continue;
		if (n == NAME_MAX_LEN)
			return 0;
		out[n++] = (char)tolower((unsigned char)*name);
	}
	out[n] = '\0';
	return n;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;
	return m < c ? m : c;
}

// Levenshtein's distance: insertions, deletions and replacements from one name to the other.
static unsigned distance(const char *a, const char *b, unsigned b_len)
{
	unsigned row[NAME_MAX_LEN + 1];
	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			unsigned replaced = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			row[j] = min3(row[j] + 1, row[j - 1] + 1, replaced);
		}
	}
	return row[b_len];
}

const struct config_key *config_key_nearest(enum config_section section, const char *name)
{
	char wanted[NAME_MAX_LEN + 1], known[NAME_MAX_LEN + 1];
	unsigned len = plain_name(name, wanted);
	unsigned best = len / 3 + 1; // one in three characters may differ
	const struct config_key *nearest = NULL;
	for (unsigned i = 0; len > 0 && i < config_n_keys; i++) {
		if (config_keys[i].section != section)
			continue;
		plain_name(config_keys[i].name, known);
		unsigned d = distance(known, wanted, len);
		if (d < best) {
			best = d;
			nearest = &config_keys[i];
		}
	}
	return nearest;
}

void config_key_defaults(enum config_section section, void *target)
{
	for (unsigned i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		void *field = (char *)target + k->offset;
		if (k->section != section)
			continue;
		if (k->type == &type_bool)
			*(bool *)field = k->number != 0;
		else if (k->type == &type_number || k->type == &type_choice)
			*(uint32_t *)field = k->number;
		else if (k->type == &type_port_range)
			*(struct config_port_range *)field = (struct config_port_range){
				(uint16_t)(k->number >> 16), (uint16_t)k->number};
		else if (k->type == &type_udp_ports)
			*(struct config_udp_ports *)field = (struct config_udp_ports){
				{(uint16_t)(k->number >> 16), (uint16_t)k->number}, 2};
		else if (k->text)
			memcpy(field, k->text, strlen(k->text) + 1);
	}
}
