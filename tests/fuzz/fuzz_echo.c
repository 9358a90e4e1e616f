// What raw ICMP sockets hand over: only a reply with our id and token is ours, whatever the IP
// header says of its length.
#include "control/net/echo.h"
#include "tests/fuzz/fuzz.h"

static const uint8_t token[8] = {1, 2, 3, 4, 5, 6, 7, 8};

enum { ID = 0x1234 };

// A reply to our request in place of the last bytes, so that answers are met at all.
static void plant(uint8_t *packet, size_t size, enum ip_family family)
{
	uint8_t reply[ECHO_LEN];
	if (size < ECHO_LEN)
		return;
	echo_write(reply, family, ID, (uint16_t)size, token);
	reply[0] = family == IP_V4 ? 0 : 129;
	memcpy(packet + size - ECHO_LEN, reply, ECHO_LEN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *packet = exact_copy(data, size);
	uint16_t seq = 0;
	for (unsigned i = 0; i < 2; i++) {
		enum ip_family family = i ? IP_V6 : IP_V4;
		if (echo_read(packet, size, family, ID, token, &seq)) {
			check(size >= ECHO_LEN);
			check(memcmp(packet + size - 8, token, sizeof(token)) == 0);
		}
		plant(packet, size, family);
		bool ours = echo_read(packet, size, family, ID, token, &seq);
		if (family == IP_V6)
			check(ours == (size == ECHO_LEN));
		else if (ours)
			check(size - ECHO_LEN == (packet[0] & 15u) * 4 && seq == (uint16_t)size);
	}
	free(packet);
	return 0;
}
