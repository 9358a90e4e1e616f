// Bytes of a coordination server: before the handshake as they are; after it (the recorded one of
// tests/vectors/ts2021.json) also sealed as records, so that the early payload's parser is reached.
#include <sodium.h>

#include "control/coord/ts2021.h"
#include "tests/fuzz/fuzz.h"

static const char machine[] =
	"\x08\x4d\xb7\xa4\x80\x76\x72\x53\xac\xa3\x4f\xe4\x03\x7f\xb7\x9d\x68\x6b\xad\x46\x53\x75"
	"\x73\x96\xe8\x3b\x3a\xb4\xa3\xe8\x8d\x57";
static const char server[] =
	"\x55\xdf\x3a\xa6\xe0\xea\x23\x4d\x92\x50\x9f\x4f\x1a\x77\xd6\xfc\x78\x33\x25\x3c\x1a\xbd"
	"\xb2\x3c\xe7\xc4\x79\x37\xff\x95\x76\x08";
static const char ephemeral[] =
	"\x18\x68\x56\x89\xdb\x20\xa7\x46\xa0\x70\x6b\x23\x0f\x8e\x9f\x58\x54\xec\x7a\x21\xff\x31"
	"\xcf\x68\x54\xee\x9c\x3a\xa5\x31\xec\x57";
static const char response[] =
	"\x02\x00\x30\x79\x2b\x8b\x0a\x49\x15\x57\x67\x5d\x75\xfb\x73\x49\xca\x0e\x2a\x9c\x01\x8d"
	"\x59\xb4\xde\xa3\x96\x93\x03\xc0\x20\x7d\xbc\x42\x0b\xf9\x57\xf3\xa8\x5a\xb9\x73\x29\x5b"
	"\x72\x70\x0e\x06\xcf\x0b\x95";
static const char key_s2c[] =
	"\xfa\x32\xf4\xd2\xd4\x6c\x62\xc0\xf7\x71\x31\x1b\x2d\xfd\xb4\xef\x3c\xda\x3c\xfe\xd1\x30"
	"\xd8\x79\x67\xd3\xf4\x40\xdf\x0e\x04\xa2";

enum { MODE_RAW, MODE_ESTABLISHED, MODE_SEALED, MODE_COUNT, VERSION = 145 };

static size_t heard;

static int count(void *, const uint8_t *, size_t len)
{
	heard += len;
	return 0;
}

static void count_early(void *, const uint8_t *, size_t len)
{
	heard += len;
}

// Pieces whose lengths the first bytes of each give.
static void feed_sealed(struct ts2021 *t, const uint8_t *data, size_t size)
{
	uint8_t record[3 + 256 + crypto_aead_chacha20poly1305_ietf_ABYTES], nonce[12] = {0};
	size_t plain = 0;

	for (; size; nonce[sizeof(nonce) - 1]++) {
		size_t len = *data;
		data++;
		size--;
		len = len < size ? len : size;
		record[0] = 4;
		record[1] = (uint8_t)((len + 16) >> 8);
		record[2] = (uint8_t)(len + 16);
		crypto_aead_chacha20poly1305_ietf_encrypt(record + 3, NULL, data, len, NULL, 0,
			NULL, nonce, (const uint8_t *)key_s2c);
		const int error = ts2021_feed(t, record, len + 19);
		if (error || nonce[sizeof(nonce) - 1] == 255)
			break;
		plain += len;
		data += len;
		size -= len;
		check(heard <= plain && plain - heard <= 9);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ts2021_events events = {.early = count_early, .data = count};
	uint8_t initiation[TS2021_INITIATION_LEN], out[64];
	struct ts2021_keys keys;
	struct ts2021 *t;

	if (!size)
		return 0;
	memcpy(&keys.machine_private, machine, KEY_LEN);
	memcpy(&keys.server_public, server, KEY_LEN);
	memcpy(&keys.ephemeral_private, ephemeral, KEY_LEN);
	heard = 0;
	check(!ts2021_create(&t, &keys, VERSION, &events, initiation));
	const int mode = *data++ % MODE_COUNT;
	size--;
	if (mode != MODE_RAW)
		check(!ts2021_feed(t, (const uint8_t *)response, TS2021_RESPONSE_LEN));
	if (mode == MODE_SEALED) {
		feed_sealed(t, data, size);
	} else {
		const int error = ts2021_feed(t, data, size);
		check(!heard); // nothing of it can be authentic
		check(error || mode == MODE_ESTABLISHED || size < TS2021_RESPONSE_LEN ||
			!memcmp(data, response, TS2021_RESPONSE_LEN) || data[0] == 3);
	}
	const int end = ts2021_eof(t);
	check(end ? *ts2021_error(t) != 0 : ts2021_established(t));
	check((ts2021_send(t, "x", 1, out, sizeof(out)) == 20) == (end == 0));
	ts2021_destroy(t);
	return 0;
}
