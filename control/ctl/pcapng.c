#include "control/ctl/pcapng.h"

#include <assert.h>
#include <errno.h>

// draft-ietf-opsawg-pcapng sections 4.1, 4.2, 4.3 and 3.5.
enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET = 6,
	BYTE_ORDER_MAGIC = 0x1a2b3c4d,
	OPTION_END = 0,
	OPTION_COMMENT = 1,
	OPTION_SECTION_APPLICATION = 4,
	OPTION_INTERFACE_NAME = 2,
	OPTION_INTERFACE_DESCRIPTION = 3,
	OPTION_INTERFACE_TSRESOL = 9,
	OPTION_PACKET_FLAGS = 2,
	TSRESOL_NS = 9, // 10^-9 s
	OPTION_TEXT_MAX = 1024,
};

struct block_head {
	uint32_t type;
	uint32_t len; // of the whole block; repeated at its end
};
static_assert(sizeof(struct block_head) == 8);

struct section {
	struct block_head head;
	uint32_t magic;
	uint16_t major, minor;
	int64_t section_len; // -1: not known
} __attribute__((packed));
static_assert(sizeof(struct section) == 24);

struct interface {
	struct block_head head;
	uint16_t link;
	uint16_t reserved;
	uint32_t snaplen;
};
static_assert(sizeof(struct interface) == 16);

struct packet {
	struct block_head head;
	uint32_t interface;
	uint32_t time_high, time_low;
	uint32_t captured, original;
};
static_assert(sizeof(struct packet) == 28);

struct option {
	uint16_t code;
	uint16_t len; // without padding
};

static const uint8_t zeros[4];

static size_t padded(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

// A text is cut where it would be absurdly long.
static size_t text_len(const char *text)
{
	return text != NULL ? strnlen(text, OPTION_TEXT_MAX) : 0;
}

static size_t option_size(size_t len)
{
	return len > 0 ? sizeof(struct option) + padded(len) : 0;
}

static int add_option(struct evbuffer *out, uint16_t code, const void *value, size_t len)
{
	struct option o = {.code = code, .len = (uint16_t)len};
	if (len == 0)
		return 0;
	return evbuffer_add(out, &o, sizeof(o)) | evbuffer_add(out, value, len) |
	       evbuffer_add(out, zeros, padded(len) - len);
}

// The end of the options and the block's length once more.
static int add_end(struct evbuffer *out, uint32_t len)
{
	struct option end = {.code = OPTION_END};
	return evbuffer_add(out, &end, sizeof(end)) | evbuffer_add(out, &len, sizeof(len));
}

enum { END_SIZE = sizeof(struct option) + sizeof(uint32_t) };

int pcapng_add_section(struct evbuffer *out, const char *application)
{
	size_t len = text_len(application);
	struct section s = {
		.head = {BLOCK_SECTION, (uint32_t)(sizeof(s) + option_size(len) + END_SIZE)},
		.magic = BYTE_ORDER_MAGIC,
		.major = 1,
		.section_len = -1,
	};
	int failed = evbuffer_add(out, &s, sizeof(s)) |
		     add_option(out, OPTION_SECTION_APPLICATION, application, len) |
		     add_end(out, s.head.len);
	return failed ? -ENOMEM : 0;
}

int pcapng_add_interface(struct evbuffer *out, enum pcapng_link link, uint32_t snaplen,
	const char *name, const char *description)
{
	static const uint8_t tsresol = TSRESOL_NS;
	size_t name_len = text_len(name), description_len = text_len(description);
	struct interface i = {
		.head = {BLOCK_INTERFACE, (uint32_t)(sizeof(i) + option_size(name_len) +
						     option_size(description_len) +
						     option_size(sizeof(tsresol)) + END_SIZE)},
		.link = (uint16_t)link,
		.snaplen = snaplen,
	};
	int failed = evbuffer_add(out, &i, sizeof(i)) |
		     add_option(out, OPTION_INTERFACE_NAME, name, name_len) |
		     add_option(out, OPTION_INTERFACE_DESCRIPTION, description, description_len) |
		     add_option(out, OPTION_INTERFACE_TSRESOL, &tsresol, sizeof(tsresol)) |
		     add_end(out, i.head.len);
	return failed ? -ENOMEM : 0;
}

int pcapng_add_packet(struct evbuffer *out, const struct pcapng_packet *p)
{
	size_t captured = 0, comment_len = text_len(p->comment);
	for (unsigned i = 0; i < p->n; i++)
		captured += p->data[i].iov_len;
	uint32_t flags = p->direction;
	struct packet b = {
		.head = {BLOCK_PACKET,
			(uint32_t)(sizeof(b) + padded(captured) + option_size(comment_len) +
				   option_size(sizeof(flags)) + END_SIZE)},
		.interface = p->interface,
		.time_high = (uint32_t)(p->unix_ns >> 32),
		.time_low = (uint32_t)p->unix_ns,
		.captured = (uint32_t)captured,
		.original = p->len,
	};
	int failed = evbuffer_add(out, &b, sizeof(b));
	for (unsigned i = 0; i < p->n; i++)
		failed |= evbuffer_add(out, p->data[i].iov_base, p->data[i].iov_len);
	failed |= evbuffer_add(out, zeros, padded(captured) - captured) |
		  add_option(out, OPTION_COMMENT, p->comment, comment_len) |
		  add_option(out, OPTION_PACKET_FLAGS, &flags, sizeof(flags)) |
		  add_end(out, b.head.len);
	return failed ? -ENOMEM : 0;
}
