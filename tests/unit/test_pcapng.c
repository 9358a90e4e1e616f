#include "control/ctl/pcapng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
// after the above, as cmocka asks
#include <cmocka.h>

// Block layouts: draft-ietf-opsawg-pcapng-02 sections 4.1, 4.2, 4.3; options: 3.5, 4.x.
static const uint8_t section[] = {
	0x0a, 0x0d, 0x0d, 0x0a, 40, 0, 0, 0,		// type, length
	0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,		// byte order, version 1.0
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // length of the section: not known
	4, 0, 3, 0, 'a', 'p', 'p', 0,			// shb_userappl, padded
	0, 0, 0, 0, 40, 0, 0, 0,			// end of options, length
};

static const uint8_t interface[] = {
	1, 0, 0, 0, 52, 0, 0, 0,		      //
	101, 0, 0, 0, 0xff, 0xff, 0, 0,		      // LINKTYPE_RAW, reserved, snaplen 65535
	2, 0, 4, 0, 'n', 'a', 'm', 'e',		      // if_name
	3, 0, 5, 0, 'd', 'e', 's', 'c', 'r', 0, 0, 0, // if_description, padded
	9, 0, 1, 0, 9, 0, 0, 0,			      // if_tsresol: nanoseconds
	0, 0, 0, 0, 52, 0, 0, 0,		      //
};

static const uint8_t packet[] = {
	6, 0, 0, 0, 64, 0, 0, 0,		      //
	3, 0, 0, 0,				      // interface
	0x44, 0x33, 0x22, 0x11,			      // time, upper half first
	0x88, 0x77, 0x66, 0x55,			      //
	5, 0, 0, 0, 0x00, 0x10, 0, 0,		      // captured 5 of 4096
	1, 2, 3, 4, 5, 0, 0, 0,			      // data of two pieces, padded
	1, 0, 5, 0, 't', 'o', 'k', 'y', 'o', 0, 0, 0, // opt_comment
	2, 0, 4, 0, 2, 0, 0, 0,			      // epb_flags: outbound
	0, 0, 0, 0, 64, 0, 0, 0,		      //
};

static void assert_bytes(struct evbuffer *buffer, const uint8_t *expected, size_t len)
{
	assert_int_equal(evbuffer_get_length(buffer), len);
	assert_memory_equal(evbuffer_pullup(buffer, -1), expected, len);
	evbuffer_drain(buffer, len);
}

static void test_bytes(void **)
{
	struct evbuffer *out = evbuffer_new();
	assert_int_equal(pcapng_add_section(out, "app"), 0);
	assert_bytes(out, section, sizeof(section));
	assert_int_equal(pcapng_add_interface(out, PCAPNG_RAW, 65535, "name", "descr"), 0);
	assert_bytes(out, interface, sizeof(interface));

	const struct iovec data[] = {{"\1\2", 2}, {"\3\4\5", 3}};
	const struct pcapng_packet p = {
		.interface = 3,
		.unix_ns = 0x1122334455667788,
		.data = data,
		.n = 2,
		.len = 4096,
		.direction = PCAPNG_OUT,
		.comment = "tokyo",
	};
	assert_int_equal(pcapng_add_packet(out, &p), 0);
	assert_bytes(out, packet, sizeof(packet));
	evbuffer_free(out);
}

// Every length of data and comment gives a block of whole words that ends with its length.
static void test_padding(void **)
{
	static const char bytes[] = "0123456789abcdef";
	for (size_t len = 0; len <= 16; len++) {
		for (size_t comment = 0; comment <= 9; comment++) {
			char text[16] = "";
			memcpy(text, bytes, comment);
			struct evbuffer *out = evbuffer_new();
			struct iovec data = {(void *)(uintptr_t)bytes, len};
			struct pcapng_packet p = {.data = &data,
				.n = 1,
				.len = (uint32_t)len,
				.direction = PCAPNG_IN,
				.comment = comment > 0 ? text : NULL};
			assert_int_equal(pcapng_add_packet(out, &p), 0);
			size_t total = evbuffer_get_length(out);
			const uint8_t *block = evbuffer_pullup(out, -1);
			uint32_t head, tail;
			memcpy(&head, block + 4, 4);
			memcpy(&tail, block + total - 4, 4);
			assert_int_equal(total % 4, 0);
			assert_int_equal(head, total);
			assert_int_equal(tail, total);
			evbuffer_free(out);
		}
	}
}

static void test_long_text_is_cut(void **)
{
	char *comment = calloc(1, 200001);
	memset(comment, 'x', 200000);
	struct evbuffer *out = evbuffer_new();
	struct pcapng_packet p = {.direction = PCAPNG_IN, .comment = comment};
	assert_int_equal(pcapng_add_packet(out, &p), 0);
	assert_true(evbuffer_get_length(out) < 2048);
	evbuffer_free(out);
	free(comment);
}

// 10.0.0.1 pings 10.0.0.2.
static const uint8_t ping[] = {
	0x45,
	0,
	0,
	28,
	0,
	0,
	0,
	0,
	64,
	1,
	0x66,
	0xdf,
	10,
	0,
	0,
	1,
	10,
	0,
	0,
	2, //
	8,
	0,
	0xf7,
	0xfe,
	0,
	1,
	0,
	0,
};

static void test_tcpdump_reads_it(void **)
{
	char path[] = "/tmp/tailgate-pcapng-XXXXXX", command[128], text[512] = "";
	if (system("tcpdump --version >/dev/null 2>&1") != 0)
		skip();
	int fd = mkstemp(path);
	assert_true(fd >= 0);

	struct evbuffer *out = evbuffer_new();
	struct iovec data = {(void *)(uintptr_t)ping, sizeof(ping)};
	struct pcapng_packet p = {.unix_ns = 1700000000123456789,
		.data = &data,
		.n = 1,
		.len = sizeof(ping),
		.direction = PCAPNG_IN,
		.comment = "berlin"};
	assert_int_equal(pcapng_add_section(out, "app"), 0);
	assert_int_equal(pcapng_add_interface(out, PCAPNG_RAW, 65535, "plain", "both ways"), 0);
	assert_int_equal(pcapng_add_packet(out, &p), 0);
	assert_int_equal(pcapng_add_packet(out, &p), 0);
	while (evbuffer_get_length(out) > 0)
		assert_true(evbuffer_write(out, fd) > 0);
	close(fd);
	evbuffer_free(out);

	snprintf(command, sizeof(command), "tcpdump --nano -tt -nr - <%s 2>&1", path);
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	size_t n = fread(text, 1, sizeof(text) - 1, pipe);
	int status = pclose(pipe);
	unlink(path);
	if (status != 0)
		fail_msg("tcpdump: %s", text);
	assert_true(n > 0);
	char *line = strstr(text, "1700000000.123456789 IP 10.0.0.1 > 10.0.0.2: ICMP echo request");
	assert_non_null(line);
	assert_non_null(strstr(line + 1, "1700000000.123456789 IP 10.0.0.1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_long_text_is_cut),
		cmocka_unit_test(test_tcpdump_reads_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
