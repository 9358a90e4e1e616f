// A netmap of us (1) and peers 2 and 3, whose keys are their digit all over, and messages to it.
#pragma once

#include "tests/unit/vectors.h"

#include <errno.h>

#include "control/coord/netmap.h"

#define TEXT8(c) c c c c c c c c
#define NODEKEY(c) "\"nodekey:" TEXT8(TEXT8(c)) "\""
#define DISCO(c) "\"discokey:" TEXT8(TEXT8(c)) "\""
#define ADDR(n) "\"Addresses\":[\"100.64.0." n "/32\"]"
#define PEER(id, key, rest)                                                                        \
	"{\"ID\":" id ",\"Key\":" NODEKEY(key) ",\"DiscoKey\":" DISCO("d") rest "}"
#define SELF "\"Node\":{\"ID\":1,\"Name\":\"us.\",\"Key\":" NODEKEY("1") "," ADDR("1") "}"
#define PEER2 PEER("2", "2", "," ADDR("2"))
#define PEER3 PEER("3", "3", "," ADDR("3"))

static const int64_t NOW = 1800000000;

static inline struct key key_of(uint8_t digit)
{
	struct key key;

	memset(key.bytes, digit << 4 | digit, KEY_LEN);
	return key;
}

static inline struct netmap *new_netmap(void)
{
	const struct key own = key_of(1);

	return netmap_create(&own);
}

static inline struct netmap_delta apply(struct netmap *nm, const char *text)
{
	struct netmap_delta delta;
	const int error = netmap_apply(nm, text, strlen(text), NOW, &delta);

	if (error)
		fail_msg("%s: %s", nm->error, text);
	return delta;
}

static inline struct netmap *with_peers(void)
{
	struct netmap *nm = new_netmap();

	apply(nm, "{" SELF ",\"Peers\":[" PEER2 "," PEER3 "]}");
	assert_int_equal(nm->n_peers, 2);
	return nm;
}
