#include "dataplane/base/keytext.h"

#include <errno.h>
#include <sodium.h>

static const char *const prefixes[KEY_KINDS] = {
	[KEY_NODE] = "nodekey:",
	[KEY_DISCO] = "discokey:",
	[KEY_MACHINE] = "mkey:",
	[KEY_CHALLENGE] = "chalpub:",
	[KEY_PRIVATE] = "privkey:",
};

int keytext_parse_hex(const char *hex, struct key *out)
{
	struct key key;
	size_t len = 0;

	if (strlen(hex) != KEYTEXT_HEX_LEN)
		return -EINVAL;
	if (sodium_hex2bin(key.bytes, KEY_LEN, hex, KEYTEXT_HEX_LEN, NULL, &len, NULL) ||
		len != KEY_LEN)
		return -EINVAL;
	*out = key;
	sodium_memzero(&key, sizeof(key));
	return 0;
}

int keytext_parse(enum key_kind kind, const char *text, struct key *out)
{
	const size_t prefix_len = strlen(prefixes[kind]);

	if (strncmp(text, prefixes[kind], prefix_len) != 0)
		return -EINVAL;
	return keytext_parse_hex(text + prefix_len, out);
}

const char *keytext_format(enum key_kind kind, const struct key *key, char text[static KEYTEXT_MAX])
{
	const size_t prefix_len = strlen(prefixes[kind]);

	memcpy(text, prefixes[kind], prefix_len);
	sodium_bin2hex(text + prefix_len, KEYTEXT_HEX_LEN + 1, key->bytes, KEY_LEN);
	return text;
}
