#include "control/eal.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dataplane/base/log.h"

enum {
	ARGS_MAX = 32,
	HUGE_PAGE_KB = 2048,
	LCORES_TEXT_LEN = 64 + CONFIG_WORKERS_MAX * 16,
};

// Free 2 MiB pages in MiB.
static unsigned huge_free_mb(void)
{
	unsigned pages = 0;
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	if (!f)
		return 0;
	if (fscanf(f, "%u", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * (HUGE_PAGE_KB / 1024);
}

// Where threads may run: all CPUs that we were given, or the one that the configuration says.
static void lcores_text(const struct config *c, char *text, size_t size)
{
	char all[256];
	cpu_set_t set;
	size_t n = 0, at = 0;
	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	for (int i = 0; i < CPU_SETSIZE && n + 8 < sizeof(all); i++) {
		if (CPU_ISSET(i, &set))
			n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%d", n ? "," : "", i);
	}
	at += (size_t)snprintf(text, size, "0@(%s)", all);
	for (unsigned i = 0; i < c->workers && at < size; i++) {
		if (c->n_cpus)
			at += (size_t)snprintf(text + at, size - at, ",%u@%u", i + 1, c->cpus[i]);
		else
			at += (size_t)snprintf(text + at, size - at, ",%u@(%s)", i + 1, all);
	}
}

static bool any_pci(const struct config *c)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		unsigned a, b, d, f;
		if (sscanf(c->ports[i].device, "%x:%x:%x.%x", &a, &b, &d, &f) == 4)
			return true;
	}
	return false;
}

bool eal_transparent(const struct config *c)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		if (!c->ports[i].interface[0]) // an owned one
			return false;
	}
	return c->hugepages != CONFIG_HUGEPAGES_OFF && !rte_eal_has_hugepages();
}

int eal_start(const struct config *c, char err[static 256])
{
	char lcores[LCORES_TEXT_LEN], memory[16];
	unsigned free_mb = c->hugepages == CONFIG_HUGEPAGES_OFF ? 0 : huge_free_mb();
	bool huge = free_mb >= c->memory_mb;
	if (!huge && c->hugepages == CONFIG_HUGEPAGES_REQUIRE) {
		snprintf(err, 256,
			"hugepages = \"require\", but %u MiB are free of %u: sysctl "
			"vm.nr_hugepages=%u",
			free_mb, c->memory_mb, c->memory_mb / 2);
		return -ENOMEM;
	}
	lcores_text(c, lcores, sizeof(lcores));
	snprintf(memory, sizeof(memory), "%u", c->memory_mb);
	// 22.11 refuses --in-memory without hugepages; --no-shconf leaves no file behind either.
	char *argv[ARGS_MAX] = {"tailgated", huge ? "--in-memory" : "--no-shconf", "--no-telemetry",
		"--lcores", lcores, "-m", memory, "--log-level", "warning"};
	int argc = 9;
	if (!huge)
		argv[argc++] = "--no-huge";
	if (!any_pci(c))
		argv[argc++] = "--no-pci";
	if (rte_eal_init(argc, argv) < 0) {
		snprintf(err, 256,
			"DPDK did not start: %s; see its lines above, or try hugepages = \"off\"",
			rte_strerror(rte_errno));
		return -(rte_errno ? rte_errno : EINVAL);
	}
	log_info("eal", "%u MiB of packet memory %s", c->memory_mb,
		huge		     ? "in hugepages"
		: eal_transparent(c) ? "in transparent hugepages, where the kernel has them"
				     : "without hugepages");
	return 0;
}

void eal_stop(void)
{
	rte_eal_cleanup();
}
