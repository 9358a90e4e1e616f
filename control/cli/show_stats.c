#include "control/cli/show.h"

// Name, value and help of each count that is not zero, or of all.
static void show_counts(FILE *out, const json_t *counts, const char *title, bool all)
{
	size_t i, shown = 0;
	json_t *count;
	fprintf(out, "%s\n", title);
	json_array_foreach(counts, i, count)
	{
		if (!all && show_number(count, "value") == 0)
			continue;
		fprintf(out, "  %14.0f  %-24s %s\n", show_number(count, "value"),
			show_text(count, "name"), show_text(count, "help"));
		shown++;
	}
	if (shown == 0)
		fputs("  none\n", out);
}

static double value_of(const json_t *counts, const char *name)
{
	size_t i;
	json_t *count;
	json_array_foreach(counts, i, count) if (strcmp(show_text(count, "name"), name) ==
						 0) return show_number(count, "value");
	return 0;
}

static void show_supers(FILE *out, const json_t *counters)
{
	static const struct {
		const char *what, *parts, *wholes;
	} averages[] = {
		{"segments per super-packet before encryption", "segments_made",
			"supers_segmented"},
		{"segments per super-packet after decryption", "segments_coalesced",
			"supers_coalesced"},
		{"WireGuard datagrams per super-packet sent", "datagrams_batched", "batches"},
	};
	fputs("\nsuper-packets\n", out);
	for (unsigned i = 0; i < sizeof(averages) / sizeof(averages[0]); i++) {
		double wholes = value_of(counters, averages[i].wholes);
		double parts = value_of(counters, averages[i].parts);
		fprintf(out, "  %14.1f  %s\n", wholes > 0 ? parts / wholes : 0, averages[i].what);
	}
}

static void show_nodes(FILE *out, const json_t *nodes, bool all)
{
	size_t i;
	json_t *node;
	fprintf(out, "\n%-16s %14s %14s %14s\n", "node", "packets", "packets/call",
		"cycles/packet");
	json_array_foreach(nodes, i, node)
	{
		double packets = show_number(node, "packets"), calls = show_number(node, "calls");
		if (!all && packets == 0)
			continue;
		fprintf(out, "%-16s %14.0f %14.1f %14.0f\n", show_text(node, "name"), packets,
			calls > 0 ? packets / calls : 0,
			packets > 0 ? show_number(node, "cycles") / packets : 0);
	}
}

enum {
	BURST_CLASSES = 8,
	BAR_LEN = 40,
};

// Bursts of 1, 2-3, 4-7, ... packets, all workers together.
static void show_bursts(FILE *out, const json_t *workers)
{
	static const char bar[BAR_LEN + 1] = "########################################";
	double sum[BURST_CLASSES] = {}, total = 0;
	char range[32];
	size_t i;
	json_t *worker;
	json_array_foreach(workers, i, worker)
	{
		const json_t *bursts = json_object_get(worker, "burst_packets");
		for (unsigned k = 0; k < BURST_CLASSES; k++) {
			sum[k] += json_number_value(json_array_get(bursts, k));
			total += json_number_value(json_array_get(bursts, k));
		}
	}
	fputs("\npackets per receive burst\n", out);
	for (unsigned k = 0; k < BURST_CLASSES; k++) {
		if (k == 0)
			snprintf(range, sizeof(range), "1");
		else
			snprintf(range, sizeof(range), "%u-%u", 1u << k, (2u << k) - 1);
		if (sum[k] > 0)
			fprintf(out, "  %8s %14.0f  %.*s\n", range, sum[k],
				(int)(BAR_LEN * sum[k] / total), bar);
	}
}

static void show_workers(FILE *out, const json_t *workers)
{
	size_t i;
	json_t *worker;
	fprintf(out, "\n%-16s %14s %14s %14s\n", "worker", "rounds", "empty", "sleeps");
	json_array_foreach(workers, i, worker) fprintf(out, "%-16.0f %14.0f %14.0f %14.0f\n",
		show_number(worker, "id"), show_number(worker, "rounds"),
		show_number(worker, "empty_rounds"), show_number(worker, "sleeps"));
}

static void show_ports(FILE *out, json_t *ports, bool all)
{
	size_t i;
	json_t *port, *value;
	const char *name;
	json_array_foreach(ports, i, port)
	{
		fprintf(out, "\nport %s (%s)\n", show_text(port, "name"), show_text(port, "kind"));
		json_object_foreach(port, name,
			value) if (json_is_number(value) && (all || json_number_value(value) > 0))
			fprintf(out, "  %14.0f  %s\n", json_number_value(value), name);
	}
}

static void show_buffers(FILE *out, const json_t *buffers)
{
	size_t i;
	json_t *pool;
	fprintf(out, "\n%-16s %14s %14s\n", "packet buffers", "in use", "size");
	json_array_foreach(buffers, i, pool) fprintf(out, "%-16s %14.0f %14.0f\n",
		show_text(pool, "name"), show_number(pool, "in_use"), show_number(pool, "size"));
}

void show_stats(FILE *out, const json_t *stats, bool all)
{
	show_counts(out, json_object_get(stats, "drops"), "drops", all);
	show_counts(out, json_object_get(stats, "counters"), "\ncounters", all);
	show_counts(out, json_object_get(stats, "handshakes"), "\nhandshakes", all);
	show_supers(out, json_object_get(stats, "counters"));
	show_bursts(out, json_object_get(stats, "workers"));
	show_nodes(out, json_object_get(stats, "nodes"), all);
	show_workers(out, json_object_get(stats, "workers"));
	show_ports(out, json_object_get(stats, "ports"), all);
	show_buffers(out, json_object_get(stats, "buffers"));
}
