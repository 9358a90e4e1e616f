#include "dataplane/port/pool.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <sys/mman.h>

#include "dataplane/base/huge.h"
#include "dataplane/port/port.h"

static void unmap(struct rte_mempool_memhdr *chunk, void *)
{
	munmap(chunk->addr, chunk->len);
}

// Buffers for all of the pool in one piece. 0 or -errno.
static int populate_transparent(struct rte_mempool *mp)
{
	size_t min, align;
	ssize_t size = rte_mempool_op_calc_mem_size_default(mp, mp->size, 0, &min, &align);
	if (size < 0)
		return (int)size;
	char *at = huge_reserve((size_t)size, PROT_READ | PROT_WRITE);
	if (!at)
		return -ENOMEM;
	huge_advise(at, (size_t)size);
	int n = rte_mempool_populate_iova(
		mp, at, (rte_iova_t)(uintptr_t)at, (size_t)size, unmap, NULL);
	if (n == (int)mp->size)
		return 0;
	if (n <= 0) // else it belongs to the pool
		munmap(at, (size_t)size);
	return n < 0 ? n : -ENOMEM;
}

// As rte_pktmbuf_pool_create does it, but buffers may lie across pages where addresses of devices
// are virtual ones: without hugepages a page of 4 KiB would hold one 2 KiB buffer only.
struct rte_mempool *pool_create(const struct pool_params *p)
{
	struct rte_pktmbuf_pool_private priv = {
		.mbuf_data_room_size = p->room,
		.mbuf_priv_size = PKT_PRIV_LEN,
	};
	bool virtual = rte_eal_iova_mode() == RTE_IOVA_VA;
	unsigned size = (unsigned)sizeof(struct rte_mbuf) + PKT_PRIV_LEN + p->room;
	struct rte_mempool *mp = rte_mempool_create_empty(p->name, p->n, size, p->cache,
		sizeof(priv), SOCKET_ID_ANY, virtual ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0);
	if (!mp)
		return NULL;
	rte_pktmbuf_pool_init(mp, &priv);
	bool transparent = p->transparent && virtual && !rte_eal_has_hugepages();
	int n = transparent ? populate_transparent(mp) : rte_mempool_populate_default(mp);
	if (n < 0) {
		rte_mempool_free(mp);
		rte_errno = -n;
		return NULL;
	}
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
	return mp;
}
