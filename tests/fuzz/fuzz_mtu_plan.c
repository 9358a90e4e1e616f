// Any text as a stack of layers: refused in a line fit for a terminal, or an account whose sums
// hold.
#include "control/cli/mtu_plan.h"
#include "tests/fuzz/fuzz.h"

static void check_layer(const struct mtu_plan *p, unsigned i)
{
	const struct ledger_layer *l = &p->layer[i];
	char note[MTU_NOTE_LEN];
	check_text(p->name[i], MTU_NAME_LEN);
	check_text(mtu_plan_note(p, i, note), MTU_NOTE_LEN);
	check(l->mtu >= LEDGER_MTU_MIN4);
	check(l->mss4 == l->mtu - 40);
	check(l->mss6 == 0 || l->mss6 == l->mtu - 60);
	check(l->fragments >= 1 && l->payload_permill < 1000);
	if (i > 0 && l->fragments == 1 && l->room != 0 && l->kind != LEDGER_VLAN)
		check(l->outer <= p->layer[i - 1].mtu);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mtu_plan plan;
	char err[CLI_ERROR_LEN] = "", *text = exact_text(data, size), *shown = NULL;
	size_t len;
	if (mtu_plan_parse(text, &plan, err) < 0) {
		check_text(err, sizeof(err));
		check(*err != '\0');
	} else {
		FILE *out = open_memstream(&shown, &len);
		check(plan.n >= 1 && plan.n <= LEDGER_LAYERS_MAX);
		for (unsigned i = 0; i < plan.n; i++)
			check_layer(&plan, i);
		check(out && mtu_plan_show(out, &plan));
		fclose(out);
		json_t *json = mtu_plan_json(&plan);
		check(json);
		json_decref(json);
		free(shown);
	}
	free(text);
	return 0;
}
