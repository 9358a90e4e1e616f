// 'doctor mtu': whether the MTUs of this host's overlays and of what carries them fit together.
// The files are read and the facts judged by pure functions; doctor_mtu_report() gets the facts and
// changes nothing. Needs no daemon.
#pragma once

#include "control/cli/cli.h"
#include "control/kernel/stack.h"

enum {
	DOCTOR_MTU_FILE_MAX = 65536, // bytes of a file that are looked at
	DOCTOR_MTU_LINE_MAX = 256,   // longer lines are passed over
	DOCTOR_MTU_WATCH_MS = 500,   // between the two looks at counters
	DOCTOR_MTU_PROXIES_MAX = 256,
};

enum doctor_mtu_file {
	DOCTOR_MTU_ABSENT,
	DOCTOR_MTU_READ,
	DOCTOR_MTU_BAD, // not readable, or what is asked for stands there in a form we do not take
};

// What the kernel counts in this network namespace, IPv4 and IPv6 together.
enum doctor_mtu_count {
	COUNT_SENT,	  // TCP segments, without those
	COUNT_SENT_AGAIN, // that were sent again
	COUNT_CUT,	  // fragments made
	COUNT_REFUSED,	  // packets too large that must not be cut
	COUNT_LOST,	  // packets of which not all fragments came
	COUNTS,
};

struct doctor_mtu_counts {
	uint64_t value[COUNTS];
	unsigned known; // bits by enum doctor_mtu_count
};

struct doctor_mtu_facts {
	struct stack stack;
	enum doctor_mtu_file env, k3s;
	uint16_t flannel_mtu;		// of subnet.env; 0: not there
	char flannel_iface[IFNAME_LEN]; // of k3s' config.yaml; "": not there
	struct ip_addr node_ip;		// the first one; IP_NONE: not there
	bool agent;			// k3s-agent is installed, and not the server
	unsigned n_userspace;		// running tailscaled without an interface
	// Of running tailscaled in other network namespaces: stack_link.netnsid.
	uint32_t proxy[DOCTOR_MTU_PROXIES_MAX];
	unsigned n_proxies;

	// DOCTOR_MTU_WATCH_MS before the other facts, and with them.
	struct stack before;
	struct doctor_mtu_counts count_before, count;
};

// /run/flannel/subnet.env: FLANNEL_MTU=1450. Any bytes; the last line counts, as in a shell. A line
// without its end is of a file that is being written.
void doctor_mtu_read_env(struct doctor_mtu_facts *, const char *text, size_t len);
// /etc/rancher/k3s/config.yaml: flannel-iface and node-ip of the outermost level. Any bytes.
void doctor_mtu_read_k3s(struct doctor_mtu_facts *, const char *text, size_t len);
// /proc/PID/cmdline, its arguments each with a zero. Any bytes. Whether it is a tailscaled.
bool doctor_mtu_read_process(struct doctor_mtu_facts *, const char *text, size_t len);
// /proc/net/snmp, then snmp6, to add up. Any bytes.
void doctor_mtu_read_counts(struct doctor_mtu_counts *, const char *text, size_t len);
// The files under root of the above, but for counts. 0 or -ENOMEM.
int doctor_mtu_read_files(const char *root, struct doctor_mtu_facts *) must_check;

// {"findings": [...], "commands": [...]}: findings as the daemon's doctor has them, and what mends
// them, in order. NULL: out of memory.
json_t *doctor_mtu_judge(const struct doctor_mtu_facts *) must_check;
// Leave out what is well or only to be known, but for flannel's file, its bridge, the pods and
// proxies. [for --verify]
void doctor_mtu_keep_verified(json_t *report);
// Of this host; files are looked for under root ("": /). Takes DOCTOR_MTU_WATCH_MS. 0; or -errno
// and one line in err.
int doctor_mtu_report(const char *root, json_t **report, char err[static CLI_ERROR_LEN]) must_check;
