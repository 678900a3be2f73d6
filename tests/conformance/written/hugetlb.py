"""hugetlb memory of 2 MiB pages. The pool holds a few pages while these run; see the fixture ``huge_pool``."""

from pagewalk import abi

from .words import (
    HUGE,
    HUGETLB,
    RW,
    R,
    advise,
    anon,
    core,
    exit_,
    fork,
    guard,
    hugetlb,
    kernel_read,
    kernel_write,
    leave,
    lock,
    move,
    protect,
    read,
    resize,
    shared,
    titled,
    unguard,
    unmap,
    write,
)

FAULTS_A_PAGE_AT_A_TIME = hugetlb(HUGE, 2 * HUGE), read(600), write(1030), read(1030), core(HUGE, 4), core(1022, 4)
UNMAPPED_BY_WHOLE_PAGES = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), write(1024), unmap(600, 1), unmap(HUGE, HUGE), read(1024),
    unmap(1024, HUGE),
)  # fmt: skip
PROTECTED_BY_WHOLE_PAGES = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), protect(600, 1, R), protect(HUGE, HUGE, R), write(HUGE), read(HUGE),
    protect(HUGE, HUGE, RW), write(HUGE),
)  # fmt: skip
THE_POOL_RUNS_OUT = (
    hugetlb(HUGE, 2 * HUGE), hugetlb(1536, 5 * HUGE), hugetlb(1536, 3 * HUGE), write(1536), unmap(HUGE, 2 * HUGE),
    hugetlb(HUGE, HUGE),
)  # fmt: skip
NOT_RESERVED_IS_SIGBUS = (
    hugetlb(HUGE, 2 * HUGE), hugetlb(1536, HUGE), hugetlb(2560, 3 * HUGE, flags=abi.MAP_NORESERVE), write(2560),
    write(3072), read(3584),
)  # fmt: skip
GUARDS_ARE_REFUSED = (
    hugetlb(HUGE, HUGE), write(HUGE), guard(HUGE, HUGE), guard(600), unguard(HUGE, HUGE), unguard(600), anon(500, 12),
    guard(510, 4), read(510), read(HUGE),
)  # fmt: skip
ADVICES = (
    abi.MADV_FREE, abi.MADV_COLD, abi.MADV_PAGEOUT, abi.MADV_COLLAPSE, abi.MADV_HUGEPAGE, abi.MADV_DONTFORK,
    abi.MADV_DOFORK, abi.MADV_DONTDUMP, abi.MADV_DODUMP, abi.MADV_WILLNEED, abi.MADV_POPULATE_READ, abi.MADV_DONTNEED,
    abi.MADV_POPULATE_WRITE,
)  # fmt: skip
ADVICE = hugetlb(HUGE, HUGE), write(HUGE), *(advise(HUGE, HUGE, advice) for advice in ADVICES)
DONTNEED_TAKES_WHOLE_PAGES = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), write(1024), advise(HUGE, 600, abi.MADV_DONTNEED), read(HUGE), read(1024),
    advise(600, 600, abi.MADV_DONTNEED),
)  # fmt: skip
FORKED_PRIVATE = (
    hugetlb(HUGE, HUGE), write(HUGE), fork(), read(HUGE, process=1), write(HUGE, process=1), read(HUGE), write(HUGE),
    exit_(1),
)  # fmt: skip
FORKED_SHARED = (
    shared(HUGE, HUGE, flags=HUGETLB), write(HUGE), fork(), read(HUGE, process=1), write(600, process=1), read(600),
    exit_(1), write(HUGE),
)  # fmt: skip
THE_KERNEL_READS_AND_WRITES = hugetlb(HUGE, HUGE), kernel_read(600), kernel_write(700), read(700)
MOVED = (
    hugetlb(HUGE, HUGE), write(600), move(HUGE, HUGE, 1536), read(1624), move(1536, HUGE, 20),
    leave(1536, HUGE, 2560),
)  # fmt: skip
RESIZED = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), resize(HUGE, 2 * HUGE, HUGE), read(HUGE), resize(HUGE, HUGE, 2 * HUGE),
    resize(HUGE, HUGE, 100),
)  # fmt: skip
LOCKED = (
    hugetlb(HUGE, HUGE), lock(HUGE, HUGE), hugetlb(1024, HUGE, flags=abi.MAP_POPULATE),
    hugetlb(1536, HUGE, flags=abi.MAP_LOCKED),
)  # fmt: skip
PLACED_BY_WHOLE_PAGES = hugetlb(600, HUGE), hugetlb(HUGE, 3), read(700), hugetlb(1024, HUGE, R), write(1024), read(1024)
MAPPED_OVER_ITSELF = hugetlb(HUGE, 3 * HUGE), write(HUGE), hugetlb(1024, 3 * HUGE), hugetlb(1024, 4 * HUGE), read(HUGE)

SCENARIOS = titled(globals())
