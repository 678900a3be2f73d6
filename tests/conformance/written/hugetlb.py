"""hugetlb memory of 2 MiB pages. The pool holds a few pages while these run; see the fixture ``huge_pool``."""

from pagewalk import abi
from pagewalk.conform import scenarios as do
from pagewalk.conform.scenarios import At

from .words import (
    HUGE,
    HUGETLB,
    NONE,
    PAGE,
    RW,
    RWX,
    R,
    advise,
    anon,
    core,
    execute,
    exit_,
    fork,
    guard,
    hugetlb,
    hugetlb_shared,
    kernel_read,
    kernel_write,
    leave,
    lock,
    move,
    pool,
    protect,
    read,
    resize,
    shared,
    sync,
    titled,
    unguard,
    unlock,
    unmap,
    write,
)

ANYWHERE = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | HUGETLB
SHARED = abi.MAP_SHARED | abi.MAP_ANONYMOUS | HUGETLB

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

SHARED_OVER_ITSELF = (
    hugetlb_shared(HUGE, 2 * HUGE), write(HUGE), pool(), hugetlb_shared(HUGE, 2 * HUGE), pool(), read(HUGE),
    hugetlb_shared(HUGE, 3 * HUGE), pool(), hugetlb_shared(HUGE, 3 * HUGE), pool(), read(HUGE),
    hugetlb_shared(HUGE, 4 * HUGE), pool(),
)  # fmt: skip
POPULATED_OVER_SHARED = (
    hugetlb_shared(HUGE, 2 * HUGE), write(HUGE), write(1024), pool(),
    hugetlb(HUGE, 3 * HUGE, flags=abi.MAP_NORESERVE | abi.MAP_POPULATE), pool(), read(1536), pool(),
)  # fmt: skip
PRIVATE_OVER_SHARED = (
    hugetlb_shared(HUGE, 3 * HUGE), write(HUGE), hugetlb(HUGE, 3 * HUGE), pool(), hugetlb_shared(HUGE, 2 * HUGE),
    write(HUGE), anon(HUGE, HUGE), pool(), write(1024), unmap(1024, HUGE), pool(),
)  # fmt: skip
SHARED_PROTECTED = (
    hugetlb_shared(HUGE, 3 * HUGE), write(HUGE), protect(HUGE, 3 * HUGE, R), write(HUGE), read(1024),
    protect(HUGE, 3 * HUGE, RW), write(HUGE), write(1024), pool(), protect(HUGE, 3 * HUGE, NONE), read(HUGE),
    core(HUGE, 3 * HUGE), protect(HUGE, 3 * HUGE, RW), unmap(HUGE, 3 * HUGE), pool(), hugetlb(HUGE, 4 * HUGE),
)  # fmt: skip
PRIVATE_PROTECTED = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), read(1024), protect(HUGE, 2 * HUGE, NONE), protect(HUGE, HUGE, R),
    fork(), protect(HUGE, 2 * HUGE, RW), write(HUGE), write(1024, process=1), read(HUGE, process=1), pool(),
    exit_(1), pool(), unmap(HUGE, 2 * HUGE), pool(),
)  # fmt: skip
REMOVED = (
    hugetlb_shared(HUGE, 3 * HUGE), write(HUGE), write(1024), advise(HUGE, HUGE, abi.MADV_REMOVE), pool(), read(HUGE),
    advise(HUGE, 3 * HUGE, abi.MADV_REMOVE), pool(), write(1536), write(1537), advise(1537, 10, abi.MADV_REMOVE),
    read(1536), read(1537), advise(1540, HUGE - 10, abi.MADV_REMOVE), pool(), write(1536),
)  # fmt: skip
PRIVATE_IS_NOT_REMOVED = hugetlb(HUGE, HUGE), write(HUGE), advise(HUGE, HUGE, abi.MADV_REMOVE), read(HUGE)
READ_ONLY_IS_REMOVED = hugetlb_shared(HUGE, HUGE, R), read(HUGE), advise(HUGE, HUGE, abi.MADV_REMOVE), pool()
REMOVED_FROM_ALL = (
    hugetlb_shared(HUGE, 2 * HUGE), write(HUGE), fork(), read(HUGE, process=1), pool(),
    advise(HUGE, HUGE, abi.MADV_REMOVE, process=1), pool(), read(HUGE), write(HUGE), read(HUGE, process=1), pool(),
)  # fmt: skip
SHARED_DONTNEED = (
    hugetlb_shared(HUGE, 2 * HUGE), write(HUGE), advise(HUGE, 2 * HUGE, abi.MADV_DONTNEED), pool(), core(HUGE, HUGE),
    read(HUGE), advise(HUGE, HUGE, abi.MADV_DONTNEED_LOCKED), pool(),
)  # fmt: skip
LOCKED_DONTNEED = (
    hugetlb(HUGE, 2 * HUGE, flags=abi.MAP_LOCKED), pool(), advise(HUGE, HUGE, abi.MADV_DONTNEED), pool(),
    advise(1024, HUGE - 1, abi.MADV_DONTNEED), advise(1024, HUGE, abi.MADV_DONTNEED_LOCKED), pool(),
    sync(HUGE, HUGE, abi.MS_INVALIDATE), hugetlb_shared(HUGE, HUGE, flags=abi.MAP_LOCKED),
    advise(HUGE, HUGE, abi.MADV_REMOVE), pool(),
)  # fmt: skip
SHARED_ADVICE = (
    hugetlb_shared(HUGE, HUGE), write(HUGE), *(advise(HUGE, HUGE, advice) for advice in ADVICES),
    advise(HUGE, 10, abi.MADV_SEQUENTIAL), advise(600, 10, abi.MADV_RANDOM), advise(600, 10, abi.MADV_POPULATE_WRITE),
    advise(HUGE, HUGE, abi.MADV_WIPEONFORK), advise(HUGE, HUGE, abi.MADV_KEEPONFORK),
    advise(HUGE, HUGE, abi.MADV_NOHUGEPAGE), advise(HUGE, HUGE, abi.MADV_MERGEABLE),
    advise(HUGE, HUGE, abi.MADV_UNMERGEABLE), advise(HUGE, HUGE, abi.MADV_NORMAL),
)  # fmt: skip
PARTLY_ADVISED = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), advise(HUGE, HUGE, abi.MADV_SEQUENTIAL), write(1024),
    advise(1024, HUGE, abi.MADV_SEQUENTIAL), pool(), unmap(HUGE, HUGE), pool(), unmap(1024, HUGE), pool(),
)  # fmt: skip
NOT_RESERVED_SHARED = (
    hugetlb_shared(HUGE, 5 * HUGE, flags=abi.MAP_NORESERVE), pool(), write(HUGE), write(1024), pool(),
    hugetlb(4096, 3 * HUGE), hugetlb(4096, 2 * HUGE), write(1536), pool(), advise(HUGE, HUGE, abi.MADV_REMOVE),
    pool(), read(1536), pool(),
    fork(), write(1536, process=1), write(2048, process=1), pool(),
)  # fmt: skip
POPULATED_BEYOND_THE_POOL = (
    hugetlb(HUGE, 5 * HUGE, flags=abi.MAP_NORESERVE | abi.MAP_POPULATE), pool(), read(HUGE),
    advise(HUGE, 5 * HUGE, abi.MADV_POPULATE_READ), advise(HUGE, 4 * HUGE, abi.MADV_POPULATE_WRITE),
    lock(HUGE, 5 * HUGE), lock(HUGE, 4 * HUGE), unlock(HUGE, 4 * HUGE),
)  # fmt: skip
THE_OWNER_WRITES_FIRST = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), write(1024), pool(), fork(), write(HUGE), pool(), write(1024), pool(),
    read(HUGE, process=1), exit_(1), pool(), unmap(HUGE, 2 * HUGE), pool(),
)  # fmt: skip
THE_CHILD_IS_ROBBED = (
    hugetlb(HUGE, 3 * HUGE), write(HUGE), write(1024), write(1536), fork(), write(HUGE), pool(), write(1024), pool(),
    read(1024, process=1), read(HUGE, process=1), unmap(HUGE, HUGE), pool(), read(1024, process=1),
    write(1536, process=1), fork(2, process=1), read(1024, process=2), write(HUGE, process=2), pool(),
)  # fmt: skip
THE_CHILD_HAS_NO_PROMISE = (
    hugetlb(HUGE, 4 * HUGE), write(HUGE), fork(), write(1024, process=1), write(HUGE, process=1), pool(),
    read(HUGE, process=1), write(1024), exit_(1), pool(),
)  # fmt: skip
DROPPED_BY_THE_OWNER = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), write(1024), fork(), advise(HUGE, HUGE, abi.MADV_DONTNEED), pool(),
    write(HUGE), pool(), hugetlb(2048, 2 * HUGE), pool(), exit_(1), pool(), unmap(HUGE, 2 * HUGE), pool(),
)  # fmt: skip
UNMAPPED_BY_THE_OWNER = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), fork(), unmap(HUGE, 2 * HUGE), pool(), write(HUGE, process=1),
    write(1024, process=1), pool(), unmap(HUGE, HUGE, process=1), pool(), exit_(1), pool(),
)  # fmt: skip
A_GRANDCHILD = (
    hugetlb(HUGE, HUGE), write(HUGE), fork(), fork(2, process=1), write(HUGE, process=2), pool(),
    write(HUGE, process=1), pool(), write(HUGE), pool(), exit_(1), exit_(2), pool(),
)  # fmt: skip
FORKED_BEFORE_THE_TOUCH = (
    hugetlb(HUGE, 2 * HUGE), fork(), write(HUGE, process=1), pool(), write(HUGE), pool(), exit_(1), pool(),
)  # fmt: skip
SHARED_FORKED_FIRST = (
    hugetlb_shared(HUGE, 2 * HUGE), fork(), pool(), write(HUGE, process=1), pool(), read(HUGE), unmap(HUGE, 2 * HUGE),
    pool(), read(HUGE, process=1), exit_(1), pool(),
)  # fmt: skip
NOT_FORKED = (
    hugetlb(HUGE, HUGE), write(HUGE), advise(HUGE, HUGE, abi.MADV_DONTFORK), fork(), read(HUGE, process=1),
    advise(HUGE, HUGE, abi.MADV_WIPEONFORK), exit_(1), pool(),
)  # fmt: skip
THE_KERNEL_READS_AFTER_A_FORK = (
    hugetlb(HUGE, HUGE), write(HUGE), fork(), kernel_read(HUGE), pool(), kernel_read(HUGE, process=1), pool(),
    kernel_write(HUGE, process=1), pool(), read(HUGE), kernel_read(HUGE, PAGE * 600), exit_(1), kernel_read(HUGE),
)  # fmt: skip
THE_KERNEL_READS_IN_A_CHILD = (
    hugetlb(HUGE, HUGE), write(HUGE), fork(), kernel_read(HUGE, process=1), pool(), kernel_read(HUGE), pool(),
)  # fmt: skip
SHARED_MOVED = (
    hugetlb_shared(HUGE, 2 * HUGE), write(HUGE), move(HUGE, HUGE, 2048), pool(), write(1024), move(1024, HUGE, 2560),
    pool(), read(2048), unmap(2048, 2 * HUGE), pool(),
)  # fmt: skip
MOVED_ODDLY = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), move(HUGE, 2 * HUGE, 2049), move(600, HUGE, 2048), move(HUGE, 2 * HUGE, 2048),
    resize(2048, 2 * HUGE, 2 * HUGE, flags=abi.MREMAP_MAYMOVE), resize(2048, 600, 100),
    leave(2048, 2 * HUGE, 4096), pool(),
)  # fmt: skip
MOVED_WITH_OTHERS = (
    anon(500, 12), hugetlb(HUGE, HUGE), write(500), write(HUGE), move(500, HUGE + 12, 3572), anon(1024, 3), pool(),
    move(HUGE, HUGE + 3, 4608), pool(), move(HUGE, HUGE, 4096), pool(),
)  # fmt: skip
SHRUNK_AND_MOVED = (
    hugetlb(HUGE, 3 * HUGE), write(HUGE), write(1536), move(HUGE, 3 * HUGE, 4096, HUGE), pool(), read(4096),
    unmap(4096, HUGE), pool(),
)  # fmt: skip
SHARED_RESIZED = (
    hugetlb_shared(HUGE, 2 * HUGE), write(HUGE), write(1024), resize(HUGE, 2 * HUGE, HUGE), pool(),
    resize(HUGE, HUGE, 2 * HUGE), resize(HUGE, 0, HUGE, flags=abi.MREMAP_MAYMOVE), read(HUGE), pool(),
)  # fmt: skip
IN_CORE = (
    hugetlb_shared(HUGE, 2 * HUGE), core(HUGE, 4), write(HUGE), core(HUGE, 4), protect(HUGE, HUGE, NONE), core(HUGE, 4),
    fork(), core(HUGE, 4, process=1), core(1020, 8, process=1), unmap(HUGE, HUGE), core(1024, 4),
)  # fmt: skip
SYNCED = (
    hugetlb_shared(HUGE, HUGE), write(HUGE), sync(HUGE, HUGE, abi.MS_SYNC), sync(600, 3, abi.MS_ASYNC),
    sync(HUGE, HUGE, abi.MS_INVALIDATE), sync(HUGE, 2 * HUGE, abi.MS_SYNC),
)  # fmt: skip
KINDS_OF_MAPPING = (
    shared(HUGE, HUGE, flags=HUGETLB | abi.MAP_SHARED_VALIDATE), pool(),
    shared(HUGE, HUGE, flags=HUGETLB | abi.MAP_SHARED_VALIDATE | abi.MAP_SYNC), read(HUGE), pool(),
    hugetlb(HUGE, HUGE, flags=abi.MAP_GROWSDOWN), pool(), hugetlb(HUGE, HUGE, flags=abi.MAP_STACK), write(HUGE),
    hugetlb(1024, HUGE, flags=abi.MAP_NONBLOCK | abi.MAP_POPULATE), pool(),
    do.Mmap(HUGE * PAGE, RW, HUGETLB | 8 | abi.MAP_ANONYMOUS | abi.MAP_FIXED, At(HUGE)),
    pool(),
)  # fmt: skip
AT_AN_OFFSET = (
    do.Mmap(HUGE * PAGE, RW, ANYWHERE | abi.MAP_FIXED, At(HUGE), offset=2 * HUGE * PAGE), write(HUGE), pool(),
    do.Mmap(HUGE * PAGE, R, ANYWHERE | abi.MAP_FIXED, At(1024), offset=HUGE * PAGE), pool(), read(1024), write(600),
    do.Mmap(HUGE * PAGE, RW, ANYWHERE | abi.MAP_FIXED, At(HUGE), offset=PAGE), pool(), read(HUGE),
    do.Mmap(HUGE * PAGE, RW, SHARED | abi.MAP_FIXED, At(HUGE), offset=HUGE * PAGE), pool(), write(HUGE), pool(),
    protect(HUGE, HUGE, R), do.Mmap(HUGE * PAGE, R, SHARED | abi.MAP_FIXED, At(HUGE), offset=HUGE * PAGE), read(HUGE),
)  # fmt: skip
LENGTHS = (
    do.Mmap(1, RW, ANYWHERE | abi.MAP_FIXED, At(HUGE)), pool(), do.Mmap(0, RW, ANYWHERE | abi.MAP_FIXED, At(HUGE)),
    do.Mmap((1 << 64) - 1, RW, ANYWHERE | abi.MAP_FIXED, At(HUGE)), pool(), read(1000),
    do.Mmap(1 << 46, RW, ANYWHERE | abi.MAP_FIXED, At(HUGE)), do.Mmap(PAGE, RW, ANYWHERE, 0x7FFF_FFE0_0000, name="top"),
    do.Mmap(PAGE, RW, ANYWHERE | abi.MAP_FIXED, At(513)), unmap(HUGE, 1), unmap(HUGE, HUGE + 1),
    do.Munmap(At(HUGE), HUGE * PAGE - 100), unmap(HUGE, HUGE), pool(),
)  # fmt: skip
OTHERS_OVER_A_PART = (
    hugetlb(HUGE, 2 * HUGE), write(HUGE), anon(600, 3), anon(1024, 3), anon(HUGE, HUGE), pool(), read(HUGE),
    anon(1024, HUGE), pool(),
)  # fmt: skip
EXECUTED = hugetlb(HUGE, HUGE, RWX), write(HUGE), execute(HUGE), protect(HUGE, HUGE, R), execute(HUGE)

SCENARIOS = titled(globals())
