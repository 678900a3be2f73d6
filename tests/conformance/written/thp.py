"""Transparent huge pages: faults, splits, collapses, advice on parts. All for the policy ``madvise`` or ``always``."""

from pagewalk import abi

from .words import (
    HUGE,
    NONE,
    PAGE,
    RW,
    R,
    advise,
    anon,
    core,
    exit_,
    fork,
    guard,
    huge,
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
    unlock,
    unmap,
    write,
)

COLLAPSE, FREE, COLD, PAGEOUT = abi.MADV_COLLAPSE, abi.MADV_FREE, abi.MADV_COLD, abi.MADV_PAGEOUT
A_WRITE_GETS_A_HUGE_PAGE = *huge(), write(600), read(1023), core(HUGE, 4)
A_READ_GETS_THE_HUGE_ZERO_PAGE = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), read(700), write(800), read(700),
)  # fmt: skip
ONLY_WHOLE_BLOCKS_ARE_HUGE = anon(600, 800), advise(600, 800, abi.MADV_HUGEPAGE), write(600), write(1030), write(1399)
A_TABLE_IN_THE_WAY = (
    anon(HUGE, HUGE), write(HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), write(600),
    advise(HUGE, HUGE, abi.MADV_DONTNEED), write(600),
)  # fmt: skip
NOT_ADVISED_IS_SMALL = (
    anon(HUGE, 2 * HUGE), advise(1024, HUGE, abi.MADV_NOHUGEPAGE), write(HUGE), write(1024),
    anon(HUGE, HUGE, flags=abi.MAP_POPULATE),
)  # fmt: skip
SPLIT_BY_MUNMAP = *huge(), unmap(600, 3), read(599), write(603)
SPLIT_BY_MPROTECT = *huge(), protect(600, 3, R), write(599), write(601), protect(600, 3, RW), write(601)
NOT_SPLIT_BY_MPROTECT_OF_ALL = (
    *huge(), protect(HUGE, HUGE, R), write(600), protect(HUGE, HUGE, NONE), read(600), protect(HUGE, HUGE, RW),
    write(600),
)  # fmt: skip
SPLIT_BY_A_MOVE_OF_A_PART = *huge(), write(600), move(600, 4, 20), read(20), read(599)
MOVED_WHOLE = *huge(), write(600), move(HUGE, HUGE, 1024), read(1112), move(1024, HUGE, 1537), read(1625)
LEFT_BEHIND_WHOLE = *huge(), leave(HUGE, HUGE, 1024), write(600), read(1024)
SHRUNK = *huge(), resize(HUGE, HUGE, 100), read(600)
SPLIT_BY_A_GUARD = *huge(), write(600), guard(700, 2), read(600), read(700), unguard(700, 2), read(700), write(701)
A_GUARD_OVER_ALL_OF_IT = *huge(), guard(HUGE, HUGE), read(600), unguard(HUGE, HUGE), write(600)
REMOVING_GUARDS_SPLITS_NOTHING = *huge(), unguard(HUGE, HUGE), unguard(600, 3), read(600)
SPLIT_BY_A_LOCK_OF_A_PART = *huge(), lock(600, 2), unlock(600, 2), lock(HUGE, HUGE)
DONTNEED_OF_A_PART_AND_OF_ALL = (
    *huge(), write(600), advise(600, 1, abi.MADV_DONTNEED), read(600), write(601),
    advise(HUGE, HUGE, abi.MADV_DONTNEED), write(600),
)  # fmt: skip
THE_HUGE_ZERO_PAGE_IS_SPLIT = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), read(HUGE), unmap(600, 1), write(601), read(602),
)  # fmt: skip
COLLAPSED = (
    anon(HUGE, HUGE), write(HUGE), write(600), read(601), advise(HUGE, HUGE, COLLAPSE), read(600), write(700),
    advise(HUGE, HUGE, COLLAPSE),
)  # fmt: skip
COLLAPSE_REFUSED = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, COLLAPSE), read(HUGE), advise(HUGE, HUGE, COLLAPSE), write(HUGE),
    protect(600, 1, R), advise(HUGE, HUGE, COLLAPSE), protect(600, 1, RW), advise(HUGE, HUGE, abi.MADV_NOHUGEPAGE),
    advise(HUGE, HUGE, COLLAPSE),
)  # fmt: skip
COLLAPSE_ROUNDS_INWARD = (
    anon(HUGE, 2 * HUGE), write(HUGE), write(1024), advise(513, 510, COLLAPSE), advise(513, 600, COLLAPSE),
    advise(HUGE, 511, COLLAPSE), advise(1000, 536, COLLAPSE), advise(500, 600, COLLAPSE),
)  # fmt: skip
COLLAPSE_STOPS_AT_AN_EMPTY_BLOCK = anon(HUGE, 3 * HUGE), write(HUGE), write(1536), advise(HUGE, 3 * HUGE, COLLAPSE)
COLLAPSE_OF_LOCKED_AND_READ_ONLY = (
    anon(HUGE, HUGE), lock(HUGE, HUGE), advise(HUGE, HUGE, COLLAPSE), anon(1024, HUGE), write(1030),
    protect(1024, HUGE, R), advise(1024, HUGE, COLLAPSE),
)  # fmt: skip
COLLAPSE_OF_FORKED_PAGES = (
    anon(HUGE, HUGE), write(HUGE), write(600), fork(), advise(HUGE, HUGE, COLLAPSE, process=1), write(600, process=1),
    read(600), write(HUGE),
)  # fmt: skip
COLLAPSE_AFTER_A_SPLIT = (
    *huge(), write(600), protect(600, 1, R), protect(600, 1, RW), advise(HUGE, HUGE, COLLAPSE), read(600),
)  # fmt: skip
FREED_IN_PART = *huge(), write(600), advise(600, 2, FREE), advise(HUGE, HUGE, PAGEOUT), read(600), read(HUGE)
FREED_WHOLE_AND_PAGED_OUT = *huge(), write(600), advise(HUGE, HUGE, FREE), advise(HUGE, HUGE, PAGEOUT), read(600)
FREED_WHOLE_AND_WRITTEN = (
    *huge(), write(600), advise(HUGE, HUGE, FREE), write(601), advise(HUGE, HUGE, PAGEOUT), read(600), read(601),
)  # fmt: skip
FREED_WRITTEN_SPLIT_AND_PAGED_OUT = (
    *huge(), write(600), advise(HUGE, HUGE, FREE), write(601), protect(700, 1, R), advise(HUGE, HUGE, PAGEOUT),
    read(600), read(601),
)  # fmt: skip
FREED_SPLIT_AND_PAGED_OUT = (
    *huge(), write(600), advise(HUGE, HUGE, FREE), protect(700, 1, R), write(601), advise(HUGE, HUGE, PAGEOUT),
    read(600), read(601),
)  # fmt: skip
FREED_AND_LOCKED_IN_PART_IS_DIRTY = (
    *huge(), advise(HUGE, HUGE, FREE), lock(900, 8), advise(HUGE, HUGE, PAGEOUT), unlock(900, 8), read(HUGE),
    advise(HUGE, HUGE, PAGEOUT),
)  # fmt: skip
COLD_IN_PART = *huge(), write(600), advise(590, 20, COLD), advise(HUGE, HUGE, COLD), read(600), read(601)
PAGED_OUT_IN_PART = *huge(), write(600), advise(590, 20, PAGEOUT), read(600), write(601)
PAGED_OUT_WHOLE = *huge(), write(600), advise(HUGE, HUGE, PAGEOUT), read(600), write(601)
FORKED_AND_WRITTEN = *huge(), fork(), write(600, process=1), write(601), exit_(1), write(602), write(600)
FORKED_AND_READ_BY_THE_KERNEL = *huge(), fork(), kernel_read(600, process=1), kernel_read(601)
WHAT_A_FORK_LEFT_IS_PINNED = *huge(), fork(), write(900, process=1), guard(HUGE, HUGE)
A_PINNED_FOLIO_IS_NOT_REUSED_FOR_READING = (
    *WHAT_A_FORK_LEFT_IS_PINNED, kernel_read(806, 4 * PAGE, process=1), advise(HUGE, HUGE, FREE, process=1),
)  # fmt: skip
A_PINNED_FOLIO_IS_NOT_REUSED_FOR_WRITING = (
    *WHAT_A_FORK_LEFT_IS_PINNED, kernel_write(806, bytes(4 * PAGE), process=1), advise(HUGE, HUGE, FREE, process=1),
)  # fmt: skip
NOR_ONE_WHOSE_FIRST_PAGE_IS_ITS_OWN_ALREADY = (
    *WHAT_A_FORK_LEFT_IS_PINNED, kernel_read(806, process=1), kernel_read(806, 4 * PAGE, process=1),
    kernel_write(700, process=1), kernel_read(699, 3 * PAGE, process=1), kernel_read(702, 2 * PAGE, process=1),
    advise(HUGE, HUGE, FREE, process=1),
)  # fmt: skip
PINS_ARE_FOR_1024_PAGES = (
    *huge(pages=3 * HUGE), write(1024), write(1536), fork(), write(HUGE, process=1), write(1024, process=1),
    write(1536, process=1), guard(HUGE, 3 * HUGE), kernel_read(600, 1400 * PAGE, process=1),
    advise(HUGE, 3 * HUGE, FREE, process=1),
)  # fmt: skip
FORKED_AND_LEFT = *huge(), fork(), exit_(1), write(600), fork(2), unmap(HUGE, HUGE), write(600, process=2)
A_ZERO_PAGE_FORKED = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), read(HUGE), fork(), write(600, process=1), read(600),
    write(HUGE),
)  # fmt: skip
POPULATED = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), advise(600, 2, abi.MADV_POPULATE_READ),
    advise(600, 2, abi.MADV_POPULATE_WRITE),
)  # fmt: skip
SHARED_MEMORY_STAYS_SMALL = shared(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), write(HUGE), read(600)
READ_BY_THE_KERNEL = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), kernel_read(600), write(600), kernel_read(600, 16),
)  # fmt: skip
LEFT_BEHIND_HUGE_PAGES_STAY_MLOCKED = (
    *huge(pages=2 * HUGE), lock(HUGE, 2 * HUGE), write(600), leave(2 * HUGE, HUGE, 4 * HUGE),
    advise(HUGE, HUGE, abi.MADV_FREE), advise(HUGE, HUGE, abi.MADV_PAGEOUT), advise(600, 1, abi.MADV_FREE),
    advise(HUGE, HUGE, abi.MADV_PAGEOUT),
)  # fmt: skip
BUT_NOT_THOSE_THAT_ARE_SPLIT = (
    *huge(), lock(HUGE, HUGE), write(600), leave(700, 1, 4 * HUGE), advise(HUGE, HUGE, abi.MADV_FREE),
    advise(HUGE, HUGE, abi.MADV_PAGEOUT),
)  # fmt: skip
LAZY = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), write(HUGE), advise(HUGE, HUGE, abi.MADV_FREE),
    write(HUGE), advise(HUGE, HUGE, abi.MADV_PAGEOUT), advise(HUGE, HUGE, abi.MADV_FREE), write(HUGE + 120),
)  # fmt: skip
"""A large page in small entries, of which one is dirty."""
RIGHTS_ARE_CHANGED_TOGETHER = *LAZY, protect(HUGE + 119, 2, R), protect(HUGE + 118, 8, RW)
RIGHTS_ARE_CHANGED_TOGETHER_AFTER_A_FORK = (
    *LAZY, write(HUGE), fork(), write(HUGE + 128), protect(HUGE + 118, 16, R), write(HUGE + 130, process=1),
    protect(HUGE + 125, 40, R, process=1), protect(HUGE + 118, 16, NONE, process=1),
)  # fmt: skip

SCENARIOS = titled(globals())
