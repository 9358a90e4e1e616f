// What flannel, k3s and /proc say: bytes in, facts out.
#include "control/cli/doctor_mtu.h"

#include <string.h>

#include "dataplane/wire/ledger.h"

// The next line without its end, in line; false: no further. What is too long or has a zero in it
// stands as an empty line.
static bool next_line(const char **at, const char *end, char line[static DOCTOR_MTU_LINE_MAX])
{
	if (*at == end)
		return false;
	const char *stop = memchr(*at, '\n', end - *at);
	size_t len = (stop != NULL ? stop : end) - *at;
	const char *start = *at;
	*at = stop != NULL ? stop + 1 : end;
	if (len > 0 && start[len - 1] == '\r')
		len--;
	if (len >= DOCTOR_MTU_LINE_MAX || memchr(start, '\0', len) != NULL)
		len = 0;
	memcpy(line, start, len);
	line[len] = '\0';
	return true;
}

// Without spaces at both ends and one pair of quotes, in place.
static char *bare(char *text)
{
	text += strspn(text, " \t");
	size_t len = strlen(text);
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	if (len >= 2 && (text[0] == '"' || text[0] == '\'') && text[len - 1] == text[0]) {
		text++;
		len -= 2;
	}
	text[len] = '\0';
	return text;
}

// An MTU in decimal; 0: none.
static uint16_t read_mtu(const char *text)
{
	unsigned long value = 0;
	if (*text == '\0')
		return 0;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || value > UINT16_MAX)
			return 0;
		value = value * 10 + (*text - '0');
	}
	return value >= LEDGER_MTU_MIN4 && value <= UINT16_MAX ? value : 0;
}

void doctor_mtu_read_env(struct doctor_mtu_facts *f, const char *text, size_t len)
{
	static const char key[] = "FLANNEL_MTU=";
	char line[DOCTOR_MTU_LINE_MAX];
	const char *at = text, *end = text + len;
	f->flannel_mtu = 0;
	while (next_line(&at, end, line))
		if (strncmp(line, key, sizeof(key) - 1) == 0)
			f->flannel_mtu =
				at[-1] == '\n' ? read_mtu(bare(line + sizeof(key) - 1)) : 0;
	f->env = f->flannel_mtu != 0 ? DOCTOR_MTU_READ : DOCTOR_MTU_BAD;
}

// The value of "key: value  # comment"; NULL: another line.
static char *yaml_value(char *line, const char *key)
{
	const size_t len = strlen(key);
	if (strncmp(line, key, len) != 0 || line[len] != ':' ||
		(line[len + 1] != '\0' && line[len + 1] != ' ' && line[len + 1] != '\t'))
		return NULL;
	char *value = line + len + 1;
	for (char *c = value; *c != '\0'; c++)
		if (*c == '#' && (c[-1] == ' ' || c[-1] == '\t')) {
			*c = '\0';
			break;
		}
	return bare(value);
}

// false: it is no address, or a list in several lines.
static bool read_node_ip(struct doctor_mtu_facts *f, char *value)
{
	value[strcspn(value, ",")] = '\0';
	return ip_addr_parse(value, &f->node_ip) == 0;
}

void doctor_mtu_read_k3s(struct doctor_mtu_facts *f, const char *text, size_t len)
{
	char line[DOCTOR_MTU_LINE_MAX], *value;
	const char *at = text, *end = text + len;
	unsigned n_iface = 0, n_ip = 0;
	bool good = true;
	f->flannel_iface[0] = '\0';
	f->node_ip = (struct ip_addr){.family = IP_NONE};
	while (next_line(&at, end, line)) {
		if ((value = yaml_value(line, "flannel-iface")) != NULL) {
			good &= n_iface++ == 0 && stack_is_plain_name(value);
			if (good)
				memcpy(f->flannel_iface, value, strlen(value) + 1);
		} else if ((value = yaml_value(line, "node-ip")) != NULL)
			good &= n_ip++ == 0 && read_node_ip(f, value);
	}
	f->k3s = good ? DOCTOR_MTU_READ : DOCTOR_MTU_BAD;
	if (good)
		return;
	f->flannel_iface[0] = '\0';
	f->node_ip = (struct ip_addr){.family = IP_NONE};
}

// --- /proc/PID/cmdline

static const char userspace[] = "userspace-networking";

// The value of -tun or --tun in an argument; NULL: it is none; "": it is the next one.
static const char *tun_value(const char *arg)
{
	const char *name = arg + (strncmp(arg, "--", 2) == 0);
	if (strncmp(name, "-tun", 4) != 0 || (name[4] != '=' && name[4] != '\0'))
		return NULL;
	return name[4] == '=' ? name + 5 : "";
}

bool doctor_mtu_read_process(struct doctor_mtu_facts *f, const char *text, size_t len)
{
	char arg[DOCTOR_MTU_LINE_MAX];
	bool next = false, first = true;
	for (const char *at = text, *end = text + len; at < end; first = false) {
		const char *stop = memchr(at, '\0', end - at);
		if (stop == NULL)
			return !first; // cut off: what it would have been is not known
		const size_t n = stop - at;
		memcpy(arg, at, n < sizeof(arg) ? n + 1 : 1);
		arg[n < sizeof(arg) ? n : 0] = '\0';
		at = stop + 1;
		const char *name = strrchr(arg, '/'), *value = next ? arg : tun_value(arg);
		if (first && strcmp(name != NULL ? name + 1 : arg, "tailscaled") != 0)
			return false;
		if (!first && value != NULL && strcmp(value, userspace) == 0) {
			f->n_userspace++;
			return true;
		}
		next = !first && !next && value != NULL && *value == '\0';
	}
	return !first;
}

// --- /proc/net/snmp: a line of names, a line of values, both with the protocol before them;
// snmp6: a line for each.

struct words {
	const char *at, *end;
};

// Of the words of a line; len 0: no further.
static struct words next_word(struct words *line)
{
	while (line->at < line->end && (*line->at == ' ' || *line->at == '\t'))
		line->at++;
	struct words word = {line->at, line->at};
	while (word.end < line->end && *word.end != ' ' && *word.end != '\t')
		word.end++;
	line->at = word.end;
	return word;
}

static bool is_word(struct words word, const char *text)
{
	const size_t len = word.end - word.at;
	return len == strlen(text) && memcmp(word.at, text, len) == 0;
}

static bool read_count(struct words word, uint64_t *out)
{
	*out = 0;
	for (const char *c = word.at; c < word.end; c++)
		if (*c < '0' || *c > '9' || __builtin_mul_overflow(*out, 10, out) ||
			__builtin_add_overflow(*out, *c - '0', out))
			return false;
	return word.at < word.end;
}

static void take_count(
	struct doctor_mtu_counts *counts, struct words group, struct words name, struct words value)
{
	static const struct {
		const char *group, *name;
		enum doctor_mtu_count to;
	} kept[] = {
		{"Tcp:", "OutSegs", COUNT_SENT},
		{"Tcp:", "RetransSegs", COUNT_SENT_AGAIN},
		{"Ip:", "FragCreates", COUNT_CUT},
		{"Ip:", "FragFails", COUNT_REFUSED},
		{"Ip:", "ReasmFails", COUNT_LOST},
		{"", "Ip6FragCreates", COUNT_CUT},
		{"", "Ip6FragFails", COUNT_REFUSED},
		{"", "Ip6ReasmFails", COUNT_LOST},
	};
	uint64_t count;
	for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (!is_word(group, kept[i].group) || !is_word(name, kept[i].name) ||
			!read_count(value, &count))
			continue;
		counts->value[kept[i].to] += count;
		counts->known |= 1u << kept[i].to;
	}
}

static void take_pair(struct doctor_mtu_counts *counts, struct words names, struct words values)
{
	const struct words group = next_word(&names), same = next_word(&values);
	if (group.at == group.end || group.end[-1] != ':' ||
		group.end - group.at != same.end - same.at ||
		memcmp(group.at, same.at, same.end - same.at) != 0)
		return;
	for (;;) {
		const struct words name = next_word(&names), value = next_word(&values);
		if (name.at == name.end || value.at == value.end)
			return;
		take_count(counts, group, name, value);
	}
}

void doctor_mtu_read_counts(struct doctor_mtu_counts *counts, const char *text, size_t len)
{
	const char *end = text + len;
	struct words before = {text, text};
	for (const char *at = text, *stop; at < end; at = stop + 1) {
		stop = memchr(at, '\n', end - at);
		if (stop == NULL)
			return; // cut off: a number could be half of one
		struct words line = {at, stop}, single = line;
		take_pair(counts, before, line);
		const struct words name = next_word(&single);
		take_count(counts, (struct words){at, at}, name, next_word(&single));
		before = line;
	}
}
