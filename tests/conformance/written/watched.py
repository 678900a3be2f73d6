"""Memory that userfaultfd write-protects: marks, markers, and who is refused."""

from pagewalk import abi
from pagewalk.conform.scenarios import At, PagemapScan, Register, Unregister, WriteProtect

from .words import (
    HUGE,
    NONE,
    PAGE,
    RW,
    R,
    advise,
    anon,
    core,
    fork,
    guard,
    huge,
    kernel_read,
    kernel_write,
    leave,
    lock,
    move,
    private_file,
    protect,
    punch,
    read,
    shared,
    shared_file,
    titled,
    truncate,
    unguard,
    unmap,
    write,
)


def watch(page, pages, **how):
    return Register(At(page), pages * PAGE, **how)


def unwatch(page, pages, **how):
    return Unregister(At(page), pages * PAGE, **how)


def stop(page, pages, **how):
    return WriteProtect(At(page), pages * PAGE, **how)


def resume(page, pages, **how):
    return WriteProtect(At(page), pages * PAGE, False, **how)


EVERY_ADVICE = (
    abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_COLD, abi.MADV_PAGEOUT, abi.MADV_POPULATE_READ,
    abi.MADV_POPULATE_WRITE, abi.MADV_WILLNEED, abi.MADV_DONTNEED_LOCKED, abi.MADV_COLLAPSE,
)  # fmt: skip
A_PROTECTED_PAGE_REFUSES_WRITES = (
    anon(0, 4), write(0), write(1), watch(0, 4), stop(0, 2), write(0), read(0), resume(0, 1), write(0), write(1),
    kernel_write(1), kernel_read(1), write(2),
)  # fmt: skip
PLACES_WITHOUT_A_PAGE_ARE_NOT_PROTECTED = (anon(0, 4), write(0), watch(0, 4), stop(0, 4), write(1), write(0))
UNLESS_THEY_ARE_ASKED_FOR = (
    anon(0, 6), write(0), watch(0, 6, unpopulated=True), stop(0, 6), read(1), write(2), write(1), core(0, 6),
    resume(0, 6), write(1), write(2), write(3), read(4),
)  # fmt: skip
FILES_HAVE_MARKERS = (
    shared(0, 6), write(0), write(1), watch(0, 6), stop(0, 4), write(0), write(2), read(3), core(0, 6), resume(0, 2),
    write(0), write(2), unwatch(0, 6), write(2), read(3),
)  # fmt: skip
PRIVATE_FILES_HAVE_MARKERS = (
    private_file(0, 6), read(0), write(1), watch(0, 6), stop(0, 4), write(0), write(1), write(2), read(3), resume(0, 4),
    write(0), write(2), read(2),
)  # fmt: skip
NOTHING_IS_MAPPED_AROUND_A_FAULT = (
    shared_file(0, 16), watch(0, 8), read(3), read(9), unwatch(0, 8), read(0),
)  # fmt: skip
PROTECTION_OUTLIVES_PAGES_OF_FILES = (
    shared_file(0, 8), private_file(8, 8), *map(read, (0, 1, 8, 9)), write(2), write(10), watch(0, 16), stop(0, 4),
    stop(8, 4), *(advise(page, 6, abi.MADV_DONTNEED) for page in (0, 8)), read(0), read(8),
    *(advise(page, 6, abi.MADV_PAGEOUT) for page in (0, 8)), punch("a", 0, 3), truncate("a", 2), read(1), read(9),
    read(4),
)  # fmt: skip
PROTECTION_GOES_WITH_ANONYMOUS_PAGES = (
    anon(0, 4), write(0), write(1), watch(0, 4, unpopulated=True), stop(0, 4), advise(0, 4, abi.MADV_DONTNEED),
    write(0), write(2),
)  # fmt: skip
EVERY_ADVICE_ON_PROTECTED_MEMORY = (
    anon(0, 2), shared(2, 2), private_file(4, 2), *map(write, (0, 2, 4)), read(5), watch(0, 6, unpopulated=True),
    *(step for advice in EVERY_ADVICE for step in (stop(0, 6), *(advise(page, 2, advice) for page in (0, 2, 4)))),
)  # fmt: skip
GAPS_ARE_PASSED_OVER = (
    anon(0, 2), anon(4, 2), write(0), write(4), stop(0, 6), watch(0, 6), stop(0, 6), anon(6, 2), write(6), stop(4, 4),
    stop(20, 2), watch(20, 2), unwatch(20, 2), stop(0, 0), watch(0, 0), WriteProtect(At(0, 1), PAGE), Register(0, PAGE),
    Register(At(0), 1 << 47), Register(1 << 47, PAGE),
)  # fmt: skip
A_HUGE_PAGE_IS_PROTECTED_OR_SPLIT = (
    *huge(), watch(HUGE, HUGE), stop(HUGE, HUGE), write(HUGE + 1), stop(HUGE + 3, 2), resume(HUGE, HUGE),
    write(HUGE + 1), stop(HUGE + 3, 2), write(HUGE + 4), read(HUGE + 3), advise(HUGE, HUGE, abi.MADV_COLLAPSE),
    resume(HUGE, HUGE),
    advise(HUGE, HUGE, abi.MADV_COLLAPSE), stop(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_FREE), write(HUGE),
)  # fmt: skip
COLLAPSE_WANTS_ALL_PAGES = (
    anon(HUGE, HUGE), write(HUGE), write(HUGE + 1), watch(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_COLLAPSE),
    stop(HUGE, 1), advise(HUGE, HUGE, abi.MADV_COLLAPSE), unwatch(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_COLLAPSE),
)  # fmt: skip
A_CHILD_IS_NOT_WATCHED = (
    anon(0, 4), shared(4, 2), *map(write, (0, 1, 4)), watch(0, 6, unpopulated=True), stop(0, 6), fork(),
    write(0, process=1), write(4, process=1), write(2, process=1), write(0), kernel_read(1), write(4),
)  # fmt: skip
WHAT_MOVES_AWAY_IS_NOT_WATCHED = (
    anon(0, 4), shared(4, 4), write(0), write(4), watch(0, 8, unpopulated=True), stop(0, 8), move(0, 2, 20), write(20),
    move(4, 2, 24), write(24), leave(2, 2, 30), write(30), write(2), move(0, 8, 40),
)  # fmt: skip
TABLES_OF_WATCHED_MEMORY_STAY_BEHIND = (
    anon(HUGE, 2 * HUGE), write(HUGE + 5), write(HUGE + 6), write(2 * HUGE), advise(HUGE, 2 * HUGE, abi.MADV_HUGEPAGE),
    watch(HUGE, HUGE, unpopulated=True), stop(HUGE, 8), leave(HUGE, HUGE, 4 * HUGE), write(HUGE + 9),
    write(4 * HUGE + 5), write(4 * HUGE + 7), leave(2 * HUGE, HUGE, 5 * HUGE), write(2 * HUGE + 9),
    write(5 * HUGE + 5),
)  # fmt: skip
HUGE_PAGES_OF_WATCHED_MEMORY_MOVE = (
    *huge(), watch(HUGE, HUGE), stop(HUGE, HUGE), leave(HUGE, HUGE, 4 * HUGE), write(HUGE + 9), write(4 * HUGE + 5),
    watch(4 * HUGE, HUGE), stop(4 * HUGE, 2), move(4 * HUGE, HUGE, 2 * HUGE), write(2 * HUGE), fork(),
    write(2 * HUGE + 9),
)  # fmt: skip
TABLES_OF_WATCHED_FILES_STAY_BEHIND = (
    shared(HUGE, HUGE), write(HUGE + 3), read(HUGE + 4), watch(HUGE, HUGE), stop(HUGE, 8),
    leave(HUGE, HUGE, 4 * HUGE), write(HUGE + 3), write(4 * HUGE + 3), advise(HUGE, HUGE, abi.MADV_COLLAPSE),
    watch(4 * HUGE, HUGE), move(4 * HUGE, HUGE, 2 * HUGE), write(2 * HUGE + 3), read(2 * HUGE + 70),
)  # fmt: skip
RIGHTS_AND_PROTECTION = (
    anon(0, 4), write(0), write(1), watch(0, 4), stop(0, 2), protect(0, 2, R), protect(0, 2, RW), write(0),
    protect(1, 1, NONE), resume(0, 2), protect(1, 1, RW), write(0), write(1), lock(0, 4), stop(0, 4), write(2),
)  # fmt: skip
GUARDS_STAY = (
    anon(0, 4), write(0), guard(1), watch(0, 4, unpopulated=True), stop(0, 4), read(1), guard(2), unguard(0, 4),
    read(2), write(2), resume(0, 4), write(2), unmap(0, 4), anon(0, 4), write(0),
)  # fmt: skip
A_MARKER_BEYOND_THE_END_STAYS = (
    shared_file(0, 8, "b"), watch(0, 8), stop(0, 8), read(5), write(5), read(2), truncate("b", 6), read(5), write(4),
)  # fmt: skip

A_WRITTEN_PAGE_OF_A_FILE_FAULTS_AGAIN_ONCE_IT_IS_RESOLVED = (
    punch("a", 7, 2), shared_file(6, 2, offset=7), shared_file(50, 2, offset=7), read(6), read(7), read(50), read(51),
    watch(50, 2), write(50), write(51), resume(50, 1), write(50), protect(51, 1, R), protect(51, 1, RW), write(51),
)  # fmt: skip
PROTECTED_PAGES_ARE_NOT_WRITTEN = (
    anon(0, 4), shared(4, 4), *map(write, (0, 1, 4)), read(2), watch(0, 8), stop(1, 5), PagemapScan(At(0), At(8)),
    PagemapScan(At(0), At(8), mask=2, returns=2), PagemapScan(At(0), At(8), inverted=2, mask=2, max_pages=2),
    PagemapScan(At(0), At(8), 1, mask=2), PagemapScan(At(0), At(8), 2), PagemapScan(At(0), At(9), inverted=8, vector=1),
)  # fmt: skip

SCENARIOS = titled(globals())
