"""Memory that userfaultfd write-protects asynchronously, and scans that protect what they find."""

from pagewalk import abi
from pagewalk.abi.pagemap import PM_SCAN_CHECK_WPASYNC, PM_SCAN_WP_MATCHING, PageIs
from pagewalk.conform.scenarios import At, PagemapScan

from .watched import resume, stop, unwatch, watch
from .words import (
    HUGE,
    R,
    advise,
    anon,
    fork,
    guard,
    huge,
    kernel_read,
    kernel_write,
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
    write,
)

CHECK = PM_SCAN_CHECK_WPASYNC


def later(page, pages, **how):
    return watch(page, pages, later=True, **how)


def take(page, pages, mask=PageIs.WRITTEN, *, flags=0, most=0, returns=0x1FF, vector=64, **how):
    """Scan, and protect what matches."""
    where, flags = (At(page), At(page + pages)), flags | PM_SCAN_WP_MATCHING
    return PagemapScan(*where, flags, most, 0, int(mask), 0, int(returns), vector, **how)


WRITTEN_AND_TAKEN = (
    anon(0, 8), write(0), write(3), later(0, 8), take(0, 8), write(3), write(5), take(0, 8), read(6), take(0, 8),
)  # fmt: skip
ONLY_WRITTEN = (
    anon(0, 4), later(0, 4), write(1), take(0, 4, returns=PageIs.WRITTEN), write(2),
    take(0, 4, returns=PageIs.WRITTEN),
)  # fmt: skip
NOTHING_TOLD = anon(0, 4), later(0, 4), write(1), take(0, 4, vector=0), take(0, 4), write(1), take(0, 4)
NOTHING_TOLD_OF_HOLES = (
    anon(0, 4), later(0, 4), take(0, 4, vector=0), write(1), take(0, 4, PageIs.PRESENT, vector=0), take(0, 4),
)  # fmt: skip
NO_ROOM = (
    anon(0, 8), later(0, 8), write(0), write(2), write(4), take(0, 8, PageIs.PRESENT, vector=2),
    take(0, 8, PageIs.PRESENT),
)  # fmt: skip
ENOUGH = anon(0, 8), later(0, 8), write(0), write(1), write(2), take(0, 8, most=2), take(0, 8, most=2), take(0, 8)
NOT_LATER = anon(0, 4), watch(0, 4), write(0), take(0, 4), take(0, 4, flags=CHECK)
IN_PART_LATER = (
    anon(0, 4), later(0, 2), write(0), write(3), take(0, 4), take(0, 4, flags=CHECK), take(0, 2, flags=CHECK),
)  # fmt: skip
BY_HAND = (
    anon(0, 4), later(0, 4), write(0), stop(0, 4), take(0, 4), write(0), take(0, 4), stop(0, 1), resume(0, 1),
    take(0, 4),
)  # fmt: skip
GUARDS = (
    anon(0, 8), write(0), guard(1), guard(4), later(0, 8), take(0, 8), read(1), write(0), unguard(1), take(0, 8),
    guard(2), guard(0, 5), take(0, 8), take(0, 8, vector=0), stop(0, 8), take(0, 8), write(5), resume(0, 8),
    take(0, 8), unguard(0, 5), read(4), take(0, 8),
)  # fmt: skip
GUARDS_OF_A_CHILD = (
    anon(0, 4), guard(1), later(0, 4), take(0, 4), fork(), read(1, process=1), unguard(1, process=1),
    read(1, process=1), take(0, 4),
)  # fmt: skip
GUARDS_THAT_MOVE = anon(0, 4), write(0), guard(1), later(0, 4), take(0, 4), move(0, 4, 20), take(20, 4), guard(22)
GUARDS_LEFT_ALONE = anon(0, 4), guard(1), later(0, 4), take(0, 4), unwatch(0, 4), advise(0, 4, abi.MADV_DONTNEED)
GUARDS_OF_BLOCKS = (
    *huge(), guard(HUGE + 3), later(HUGE, HUGE), take(HUGE, HUGE), read(HUGE + 3), protect(HUGE, HUGE, R),
    advise(HUGE, HUGE, abi.MADV_COLLAPSE), take(HUGE, HUGE), unguard(HUGE + 3), read(HUGE + 3),
)  # fmt: skip
A_FILE = (
    shared_file(0, 4), later(0, 4), read(0), take(0, 4), write(0), write(3), take(0, 4), punch("a", 0, 1),
    take(0, 4),
)  # fmt: skip
A_FILE_CUT = shared_file(0, 4), later(0, 4), take(0, 4), truncate("a", 4096), write(0), write(2), take(0, 4)
A_PRIVATE_FILE = (
    private_file(0, 4), later(0, 4), take(0, 4), write(0), read(1), write(1), take(0, 4),
    advise(0, 4, abi.MADV_DONTNEED),
)  # fmt: skip
SHARED = (
    shared(0, 4), later(0, 4), write(0), take(0, 4), fork(), write(0, process=1), write(0), take(0, 4),
    take(0, 4, process=1),
)  # fmt: skip
FORKED = anon(0, 4), write(0), write(1), later(0, 4), take(0, 4), fork(), write(0), write(1, process=1), take(0, 4)
BY_THE_KERNEL = (
    anon(0, 4), write(0), later(0, 4), take(0, 4), kernel_read(0), take(0, 4), kernel_write(0), kernel_write(1),
    take(0, 4),
)  # fmt: skip
ZERO_PAGES = anon(0, 4), read(0), later(0, 4), take(0, 4), write(0), take(0, 4)
RIGHTS = (
    anon(0, 4), write(0), later(0, 4), take(0, 4), protect(0, 4, R), write(0), protect(0, 4, 3), write(0),
    take(0, 4),
)  # fmt: skip
MOVED = anon(0, 4), write(0), later(0, 4), take(0, 4), move(0, 4, 8), write(8), take(8, 4)
TAKEN_BACK = anon(0, 4), write(0), later(0, 4), take(0, 4), unwatch(0, 4), write(0), take(0, 4)
HUGE_AND_WRITTEN = *huge(), later(HUGE, HUGE), take(HUGE, HUGE), write(HUGE + 7), take(HUGE, HUGE), read(HUGE)
HUGE_IN_PART = *huge(), later(HUGE, HUGE), take(HUGE, 9), write(HUGE + 7), take(HUGE, HUGE)
HUGE_AND_ENOUGH = *huge(), later(HUGE, HUGE), take(HUGE, HUGE, most=5), take(HUGE, HUGE, PageIs.HUGE), take(HUGE, HUGE)
HUGE_AND_NOTHING_TOLD = (
    *huge(), later(HUGE, HUGE), take(HUGE, HUGE, vector=0), write(HUGE + 1), take(HUGE, HUGE, vector=0),
    take(HUGE, HUGE),
)  # fmt: skip
HUGE_IN_PART_AND_NOTHING_TOLD = *huge(), later(HUGE, HUGE), take(HUGE, 5, vector=0), take(HUGE, HUGE)
HUGE_ZERO_PAGE = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), read(HUGE), later(HUGE, HUGE), take(HUGE, HUGE),
    write(HUGE + 3), take(HUGE, HUGE),
)  # fmt: skip
HUGE_AND_SHARED = (
    *huge(), fork(), later(HUGE, HUGE), take(HUGE, HUGE), write(HUGE + 7), write(HUGE + 8, process=1),
    take(HUGE, HUGE),
)  # fmt: skip
HUGE_BY_THE_KERNEL = (
    *huge(), later(HUGE, HUGE), take(HUGE, HUGE), kernel_read(HUGE), kernel_write(HUGE + 2), take(HUGE, HUGE),
)  # fmt: skip
LARGE_HOLE = (
    anon(HUGE, 2 * HUGE), later(HUGE, 2 * HUGE), take(HUGE + 5, HUGE), write(HUGE + 9),
    take(HUGE, 2 * HUGE, most=300),
)  # fmt: skip
HUGE_AND_ENOUGH_OF_A_PART = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), later(HUGE, HUGE), read(HUGE),
    take(HUGE + 100, 70, PageIs.HUGE, most=3, vector=1), take(HUGE + 100, 70, most=3, vector=1),
)  # fmt: skip
HUGE_AND_ENOUGH_OF_TWO_PARTS = (
    *huge(), later(HUGE, HUGE), take(HUGE + 100, 70, PageIs.HUGE, most=3, vector=1), write(HUGE + 101),
    take(HUGE, HUGE, PageIs.HUGE, most=3), take(HUGE, HUGE, PageIs.PRESENT, most=3),
)  # fmt: skip

SCENARIOS = titled(globals())
