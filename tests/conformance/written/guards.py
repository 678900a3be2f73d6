"""Guard regions: each rule of the contract's last section. ``tests/walk/test_guard_regions.py`` says what comes out."""

from pagewalk import abi
from pagewalk.conform.scenarios import At, Madvise

from .words import (
    HUGE,
    NONE,
    PAGE,
    RW,
    R,
    advise,
    anon,
    fork,
    guard,
    huge,
    hugetlb,
    kernel_read,
    kernel_write,
    leave,
    lock,
    move,
    private_file,
    protect,
    punch,
    read,
    resize,
    shared,
    shared_file,
    titled,
    truncate,
    unguard,
    unlock,
    unmap,
    vector,
    write,
)

ANY_ACCESS_IS_A_SIGSEGV = anon(0, 3), write(0), guard(1, 2), read(1), write(1), write(2), read(0, 16, 4088), read(0)
REMOVED_EXACTLY = anon(0, 6), write(0), read(1), guard(2, 2), unguard(0, 6), read(0), read(2), read(5)
INSTALLED_OVER_EVERYTHING = (
    anon(0, 6), write(0), read(1), guard(2), write(3), guard(0, 6), unguard(0, 6), read(0), read(3),
)  # fmt: skip
INSTALLED_TWICE = anon(0, 4), guard(0, 2), guard(1, 3), guard(0, 4), unguard(1, 2), read(0), read(1)
HUGETLB_IS_REFUSED = hugetlb(HUGE, HUGE), guard(HUGE, HUGE), unguard(HUGE, HUGE), write(HUGE)
LOCKED_IS_REFUSED = (
    anon(0, 4), guard(3), lock(0, 3), guard(0, 1), unguard(0, 3), unguard(3, 1), lock(3, 1), unguard(0, 4),
    unlock(0, 4), guard(0, 4), unguard(0, 4),
)  # fmt: skip
LOCKED_ON_FAULT_IS_REFUSED = anon(0, 2), lock(0, 2, abi.MLOCK_ONFAULT), guard(0), unlock(0, 2), guard(0)
LOCKED_IS_REFUSED_WHERE_IT_STANDS = (
    anon(0, 2), anon(2, 2), lock(2, 2), anon(4, 2), guard(0, 6), guard(0, 8),
    vector(abi.MADV_GUARD_INSTALL, (0, 1), (2, 1), (4, 1)),
)  # fmt: skip
MARKERS_MAY_BE_LOCKED_ON_FAULT = anon(0, 4), guard(1, 2), lock(0, 4, abi.MLOCK_ONFAULT), unguard(0, 2), lock(0, 4)
FILES_SHARED_AND_PRIVATE = (
    shared_file(0, 4), private_file(4, 4), write(0), read(4), write(5), guard(0, 2), guard(4, 2), read(0), write(5),
    unguard(0, 8), read(0), read(4), read(5),
)  # fmt: skip
SHARED_ANONYMOUS = shared(0, 4), write(1), guard(1), read(1), unguard(1), read(1)
READ_ONLY = (
    anon(0, 2, R), private_file(4, 2, prot=R), shared_file(8, 2, "sealed", prot=R), anon(12, 2, NONE), read(0),
    read(4), guard(0), guard(4), guard(8), guard(12), read(0), read(4), read(8), read(12), unguard(0, 1), read(0),
)  # fmt: skip
BEYOND_THE_END_OF_A_FILE = shared_file(0, 6, "b"), guard(1, 5), read(5), unguard(5), read(5)
FAULT_AROUND_LEAVES_MARKERS = shared_file(0, 16), guard(4, 2), read(0), read(4), read(8)
OVER_A_HUGE_PAGE = *huge(), write(600), guard(590, 20), read(600), unguard(590, 20), read(600), read(580)
OVER_THE_HUGE_ZERO_PAGE = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), read(HUGE), guard(600, 2), read(601), read(602),
)  # fmt: skip
OVER_SEVERAL_TABLES = (
    anon(HUGE, 3 * HUGE), advise(1024, HUGE, abi.MADV_HUGEPAGE), write(1024), guard(1000, 600), read(1000),
    read(1599), unguard(1000, 600), write(1100),
)  # fmt: skip
REMOVE_PASSES_HUGE_PAGES_OVER = (
    *huge(), unguard(HUGE, HUGE), unguard(600), anon(1024, HUGE), guard(1030, 2), unguard(HUGE, 2 * HUGE), read(600),
)  # fmt: skip
SURVIVES_MPROTECT = (
    anon(0, 4), write(0), guard(1), protect(0, 4, R), read(1), protect(0, 4, NONE), protect(1, 1, RW), write(1),
    protect(0, 4, RW), read(1), read(0),
)  # fmt: skip
SURVIVES_DONTNEED = (
    anon(0, 4), write(0), guard(1), advise(0, 4, abi.MADV_DONTNEED), read(0), read(1), shared_file(8, 4), guard(9),
    read(8), advise(8, 4, abi.MADV_DONTNEED), read(9), advise(0, 4, abi.MADV_DONTNEED_LOCKED),
)  # fmt: skip
SURVIVES_FREE = (
    anon(0, 4), write(0), guard(1), advise(0, 4, abi.MADV_FREE), read(1), advise(0, 4, abi.MADV_PAGEOUT), read(1),
    read(0),
)  # fmt: skip
SURVIVES_FORK = (
    anon(0, 4), write(0), guard(1), fork(), read(1, process=1), unguard(1, process=1), read(1, process=1), read(1),
    guard(0, process=1), read(0),
)  # fmt: skip
SURVIVES_FORK_WHERE_NO_PAGE_IS_COPIED = (
    shared(0, 2), shared_file(4, 2), private_file(8, 2, prot=R), guard(0), guard(4), guard(8), read(1), fork(),
    read(0, process=1), read(4, process=1), read(8, process=1), read(5, process=1),
)  # fmt: skip
WIPED_ON_FORK = (
    anon(0, 4), guard(0, 2), advise(0, 4, abi.MADV_WIPEONFORK), fork(), read(0, process=1), read(0),
    fork(2, process=1), guard(1, process=1),
)  # fmt: skip
NOT_FORKED = anon(0, 4), guard(0, 2), advise(0, 1, abi.MADV_DONTFORK), fork(), read(0, process=1), read(1, process=1)
MOVES_ALONG = (
    anon(0, 4), write(0), guard(1), move(0, 4, 20), read(21), read(20), read(1), move(20, 4, 40, new=6), read(41),
    read(45),
)  # fmt: skip
MOVES_ALONG_IN_A_FILE = (
    shared_file(0, 4), guard(1), move(0, 4, 20), read(21), read(20), private_file(30, 4), guard(31), leave(30, 4, 40),
    read(41), read(31),
)  # fmt: skip
MOVES_ALONG_WITH_A_TABLE = (
    anon(HUGE, 2 * HUGE), guard(600), guard(1030, 2), move(HUGE, 2 * HUGE, 2048), read(2136), read(2566), read(2048),
)  # fmt: skip
LEFT_BEHIND_WITHOUT_MARKERS = anon(0, 4), guard(1), leave(0, 4, 20), read(21), read(1), write(1)
SHRINKING_TAKES_THE_REST = (
    anon(0, 8), guard(2), guard(6), resize(0, 8, 4), resize(0, 4, 8), read(6), read(2), move(0, 8, 20, new=2),
    anon(22, 6), read(26),
)  # fmt: skip
SURVIVES_SPLIT_AND_MERGE = (
    anon(0, 8), guard(2, 4), protect(3, 1, R), advise(4, 1, abi.MADV_DONTFORK), protect(3, 1, RW),
    advise(4, 1, abi.MADV_DOFORK), unmap(0, 1), anon(0, 1), read(3), read(1),
)  # fmt: skip
SURVIVES_RECLAIM = (
    anon(0, 4), write(0), guard(1), advise(0, 4, abi.MADV_COLD), advise(0, 4, abi.MADV_PAGEOUT), shared_file(8, 4),
    guard(9), read(8), advise(8, 4, abi.MADV_PAGEOUT), read(9), read(1),
)  # fmt: skip
ENDS_WITH_MUNMAP = anon(0, 4), guard(0, 4), unmap(1, 2), anon(1, 2), read(1), read(0), read(3)
ENDS_WITH_MMAP_OVER_IT = anon(0, 4), guard(0, 4), anon(1, 2), read(1), read(0), shared_file(0, 1), read(0)
ENDS_WITH_A_MOVE_OVER_IT = anon(0, 2), write(0), anon(20, 4), guard(20, 4), move(0, 2, 21), read(21), read(22), read(20)
THE_KERNEL_GETS_EFAULT = (
    anon(0, 3), write(0), guard(1), kernel_read(1), kernel_write(1), kernel_read(0, 8192),
    advise(0, 3, abi.MADV_POPULATE_READ), advise(0, 3, abi.MADV_POPULATE_WRITE), advise(1, 1, abi.MADV_WILLNEED),
)  # fmt: skip
NOT_COLLAPSED = (
    anon(HUGE, HUGE), write(HUGE), guard(600), advise(HUGE, HUGE, abi.MADV_COLLAPSE), unguard(600),
    advise(HUGE, HUGE, abi.MADV_COLLAPSE), read(600),
)  # fmt: skip
OVER_GAPS = (
    anon(0, 2), anon(4, 2), write(4), guard(0, 8), read(0), read(5), unguard(1, 4), read(1), read(4), read(5),
    guard(20, 2), guard(2, 1),
)  # fmt: skip
ARGUMENTS = (
    anon(0, 4), Madvise(At(0, 16), PAGE, abi.MADV_GUARD_INSTALL), Madvise(At(0), PAGE + 1, abi.MADV_GUARD_INSTALL),
    Madvise(At(0), 0, abi.MADV_GUARD_INSTALL), Madvise(At(0), 1, abi.MADV_GUARD_REMOVE),
)  # fmt: skip
IN_A_VECTOR = (
    anon(0, 4), anon(8, 4), vector(abi.MADV_GUARD_INSTALL, (0, 2), (9, 1)), read(9),
    vector(abi.MADV_GUARD_REMOVE, (0, 1), (9, 1)), read(9), vector(abi.MADV_GUARD_INSTALL, (0, 1), (3, 6), (10, 1)),
    read(10),
)  # fmt: skip
HOLES_AND_TRUNCATION = (
    shared_file(0, 8), private_file(10, 8), guard(3), guard(13), punch("a", 2, 3), read(3), truncate("a", 2 * PAGE),
    read(3), read(13), truncate("a", 8 * PAGE), read(13), unguard(3), read(3),
)  # fmt: skip
ON_A_GROWING_STACK = anon(400, 4, flags=abi.MAP_GROWSDOWN), guard(400), write(399), read(400), write(398)

SCENARIOS = titled(globals())
