#include "config/config.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "config/keys.h"

struct config *config_create(void)
{
	struct config *c = calloc(1, sizeof(*c));
	if (c)
		config_key_defaults(SECTION_TOP, c);
	return c;
}

int config_tailnet_mtu(const char *text, uint32_t *mtu)
{
	char *end = NULL;
	*mtu = CONFIG_TAILNET_MTU;
	if (!text)
		return 0;
	unsigned long n = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
	if (!end || *end != '\0' || n < CONFIG_MTU_MIN || n > CONFIG_MTU_MAX)
		return -EINVAL;
	*mtu = (uint32_t)n;
	return 0;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; i < c->n_peers; i++) {
		free(c->peers[i].allowed_ips);
		sodium_memzero(&c->peers[i].preshared_key, sizeof(struct key));
	}
	free(c->peers);
	free(c->peers_by_key);
	sodium_memzero(&c->private_key, sizeof(c->private_key));
	free(c);
}

const struct config_peer *config_peer_find(const struct config *c, const struct key *public_key)
{
	uint32_t low = 0, high = c->n_peers;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct config_peer *p = &c->peers[c->peers_by_key[middle]];
		int order = memcmp(public_key->bytes, p->public_key.bytes, KEY_LEN);
		if (order == 0)
			return p;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const char *config_error_format(
	const struct config_error *err, char text[static CONFIG_ERROR_TEXT_LEN])
{
	char line[16] = "";
	if (err->line > 0)
		snprintf(line, sizeof(line), ":%u", err->line);
	snprintf(text, CONFIG_ERROR_TEXT_LEN, "%s%s: %s%s%s", err->file, line, err->key,
		err->key[0] ? ": " : "", err->message);
	return text;
}
