// Handshake messages from the network. The first byte picks how the rest is used: as a message as
// it is, or laid over a genuine one, so that what is behind the first checks is reached as well.
// Whatever changes a byte that the handshake protects must be refused.
#include "control/wg/cookie.h"
#include "control/wg/noise.h"
#include "tests/fuzz/fuzz.h"

enum {
	MODE_RAW = 0,
	MODE_INITIATION,
	MODE_RESPONSE,
	MODE_COOKIE,
	MODE_COUNT,
	ALICE_INDEX = 0x01020304,
	BOB_INDEX = 0x0a0b0c0d,
	SENDER_FROM = 4, // the sender's index: mac1 alone protects it
	SENDER_TO = 8,
};

static struct noise_identity alice, bob;
static struct noise_remote bob_of_alice, alice_of_bob;
static struct noise_handshake waiting; // Alice's, after her initiation
static struct cookie_jar jar;
static struct wg_initiation initiation;
static struct wg_response response;
static struct wg_cookie_reply reply;
static const struct endpoint source = {
	.addr = {.family = IP_V4, .bytes = {192, 0, 2, 1}}, .port = 1};

static void prepare(void)
{
	const struct key alice_key = {{8}}, bob_key = {{16}}, psk = {{3}};
	const uint8_t ephemeral[KEY_LEN] = {32};
	struct noise_handshake answering;
	uint8_t timestamp[WG_TAI64N_LEN];
	struct cookie_maker maker = {0};
	struct noise_remote once;

	check(!noise_identity_init(&alice, &alice_key));
	check(!noise_identity_init(&bob, &bob_key));
	check(!noise_remote_init(&bob_of_alice, &alice, &bob.public_key, &psk));
	check(!noise_remote_init(&alice_of_bob, &bob, &alice.public_key, &psk));
	once = alice_of_bob;
	noise_tai64n(timestamp, UINT64_C(1) << 60);
	check(!noise_initiation_create(
		&waiting, &alice, &bob_of_alice, ALICE_INDEX, ephemeral, timestamp, &initiation));
	check(!noise_initiation_open(&answering, &bob, &initiation, sizeof(initiation)));
	check(!noise_initiation_accept(&answering, &once));
	check(!noise_response_create(&answering, &once, BOB_INDEX, ephemeral, &response));
	cookie_jar_stamp(&jar, &initiation, sizeof(initiation), 0);
	check(!cookie_reply_create(
		&maker, &bob, &initiation, sizeof(initiation), &source, 0, &reply));
}

// Do the two differ in [0, to), the sender's index aside?
static bool differs(const uint8_t *message, const void *genuine, size_t to)
{
	const uint8_t *other = genuine;

	for (size_t i = 0; i < to; i++)
		if (message[i] != other[i] && (i < SENDER_FROM || i >= SENDER_TO))
			return true;
	return false;
}

static void try_initiation(const uint8_t *message, size_t len)
{
	const size_t protected = offsetof(struct wg_initiation, macs);
	struct noise_remote remote = alice_of_bob;
	struct noise_handshake hs;
	const bool mac1 = cookie_mac1_valid(&bob, message, len);

	if (noise_initiation_open(&hs, &bob, message, len)) {
		check(hs.state == NOISE_NONE);
		return;
	}
	check(len == WG_INITIATION_LEN);
	const int error = noise_initiation_accept(&hs, &remote);
	check(!error == !differs(message, &initiation, protected));
	check(!error || !memcmp(&remote, &alice_of_bob, sizeof(remote)));
	check(!mac1 || !error || memcmp(message, &initiation, len));
}

static void try_response(const uint8_t *message, size_t len)
{
	const size_t protected = offsetof(struct wg_response, macs);
	struct noise_handshake hs = waiting;
	const int error = noise_response_open(&hs, &alice, &bob_of_alice, message, len);

	if (error)
		check(!memcmp(&hs, &waiting, sizeof(hs)));
	else
		check(len == WG_RESPONSE_LEN && !differs(message, &response, protected));
	if (cookie_mac1_valid(&alice, message, len))
		check(!error && !memcmp(message, &response, protected));
}

static void try_cookie(const uint8_t *message, size_t len)
{
	struct cookie_jar copy = jar;
	const int error = cookie_jar_consume(&copy, &bob_of_alice, message, len, 1);

	if (error)
		check(!memcmp(&copy, &jar, sizeof(copy)));
	else
		check(len == WG_COOKIE_REPLY_LEN && !differs(message, &reply, len));
}

static void try_all(const uint8_t *message, size_t len)
{
	struct cookie_maker maker = {.has_secret = true};
	struct wg_cookie_reply out;

	try_initiation(message, len);
	try_response(message, len);
	try_cookie(message, len);
	check(!cookie_mac2_valid(&maker, message, len, &source, 1));
	(void)!cookie_reply_create(&maker, &bob, message, len, &source, 1, &out);
}

// data: offset, then bytes that are xored onto the genuine message from there on.
static void try_changed(const void *genuine, size_t len, const uint8_t *data, size_t size)
{
	uint8_t *message = exact_copy(genuine, len);

	for (size_t i = 1; i < size && data[0] + i - 1 < len; i++)
		message[data[0] + i - 1] ^= data[i];
	try_all(message, len);
	free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (waiting.state == NOISE_NONE)
		prepare();
	if (size < 2)
		return 0;
	switch (data[0] % MODE_COUNT) {
	case MODE_RAW:
		try_all(data + 1, size - 1);
		break;
	case MODE_INITIATION:
		try_changed(&initiation, sizeof(initiation), data + 1, size - 1);
		break;
	case MODE_RESPONSE:
		try_changed(&response, sizeof(response), data + 1, size - 1);
		break;
	case MODE_COOKIE:
		try_changed(&reply, sizeof(reply), data + 1, size - 1);
		break;
	}
	return 0;
}
