#include "control/coord/persist.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/coord/json.h"
#include "control/coord/statefile.h"
#include "dataplane/crypto/blake2s.h"

// A file: "tailgate NAME VERSION LENGTH HASH\n", then LENGTH bytes with that BLAKE2s.
enum {
	VERSION = 1,
	HEADER_MAX = 160,
};

static const char state_name[] = "state", netmap_name[] = "netmap";
static const char key_prefix[] = "privkey:";

static void hash_text(char text[static 2 * BLAKE2S_LEN + 1], const void *bytes, size_t len)
{
	uint8_t hash[BLAKE2S_LEN];

	blake2s(hash, bytes, len, NULL, 0);
	sodium_bin2hex(text, 2 * BLAKE2S_LEN + 1, hash, sizeof(hash));
}

static int save(const char *dir, const char *name, const void *bytes, size_t len)
{
	char header[HEADER_MAX], hash[2 * BLAKE2S_LEN + 1];
	const int error = blake2s_init();

	if (error)
		return error;
	hash_text(hash, bytes, len);
	snprintf(header, sizeof(header), "tailgate %s %d %zu %s\n", name, VERSION, len, hash);
	return statefile_write(dir, name, header, bytes, len);
}

// Where the content begins, or -errno.
static long header_check(const char *name, const char *bytes, size_t len)
{
	const char *const end = memchr(bytes, '\n', len < HEADER_MAX ? len : HEADER_MAX);
	char hash[2 * BLAKE2S_LEN + 1], expected[2 * BLAKE2S_LEN + 2], named[32];
	size_t length;
	int version;

	if (!end || sscanf(bytes, "tailgate %31s %d", named, &version) != 2 || strcmp(named, name))
		return -EBADMSG;
	if (version > VERSION)
		return -ENOTSUP;
	if (sscanf(bytes, "tailgate %*s %*d %zu %65s", &length, expected) != 2 ||
		length != len - (size_t)(end + 1 - bytes))
		return -EBADMSG;
	hash_text(hash, end + 1, length);
	return strcmp(hash, expected) ? -EBADMSG : end + 1 - bytes;
}

static void wipe_free(char *bytes, size_t len)
{
	if (bytes)
		sodium_memzero(bytes, len);
	free(bytes);
}

// The content, with a zero behind it.
static int load(const char *dir, const char *name, size_t max, char **out, size_t *out_len)
{
	char *bytes = NULL;
	size_t len = 0;
	int error = blake2s_init();

	if (!error)
		error = statefile_read(dir, name, max + HEADER_MAX, &bytes, &len);
	if (error)
		return error;
	const long at = header_check(name, bytes, len);
	if (at < 0) {
		wipe_free(bytes, len);
		return (int)at;
	}
	*out_len = len - (size_t)at;
	memmove(bytes, bytes + at, *out_len + 1);
	sodium_memzero(bytes + *out_len, (size_t)at);
	*out = bytes;
	return 0;
}

int persist_dir(const char *dir)
{
	struct stat st;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return -errno;
	if (stat(dir, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	return st.st_mode & (S_IWGRP | S_IWOTH) || st.st_uid != geteuid() ? -EACCES : 0;
}

// The state's content: a name, a space and a value per line. Plain, so that nothing of the keys
// stays behind in a library's memory.
struct field {
	const char *name;
	size_t offset;
	enum { FIELD_KEY, FIELD_TEXT, FIELD_NUMBER, FIELD_FLAG } type;
};

static const struct field fields[] = {
	{"MachineKey", offsetof(struct persist_state, machine_private), FIELD_KEY},
	{"NodeKey", offsetof(struct persist_state, node_private), FIELD_KEY},
	{"OldNodeKey", offsetof(struct persist_state, old_node_private), FIELD_KEY},
	{"LoggedOut", offsetof(struct persist_state, logged_out), FIELD_FLAG},
	{"LoginServer", offsetof(struct persist_state, login_server), FIELD_TEXT},
	{"StableID", offsetof(struct persist_state, stable_id), FIELD_TEXT},
	{"BackendLogID", offsetof(struct persist_state, backend_log_id), FIELD_TEXT},
	{"User", offsetof(struct persist_state, user), FIELD_NUMBER},
	{"Login", offsetof(struct persist_state, login), FIELD_TEXT},
	{"Hostname", offsetof(struct persist_state, hostname), FIELD_TEXT},
};
enum { FIELDS = sizeof(fields) / sizeof(*fields) };

static bool text_right(const char *text)
{
	const size_t len = strnlen(text, PERSIST_TEXT_LEN);

	for (size_t i = 0; i < len; i++)
		if ((uint8_t)text[i] < ' ' || text[i] == 0x7f)
			return false;
	return len < PERSIST_TEXT_LEN;
}

// Room for the longest value; its length, or -EINVAL.
static int field_write(char *to, size_t room, const struct field *f, const struct persist_state *s)
{
	const void *const value = (const uint8_t *)s + f->offset;
	char key[TYPED_KEY_TEXT_LEN];
	int n = 0;

	switch (f->type) {
	case FIELD_KEY:
		n = snprintf(
			to, room, "%s %s\n", f->name, typed_key_format(value, key_prefix, key));
		sodium_memzero(key, sizeof(key));
		break;
	case FIELD_TEXT:
		if (!text_right(value))
			return -EINVAL;
		n = snprintf(to, room, "%s %s\n", f->name, (const char *)value);
		break;
	case FIELD_NUMBER:
		n = snprintf(to, room, "%s %" PRId64 "\n", f->name, *(const int64_t *)value);
		break;
	case FIELD_FLAG:
		n = snprintf(to, room, "%s %d\n", f->name, *(const bool *)value);
		break;
	}
	return n;
}

int persist_state_save(const char *dir, const struct persist_state *state)
{
	char *const text = malloc(PERSIST_STATE_MAX);
	size_t len = 0;
	int error = 0;

	if (!text)
		return -ENOMEM;
	for (int i = 0; !error && i < FIELDS; i++) {
		const int n = field_write(text + len, PERSIST_STATE_MAX - len, &fields[i], state);
		if (n < 0)
			error = n;
		else
			len += (size_t)n;
	}
	if (!error)
		error = save(dir, state_name, text, len);
	wipe_free(text, PERSIST_STATE_MAX);
	return error;
}

static int field_read(const struct field *f, const char *text, struct persist_state *s)
{
	void *const value = (uint8_t *)s + f->offset;
	char *end = "";

	switch (f->type) {
	case FIELD_KEY:
		return typed_key_parse(text, key_prefix, value) ? -EBADMSG : 0;
	case FIELD_TEXT:
		if (!text_right(text))
			return -EBADMSG;
		memcpy(value, text, strlen(text) + 1);
		break;
	case FIELD_NUMBER:
		*(int64_t *)value = strtoll(text, &end, 10);
		break;
	case FIELD_FLAG:
		*(bool *)value = !strcmp(text, "1");
		break;
	}
	return *end ? -EBADMSG : 0;
}

// One line, cut in place. Names of a later version are left out.
static int line_read(char *line, struct persist_state *out)
{
	char *const space = strchr(line, ' ');

	if (!space)
		return -EBADMSG;
	*space = '\0';
	for (int i = 0; i < FIELDS; i++)
		if (!strcmp(line, fields[i].name))
			return field_read(&fields[i], space + 1, out);
	return 0;
}

int persist_state_load(const char *dir, struct persist_state *out)
{
	char *text = NULL;
	size_t len = 0;

	*out = (struct persist_state){0};
	int error = load(dir, state_name, PERSIST_STATE_MAX, &text, &len);
	for (char *at = text, *end; !error && *at; at = end + 1) {
		end = strchr(at, '\n');
		if (!end) {
			error = -EBADMSG;
			break;
		}
		*end = '\0';
		error = line_read(at, out);
	}
	if (!error && key_is_zero(&out->machine_private)) // nothing works without
		error = -EBADMSG;
	if (error)
		persist_state_fini(out);
	wipe_free(text, len);
	return error;
}

void persist_state_fini(struct persist_state *state)
{
	sodium_memzero(state, sizeof(*state));
}

int persist_netmap_save(const char *dir, const char *text, size_t len)
{
	return len > PERSIST_NETMAP_MAX ? -EFBIG : save(dir, netmap_name, text, len);
}

int persist_netmap_load(const char *dir, char **text, size_t *len)
{
	return load(dir, netmap_name, PERSIST_NETMAP_MAX, text, len);
}

int persist_netmap_remove(const char *dir)
{
	return statefile_remove(dir, netmap_name);
}
