// Between the files of the judgement.
#pragma once

#include "control/cli/doctor_mtu.h"

struct judge {
	const struct doctor_mtu_facts *f;
	const struct stack *stack;
	json_t *findings;
	bool failed;
	const struct stack_link *flannel; // the VXLAN device; NULL: none
	const struct stack_link *tunnel;  // that carries it although it should not; NULL
	const struct stack_link *lan;	  // that carries it, or should; NULL: not known
};

// A finding with its evidence. steps: taken; NULL: none.
void doctor_mtu_note(struct judge *, const char *id, const char *severity, const char *check,
	json_t *steps, const char *meaning, const char *remedy, const char *evidence, ...)
	__attribute__((format(printf, 8, 9)));
// The command; NULL: the name is not one to put into a command.
json_t *doctor_mtu_set(const struct stack_link *, unsigned mtu);
// The command that has proxy pods start anew.
void doctor_mtu_restart_pods(json_t *steps);
// What flannel's pods are to have now: no more than fits below it. 0: there is no flannel.
uint16_t doctor_mtu_flannel_has(const struct judge *);
void doctor_mtu_judge_bridge(struct judge *, const struct stack_link *bridge);
