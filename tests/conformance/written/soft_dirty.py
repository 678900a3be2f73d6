"""Soft-dirty pages: what was written since ``clear_refs``. A kernel without them shows what is left of the scenarios.

No scan asks what is WRITTEN: what that says of empty entries differs by version.
"""

from pagewalk import abi
from pagewalk.abi.pagemap import PM_SCAN_WP_MATCHING, PageIs
from pagewalk.conform.scenarios import At, ClearRefs, PagemapScan, Register, Unregister, WriteProtect

from .words import (
    HUGE,
    NONE,
    PAGE,
    RW,
    R,
    X,
    advise,
    anon,
    execute,
    exit_,
    fork,
    guard,
    huge,
    hugetlb,
    hugetlb_shared,
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
    write,
)

CLEAR = ClearRefs()
SOFT = int(PageIs.SOFT_DIRTY)
TOLD = int(PageIs.every() & ~PageIs.WRITTEN)


def scan(page, pages, mask=0, *, inverted=0, anyof=0, returns=TOLD, most=0, vector=64, **how):
    return PagemapScan(At(page), At(page + pages), 0, most, inverted, mask, anyof, returns, vector, **how)


def touched(*pages, **how):
    return tuple(step for page in pages for step in (read(page, **how), write(page, **how)))


ALL_IS_BORN_SO = (
    anon(0, 4), anon(8, 2, R), shared(16, 4), private_file(24, 4), shared_file(32, 4), anon(40, 2, NONE),
    anon(48, 2, flags=abi.MAP_POPULATE), scan(0, 60), read(0), write(1), read(16), write(17), read(24), write(25),
    read(32), write(33), scan(0, 60), CLEAR, scan(0, 60), *touched(0, 1, 2, 8, 16, 17, 18, 24, 25, 26, 32, 33, 34, 48),
    scan(0, 60),
)  # fmt: skip
WRITTEN_SINCE = (
    anon(0, 8), write(0), write(1), read(2), CLEAR, write(1), read(0), write(3), read(4), write(2), CLEAR, CLEAR,
    read(1), write(4), write(0, bytes(4 * PAGE)), scan(0, 8, SOFT), unmap(2, 1), CLEAR, scan(0, 8, SOFT),
)  # fmt: skip
WHAT_CAN_BE_CLEARED = (
    anon(0, 4), shared_file(8, 2), write(0), write(8), read(9), *(ClearRefs(value) for value in (0, -1, 6, 1 << 31)),
    *(step for value in (1, 2, 3, 5, 4) for step in (ClearRefs(value), write(0), read(1), write(8), read(9))),
    advise(0, 4, abi.MADV_PAGEOUT), ClearRefs(1 << 32), ClearRefs(4 | 1 << 32),
)  # fmt: skip
NEW_MEMORY_BESIDE_OLD = (
    anon(0, 4), write(0), CLEAR, anon(4, 4), write(5), CLEAR, anon(9, 2), anon(8, 1), CLEAR, unmap(2, 2), anon(2, 2),
    write(2), CLEAR, anon(3, 3, R), protect(3, 3, RW), CLEAR, shared(20, 2), CLEAR, shared(22, 2), unmap(0, 1),
    anon(0, 1),
)  # fmt: skip
RIGHTS_MAKE_ONE_OF_THE_LEFT = (
    anon(0, 2), write(0), CLEAR, anon(2, 2, R), read(2), protect(2, 2, RW), write(1), write(3), anon(4, 2, R), CLEAR,
    anon(6, 2), protect(4, 2, RW), write(4), CLEAR, anon(8, 2, R), protect(6, 2, R), protect(8, 1, RW),
)  # fmt: skip
RIGHTS_MAKE_ONE_OF_THE_RIGHT = (
    anon(2, 2), write(2), CLEAR, anon(0, 2, R), read(0), protect(0, 2, RW), write(3), write(1), CLEAR, anon(6, 2),
    anon(8, 2, R), CLEAR, anon(10, 2), protect(8, 2, RW), write(8), write(6), write(10),
)  # fmt: skip
RIGHTS_FILL_A_GAP = (
    anon(0, 2), anon(2, 2, R), anon(4, 2), CLEAR, protect(2, 2, RW), write(1), anon(10, 2), CLEAR, anon(12, 2, R),
    anon(14, 2), protect(12, 2, RW), CLEAR, anon(22, 2, R), CLEAR, anon(20, 2), anon(24, 2), protect(22, 2, RW),
    write(22),
)  # fmt: skip
ADVICE_MAKES_ONE = (
    anon(0, 2), CLEAR, anon(2, 2, R), advise(2, 2, abi.MADV_DONTDUMP), protect(2, 2, RW),
    advise(0, 2, abi.MADV_DONTDUMP), advise(0, 4, abi.MADV_DODUMP), CLEAR, anon(8, 2), lock(8, 2), CLEAR, anon(10, 2),
    lock(10, 2), unlock(8, 4), CLEAR, anon(16, 2, R), protect(16, 2, RW), lock(16, 2), CLEAR, anon(18, 2),
    unlock(16, 2), write(17), write(18),
)  # fmt: skip
UNREGISTERED_AND_ONE_AGAIN = (
    anon(0, 2), CLEAR, Register(At(0), 2 * PAGE), anon(2, 2), Unregister(At(0), 2 * PAGE), write(0), write(2), CLEAR,
    Register(At(2), 2 * PAGE), anon(4, 2), Unregister(At(2), 2 * PAGE), CLEAR, anon(10, 2), anon(12, 2, R),
    Register(At(10), 2 * PAGE), protect(12, 2, RW), CLEAR, anon(14, 2), Register(At(12), 2 * PAGE), write(12),
)  # fmt: skip
STACKS_GROW = (
    anon(400, 2, flags=abi.MAP_GROWSDOWN), write(401), CLEAR, write(399), read(398), write(397), CLEAR, write(396),
    read(399), write(399), scan(390, 20),
)  # fmt: skip
MOVED_PAGES = (
    anon(0, 6), write(0), write(1), read(2), CLEAR, move(0, 4, 20), write(21), read(20), write(23), CLEAR,
    leave(20, 2, 30), write(30), read(31), read(20), write(20), CLEAR, move(4, 2, 40), write(40), unmap(4, 1),
    anon(50, 2), CLEAR, write(50), move(50, 2, 60, 4), write(62), read(60), shared(70, 4), write(70), CLEAR,
    move(70, 2, 80), read(80), read(81), write(81),
)  # fmt: skip
MOVED_BESIDE_OTHERS = (
    anon(0, 4), write(0), CLEAR, move(2, 2, 20), anon(22, 2), write(20), CLEAR, anon(30, 4), write(31),
    move(30, 2, 24), write(25), CLEAR, move(32, 2, 2), write(2),
)  # fmt: skip
GROWN_IN_PLACE = (
    anon(0, 2), write(0), CLEAR, resize(0, 2, 4), write(3), read(2), CLEAR, resize(0, 4, 3), resize(0, 3, 6), read(5),
    shared_file(16, 2), read(16), CLEAR, resize(16, 2, 4), read(18), write(19), anon(30, 2), CLEAR, anon(34, 2),
    resize(30, 2, 4), write(32), write(34),
)  # fmt: skip
MOVED_TABLES = (
    anon(HUGE, HUGE + 8), advise(HUGE, HUGE + 8, abi.MADV_NOHUGEPAGE), write(HUGE), write(HUGE + 1), read(HUGE + 2),
    write(HUGE + HUGE), guard(HUGE + 3), CLEAR, write(HUGE + 1), move(HUGE, HUGE + 8, 4 * HUGE), read(4 * HUGE),
    write(4 * HUGE), write(5 * HUGE), CLEAR, move(4 * HUGE, HUGE + 8, HUGE + 9), write(HUGE + 9),
)  # fmt: skip
GUARDS = (
    anon(0, 6), write(0), write(1), guard(0), guard(3), CLEAR, guard(1), guard(4), unguard(0, 2), write(0), read(1),
    CLEAR, move(0, 6, 20), read(23), CLEAR, move(20, 6, 40), unguard(43), read(43), CLEAR, move(40, 6, 60), fork(),
    scan(60, 6, process=1), ClearRefs(process=1), advise(60, 6, abi.MADV_DONTNEED), guard(60, 6), read(64),
)  # fmt: skip
FORKED = (
    anon(0, 6), shared(8, 4), private_file(16, 4), *touched(0, 1, 2, 8, 9, 16, 17), CLEAR, write(0), write(8), read(2),
    write(16), fork(), write(0, process=1), write(1, process=1), write(9, process=1), read(8, process=1), write(1),
    write(17), ClearRefs(process=1), write(0), write(8), write(2, process=1), write(16, process=1), exit_(1), write(1),
)  # fmt: skip
A_CHILD_OF_WHAT_IS_NEW = (
    anon(0, 4), write(0), advise(2, 2, abi.MADV_WIPEONFORK), write(2), fork(), CLEAR, write(1), read(2, process=1),
    ClearRefs(process=1), write(2, process=1), fork(2, process=1), write(0, process=2), write(3, process=2),
)  # fmt: skip
SHARED_BY_TWO_MAPPINGS = (
    shared_file(0, 4), shared_file(8, 4), write(0), read(8), read(1), CLEAR, read(0), write(8), read(0), write(1),
    read(9), read(2), read(10), write(2), CLEAR, shared_file(16, 4), read(16), read(17), read(19), CLEAR, write(16),
    protect(16, 4, R), protect(16, 4, RW), write(17), read(16), write(16),
)  # fmt: skip
MAPPED_AROUND = (
    shared_file(0, 16), write(3), write(5), shared_file(32, 16), read(32), scan(0, 50, SOFT), CLEAR, scan(0, 50, SOFT),
    shared_file(64, 16, prot=R), read(64), private_file(96, 16), read(96), CLEAR, unmap(32, 16), shared_file(32, 16),
    CLEAR, read(32), write(33), read(64), protect(64, 16, RW), write(64), read(65), write(65),
)  # fmt: skip
DIRTY_PAGES_READ_ELSEWHERE = (
    shared_file(0, 4), advise(0, 4, abi.MADV_DONTDUMP), write(0), CLEAR, shared_file(4, 4, offset=4),
    shared_file(20, 8), write(24), write(26), read(4), read(5), advise(0, 4, abi.MADV_DODUMP), write(5), write(7),
)  # fmt: skip
COPIES_OF_A_FILE = (
    private_file(0, 8), read(0), write(1), CLEAR, read(0), read(1), write(1), write(0), write(2), CLEAR,
    punch("a", 0, 2), read(0), truncate("a", 5 * PAGE), read(4), write(4), CLEAR, truncate("a", 2 * PAGE), write(1),
)  # fmt: skip
HOLES_IN_SHARED_MEMORY = (
    shared_file(0, 8), write(0), write(1), read(4), CLEAR, punch("a", 0, 2), read(0), write(1), CLEAR,
    advise(0, 2, abi.MADV_REMOVE), write(0), read(1), CLEAR, advise(0, 8, abi.MADV_PAGEOUT), read(1), read(4),
    write(4),
)  # fmt: skip
HUGE_PAGES = (
    *huge(), scan(HUGE, HUGE, SOFT), CLEAR, scan(HUGE, HUGE, SOFT), read(HUGE), write(HUGE + 5), CLEAR, fork(),
    read(HUGE + 1, process=1), write(HUGE, process=1), write(HUGE + 1), CLEAR, move(HUGE, HUGE, 3 * HUGE), CLEAR,
    read(3 * HUGE), write(3 * HUGE), CLEAR, advise(3 * HUGE, HUGE, abi.MADV_DONTNEED), read(3 * HUGE),
)  # fmt: skip
HUGE_PAGES_THAT_ARE_SPLIT = (
    *huge(), write(HUGE + 7), CLEAR, protect(HUGE + 4, 4, R), write(HUGE), write(HUGE + 8), CLEAR,
    anon(3 * HUGE, HUGE), advise(3 * HUGE, HUGE, abi.MADV_HUGEPAGE), write(3 * HUGE), CLEAR,
    advise(3 * HUGE, 4, abi.MADV_DONTNEED), read(3 * HUGE), read(3 * HUGE + 8), write(3 * HUGE + 9),
)  # fmt: skip
HUGE_PAGES_THAT_ARE_SPLIT_AS_SUCH = (
    *huge(), write(HUGE + 7), CLEAR, advise(HUGE, 4, abi.MADV_COLD), write(HUGE + 1), read(HUGE + 7), CLEAR,
    write(HUGE + 7), advise(HUGE + 8, 8, abi.MADV_FREE), read(HUGE + 9), write(HUGE + 10),
)  # fmt: skip
HUGE_PAGES_OF_ZEROS = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), read(HUGE), CLEAR, read(HUGE), write(HUGE + 3),
    anon(3 * HUGE, HUGE), advise(3 * HUGE, HUGE, abi.MADV_HUGEPAGE), read(3 * HUGE), CLEAR,
    advise(3 * HUGE, 4, abi.MADV_DONTNEED), write(3 * HUGE + 5),
)  # fmt: skip
COLLAPSED = (
    anon(HUGE, HUGE), write(HUGE), write(HUGE + 9), CLEAR, write(HUGE + 9), advise(HUGE, HUGE, abi.MADV_COLLAPSE),
    CLEAR, protect(HUGE, HUGE, R), advise(HUGE, HUGE, abi.MADV_COLLAPSE), protect(HUGE, 8, RW), write(HUGE), CLEAR,
    advise(HUGE, HUGE, abi.MADV_COLLAPSE), read(HUGE), write(HUGE),
)  # fmt: skip
HUGE_AND_SHARED = (
    shared(HUGE, HUGE), write(HUGE), CLEAR, advise(HUGE, HUGE, abi.MADV_COLLAPSE), read(HUGE), write(HUGE + 3), CLEAR,
    read(HUGE), protect(HUGE, 8, R), read(HUGE), write(HUGE + 20), read(HUGE + 9), CLEAR, read(HUGE + 9),
    write(HUGE + 9), fork(), read(HUGE + 30, process=1), write(HUGE + 40, process=1),
)  # fmt: skip
LAZILY_FREE_HUGE_PAGES = (
    *huge(), CLEAR, advise(HUGE, HUGE, abi.MADV_FREE), read(HUGE), write(HUGE), CLEAR,
    advise(HUGE, HUGE, abi.MADV_FREE), advise(HUGE, HUGE, abi.MADV_PAGEOUT), read(HUGE), write(HUGE),
)  # fmt: skip
WATCHED = (
    anon(0, 6), write(0), write(1), read(2), Register(At(0), 6 * PAGE), WriteProtect(At(0), 3 * PAGE), CLEAR, read(0),
    write(0), WriteProtect(At(0), PAGE, False), read(0), write(0), CLEAR, write(1), Unregister(At(0), 6 * PAGE),
    write(1), write(2), shared(16, 4), write(16), Register(At(16), 4 * PAGE), WriteProtect(At(16), 4 * PAGE), CLEAR,
    read(17), write(18), WriteProtect(At(16), 4 * PAGE, False), write(16), read(17), CLEAR, write(17),
)  # fmt: skip
WATCHED_AND_MOVED = (
    shared(0, 6), write(0), Register(At(0), 6 * PAGE), WriteProtect(At(0), 6 * PAGE), scan(0, 6, SOFT), CLEAR,
    move(0, 6, 20), write(20), read(21), anon(40, 4), write(40), write(41), Register(At(40), 4 * PAGE),
    WriteProtect(At(40), PAGE), CLEAR, move(40, 4, 60), write(60), write(61),
)  # fmt: skip
WATCHED_ASYNCHRONOUSLY = (
    anon(0, 6), write(0), write(1), Register(At(0), 6 * PAGE, True, True), WriteProtect(At(0), 6 * PAGE), CLEAR,
    write(0), read(1), CLEAR, PagemapScan(At(0), At(6), PM_SCAN_WP_MATCHING, 0, 0, int(PageIs.PRESENT), 0, TOLD, 64),
    write(0), write(3), scan(0, 6, SOFT),
)  # fmt: skip
RIGHTS_COME_AND_GO = (
    anon(0, 6), write(0), write(1), write(2), CLEAR, write(0), protect(0, 6, R), write(0), protect(0, 6, RW), write(1),
    read(2), protect(0, 6, NONE), read(0), CLEAR, protect(0, 6, RW), read(0), write(2), read(1), shared(16, 3),
    write(16), read(17), CLEAR, protect(16, 3, R), protect(16, 3, RW), read(16), write(17), protect(16, 3, NONE),
    CLEAR, protect(16, 3, RW), write(16),
)  # fmt: skip
THE_KERNEL_WRITES = (
    anon(0, 6), write(0), write(1), read(2), CLEAR, kernel_read(0, 4 * PAGE), kernel_write(0), kernel_write(2),
    kernel_write(3), CLEAR, fork(), kernel_read(0), kernel_write(0), kernel_read(2), CLEAR, write(0), write(2),
    shared(16, 3), kernel_write(16), CLEAR, kernel_read(16), kernel_read(17), kernel_write(17), kernel_write(16),
)  # fmt: skip
ADVICE = (
    anon(0, 8), *touched(0, 1, 2, 3, 4), CLEAR, advise(0, 1, abi.MADV_FREE), read(0), write(0),
    advise(1, 1, abi.MADV_COLD), write(1), advise(2, 1, abi.MADV_DONTNEED), read(2), write(2),
    advise(3, 1, abi.MADV_PAGEOUT), read(3), CLEAR, advise(0, 8, abi.MADV_POPULATE_READ), write(3), CLEAR,
    advise(0, 8, abi.MADV_POPULATE_WRITE), CLEAR, lock(0, 8), CLEAR, anon(16, 4, flags=abi.MAP_LOCKED), CLEAR,
    write(16), advise(4, 2, abi.MADV_WILLNEED),
)  # fmt: skip
SCANNED = (
    anon(0, 10), anon(12, 2, R), write(0), write(1), read(2), write(3), guard(4), CLEAR, write(0), write(3),
    anon(16, 4), scan(0, 30), scan(0, 30, SOFT), scan(0, 30, SOFT, returns=SOFT), scan(0, 30, SOFT, inverted=SOFT),
    scan(0, 30, anyof=SOFT | int(PageIs.GUARD)), scan(0, 30, int(PageIs.PRESENT), inverted=SOFT, anyof=SOFT),
    scan(0, 30, SOFT, most=1), scan(0, 30, SOFT, vector=1), scan(0, 30, SOFT, most=3, vector=2),
    scan(0, 30, SOFT, vector=0), scan(1, 18, anyof=SOFT, inverted=int(PageIs.PRESENT)),
    scan(0, 30, SOFT | int(PageIs.PRESENT)),
)  # fmt: skip
HUGETLB = (
    hugetlb(HUGE, HUGE), scan(HUGE, HUGE), read(HUGE), CLEAR, scan(HUGE, HUGE), write(HUGE), scan(HUGE, HUGE), CLEAR,
    scan(HUGE, HUGE, SOFT), write(HUGE + 1), fork(), write(HUGE + 2), scan(HUGE, HUGE, process=1), exit_(1),
    move(HUGE, HUGE, 3 * HUGE), scan(3 * HUGE, HUGE), CLEAR, protect(3 * HUGE, HUGE, R), scan(3 * HUGE, HUGE),
    protect(3 * HUGE, HUGE, RW), advise(3 * HUGE, HUGE, abi.MADV_DONTNEED), scan(3 * HUGE, HUGE),
)  # fmt: skip
HUGETLB_SHARED = (
    hugetlb_shared(HUGE, 2 * HUGE), read(HUGE), CLEAR, scan(HUGE, 2 * HUGE), write(HUGE + HUGE), scan(HUGE, 2 * HUGE),
    CLEAR, hugetlb_shared(3 * HUGE, HUGE, R), read(3 * HUGE), CLEAR, scan(3 * HUGE, HUGE), protect(3 * HUGE, HUGE, RW),
    write(3 * HUGE), scan(3 * HUGE, HUGE, SOFT),
)  # fmt: skip
CODE_IS_READ = (
    anon(0, 2, R | X), CLEAR, execute(0), private_file(8, 2, prot=R | X), CLEAR, execute(8), protect(8, 2, RW),
    write(8),
)  # fmt: skip

SCENARIOS = titled(globals())
