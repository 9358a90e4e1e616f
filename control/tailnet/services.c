#include "control/tailnet/services.h"

#include <sodium.h>
#include <stdlib.h>

const struct nm_service *tn_service_assigned(const struct tn_services_spec *spec, const char *name)
{
	for (uint32_t i = 0; i < spec->n_assigned; i++) {
		if (strcmp(spec->assigned[i].name, name) == 0)
			return &spec->assigned[i];
	}
	return NULL;
}

// -- for the workers ------------------------------------------------------------------------------

static struct nat_service at(const struct ip_addr *vip, const struct config_service *c)
{
	struct nat_service s = {
		.vip = *vip,
		.port_first = c->first,
		.port_last = c->last,
		.proto = c->proto,
		.n_backends = (uint8_t)c->n_backends,
	};
	memcpy(s.backend, c->backend, c->n_backends * sizeof(s.backend[0]));
	return s;
}
static_assert((unsigned)CONFIG_BACKENDS_MAX == (unsigned)NAT_BACKENDS_MAX);
static_assert((CONFIG_SERVICES_MAX + NM_SERVICES_MAX) * NM_SERVICE_ADDRS_MAX <=
	      (unsigned)NAT_SERVICES_MAX);

uint32_t tn_services_compile(const struct tn_services_spec *spec, struct nat_service *out)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < spec->config->count; i++) {
		const struct config_service *c = &spec->config->list[i];
		const struct nm_service *s = tn_service_assigned(spec, c->name);
		for (uint32_t j = 0; s && j < s->n_addrs; j++)
			out[n++] = at(&s->addrs[j], c);
	}
	for (uint32_t i = 0; i < spec->n_assigned; i++) {
		for (uint32_t j = 0; j < spec->assigned[i].n_addrs; j++)
			out[n++] = (struct nat_service){
				.vip = spec->assigned[i].addrs[j], .port_last = UINT16_MAX};
	}
	return n;
}

// -- for the server -------------------------------------------------------------------------------

const char *tn_service_ports(const struct config_service *c, char text[static 24])
{
	const char *proto = c->proto == CONFIG_PROTO_TCP ? "tcp" : "udp";
	if (c->proto == 0)
		snprintf(text, 24, "*");
	else if (c->first == c->last)
		snprintf(text, 24, "%s:%u", proto, c->first);
	else
		snprintf(text, 24, "%s:%u-%u", proto, c->first, c->last);
	return text;
}

static json_t *find(const json_t *list, const char *name)
{
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)list, i, one)
	{
		if (strcmp(json_string_value(json_object_get(one, "Name")), name) == 0)
			return one;
	}
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Every name once, sorted, into names; how many.
static uint32_t names_of(const struct tn_services_spec *spec, const char **names)
{
	uint32_t n = 0, kept = 0;
	size_t i;
	json_t *text;
	for (; n < spec->config->count; n++)
		names[n] = spec->config->list[n].name;
	json_array_foreach((json_t *)spec->advertised, i, text)
	{
		if (json_is_string(text))
			names[n++] = json_string_value(text);
	}
	if (n)
		qsort(names, n, sizeof(names[0]), by_name);
	for (uint32_t j = 0; j < n; j++) {
		if (kept == 0 || strcmp(names[kept - 1], names[j]) != 0)
			names[kept++] = names[j];
	}
	return kept;
}

// The order of members is Go's: the hash goes by it.
json_t *tn_services_list(const struct tn_services_spec *spec)
{
	const size_t room = spec->config->count + json_array_size(spec->advertised) + 1;
	const char **names = mem_alloc(room * sizeof(names[0]));
	uint32_t n = names_of(spec, names);
	json_t *list = json_array();
	char text[24];
	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s,s:n,s:b}", "Name", names[i], "Ports",
						    "Active", !spec->draining));
	free(names);
	for (uint32_t i = 0; i < spec->config->count; i++) {
		const struct config_service *c = &spec->config->list[i];
		json_t *one = find(list, c->name), *ports = json_object_get(one, "Ports");
		if (json_is_null(ports)) {
			ports = json_array();
			json_object_set_new(one, "Ports", ports);
		}
		json_array_append_new(ports, json_string(tn_service_ports(c, text)));
	}
	return list;
}

void tn_services_hash(const json_t *list, char out[static TN_SERVICES_HASH_LEN])
{
	uint8_t hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state h;
	out[0] = '\0';
	char *text = json_array_size(list) ? json_dumps(list, JSON_COMPACT) : NULL;
	if (!text)
		return;
	crypto_hash_sha256_init(&h);
	crypto_hash_sha256_update(&h, (const uint8_t *)text, strlen(text));
	crypto_hash_sha256_update(&h, (const uint8_t *)"\n", 1); // Go's encoder ends with it
	crypto_hash_sha256_final(&h, hash);
	sodium_bin2hex(out, TN_SERVICES_HASH_LEN, hash, sizeof(hash));
	free(text);
}
