"""Shared huge pages: files and shared memory collapsed, cut, truncated, forked, and huge by a mount's option."""

from pagewalk import abi
from pagewalk.conform.scenarios import At, File, Register, Unregister, WriteProtect

from .words import (
    HUGE,
    NONE,
    PAGE,
    RW,
    R,
    advise,
    core,
    exit_,
    fork,
    guard,
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

COLLAPSE, COLD, PAGEOUT, DONTNEED = abi.MADV_COLLAPSE, abi.MADV_COLD, abi.MADV_PAGEOUT, abi.MADV_DONTNEED
ALL = HUGE, HUGE
FILES = (
    File("a", 24), File("l", 2 * HUGE + 40), File("always", 40, "huge=always"),
    File("sized", HUGE + 40, "huge=within_size"), File("advised", 40, "huge=advise"),
)  # fmt: skip


def collapsed(page=HUGE, offset=0):
    """A block of a file, mapped shared and collapsed."""
    return shared_file(page, HUGE, "l", offset), advise(page, HUGE, COLLAPSE)


def register(page, pages):
    return Register(At(page), pages * PAGE)


def watch(page, pages, protect=True):
    return WriteProtect(At(page), pages * PAGE, protect)


SHARED_MEMORY_IS_COLLAPSED = (
    shared(HUGE, HUGE), write(600), advise(*ALL, COLLAPSE), read(700), advise(*ALL, COLLAPSE), core(*ALL),
)  # fmt: skip
NOT_WITHOUT_A_PAGE_OF_THE_BLOCK = (
    shared(HUGE, 2 * HUGE), advise(*ALL, COLLAPSE), write(1030), advise(HUGE, 2 * HUGE, COLLAPSE),
    advise(1024, HUGE, COLLAPSE), advise(HUGE, 2 * HUGE, COLLAPSE),
)  # fmt: skip
THE_PAGE_MAY_BE_MAPPED_NOWHERE = shared_file(HUGE, HUGE, "l"), advise(*ALL, COLLAPSE), read(600)
A_SHORT_FILE_IS_COLLAPSED_AND_READ_BEYOND_ITS_END = (
    shared_file(HUGE, HUGE, "a"), advise(*ALL, COLLAPSE), read(900), core(*ALL), advise(*ALL, DONTNEED),
    read(900), read(HUGE + 30), read(900), truncate("a", 24 * PAGE), core(*ALL), read(HUGE + 30),
)  # fmt: skip
NOT_BESIDE_THE_FILES_BLOCKS = (
    shared_file(HUGE, HUGE, "l", 1), read(HUGE), advise(*ALL, COLLAPSE), shared_file(1025, HUGE, "l"),
    advise(1025, HUGE, COLLAPSE), advise(1024, 2 * HUGE, COLLAPSE),
)  # fmt: skip
GAPS_ARE_TOLD_OF = *collapsed(), advise(HUGE, 2 * HUGE, COLLAPSE), unmap(600, 1), advise(*ALL, COLLAPSE)
ADVISED_AGAINST = (
    shared_file(HUGE, HUGE, "l"), advise(*ALL, abi.MADV_NOHUGEPAGE), advise(*ALL, COLLAPSE),
    shared_file(1024, HUGE, "l"), advise(1024, HUGE, COLLAPSE), read(600), write(601),
)  # fmt: skip
EVERY_MAPPING_IS_UNMAPPED = (
    shared_file(HUGE, HUGE, "l"), shared_file(1024, HUGE, "l"), private_file(1536, HUGE, "l"),
    shared_file(2049, HUGE, "l"),
    read(HUGE), read(1030), read(1600), read(2050), advise(*ALL, COLLAPSE), read(1030), read(1600), read(2050),
    write(2200), write(1600), write(1030),
)  # fmt: skip
A_PRIVATE_COPY_IS_IN_THE_WAY = (
    private_file(HUGE, HUGE, "l"), write(600), read(700), advise(*ALL, COLLAPSE), read(513), write(700),
    advise(*ALL, DONTNEED), read(700), write(800), advise(*ALL, COLLAPSE),
)  # fmt: skip
A_GUARD_IS_IN_THE_WAY = (
    shared_file(HUGE, HUGE, "l"), guard(700), read(HUGE), advise(*ALL, COLLAPSE), read(HUGE), write(701), unguard(700),
    write(700), advise(*ALL, COLLAPSE),
)  # fmt: skip
WATCHED_MEMORY_IS_NOT_MAPPED_HUGE_BUT_MADE_SO = (
    shared(HUGE, HUGE), write(600), register(*ALL), advise(*ALL, COLLAPSE), read(HUGE), write(600),
    watch(600, 2), write(601), Unregister(At(HUGE), HUGE * PAGE), advise(*ALL, COLLAPSE),
)  # fmt: skip
PROTECTION_SPLITS = (
    *collapsed(), register(*ALL), write(600), watch(600, 3), write(700), read(601), watch(600, 3, protect=False),
    advise(*ALL, DONTNEED), read(600), watch(*ALL), write(600),
)  # fmt: skip
CUT_BY_MPROTECT = *collapsed(), protect(600, 2, R), write(513), read(600), protect(600, 2, RW), write(600)
RIGHTS_OF_ALL_OF_IT = *collapsed(), protect(*ALL, R), write(600), protect(*ALL, NONE), protect(*ALL, RW), write(600)
CUT_BY_A_GUARD = *collapsed(), guard(600), write(513), read(601), unguard(600), write(600)
A_WRITE_MAPS_THE_WHOLE_FOLIO_IF_NOTHING_STANDS_THERE = *collapsed(), guard(600), unguard(600), write(513)
CUT_BY_MUNMAP = *collapsed(), unmap(600, 2), write(513), read(602)
CUT_BY_A_LOCK = *collapsed(), lock(600, 2, abi.MLOCK_ONFAULT), read(513), read(600), unlock(600, 2), lock(*ALL)
DONTNEED_OF_A_PART = *collapsed(), advise(600, 2, DONTNEED), read(513), advise(*ALL, DONTNEED), write(513)
MOVED = (
    *collapsed(), move(HUGE, HUGE, 1536), write(1600), move(1536, HUGE, 2049), read(2100), move(2100, 4, 20), read(20),
    *collapsed(), leave(HUGE, HUGE, 1024), read(600), resize(1024, HUGE, 100), read(1030),
)  # fmt: skip
COLD_IN_PART_AND_WHOLE = *collapsed(), advise(*ALL, COLD), advise(600, 2, COLD), write(513), read(600), core(*ALL)
PAGED_OUT_IN_PART = *collapsed(), advise(600, 2, PAGEOUT), write(513), core(*ALL), advise(*ALL, COLLAPSE)
PAGED_OUT_WHOLE = *collapsed(), advise(*ALL, PAGEOUT), core(HUGE, 8), write(513)
PAGED_OUT_BY_SMALL_ENTRIES = (
    *collapsed(), guard(600), unguard(600), write(601), advise(*ALL, PAGEOUT), write(601), advise(HUGE, 88, PAGEOUT),
    write(700),
)  # fmt: skip
WHAT_OTHERS_MAP_IS_LEFT = (
    *collapsed(), fork(), read(600, process=1), advise(*ALL, COLD), advise(600, 2, COLD), advise(*ALL, PAGEOUT),
    advise(600, 2, PAGEOUT, process=1), exit_(1), advise(600, 2, PAGEOUT),
)  # fmt: skip
A_FORK_COPIES_NOTHING = *collapsed(), fork(), read(513, process=1), write(514, process=1), read(514)
A_HOLE_SPLITS_THE_FOLIO_IN_HALVES = (
    *collapsed(), punch("l", 100, 3), write(HUGE), write(HUGE + 103), write(HUGE + 200), read(HUGE + 101), core(*ALL),
)  # fmt: skip
A_HOLE_AT_EITHER_END = (
    *collapsed(), punch("l", 0, 5), write(HUGE + 6), write(HUGE + 300), punch("l", 400, HUGE), write(HUGE + 300),
)  # fmt: skip
A_HOLE_OF_ALL_OF_IT = *collapsed(), punch("l", 0, HUGE), core(*ALL), read(600), advise(*ALL, abi.MADV_REMOVE)
TRUNCATED = (
    *collapsed(), private_file(1024, HUGE, "l"), write(1030), read(1400), truncate("l", 300 * PAGE + 10), write(513),
    read(600), read(1030), truncate("l", 2 * HUGE * PAGE), write(HUGE + 400), advise(*ALL, COLLAPSE), read(HUGE + 299),
)  # fmt: skip
BY_THE_KERNEL = (
    *collapsed(), kernel_read(600, 2 * PAGE), kernel_write(600), private_file(1024, HUGE, "l"), kernel_write(1030),
)  # fmt: skip
A_FAULT_GETS_A_HUGE_PAGE_ON_SUCH_A_MOUNT = (
    shared_file(HUGE, 2 * HUGE, "always"), read(600), truncate("always", 2 * HUGE * PAGE), write(1100),
    advise(*ALL, PAGEOUT), read(600),
)  # fmt: skip
CLEAN_ONES_CAN_GO = (
    truncate("always", 2 * HUGE * PAGE), shared_file(HUGE, HUGE, "always", HUGE), read(600), advise(*ALL, PAGEOUT),
    core(*ALL), write(600), advise(*ALL, PAGEOUT), core(*ALL), read(600),
)  # fmt: skip
WITHIN_ITS_SIZE = (
    shared_file(HUGE, 2 * HUGE, "sized"), read(600), read(1030), truncate("sized", 2 * HUGE * PAGE),
    punch("sized", HUGE, HUGE),
    write(1030),
)  # fmt: skip
WHERE_IT_IS_ADVISED = (
    truncate("advised", 3 * HUGE * PAGE), shared_file(HUGE, 2 * HUGE, "advised", HUGE), write(600),
    advise(1024, HUGE, abi.MADV_HUGEPAGE), write(1030), punch("advised", HUGE, HUGE),
    private_file(2048, HUGE, "advised", HUGE),
    advise(2048, HUGE, abi.MADV_HUGEPAGE), write(2050), read(2100), read(600),
)  # fmt: skip

A_WRITE_BEHIND_THE_END_OF_WHAT_IS_WATCHED = (
    truncate("always", (HUGE + 40) * PAGE), shared_file(HUGE, HUGE, "always", HUGE), Register(At(HUGE), HUGE * PAGE),
    read(513), write(575), read(575), write(514), write(575),
)  # fmt: skip

SCENARIOS = titled(globals(), FILES)
