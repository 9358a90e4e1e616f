// 'doctor mtu': whether the MTUs of this host's overlays and of what carries them fit together.
// The files are read and the facts judged by pure functions; doctor_mtu_report() gets the facts and
// changes nothing. Needs no daemon.
#pragma once

#include "control/cli/cli.h"
#include "control/kernel/stack.h"

enum {
	DOCTOR_MTU_FILE_MAX = 65536, // bytes of a file that are looked at
	DOCTOR_MTU_LINE_MAX = 256,   // longer lines are passed over
};

enum doctor_mtu_file {
	DOCTOR_MTU_ABSENT,
	DOCTOR_MTU_READ,
	DOCTOR_MTU_BAD, // not readable, or what is asked for stands there in a form we do not take
};

struct doctor_mtu_facts {
	struct stack stack;
	enum doctor_mtu_file env, k3s;
	uint16_t flannel_mtu;		// of subnet.env; 0: not there
	char flannel_iface[IFNAME_LEN]; // of k3s' config.yaml; "": not there
	struct ip_addr node_ip;		// the first one; IP_NONE: not there
	bool agent;			// k3s-agent is installed, and not the server
};

// /run/flannel/subnet.env: FLANNEL_MTU=1450. Any bytes; the last line counts, as in a shell.
void doctor_mtu_read_env(struct doctor_mtu_facts *, const char *text, size_t len);
// /etc/rancher/k3s/config.yaml: flannel-iface and node-ip of the outermost level. Any bytes.
void doctor_mtu_read_k3s(struct doctor_mtu_facts *, const char *text, size_t len);

// {"findings": [...]} as the daemon's doctor has them, and with "commands", in order, where
// commands mend it. NULL: out of memory.
json_t *doctor_mtu_judge(const struct doctor_mtu_facts *) must_check;
// Leave out what is well or only to be known. [for --verify]
void doctor_mtu_keep_wrong(json_t *report);
// Of this host; files are looked for under root ("": /). 0; or -errno and one line in err.
int doctor_mtu_report(const char *root, json_t **report, char err[static CLI_ERROR_LEN]) must_check;
