// Large memory in huge pages where the kernel has some ready (transparent ones): what is touched
// all over waits for translations of addresses, too, and one of them then leads to 2 MiB.
#pragma once

#include "dataplane/base/types.h"

enum {
	HUGE_PAGE = 2 << 20, // bytes
};

// size bytes of zeros on a boundary of HUGE_PAGE; prot: of mmap(2), PROT_NONE to reserve addresses
// alone. Memory only as it is touched. Nothing is asked of the kernel yet: huge_advise(). NULL with
// errno. To munmap(2). [ctl]
void *huge_reserve(size_t size, int prot) must_check;
// Of this piece, pages are to be huge where that is possible. [ctl]
void huge_advise(void *at, size_t size);
