// The account of a plan as a table and as JSON.
#include <stdlib.h>

#include "control/cli/mtu_plan.h"
#include "control/cli/table.h"

static void put_layer(FILE *f, const char *name, const struct ledger_layer *l)
{
	fprintf(f, "%s\t%u\t%u\t%u\t", name, l->overhead, l->mtu, l->mss4);
	if (l->mss6 > 0)
		fprintf(f, "%u\t", l->mss6);
	else
		fputs("-\t", f);
	if (l->packets_x100 % 100 == 0)
		fprintf(f, "%u\t", l->packets_x100 / 100);
	else
		fprintf(f, "%.2f\t", l->packets_x100 / 100.0);
	fprintf(f, "%.1f %%\n", l->payload_permill / 10.0);
}

bool mtu_plan_show(FILE *out, const struct mtu_plan *p)
{
	char *text = NULL, note[MTU_NOTE_LEN];
	size_t len;
	FILE *f = open_memstream(&text, &len);
	if (f == NULL)
		return false;
	fputs("Layer\tAdds\tMTU\tMSS v4\tMSS v6\tPackets\tPayload\n", f);
	for (unsigned i = 0; i < p->n; i++)
		put_layer(f, p->name[i], &p->layer[i]);
	bool ok = fclose(f) == 0 && table_print(out, text, 4, 2);
	free(text);
	fprintf(out, "\nmtu inside: %u, %.1f %% of the %u of one tunnel on %s\n",
		p->layer[p->n - 1].mtu, ledger_capacity_permill(p->layer, p->n) / 10.0,
		ledger_inside(p->layer[0].mtu, LEDGER_WG), p->name[0]);
	for (unsigned i = 0; i < p->n; i++)
		if (*mtu_plan_note(p, i, note) != '\0')
			fprintf(out, "%s\n", note);
	return ok;
}

const char *mtu_due(enum ledger_source source)
{
	static const char *const due[LEDGER_SOURCES] = {
		[LEDGER_ROOM] = "room",
		[LEDGER_INTERFACE] = "interface",
		[LEDGER_ROUTE] = "route",
		[LEDGER_PROBE] = "probe",
		[LEDGER_ICMP] = "icmp",
	};
	return due[source];
}

static json_t *layer_json(const struct mtu_plan *p, unsigned i)
{
	char note[MTU_NOTE_LEN];
	const struct ledger_layer *l = &p->layer[i];
	mtu_plan_note(p, i, note);
	return json_pack("{s:s, s:i, s:o, s:i, s:s, s:i, s:o, s:i, s:i, s:f, s:f, s:s?}", //
		"layer", p->name[i], "overhead", l->overhead,				  //
		"room", l->room > 0 ? json_integer(l->room) : json_null(),		  //
		"mtu", l->mtu, "due_to", mtu_due(l->due), "mss_v4", l->mss4,		  //
		"mss_v6", l->mss6 > 0 ? json_integer(l->mss6) : json_null(),		  //
		"outer", (int)l->outer, "fragments", l->fragments,			  //
		"packets", l->packets_x100 / 100.0,					  //
		"payload_percent", l->payload_permill / 10.0,				  //
		"note", *note != '\0' ? note : NULL);
}

json_t *mtu_plan_json(const struct mtu_plan *p)
{
	const struct ledger_layer *last = &p->layer[p->n - 1];
	json_t *layers = json_array();
	for (unsigned i = 0; i < p->n; i++)
		json_array_append_new(layers, layer_json(p, i));
	return json_pack("{s:o, s:i, s:i, s:o, s:f, s:f, s:f}", "layers", layers,  //
		"mtu", last->mtu, "mss_v4", last->mss4,				   //
		"mss_v6", last->mss6 > 0 ? json_integer(last->mss6) : json_null(), //
		"packets", last->packets_x100 / 100.0,				   //
		"payload_percent", last->payload_permill / 10.0,		   //
		"capacity_percent", ledger_capacity_permill(p->layer, p->n) / 10.0);
}
