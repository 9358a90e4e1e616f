#include "control/cli/cli.h"

const struct command commands[] = {
	{"status", "", 0, 0, "Show the gateway, its ports and its peers.",
		"A peer that is not up says why and what to do.", {}, cmd_status},
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
	{"reload", "", 0, 0, "Have the daemon read its configuration again.",
		"A file with a mistake changes nothing.", {}, cmd_reload},
	{"stop", "", 0, 0, "Stop the daemon in order.", NULL, {}, cmd_stop},
	{"metrics", "", 0, 0, "Print all counters as OpenMetrics text.", NULL, {}, cmd_metrics},
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
