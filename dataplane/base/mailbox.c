#include "dataplane/base/mailbox.h"

#include <rte_ring_elem.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/base/mem.h"

struct mailbox {
	struct rte_ring *ring;
	unsigned element;
	int fd;
	_Atomic bool asleep; // reader: true; writer who rings: false (seq_cst against the ring)
};

struct mailbox *mailbox_create(const char *name, unsigned element, unsigned size)
{
	struct mailbox *m = mem_alloc(sizeof(*m));
	m->element = element;
	m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (m->fd < 0)
		goto no_fd;
	m->ring = rte_ring_create_elem(name, element, size, SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (!m->ring)
		goto no_ring;
	return m;
no_ring:
	close(m->fd);
no_fd:
	free(m);
	return NULL;
}

void mailbox_destroy(struct mailbox *m)
{
	if (!m)
		return;
	close(m->fd);
	rte_ring_free(m->ring);
	free(m);
}

int mailbox_fd(const struct mailbox *m)
{
	return m->fd;
}

void mailbox_ring(struct mailbox *m)
{
	uint64_t one = 1;
	// It fails only when the counter is full, and then the bell rings already.
	if (write(m->fd, &one, sizeof(one)) < 0)
		return;
}

bool mailbox_put(struct mailbox *m, void *element)
{
	if (rte_ring_mp_enqueue_elem(m->ring, element, m->element) < 0)
		return false;
	// The reader sets asleep and then looks at the ring; we fill the ring and then look at
	// asleep.
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&m->asleep, memory_order_relaxed) &&
		atomic_exchange(&m->asleep, false))
		mailbox_ring(m);
	return true;
}

unsigned mailbox_get(struct mailbox *m, void *elements, unsigned n)
{
	return rte_ring_sc_dequeue_burst_elem(m->ring, elements, m->element, n, NULL);
}

unsigned mailbox_count(const struct mailbox *m)
{
	return rte_ring_count(m->ring);
}

bool mailbox_sleep(struct mailbox *m)
{
	atomic_store(&m->asleep, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (rte_ring_empty(m->ring))
		return true;
	mailbox_wake(m);
	return false;
}

void mailbox_wake(struct mailbox *m)
{
	uint64_t rings;
	atomic_store(&m->asleep, false);
	if (read(m->fd, &rings, sizeof(rings)) < 0)
		return; // it did not ring
}
