#include "control/default_port.h"

#include <errno.h>
#include <linux/route.h>

enum {
	LINE_LEN = 256,
};

// "eth0 00000000 0101A8C0 0003 0 0 100 00000000 0 0 0": interface, destination, gateway, flags, two
// counters, metric, mask.
static bool default4(const char *line, char name[static IFNAME_LEN], unsigned *metric)
{
	unsigned dst, gateway, flags, refs, use, mask;
	return sscanf(line, "%15s %x %x %x %u %u %u %x", name, &dst, &gateway, &flags, &refs, &use,
		       metric, &mask) == 8 &&
	       dst == 0 && mask == 0 && (flags & RTF_UP) && !(flags & RTF_REJECT);
}

// Destination, its length, source, its length, gateway, metric, two counters, flags, interface.
static bool default6(const char *line, char name[static IFNAME_LEN], unsigned *metric)
{
	char dst[33], src[33], gateway[33];
	unsigned dst_len, src_len, refs, use, flags;
	return sscanf(line, "%32s %x %32s %x %32s %x %x %x %x %15s", dst, &dst_len, src, &src_len,
		       gateway, metric, &refs, &use, &flags, name) == 10 &&
	       dst_len == 0 && (flags & RTF_UP) && !(flags & RTF_REJECT) && strcmp(name, "lo") != 0;
}

bool default_route_interface(FILE *table, bool v6, char name[static IFNAME_LEN])
{
	char line[LINE_LEN], found[IFNAME_LEN];
	unsigned metric, best = UINT32_MAX;
	bool any = false;
	while (fgets(line, sizeof(line), table)) {
		bool is = v6 ? default6(line, found, &metric) : default4(line, found, &metric);
		if (!is || (any && metric >= best))
			continue;
		any = true;
		best = metric;
		memcpy(name, found, IFNAME_LEN);
	}
	return any;
}

int default_port_add(struct config *c)
{
	static const char *const tables[] = {"/proc/net/route", "/proc/net/ipv6_route"};
	struct config_port *port = &c->ports[0];
	for (unsigned i = 0; i < 2; i++) {
		FILE *f = fopen(tables[i], "re");
		bool found = f && default_route_interface(f, i == 1, port->interface);
		if (f)
			fclose(f);
		if (!found)
			continue;
		memcpy(port->name, port->interface, IFNAME_LEN);
		c->n_ports = 1;
		return 0;
	}
	port->interface[0] = '\0';
	return -ENETUNREACH;
}
