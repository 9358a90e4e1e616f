#include "control/cli/cli.h"
#include "control/cli/settings.h"

const struct command commands[] = {
	{"status", "", 0, 0, "Show the tailnet, the gateway, its ports and its peers.",
		"A node of a tailnet shows its peers in the form of 'tailscale status' first and "
		"ends with status 1 while it is not running. A peer of the configuration that is "
		"not up says why and what to do. With --json, what the LocalAPI says stands as "
		"tailnet in the gateway's report.",
		{{"--verbose", NULL,
			 "Show for each peer of the tailnet which way it is reached and why, "
			 "handshake, home region and key expiry, and the coordination server."},
			{"--active", NULL, "Only peers with traffic."},
			{"--self", NULL, "Show this node as well (on by default)."},
			{"--peers", NULL, "Show the peers (on by default)."},
			{"--header", NULL, "Begin with the names of the columns."}},
		cmd_status},
	{"up", "", 0, 0, "Join a tailnet, or connect again.",
		"Prints the address to visit when somebody has to log in, and waits until the node "
		"is running. The settings are to be complete: one that was changed before and is "
		"not named is refused, with the whole command line to use. Without any option, "
		"nothing but the connection changes.",
		{{"--login-server", "URL", "The coordination server."},
			{"--auth-key", "KEY",
				"Log in with this key, or with the one in a file: file:PATH."},
			{"--advertise-tags", "LIST",
				"Tags to ask for, with commas between; tag: may be left out."},
			{"--timeout", "TIME", "Wait no longer than this, like 30s; 0: forever."},
			{"--reset", NULL, "Settings that are not named get their defaults."},
			{"--force-reauth", NULL,
				"Log in anew. This may interrupt what goes through the tailnet."},
			SETTINGS_OPTIONS},
		cmd_up},
	{"down", "", 0, 0, "Disconnect from the tailnet, keeping the login.", NULL, {}, cmd_down},
	{"logout", "", 0, 0, "Disconnect from the tailnet and give the node key up.", NULL, {},
		cmd_logout},
	{"set", "", 0, 0, "Change settings of the node while it runs.",
		"What is not named stays as it is.", {SETTINGS_OPTIONS}, cmd_set},
	{"ping", "NODE", 1, 1, "Ask a node of the tailnet and tell which way it answered.",
		"NODE is a name or an address. Ends at the first direct answer; with status 1 when "
		"there was none after 10.",
		{{"-c", "N", "Pings at most, 10 by default; 0: no end."},
			{"--timeout", "TIME", "Wait for one answer no longer than this, 5s."},
			{"--until-direct", NULL, "End at the first direct answer (on by default)."},
			{"--tsmp", NULL, "Ask through WireGuard, but neither host's system."},
			{"--icmp", NULL, "Ask through WireGuard, but not this host's system."},
			{"--peerapi", NULL, "Ask the node's peerAPI."},
			{"--size", "BYTES", "Size of the ping; only without the above."},
			{"--verbose", NULL, "Show the address that was found for the name."}},
		cmd_ping},
	{"ip", "[NODE]", 0, 1, "Show the tailnet addresses of this or another node.", NULL,
		{{"-1", NULL, "Only the first one."}, {"-4", NULL, "Only IPv4."},
			{"-6", NULL, "Only IPv6."},
			{"--assert", "IP",
				"Print nothing; end with status 1 if it is none of ours."}},
		cmd_ip},
	{"whois", "IP[:PORT]", 1, 1, "Show whose tailnet address this is.", NULL,
		{{"--proto", "NAME", "tcp or udp; both by default."}}, cmd_whois},
	{"netcheck", "", 0, 0, "Test the network between this node and the world.", NULL,
		{{"--format", "FORM", "json or json-line instead of text."},
			{"--every", "TIME", "Repeat, like 30s; then only the nearest regions."}},
		cmd_netcheck},
	{"exit-node", "list|suggest", 1, 1, "Show the exit nodes, or the nearest of them.", NULL,
		{{"--filter", "COUNTRY", "List those of a country, all of them."}}, cmd_exit_node},
	{"dns", "query|status [NAME [TYPE]]", 1, 3,
		"Ask the tailnet's resolver for a name, or show what it does.",
		"query asks as programs on this machine do with --accept-dns, for addresses (A) or "
		"another type: 'tailgate dns query db.example.com AAAA'. status shows who resolves "
		"which names, whether this machine asks the resolver, and how resolvers answer.",
		{}, cmd_dns},
	{"doctor", "[udp-reach|mtu]", 0, 1,
		"Look for what is wrong with the tailnet and say what to do.",
		"Checks coordination first, then the ways packets take. Each finding has a number "
		"to look it up by, what was seen, what it means and the remedy. A second "
		"connection to the coordination server is tried, and quiet peers are asked to send "
		"to this node, which takes up to 5 seconds. With udp-reach, only what concerns UDP "
		"out and in. With mtu, whether the MTUs of this host's overlays (VXLAN, bridges, "
		"pods, "
		"k3s with flannel) and of what carries them fit together, and the commands that "
		"mend them, in order; it needs no daemon and changes nothing. "
		"Ends with status 0 when all is well, 1 with warnings, 2 with errors "
		"or when there is no report.",
		{{"--all", NULL, "Show in full what is well, too."},
			{"--passive", NULL, "Only look, try nothing."},
			{"--verify", NULL,
				"With mtu: say only what is still wrong, and how flannel's file, "
				"its "
				"bridge and the pods are."},
			{"--root", "DIR",
				"With mtu: where the files of k3s and flannel and /proc are, such "
				"as /host in a pod."},
			{"--log", "FILE",
				"Look for known symptoms in a log of tailscaled or headscale "
				"instead; - is standard input."},
			{"--journal", "UNIT",
				"The same with the journal of a unit, like tailscaled, of this "
				"machine."}},
		cmd_doctor},
	{"stats", "", 0, 0, "Show what was dropped and why, counters and cycles.",
		"Counters add up since the start of the daemon.",
		{{"--all", NULL, "Show zeros as well."}}, cmd_stats},
	{"top", "", 0, 0, "Show live rates by peer, port and worker.",
		"Without a terminal, one report follows the other; with --json, one object a line.",
		{{"-n", "COUNT", "End after so many reports."},
			{"--interval", "SECONDS", "Time between reports, 1 by default."}},
		cmd_top},
	{"trace", "[N]", 0, 1, "Show the way of the next N packets through the graph.",
		"N is 1 by default and 64 at most.",
		{{"--worker", "ID", "Only packets of this worker."},
			{"--timeout", "SECONDS",
				"Wait no longer than this for packets, 10 by default."}},
		cmd_trace},
	{"capture", "", 0, 0, "Copy packets to a pcapng file, before and after encryption.",
		"Ends with Ctrl-C or after --count packets. Super-packets appear as they are. "
		"Wireshark reads all; tcpdump reads plain or wire packets, not both in one file.",
		{{"-w", "FILE", "Write to this file, - for standard output (the default)."},
			{"--peer", "NAME", "Only packets of this peer, by name or public key."},
			{"--port", "NAME", "Only packets of this port."},
			{"--point", "POINT", "plain: only inner packets; wire: only outer ones."},
			{"--count", "N", "End after N packets."},
			{"--snaplen", "BYTES", "Keep this much of a packet, 65535 by default."}},
		cmd_capture},
	{"nat", "", 0, 0, "Show the address translation of what tailnet peers send, and its flows.",
		"Client and To are as the peer knows them, As and For as the network does. 100 "
		"flows are shown unless --limit asks for another number; 0: only how many there "
		"are.",
		{{"--client", "IP", "Only flows of this peer's address."},
			{"--limit", "N", "Show no more flows than this."}},
		cmd_nat},
	{"explain", "SRC DST PROTO [PORT]", 3, 4,
		"Tell which rule of the tailnet's policy lets something in, or why none does.",
		"SRC and DST are addresses or names of nodes, PROTO is tcp, udp, icmp, sctp, gre, "
		"esp or a number. Also tells whose address SRC is and which way it would take. "
		"What answers comes in without a rule. Ends with status 0 when it is let in, 1 "
		"when not, 2 when the daemon cannot be asked or an argument is wrong.",
		{}, cmd_explain},
	{"routes", "", 0, 0, "Show the networks that this node advertises, and who serves them.",
		"A network that is not used says why and what to do. Then the VXLAN devices of "
		"this "
		"host: remote VTEPs to which a way leads, neighbours behind them, routes over the "
		"device "
		"or its bridge; one that the kernel keeps to itself says why.",
		{}, cmd_routes},
	{"drain", "", 0, 0, "Hand the advertised networks over to other nodes.",
		"Offers no routes any more and waits until the coordination server has peers send "
		"elsewhere. What still arrives is forwarded. For maintenance: 'tailgate drain "
		"--stop'. A daemon that starts offers them again.",
		{{"--stop", NULL, "Then stop the daemon."}, {"--cancel", NULL, "Offer them again."},
			{"--timeout", "TIME", "Wait no longer than this, 10s by default."}},
		cmd_drain},
	{"appc-routes", "", 0, 0, "Show what an app connector has learned.",
		"For each domain the number of addresses that its names had when the gateway was "
		"asked for them, and to which it advertises routes.",
		{{"--all", NULL, "Show the addresses, and the networks that the policy names."},
			{"--map", NULL, "Show the addresses as JSON, by domain."},
			{"-n", NULL, "Show only how many routes this node stands for in all."}},
		cmd_appc_routes},
	{"services", "", 0, 0, "Show the services of the tailnet that this node hosts.",
		"Which addresses the coordination server gives them, and where their ports lead.",
		{}, cmd_services},
	{"reload", "", 0, 0, "Have the daemon read its configuration again.",
		"A file with a mistake changes nothing.", {}, cmd_reload},
	{"stop", "", 0, 0, "Stop the daemon in order.", NULL, {}, cmd_stop},
	{"metrics", "", 0, 0, "Print all counters as OpenMetrics text.", NULL, {}, cmd_metrics},
	{"4via6", "SITE CIDR | PREFIX", 1, 2, "Show the IPv6 prefix of an IPv4 network at a site.",
		"For networks that several sites have: each advertises its own by a prefix of its "
		"number, 0 to 65535, and peers reach its hosts by IPv6 addresses in it. With a "
		"PREFIX alone, show the site and the network.",
		{}, cmd_4via6},
	{"mtu", "[PEER] | plan LAYERS", 0, 2,
		"Show which packets fit into the tunnel to each peer, or into tunnels within "
		"tunnels.",
		"For each peer, or the one with this name, public key or address behind it: the "
		"link, the bytes that the tunnel adds, the largest packet inside and what sets it. "
		"plan asks nobody; LAYERS goes from the link inward: eth0:1500,wg4,vxlan,wg6. The "
		"link has its MTU; "
		"a layer may have one, of its interface: wg4:1280. wg4 and wg6 are WireGuard over "
		"IPv4 and IPv6 (wg: over either), vxlan4 (or vxlan) and vxlan6 VXLAN, vlan a tag, "
		"relay4 and relay6 a peer relay, derp4 and derp6 DERP (1280 without an MTU). For "
		"each layer: the bytes it adds, the largest packet that travels in it, TCP's MSS, "
		"packets on the link for one such packet, and the share of the line that full TCP "
		"segments leave to the payload: Ethernet's framing and TCP's timestamps counted. "
		"An MTU that is too large is no mistake but said so, and the fragments counted.",
		{}, cmd_mtu},
	{"bench", "compare HOST HOST | serve [PORT]", 1, 3,
		"Compare what a TCP stream gets over two ways.",
		"Sends to two addresses, such as one host's in the network and in an overlay, by "
		"turns, three times each, and tells rates, segment sizes and what was sent again. "
		"There, 'tailgate bench serve' takes the stream, or any discard service; port 9 "
		"unless HOST:PORT or PORT says another. Ends with status 1 when the second has "
		"less than 0.75 of the first, 2 when one of them cannot be reached.",
		{{"--time", "TIME", "Of each stream, 2s by default."},
			{"--bind", "IP", "With serve: take streams to this address alone."}},
		cmd_bench},
	{"import", "FILE", 1, 1, "Turn a file of wg(8) or wg-quick(8) into tailgate.conf.",
		"What has no equivalent is named on standard error. Commands in the file are never "
		"run.",
		{{"--output", "FILE",
			 "Write to this new file, mode 0600; else to standard output."},
			{"--key-file", "FILE",
				"Put the private key into this new file, mode 0600."}},
		cmd_import},
	{"check", "FILE", 1, 1, "Look for mistakes in a tailgate.conf.", NULL, {}, cmd_check},
	{"genkey", "", 0, 0, "Print a new private key.", NULL, {}, cmd_genkey},
	{"pubkey", "", 0, 0, "Print the public key of the private key on standard input.", NULL, {},
		cmd_pubkey},
	{"version", "", 0, 0, "Print the version.", NULL, {}, cmd_version},
	{"help", "[COMMAND]", 0, 1, "Print the commands, or the options of one.", NULL, {},
		cmd_help},
	// Hidden from help: for the build.
	{"--man", "PAGE", 1, 1, NULL, NULL, {}, cmd_man},
};
const unsigned n_commands = sizeof(commands) / sizeof(commands[0]);

const struct cli_option global_options[] = {
	{"--socket", "PATH",
		"Talk to the daemon at this socket, by default " CLI_SOCKET_DEFAULT "."},
	{"--json", NULL, "Print JSON, for programs."},
};
const unsigned n_global_options = sizeof(global_options) / sizeof(global_options[0]);
