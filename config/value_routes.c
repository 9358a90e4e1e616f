// How the keys about routes of the kernel are read.
#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

#include "config/reader.h"
#include "config/value.h"

enum { // bits, where nothing else is written
	LONGEST_V4 = 24,
	LONGEST_V6 = 64,
};

// Names as in iproute2's rt_protos; 190 and 197 are FRR's own.
static const struct {
	const char *name;
	uint8_t number;
	bool daemon; // of a routing daemon
} protocols[] = {
	{"babel", RTPROT_BABEL, true},
	{"bgp", RTPROT_BGP, true},
	{"bird", RTPROT_BIRD, true},
	{"boot", RTPROT_BOOT, false},
	{"eigrp", RTPROT_EIGRP, true},
	{"isis", RTPROT_ISIS, true},
	{"openfabric", 197, true},
	{"openr", RTPROT_OPENR, true},
	{"ospf", RTPROT_OSPF, true},
	{"rip", RTPROT_RIP, true},
	{"ripng", 190, true},
	{"static", RTPROT_STATIC, false},
	{"zebra", RTPROT_ZEBRA, true},
};

enum { N_PROTOCOLS = sizeof(protocols) / sizeof(protocols[0]) };
static_assert((unsigned)N_PROTOCOLS <= (unsigned)CONFIG_PROTOCOLS_MAX);

bool config_learns_from(const struct config_learned *l, uint8_t protocol)
{
	for (uint32_t i = 0; i < l->n_protocols; i++) {
		if (l->protocol[i] == protocol)
			return true;
	}
	for (unsigned i = 0; i < N_PROTOCOLS && l->n_protocols == 0; i++) {
		if (protocols[i].number == protocol)
			return protocols[i].daemon;
	}
	return false;
}

// "10.0.0.0/8 le 24", the last two words at will. 0 or -EINVAL.
static int range_of(const char *text, struct config_range *out)
{
	char prefix[PREFIX_TEXT_LEN];
	size_t n = strcspn(text, " ");
	if (n >= sizeof(prefix))
		return -EINVAL;
	memcpy(prefix, text, n);
	prefix[n] = '\0';
	if (ip_prefix_parse(prefix, &out->within) < 0)
		return -EINVAL;
	unsigned bits = ip_addr_bits(&out->within.addr);
	unsigned least = out->within.len;
	unsigned long longest = out->within.addr.family == IP_V4 ? LONGEST_V4 : LONGEST_V6;
	text += n + strspn(text + n, " ");
	if (*text) {
		if (strncmp(text, "le ", 3) != 0)
			return -EINVAL;
		text += 3 + strspn(text + 3, " ");
		n = strspn(text, "0123456789");
		longest = n > 0 && n <= 3 && text[n] == '\0' ? strtoul(text, NULL, 10) : bits + 1;
		if (longest < least || longest > bits)
			return -EINVAL;
	}
	out->longest = (uint8_t)(longest < least ? least : longest);
	return 0;
}

static int read_ranges(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_learned *l = field;
	int n = reader_array(r, s, CONFIG_LEARNED_MAX, "\"10.0.0.0/8 le 24\"");
	for (int i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		const char *text = reader_string(r, e);
		if (!text)
			return -EINVAL;
		if (range_of(text, &l->range[i]) < 0)
			return reader_refuse(r, e,
				"\"%s\" is not a network, such as \"10.0.0.0/8\" or, with the "
				"longest that counts in it, \"10.0.0.0/8 le 28\"",
				text);
	}
	l->n_ranges = n < 0 ? 0 : (uint32_t)n;
	return n < 0 ? n : 0;
}

static int read_protocols(
	struct config_reader *r, const struct config_key *, config_setting_t *s, void *field)
{
	struct config_learned *l = field;
	int n = reader_array(r, s, CONFIG_PROTOCOLS_MAX, "\"bgp\"");
	for (int i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		const char *text = reader_string(r, e);
		unsigned k = 0;
		if (!text)
			return -EINVAL;
		while (k < N_PROTOCOLS && strcmp(text, protocols[k].name) != 0)
			k++;
		if (k == N_PROTOCOLS)
			return reader_refuse(r, e,
				"unknown protocol \"%s\"; write one that 'ip route' shows behind "
				"proto, such as \"bgp\" or \"ospf\"",
				text);
		l->protocol[i] = protocols[k].number;
	}
	l->n_protocols = n < 0 ? 0 : (uint32_t)n;
	return n < 0 ? n : 0;
}

const struct config_type type_ranges = {"array of strings", read_ranges};
const struct config_type type_protocols = {"array of strings", read_protocols};
