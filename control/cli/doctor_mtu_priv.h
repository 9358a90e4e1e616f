// Between the files of the judgement.
#pragma once

#include "control/cli/doctor_mtu.h"
#include "dataplane/wire/ledger.h"

enum {
	DOCTOR_MTU_LAN = 1500,	   // Ethernet's, where the LAN's interface is not known
	DOCTOR_MTU_TEXT_LEN = 512, // of an evidence, of a command
};

struct judge {
	const struct doctor_mtu_facts *f;
	const struct stack *stack;
	json_t *findings;
	bool failed;
	const struct stack_link *flannel; // the VXLAN device; NULL: none
	const struct stack_link *lower;	  // that carries it; NULL: not known
	const struct stack_link *tunnel;  // lower, if it is one and should not be; NULL
	const struct stack_link *lan;	  // that carries it, or should; NULL: not known
	bool tunnels;			  // there are some, or overlays
	// MTUs of flannel's network: what fits now; what it is to have, once on the LAN. 0: none.
	uint16_t has, want;

	// What mends it.
	bool edit;    // k3s' file
	bool restart; // k3s: flannel starts anew
	bool pods;    // start anew
	json_t *sets; // commands for single interfaces
};

// A finding with its evidence.
void doctor_mtu_note(struct judge *, const char *id, const char *severity, const char *check,
	const char *meaning, const char *remedy, const char *evidence, ...)
	__attribute__((format(printf, 7, 8)));
// Add a command, unless the name is not one to put into a command.
void doctor_mtu_set(struct judge *, const struct stack_link *, unsigned mtu);
// Whether a link is WireGuard in one of its forms.
bool doctor_mtu_is_tunnel(const struct stack_link *);
enum ledger_kind doctor_mtu_vxlan_kind(const struct stack_link *);
static inline uint16_t doctor_mtu_of(const struct stack_link *l)
{
	return l->mtu < UINT16_MAX ? l->mtu : UINT16_MAX;
}

void doctor_mtu_judge_k3s(struct judge *);
void doctor_mtu_judge_env(struct judge *);
void doctor_mtu_judge_bridge(struct judge *, const struct stack_link *bridge);
void doctor_mtu_judge_nested(struct judge *);
void doctor_mtu_judge_symptoms(struct judge *);
// The commands, in order, after all judgements. NULL: out of memory.
json_t *doctor_mtu_steps(const struct judge *) must_check;
