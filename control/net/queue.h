// Bytes that wait to be sent, in one piece, so that they leave in large records. [ctl]
#pragma once

#include <sys/uio.h>

#include "dataplane/base/types.h"

struct queue {
	uint8_t *bytes;
	size_t head, tail, room;
};

static inline size_t queue_len(const struct queue *q)
{
	return q->tail - q->head;
}

// All parts, or none: -ENOBUFS above max, -ENOMEM.
int queue_put(struct queue *, const struct iovec *parts, int n, size_t max) must_check;
// n of the first bytes have gone.
void queue_take(struct queue *, size_t n);
void queue_fini(struct queue *);
