// Any bytes as flannel's file, as k3s' and as what netlink delivered: the first says which.
// Whatever they make of the facts gets a judgement in which no command holds what a shell would
// read.
#include <stdlib.h>

#include "control/cli/doctor_mtu.h"
#include "tests/fuzz/fuzz.h"

static void check_finding(const json_t *finding)
{
	static const char *const names[] = {
		"id", "severity", "check", "evidence", "meaning", "remedy"};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		check_text(json_string_value(json_object_get(finding, names[i])), 512);
	size_t i;
	json_t *command;
	json_array_foreach(json_object_get(finding, "commands"), i, command)
	{
		const char *text = json_string_value(command);
		check_text(text, 512);
		check(strpbrk(text, "`\\<\"\n") == NULL);
	}
}

static void read_facts(struct doctor_mtu_facts *f, const uint8_t *data, size_t size)
{
	size_t n_env = data[0], n_k3s = data[1];
	data += 2;
	size -= 2;
	n_env = n_env < size ? n_env : size;
	n_k3s = n_k3s < size - n_env ? n_k3s : size - n_env;
	char *const env = exact_copy(data, n_env), *const k3s = exact_copy(data + n_env, n_k3s);
	uint8_t *const dump = exact_copy(data + n_env + n_k3s, size - n_env - n_k3s);
	if (n_env > 0)
		doctor_mtu_read_env(f, env, n_env);
	if (n_k3s > 0)
		doctor_mtu_read_k3s(f, k3s, n_k3s);
	(void)!stack_feed(&f->stack, dump, size - n_env - n_k3s);
	free(env);
	free(k3s);
	free(dump);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct doctor_mtu_facts facts;
	if (size < 2)
		return 0;
	memset(&facts, 0, sizeof(facts));
	read_facts(&facts, data, size);
	check(facts.flannel_iface[0] == '\0' || stack_is_plain_name(facts.flannel_iface));
	check(facts.stack.n <= STACK_LINKS_MAX);
	json_t *report = doctor_mtu_judge(&facts);
	check(report != NULL);
	size_t i;
	json_t *finding;
	json_array_foreach(json_object_get(report, "findings"), i, finding) check_finding(finding);
	json_decref(report);
	return 0;
}
