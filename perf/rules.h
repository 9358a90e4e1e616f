// What rules.c asks of rte_acl, which it measures the packet filter against.
#pragma once

#include "dataplane/table/rules.h"

struct acl; // one family's rules

// NULL: they are too many once ranges are cut into prefixes and sources multiplied with
// destinations, or rte_acl cannot build them. *lines: how many they are.
struct acl *acl_create(const struct rules_spec *, uint8_t family, size_t *lines) must_check;
void acl_destroy(struct acl *);
// n queries at once; allowed[i] is not 0 for those that a rule lets in.
void acl_prepare(struct acl *, const struct rule_query *queries, unsigned n);
void acl_classify(struct acl *, uint32_t *allowed, unsigned n);
