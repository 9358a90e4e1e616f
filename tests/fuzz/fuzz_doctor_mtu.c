// Any bytes as flannel's file, as k3s', as a process, as counters and as what netlink delivered:
// the first ones say which. Whatever they make of the facts gets a judgement in which no command
// holds what a shell would read.
#include <stdlib.h>

#include "control/cli/doctor_mtu.h"
#include "tests/fuzz/fuzz.h"

enum { HEAD = 3 }; // bytes: how long the first, the second and the third are

static void check_finding(const json_t *finding)
{
	static const char *const names[] = {
		"id", "severity", "check", "evidence", "meaning", "remedy"};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		check_text(json_string_value(json_object_get(finding, names[i])), 512);
}

static void check_command(const char *text)
{
	unsigned quotes = 0;
	check_text(text, 512);
	check(strpbrk(text, "`\\<\n") == NULL);
	for (const char *c = text; *c != '\0'; c++)
		quotes += *c == '"';
	check(quotes % 2 == 0);
}

static void read_facts(struct doctor_mtu_facts *f, const uint8_t *data, size_t size)
{
	size_t n_env = data[0], n_k3s = data[1], n_proc = data[2];
	data += HEAD;
	size -= HEAD;
	n_env = n_env < size ? n_env : size;
	n_k3s = n_k3s < size - n_env ? n_k3s : size - n_env;
	n_proc = n_proc < size - n_env - n_k3s ? n_proc : size - n_env - n_k3s;
	char *const env = exact_copy(data, n_env), *const k3s = exact_copy(data + n_env, n_k3s);
	char *const proc = exact_copy(data + n_env + n_k3s, n_proc);
	const size_t n_dump = size - n_env - n_k3s - n_proc;
	uint8_t *const dump = exact_copy(data + size - n_dump, n_dump);
	if (n_env > 0)
		doctor_mtu_read_env(f, env, n_env);
	if (n_k3s > 0)
		doctor_mtu_read_k3s(f, k3s, n_k3s);
	(void)doctor_mtu_read_process(f, proc, n_proc);
	doctor_mtu_read_counts(&f->count, proc, n_proc);
	f->count_before.known = f->count.known;
	(void)!stack_feed(&f->stack, dump, n_dump);
	(void)!stack_feed_netnsid(dump, n_dump, &f->proxy[0]);
	f->n_proxies = 1;
	if (f->stack.n > 0)
		stack_feed_peer(&f->stack.link[0], dump, n_dump);
	free(env);
	free(k3s);
	free(proc);
	free(dump);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct doctor_mtu_facts facts;
	if (size < HEAD)
		return 0;
	memset(&facts, 0, sizeof(facts));
	read_facts(&facts, data, size);
	check(facts.flannel_iface[0] == '\0' || stack_is_plain_name(facts.flannel_iface));
	check(facts.stack.n <= STACK_LINKS_MAX);
	json_t *report = doctor_mtu_judge(&facts);
	check(report != NULL);
	size_t i;
	json_t *finding, *command;
	json_array_foreach(json_object_get(report, "findings"), i, finding) check_finding(finding);
	json_array_foreach(json_object_get(report, "commands"), i, command)
		check_command(json_string_value(command));
	json_decref(report);
	return 0;
}
