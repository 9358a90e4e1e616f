#include "control/cli/show.h"

static void show_step(FILE *out, const json_t *step)
{
	const char *drop = show_text(step, "drop");
	if (*drop != '\0') {
		fprintf(out, "%9.0f ns  %-12s DROPPED in %s: %s\n", show_number(step, "ns"), drop,
			show_text(step, "node"), show_text(step, "help"));
		return;
	}
	fprintf(out, "%9.0f ns  %-12s %5.0f B", show_number(step, "ns"), show_text(step, "node"),
		show_number(step, "len"));
	if (show_number(step, "segments") > 1)
		fprintf(out, " in %.0f segments", show_number(step, "segments"));
	fprintf(out, "  %s\n", show_text(step, "summary"));
}

void show_trace(FILE *out, const json_t *trace)
{
	const json_t *packets = json_object_get(trace, "packets");
	size_t i, k;
	json_t *packet, *step;
	json_array_foreach(packets, i, packet)
	{
		fprintf(out, "%spacket %zu: received on %s by worker %.0f\n", i > 0 ? "\n" : "",
			i + 1, show_text(packet, "port"), show_number(packet, "worker"));
		json_array_foreach(json_object_get(packet, "steps"), k, step) show_step(out, step);
		if (json_is_true(json_object_get(packet, "cut")))
			fputs("             ... further steps were not noted\n", out);
	}
	if (json_is_true(json_object_get(trace, "timed_out")))
		fprintf(out, "%zu of %.0f packets came in time\n", json_array_size(packets),
			show_number(trace, "requested"));
}
