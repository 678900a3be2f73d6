"""Every advice of madvise, and vectors of them."""

from pagewalk import abi
from pagewalk.conform.scenarios import At, Madvise, ProcessMadvise

from .words import (
    NONE,
    PAGE,
    R,
    W,
    advise,
    anon,
    core,
    fork,
    guard,
    kernel_read,
    lock,
    private_file,
    protect,
    punch,
    read,
    shared,
    shared_file,
    titled,
    unlock,
    vector,
    write,
)

KINDS = anon(0, 4), private_file(4, 4), shared_file(8, 4), shared(12, 4), anon(16, 2, NONE), anon(18, 2, R)
USED = *map(write, (0, 1, 4, 8, 12)), *map(read, (2, 5, 9, 18)), guard(3), guard(6)
EVERY_ADVICE = (
    abi.MADV_NORMAL, abi.MADV_RANDOM, abi.MADV_SEQUENTIAL, abi.MADV_WILLNEED, abi.MADV_COLD, abi.MADV_PAGEOUT,
    abi.MADV_FREE, abi.MADV_DONTFORK, abi.MADV_DOFORK, abi.MADV_HUGEPAGE, abi.MADV_NOHUGEPAGE, abi.MADV_DONTDUMP,
    abi.MADV_DODUMP, abi.MADV_WIPEONFORK, abi.MADV_KEEPONFORK, abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE,
    abi.MADV_DONTNEED, abi.MADV_DONTNEED_LOCKED, abi.MADV_COLLAPSE, abi.MADV_REMOVE,
)  # fmt: skip
EVERY_ADVICE_ON_EVERY_KIND = (
    *KINDS, *USED, *(advise(page, 2, advice) for advice in EVERY_ADVICE for page in (0, 2, 4, 6, 8, 12, 16, 18)),
)  # fmt: skip
EVERY_ADVICE_OVER_GAPS = (
    anon(0, 2), anon(4, 2), write(0), write(5), anon(8, 2, R), *(advise(0, 10, advice) for advice in EVERY_ADVICE),
)  # fmt: skip
EVERY_ADVICE_ON_LOCKED_MEMORY = (
    anon(0, 2), lock(0, 2), shared_file(4, 2), lock(4, 2),
    *(advise(page, 2, a) for a in EVERY_ADVICE for page in (0, 4)),
)  # fmt: skip
ARGUMENTS_ARE_CHECKED = (
    anon(0, 4), Madvise(At(0, 16), PAGE, abi.MADV_DONTNEED), Madvise(At(0), PAGE + 1, abi.MADV_DONTNEED),
    Madvise(At(0), 0, abi.MADV_GUARD_INSTALL), Madvise(At(20), 0, abi.MADV_DONTNEED), advise(0, 1, 77),
    Madvise(At(0), (1 << 64) - PAGE, abi.MADV_DONTNEED), advise(20, 1, 77),
    Madvise(At(0), (1 << 64) - 1, abi.MADV_DONTNEED),
)  # fmt: skip
DONTNEED_DROPS = (
    anon(0, 4), write(0), write(1), advise(0, 1, abi.MADV_DONTNEED), read(0), read(1), private_file(4, 2), write(4),
    advise(4, 2, abi.MADV_DONTNEED), read(4), shared_file(8, 2), write(8), advise(8, 2, abi.MADV_DONTNEED), read(8),
)  # fmt: skip
DONTNEED_LOCKED_DROPS_LOCKED_PAGES = (
    anon(0, 4), lock(0, 4), write(0), advise(0, 4, abi.MADV_DONTNEED), advise(0, 2, abi.MADV_DONTNEED_LOCKED),
    read(0),
)  # fmt: skip
FREE_THEN_PAGEOUT_DROPS = (
    anon(0, 4), write(0), write(1), advise(0, 2, abi.MADV_FREE), advise(0, 4, abi.MADV_PAGEOUT), read(0),
)  # fmt: skip
FREE_THEN_WRITTEN_STAYS = (
    anon(0, 4), write(0), write(1), write(2), advise(0, 3, abi.MADV_FREE), write(0), read(1),
    advise(0, 4, abi.MADV_PAGEOUT), read(0), read(1), kernel_read(2),
)  # fmt: skip
FREE_PASSES_SHARED_PAGES_OVER = (
    anon(0, 2), write(0), fork(), advise(0, 2, abi.MADV_FREE), advise(0, 2, abi.MADV_PAGEOUT), read(0),
)  # fmt: skip
PAGEOUT_OF_FILES = (
    shared_file(0, 4), read(0), write(1), advise(0, 4, abi.MADV_PAGEOUT), read(1), shared(8, 2), write(8),
    advise(8, 2, abi.MADV_PAGEOUT), read(8),
)  # fmt: skip
PAGEOUT_DROPS_A_HOLE_THAT_WAS_ONLY_READ = (
    shared(0, 12), read(0), write(1), read(2), advise(0, 8, abi.MADV_PAGEOUT), core(0, 4), read(8), read(0),
)  # fmt: skip
COLD_CHANGES_NOTHING_ONE_SEES = anon(0, 4), write(0), read(1), guard(2), advise(0, 4, abi.MADV_COLD), read(0), write(0)
WILLNEED = shared_file(0, 4), advise(0, 4, abi.MADV_WILLNEED), anon(8, 2), advise(8, 2, abi.MADV_WILLNEED), read(0)
POPULATE_READ_AND_WRITE = (
    anon(0, 4), advise(0, 2, abi.MADV_POPULATE_READ), advise(1, 2, abi.MADV_POPULATE_WRITE), private_file(4, 4),
    advise(4, 1, abi.MADV_POPULATE_READ), advise(6, 1, abi.MADV_POPULATE_WRITE), shared_file(8, 4, "b"),
    advise(8, 4, abi.MADV_POPULATE_WRITE), advise(0, 16, abi.MADV_POPULATE_READ), anon(16, 1, W), anon(17, 1, R),
    advise(16, 2, abi.MADV_POPULATE_READ), advise(17, 1, abi.MADV_POPULATE_WRITE),
    advise(16, 1, abi.MADV_POPULATE_WRITE),
)  # fmt: skip
REMOVE_PUNCHES_A_HOLE = (
    shared_file(0, 8), private_file(10, 8), read(1), read(11), write(12), guard(3), advise(1, 4, abi.MADV_REMOVE),
    read(1), read(11), read(12), read(3), advise(10, 2, abi.MADV_REMOVE), protect(0, 8, R),
    advise(0, 2, abi.MADV_REMOVE), shared(20, 4), write(20), advise(20, 2, abi.MADV_REMOVE), read(20),
    shared_file(30, 2, "sealed", prot=R), advise(30, 1, abi.MADV_REMOVE),
)  # fmt: skip
ADVICE_STOPS_AT_WHAT_IT_IS_NOT_FOR = (
    anon(0, 2), shared_file(2, 2), anon(4, 2), *(write(page) for page in (0, 2, 4)), advise(0, 6, abi.MADV_FREE),
    advise(0, 6, abi.MADV_PAGEOUT), advise(0, 6, abi.MADV_WIPEONFORK), lock(2, 1), advise(0, 6, abi.MADV_DONTNEED),
)  # fmt: skip
A_VECTOR_COUNTS_BYTES = (
    anon(0, 8), write(0), write(4), vector(abi.MADV_DONTNEED, (0, 1), (4, 2)), vector(abi.MADV_DONTNEED),
    ProcessMadvise(((At(0), 100), (At(4), 5000)), abi.MADV_DONTNEED),
    ProcessMadvise(((At(0, 16), PAGE),), abi.MADV_DONTNEED),
)  # fmt: skip
A_VECTOR_ENDS_AT_A_FAILURE = (
    anon(0, 2), anon(4, 2), write(0), write(5), vector(abi.MADV_DONTNEED, (0, 1), (1, 5), (4, 2)),
    vector(abi.MADV_DONTNEED, (10, 1), (0, 1)), vector(abi.MADV_GUARD_INSTALL, (0, 1), (1, 4), (5, 1)),
    vector(77, (0, 1)), unlock(0, 1), vector(abi.MADV_POPULATE_WRITE, (4, 2), (0, 1)),
    vector(abi.MADV_COLLAPSE, (0, 1)),
)  # fmt: skip
A_HOLE_PUNCHED_BESIDE = shared_file(0, 8), read(0), punch("a", 2, 2), read(2), advise(2, 2, abi.MADV_POPULATE_READ)

SCENARIOS = titled(globals())
