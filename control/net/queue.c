#include "control/net/queue.h"

#include <errno.h>
#include <stdlib.h>

enum {
	ROOM_MIN = 16 << 10,
	ROOM_KEPT = 256 << 10, // more is given back once it is empty
};

// Room for len more bytes behind tail.
static int make_room(struct queue *q, size_t len)
{
	const size_t used = queue_len(q);
	size_t room = q->room ? q->room : ROOM_MIN;

	if (q->tail + len <= q->room)
		return 0;
	while (room < used + len)
		room *= 2;
	// Moving to the front is paid for by what has been taken since the last time.
	if (room == q->room && q->head < used)
		room *= 2;
	if (q->head > 0) {
		memmove(q->bytes, q->bytes + q->head, used);
		q->head = 0;
		q->tail = used;
	}
	if (room == q->room)
		return 0;
	uint8_t *bytes = realloc(q->bytes, room);
	if (!bytes)
		return -ENOMEM;
	q->bytes = bytes;
	q->room = room;
	return 0;
}

int queue_put(struct queue *q, const struct iovec *parts, int n, size_t max)
{
	size_t len = 0;

	for (int i = 0; i < n; i++) {
		if (parts[i].iov_len > max)
			return -ENOBUFS;
		len += parts[i].iov_len;
	}
	if (len > max || queue_len(q) > max - len)
		return -ENOBUFS;
	const int error = make_room(q, len);
	if (error)
		return error;
	for (int i = 0; i < n; i++) {
		if (parts[i].iov_len > 0)
			memcpy(q->bytes + q->tail, parts[i].iov_base, parts[i].iov_len);
		q->tail += parts[i].iov_len;
	}
	return 0;
}

void queue_take(struct queue *q, size_t n)
{
	q->head += n;
	if (queue_len(q) > 0)
		return;
	q->head = 0;
	q->tail = 0;
	if (q->room > ROOM_KEPT)
		queue_fini(q);
}

void queue_fini(struct queue *q)
{
	free(q->bytes);
	*q = (struct queue){0};
}
