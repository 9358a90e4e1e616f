// What an app connector has learned as JSON, for the disk and for whoever asks.
#include <errno.h>

#include "control/dns/wire.h"
#include "control/tailnet/appc_parts.h"
#include "dataplane/base/mem.h"

json_t *appc_domains_json(const struct appc *a)
{
	json_t *const domains = json_object();
	char text[ADDR_TEXT_LEN];

	for (uint32_t i = 0; i < a->n_names; i++) {
		const struct app_name *const n = a->names[i];
		json_t *const addrs = json_array();
		for (uint32_t j = 0; j < n->n; j++)
			json_array_append_new(
				addrs, json_string(ip_addr_format(&n->addrs[j], text)));
		json_object_set_new(domains, n->name, addrs);
	}
	return domains;
}

json_t *appc_json(const struct appc *a)
{
	json_t *const preset = json_array(), *const wildcards = json_array();
	char text[PREFIX_TEXT_LEN];

	for (uint32_t i = 0; i < a->n_preset; i++)
		json_array_append_new(preset, json_string(ip_prefix_format(&a->preset[i], text)));
	for (uint32_t i = 0; i < a->wildcards.n; i++)
		json_array_append_new(wildcards, json_string(a->wildcards.at[i]));
	return json_pack("{s:o,s:o,s:o}", "Control", preset, "Domains", appc_domains_json(a),
		"Wildcards", wildcards);
}

// Names and addresses of a saved state into a; false: it is none.
static bool restore_domains(struct appc *a, const json_t *domains)
{
	const char *name;
	char plain[DNS_NAME_LEN];
	json_t *addrs, *v;
	size_t i;

	if (!json_is_object(domains) || json_object_size(domains) > APPC_ROUTES_MAX)
		return false;
	json_object_foreach((json_t *)domains, name, addrs)
	{
		if (dns_name_read(name, plain) < 0 || !plain[0] || !json_is_array(addrs))
			return false;
		struct app_name *const n = appc_name(a, plain);
		json_array_foreach(addrs, i, v)
		{
			const char *const text = json_string_value(v);
			struct ip_addr addr;
			if (!text || ip_addr_parse(text, &addr) < 0 ||
				a->n_learned == APPC_LEARNED_MAX)
				return false;
			const struct ip_prefix p = {addr, (uint8_t)ip_addr_bits(&addr)};
			if (appc_may_advertise(&p) && !appc_knows(n, &addr))
				appc_put_addr(a, n, &addr);
		}
	}
	return true;
}

static bool restore_preset(struct appc *a, const json_t *routes)
{
	json_t *v;
	size_t i;

	if (!json_is_array(routes) || json_array_size(routes) > APPC_PRESET_MAX)
		return false;
	a->preset = mem_alloc((json_array_size(routes) + 1) * sizeof(a->preset[0]));
	json_array_foreach((json_t *)routes, i, v)
	{
		const char *const text = json_string_value(v);
		if (!text || ip_prefix_parse(text, &a->preset[a->n_preset]) < 0)
			return false;
		a->n_preset += appc_may_advertise(&a->preset[a->n_preset]);
	}
	return true;
}

static bool restore_wildcards(struct appc *a, const json_t *wildcards)
{
	char plain[DNS_NAME_LEN];
	json_t *v;
	size_t i;

	if (!json_is_array(wildcards) || json_array_size(wildcards) > APPC_DOMAINS_MAX)
		return false;
	a->wildcards.at = mem_alloc((json_array_size(wildcards) + 1) * sizeof(char *));
	json_array_foreach((json_t *)wildcards, i, v)
	{
		const char *const text = json_string_value(v);
		if (!text || dns_name_read(text, plain) < 0 || !plain[0])
			return false;
		appc_put_name(&a->wildcards, plain);
	}
	appc_names_finish(&a->wildcards);
	return true;
}

int appc_restore(struct appc *a, const json_t *saved)
{
	if (restore_domains(a, json_object_get(saved, "Domains")) &&
		restore_preset(a, json_object_get(saved, "Control")) &&
		restore_wildcards(a, json_object_get(saved, "Wildcards"))) {
		// Until it is configured nothing more is learned, and nothing is forgotten.
		return 0;
	}
	struct appc *const empty = appc_create(), mine = *a;
	*a = *empty;
	*empty = mine;
	appc_destroy(empty);
	return -EBADMSG;
}
