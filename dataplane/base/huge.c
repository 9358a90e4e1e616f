#include "dataplane/base/huge.h"

#include <rte_common.h>
#include <sys/mman.h>
#include <unistd.h>

void *huge_reserve(size_t size, int prot)
{
	// One page too many, of which what lies at the ends goes back: only newer kernels
	// (Linux 6.7) choose such addresses by themselves.
	size_t all = RTE_ALIGN_CEIL(size, (size_t)HUGE_PAGE) + HUGE_PAGE;
	uint8_t *p = mmap(NULL, all, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	uint8_t *at = RTE_PTR_ALIGN_CEIL(p, HUGE_PAGE);
	size_t used = RTE_ALIGN_CEIL(size, (size_t)sysconf(_SC_PAGESIZE));
	if (at > p)
		munmap(p, (size_t)(at - p));
	munmap(at + used, all - used - (size_t)(at - p));
	return at;
}

void huge_advise(void *at, size_t size)
{
	madvise(at, size, MADV_HUGEPAGE); // where the kernel has none, small pages do
}
