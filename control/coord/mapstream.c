#include "control/coord/mapstream.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum {
	HEADER_LEN = 4,
	BUFFER_MIN = 4096,
	BUFFER_KEPT = 1 << 20, // larger ones go after their message
	GROWTH = 4,
};

struct mapstream {
	mapstream_fn fn;
	void *arg;
	ZSTD_DCtx *zstd;
	uint8_t header[HEADER_LEN];
	size_t header_len;
	uint8_t *frame;
	size_t frame_len, frame_room;
	char *text;
	size_t text_room;
	int failed;
};

struct mapstream *mapstream_create(mapstream_fn fn, void *arg)
{
	struct mapstream *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->fn = fn;
	s->arg = arg;
	s->zstd = ZSTD_createDCtx();
	if (!s->zstd)
		abort();
	return s;
}

void mapstream_destroy(struct mapstream *s)
{
	if (!s)
		return;
	ZSTD_freeDCtx(s->zstd);
	free(s->frame);
	free(s->text);
	free(s);
}

static void *room_for(void *buffer, size_t *room, size_t wanted)
{
	if (wanted <= *room)
		return buffer;
	*room = wanted > BUFFER_MIN ? wanted : BUFFER_MIN;
	buffer = realloc(buffer, *room);
	if (!buffer)
		abort();
	return buffer;
}

// In one go, so that a window of any size costs no memory of its own. The frame may say its size;
// if not, the room for it grows up to the bound.
static int decode(struct mapstream *s, size_t *len)
{
	const unsigned long long size = ZSTD_getFrameContentSize(s->frame, s->frame_len);
	size_t room = size ? (size_t)size : 1;

	if (size == ZSTD_CONTENTSIZE_ERROR ||
		ZSTD_findFrameCompressedSize(s->frame, s->frame_len) != s->frame_len)
		return -EBADMSG;
	if (size == ZSTD_CONTENTSIZE_UNKNOWN)
		room = s->frame_len * GROWTH;
	else if (size > MAPSTREAM_TEXT_MAX)
		return -EMSGSIZE;
	for (;; room *= GROWTH) {
		room = room > MAPSTREAM_TEXT_MAX ? MAPSTREAM_TEXT_MAX : room;
		s->text = room_for(s->text, &s->text_room, room);
		const size_t n =
			ZSTD_decompressDCtx(s->zstd, s->text, s->text_room, s->frame, s->frame_len);
		if (!ZSTD_isError(n)) {
			*len = n;
			return n > MAPSTREAM_TEXT_MAX ? -EMSGSIZE : 0;
		}
		if (ZSTD_getErrorCode(n) != ZSTD_error_dstSize_tooSmall ||
			size != ZSTD_CONTENTSIZE_UNKNOWN)
			return -EBADMSG;
		if (room == MAPSTREAM_TEXT_MAX)
			return -EMSGSIZE;
	}
}

static void buffers_trim(struct mapstream *s)
{
	if (s->frame_room > BUFFER_KEPT) {
		free(s->frame);
		s->frame = NULL;
		s->frame_room = 0;
	}
	if (s->text_room > BUFFER_KEPT) {
		free(s->text);
		s->text = NULL;
		s->text_room = 0;
	}
}

static int frame_take(struct mapstream *s)
{
	size_t len = 0;
	int error = decode(s, &len);

	if (!error)
		error = s->fn(s->arg, s->text, len);
	s->header_len = s->frame_len = 0;
	buffers_trim(s);
	return error;
}

static size_t frame_size(const struct mapstream *s)
{
	const uint8_t *const h = s->header;

	return (size_t)h[0] | (size_t)h[1] << 8 | (size_t)h[2] << 16 | (size_t)h[3] << 24;
}

// Up to the frame's end; the buffer grows with what came, not with what was announced.
static size_t frame_fill(struct mapstream *s, const uint8_t *bytes, size_t len)
{
	const size_t missing = frame_size(s) - s->frame_len, n = len < missing ? len : missing;
	size_t wanted = s->frame_len + n;

	if (wanted > s->frame_room)
		wanted = wanted * 2 < frame_size(s) ? wanted * 2 : frame_size(s);
	s->frame = room_for(s->frame, &s->frame_room, wanted);
	memcpy(s->frame + s->frame_len, bytes, n);
	s->frame_len += n;
	return n;
}

int mapstream_feed(struct mapstream *s, const uint8_t *bytes, size_t len)
{
	while (!s->failed && len) {
		if (s->header_len < HEADER_LEN) {
			s->header[s->header_len++] = *bytes++;
			len--;
			if (s->header_len < HEADER_LEN)
				continue;
			if (frame_size(s) > MAPSTREAM_FRAME_MAX)
				s->failed = -EMSGSIZE;
			else if (!frame_size(s))
				s->failed = -EBADMSG;
			continue;
		}
		const size_t n = frame_fill(s, bytes, len);
		bytes += n;
		len -= n;
		if (s->frame_len == frame_size(s))
			s->failed = frame_take(s);
	}
	return s->failed;
}

bool mapstream_complete(const struct mapstream *s)
{
	return !s->failed && !s->header_len;
}

static void set_key(json_t *o, const char *name, const char *prefix, const struct key *key)
{
	char text[TYPED_KEY_TEXT_LEN];

	json_object_set_new(o, name, json_string(typed_key_format(key, prefix, text)));
}

static void set_endpoints(json_t *o, const struct map_request *r)
{
	json_t *const endpoints = json_array(), *const types = json_array();
	char text[ENDPOINT_TEXT_LEN];

	for (size_t i = 0; i < r->n_endpoints; i++) {
		json_array_append_new(
			endpoints, json_string(endpoint_format(&r->endpoints[i].endpoint, text)));
		json_array_append_new(types, json_integer(r->endpoints[i].type));
	}
	json_object_set_new(o, "Endpoints", endpoints);
	json_object_set_new(o, "EndpointTypes", types);
}

char *map_request_text(const struct map_request *r, size_t *len)
{
	json_t *const o = json_object();

	json_object_set_new(o, "Version", json_integer(r->version));
	json_object_set_new(o, "Compress", json_string("zstd"));
	json_object_set_new(o, "KeepAlive", json_true());
	set_key(o, "NodeKey", "nodekey:", &r->node_key);
	set_key(o, "DiscoKey", "discokey:", &r->disco_key);
	if (r->stream)
		json_object_set_new(o, "Stream", json_true());
	json_object_set_new(o, "Hostinfo", hostinfo_json(r->hostinfo));
	if (r->has_endpoints)
		set_endpoints(o, r);
	if (!r->stream)
		json_object_set_new(o, "OmitPeers", json_true());
	char *const text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	*len = text ? strlen(text) : 0;
	return text;
}
