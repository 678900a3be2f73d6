"""What smaps calls Referenced: accessed bits of entries, and what is noted of folios that were used.

A page is clear of both after ``unused``. What its folio has is seen where an entry was not used since: a
child's was not, nor that of a second mapping of a file, where a scenario looks on (``SEEN``).
"""

from pagewalk import abi
from pagewalk.conform import scenarios as do
from pagewalk.conform.scenarios import ClearRefs, File, Pwrite

from .words import (
    DATA,
    HUGE,
    NONE,
    PAGE,
    RW,
    RWX,
    R,
    advise,
    anon,
    execute,
    exit_,
    fork,
    huge,
    kernel_read,
    kernel_write,
    leave,
    lock,
    pread,
    private_file,
    protect,
    punch,
    read,
    shared_file,
    titled,
    truncate,
    unlock,
    unmap,
    write,
)

SEQUENTIAL, RANDOM, COLD, PAGEOUT, FREE = (
    abi.MADV_SEQUENTIAL, abi.MADV_RANDOM, abi.MADV_COLD, abi.MADV_PAGEOUT, abi.MADV_FREE,
)  # fmt: skip
COLLAPSE, DONTNEED = abi.MADV_COLLAPSE, abi.MADV_DONTNEED
LOCKED = abi.MAP_LOCKED
SEEN = 48
FILES = (File("a", 24), File("b", 0), File("l", 2 * HUGE + 40), File("always", 40, "huge=always"))


def unused(number=1, **how):
    return ClearRefs(number, **how)


def seen(file, pages):
    """The pages of a file where nobody else looks at them, and none was used."""
    return shared_file(SEEN, pages, file), populate(SEEN, pages), unused()


def marked_once(file, pages):
    """A file's pages where nobody else looks at them, none of them active, and all marked once."""
    return *seen(file, pages), advise(SEEN, pages, COLD), unused(), populate(SEEN, pages)


def populate(page, pages, **how):
    return advise(page, pages, abi.MADV_POPULATE_READ, **how)


def populate_write(page, pages, **how):
    return advise(page, pages, abi.MADV_POPULATE_WRITE, **how)


def pwrite(file, page, data=DATA, byte=0, **how):
    return Pwrite(file, page * PAGE + byte, data, **how)


NUMBERS_TELL_ANONYMOUS_FROM_FILES = (
    anon(0, 2), write(0), read(1), shared_file(4, 2), read(4), write(5), unused(2), write(0), unused(3), read(4),
    unused(1), unused(5), unused(4),
)  # fmt: skip
MARKS_MAKE_REFERENCED_THEN_ACTIVE = (
    anon(0, 3), populate_write(0, 3), fork(), unused(), populate(0, 1), populate(0, 1), populate(0, 1),
    populate(0, 1), populate_write(1, 1), populate_write(1, 1), unused(), populate(0, 3), fork(2),
)  # fmt: skip
PINS_ARE_MARKS = (
    anon(0, 4), write(0), write(1), shared_file(4, 4), read(4), unused(), kernel_read(0), kernel_write(1),
    kernel_read(4), kernel_write(5), kernel_read(0, 4 * PAGE), kernel_read(2), kernel_write(2), fork(),
)  # fmt: skip
PINS_SET_NO_BITS_IN_ENTRIES = (
    anon(0, 2), write(0), unused(), kernel_write(0), advise(0, 1, COLD), kernel_read(0), advise(0, 1, COLD), read(0),
)  # fmt: skip
HUGE_PAGES_ARE_MARKED_IN_THEIR_ENTRY = (
    *huge(), unused(), populate(HUGE, 1), unused(), populate_write(HUGE, 1), unused(), kernel_read(700),
    kernel_write(700), advise(HUGE, HUGE, COLD), read(HUGE), protect(HUGE + 8, 1, R), unused(), populate(HUGE, 64),
)  # fmt: skip
WHAT_REFUSES_IS_NOT_USED = (
    anon(0, 2), write(0), unused(), execute(0), execute(1), anon(4, 1, RWX), write(4), unused(), execute(4),
    write(1), protect(1, 1, NONE), unused(), fork(), read(1), populate(1, 1), kernel_read(1),
)  # fmt: skip
ZAPS_MARK_PAGES_OF_FILES = (
    *seen("a", 8), shared_file(0, 8), read(0), write(1), unmap(0, 4), read(5), advise(4, 4, DONTNEED),
    shared_file(0, 8),
    populate(0, 2), unmap(0, 8), shared_file(0, 8), read(0), unmap(0, 8), shared_file(0, 8), read(0), exit_(0),
)  # fmt: skip
ZAPS_OF_A_CHILD_MARK_THEM = (
    *seen("a", 4), private_file(0, 4), write(3), read(0), fork(), unmap(0, 4, process=1), unmap(0, 4), unused(),
    private_file(0, 4), read(0), punch("a", 1, 1), truncate("a", PAGE), read(SEEN),
)  # fmt: skip
SEQUENTIAL_READERS_MARK_NOTHING = (
    *seen("a", 8), shared_file(0, 8), advise(0, 3, SEQUENTIAL), advise(3, 3, RANDOM), read(0), read(3), read(7),
    unmap(0, 8), shared_file(0, 8), advise(0, 8, SEQUENTIAL), advise(0, 4, abi.MADV_NORMAL), read(0), read(7),
    advise(0, 8, DONTNEED), shared_file(0, 8), populate(0, 8), unused(), advise(0, 8, RANDOM), populate(0, 8),
    unmap(0, 8),
)  # fmt: skip
PRIVATE_COPIES_ARE_NOT_MARKED = (
    private_file(0, 4), read(0), write(1), unmap(0, 2), shared_file(8, 4), read(8), fork(), unmap(8, 4),
    shared_file(8, 4), populate(8, 4), fork(2), punch("a", 1, 2), truncate("a", PAGE), populate(8, 1),
)  # fmt: skip
WRITES_MARK_A_FILE = (
    pwrite("b", 0, DATA * 1024), private_file(SEEN, 4, "b"), write(SEEN + 3), read(SEEN), fork(), *seen("b", 4),
    pwrite("b", 0), pwrite("b", 1, byte=PAGE - 4), pwrite("b", 1), pwrite("b", 1), pwrite("b", 0), unused(),
    pwrite("b", 0, DATA * 1024), pwrite("b", 0, DATA * 1024), pwrite("b", 0, DATA * 1024), pwrite("b", 0),
    pwrite("b", 9),
)  # fmt: skip
READS_FROM_THE_BEGINNING_OF_A_PAGE_MARK_IT = (
    *seen("a", 4), pread("a", 0), do.Pread("a", 4, 3 * PAGE), pread("a", 0), pread("a", 1, 2 * PAGE), pread("a", 0),
    unused(),
    do.Pread("a", PAGE - 1, 2), do.Pread("a", PAGE - 1, 1), pread("a", 3, 5),
)  # fmt: skip
COLD_AND_PAGEOUT_FORGET = (
    anon(0, 4), populate_write(0, 4), populate(0, 4), shared_file(4, 4), populate(4, 4), populate(4, 4),
    advise(0, 8, COLD), populate(0, 8), advise(0, 8, PAGEOUT), fork(), populate(0, 8), unused(), populate(0, 8),
    advise(0, 2, FREE), populate(0, 4), advise(0, 4, FREE), write(0), advise(0, 4, PAGEOUT), fork(2),
)  # fmt: skip
LOCKED_PAGES_ARE_NEVER_ACTIVE = (
    anon(0, 4), populate_write(0, 4), populate(0, 2), *seen("a", 4), shared_file(4, 4), populate(4, 4), populate(4, 4),
    populate(4, 2), unused(), lock(0, 8), populate(0, 8), populate(4, 8), unused(), unlock(0, 8), populate(0, 8),
    populate(0, 8), populate(4, 4), unused(), lock(4, 4), unlock(4, 4), populate(4, 4), pwrite("a", 0), pwrite("a", 1),
)  # fmt: skip
LOCKED_WHEN_THEY_CAME = (
    *seen("a", 4), shared_file(16, 4, flags=LOCKED), unused(), populate(16, 4), populate(16, 4), unmap(16, 4),
    pwrite("a", 0), pwrite("a", 0), anon(8, 4, flags=LOCKED), fork(), populate(8, 4), fork(2), leave(8, 2, 24),
    populate(24, 2), populate(24, 2), fork(3),
)  # fmt: skip
ONE_NOTE_FOR_A_HUGE_PAGE = (
    shared_file(HUGE, HUGE, "l"), write(600), advise(HUGE, HUGE, COLLAPSE), *seen("l", 4), read(700),
    advise(HUGE, 1, DONTNEED), unused(), read(700), unmap(HUGE, HUGE), shared_file(HUGE, HUGE, "l"), read(HUGE),
    unmap(HUGE, HUGE), populate(SEEN, 1), unused(), pwrite("l", 0), pwrite("l", 1, DATA * 1024), unused(),
    pread("l", 1), pread("l", 0), shared_file(HUGE, HUGE, "l"), populate(HUGE, 3), advise(HUGE, HUGE, COLD),
    advise(HUGE, HUGE, PAGEOUT), populate(HUGE, 1),
)  # fmt: skip
RUNS_OF_A_FOLIO_COUNT_ONCE = (
    shared_file(HUGE, HUGE, "l"), write(600), advise(HUGE, HUGE, COLLAPSE), unmap(HUGE, HUGE), *seen("l", 2),
    private_file(0, 32, "l"), read(0), write(8), unmap(0, 32), unused(), private_file(0, 32, "l"), read(0), unmap(0, 8),
    unmap(8, 8), unused(), private_file(0, 32, "l"), read(0), write(8), write(12), unmap(0, 16), unmap(16, 16),
)  # fmt: skip
SPLITTING_A_USED_HUGE_PAGE_REFERS_TO_IT = (
    shared_file(HUGE, HUGE, "l"), write(600), advise(HUGE, HUGE, COLLAPSE), *seen("l", 4), protect(HUGE, 1, R),
    unused(),
    advise(HUGE, HUGE, COLLAPSE), protect(HUGE, HUGE, RW), read(700), punch("l", 300, 1), read(SEEN), unused(),
    advise(HUGE, HUGE, COLLAPSE), pwrite("l", 0), truncate("l", 100 * PAGE), read(HUGE), unused(), pwrite("l", 3),
)  # fmt: skip
COLLAPSED_COPIES_ARE_NEW = (
    shared_file(HUGE, HUGE, "l"), populate(HUGE, 8), populate(HUGE, 8), *seen("l", 4), pwrite("l", 0),
    advise(HUGE, HUGE, COLLAPSE), read(SEEN), unused(), pwrite("l", 0), anon(2 * HUGE, HUGE),
    populate_write(2 * HUGE, HUGE), advise(2 * HUGE, HUGE, COLLAPSE), fork(), populate(2 * HUGE, 1), fork(2),
)  # fmt: skip
FILES_THAT_ARE_WRITTEN_BY_FOLIOS = (
    pwrite("always", 0, DATA * 1024), *seen("always", 16), pwrite("always", 3, DATA * 512),
    pwrite("always", 3, DATA * 2048),
    pwrite("always", 0, DATA * 2048), unused(), pwrite("always", 0, DATA * 4096), unused(),
    pwrite("always", 5, DATA * 2048),
    pwrite("always", 39, DATA * 2048), unused(), pread("always", 0), pread("always", 3, 8 * PAGE), unused(),
    pread("always", 0, 20 * PAGE), pwrite("always", 1), pwrite("always", 2),
)  # fmt: skip
A_MOVED_PAGE_KEEPS_ITS_NOTE = (
    anon(0, 4), populate_write(0, 4), unused(), populate(0, 1), populate(1, 1), populate(1, 1), leave(0, 2, 8),
    populate(8, 2), fork(), write(8, process=1), write(8), read(0), unmap(0, 2),
)  # fmt: skip

WHAT_IS_MAPPED_AGAIN_IS_USED_AS_A_WHOLE = (
    *huge(), advise(HUGE, HUGE, FREE), write(700), advise(HUGE, HUGE, PAGEOUT), advise(HUGE, HUGE, FREE), write(900),
    advise(HUGE, HUGE, PAGEOUT), advise(HUGE, HUGE, COLD), advise(HUGE, HUGE, FREE), write(701), unused(),
    advise(HUGE, HUGE, PAGEOUT),
)  # fmt: skip
FOLIOS_ARE_WRITTEN_ONCE = (
    shared_file(SEEN, 40, "always"), read(SEEN), unused(), pwrite("always", 0, DATA * 2048),
    pwrite("always", 0, DATA * 2048), pwrite("always", 0, DATA * 2048),
)  # fmt: skip
WHAT_IS_UNMAPPED_TO_BE_SPLIT_IS_NOT_MARKED = (
    shared_file(HUGE, HUGE, "l"), write(600), advise(HUGE, HUGE, COLLAPSE), unmap(HUGE, HUGE), private_file(0, 32, "l"),
    write(8), read(0), unused(), read(0), punch("l", 300, 1), read(0), fork(), punch("l", 2, 3), read(0), fork(2),
)  # fmt: skip
SEQUENTIAL_READERS_OF_HUGE_PAGES = (
    shared_file(HUGE, HUGE, "l"), write(600), advise(HUGE, HUGE, COLLAPSE), *seen("l", 4),
    advise(HUGE, HUGE, SEQUENTIAL),
    read(700), unmap(HUGE, HUGE), shared_file(HUGE, HUGE, "l"), read(700), unmap(HUGE, HUGE),
)  # fmt: skip
LOCKING_TAKES_AWAY_WHAT_WAS_ACTIVE = (
    anon(0, 2), populate_write(0, 2), populate(0, 2), lock(0, 2, abi.MLOCK_ONFAULT), unlock(0, 2), unused(),
    populate(0, 2), populate(0, 1), fork(), populate(0, 1), fork(2),
)  # fmt: skip
WHAT_COMES_LOCKED_WAITS_TO_BE = (
    shared_file(SEEN, 4), read(SEEN), unused(), pwrite("a", 0), pwrite("a", 1),
    shared_file(16, 4, flags=LOCKED), populate(16, 4), populate(16, 4), unmap(16, 4), populate(SEEN, 1),
    unused(),
    pwrite("a", 0), pwrite("a", 0), pwrite("a", 2), pwrite("a", 2),
)  # fmt: skip
A_CALL_MARKS_A_PAGE_MANY_TIMES = (
    *seen("a", 4), *(shared_file(page, 1) for page in range(9)), advise(SEEN, 4, COLD), unused(),
    kernel_read(0, 4 * PAGE), kernel_read(0, 1), kernel_read(0, 1), advise(SEEN, 4, COLD), unused(),
    kernel_read(0, 5 * PAGE), kernel_read(0, 3 * PAGE), advise(SEEN, 4, COLD), unused(),
    kernel_read(0, 8 * PAGE), advise(SEEN, 4, COLD), unused(), kernel_read(0, 1), kernel_read(0, 7 * PAGE),
    kernel_read(0, 9 * PAGE), advise(SEEN, 4, COLD), unused(),
    *(read(page) for page in range(4)), unmap(0, 4), advise(SEEN, 4, COLD), unused(),
    *(read(page) for page in range(4, 9)), unmap(4, 5), advise(SEEN, 4, COLD), unused(),
    *(private_file(page, 1) for page in range(6)), *(read(page) for page in range(6)), advise(0, 6, DONTNEED),
)  # fmt: skip
A_CALL_MARKS_MANY_PAGES_MANY_TIMES = (
    *seen("l", 64), *(shared_file(HUGE + 64 * lot, 64, "l") for lot in range(5)), advise(SEEN, 64, COLD), unused(),
    kernel_read(HUGE, 4 * 64 * PAGE), advise(SEEN, 64, COLD), unused(), kernel_read(HUGE, 5 * 64 * PAGE),
    *(read(HUGE + 16 * page) for page in range(20)), advise(SEEN, 64, COLD), unused(), unmap(HUGE, 4 * 64),
)  # fmt: skip
A_LARGE_FOLIO_IS_MARKED_MANY_TIMES = (
    shared_file(HUGE, HUGE, "l"), write(600), advise(HUGE, HUGE, COLLAPSE), *seen("l", 8), advise(SEEN, 8, COLD),
    unused(), kernel_read(SEEN, 4 * PAGE), kernel_read(SEEN, 1), advise(SEEN, 8, COLD), unused(),
    kernel_read(SEEN, 5 * PAGE), advise(SEEN, 8, COLD), unused(), pwrite("l", 0, DATA * 2048),
)  # fmt: skip
PAGES_LEAVE_THE_LIST_OF_31_TOGETHER = (
    *marked_once("l", 128), shared_file(200, 128, "l", flags=LOCKED),
    advise(SEEN, 128, COLD), unused(), populate(SEEN, 128), lock(200, 100),
    advise(SEEN, 128, COLD), unused(), populate(SEEN, 128), unmap(200, 128), shared_file(200, 128, "l"), read(261),
    read(200), lock(205, 110),
    advise(SEEN, 128, COLD), unused(), populate(SEEN, 128), unmap(200, 128), private_file(203, 100, "l", 3, R),
    lock(210, 90),
)  # fmt: skip
SOME_COME_FROM_THE_PAGE_CACHE_AND_SOME_ALONE = (
    *marked_once("l", 128), punch("l", 3, 2), punch("l", 20, 9), punch("l", 47, 1), punch("l", 62, 40),
    shared_file(200, 128, "l", flags=LOCKED),
    advise(SEEN, 128, COLD), unused(), populate(SEEN, 128), unmap(200, 128), punch("l", 0, 1), punch("l", 14, 2),
    punch("l", 33, 31), shared_file(207, 100, "l", 7), lock(212, 80),
)  # fmt: skip
THE_LIST_IS_EMPTIED_AFTER_EACH_AREA = (
    *marked_once("l", 128), shared_file(200, 25, "l"), private_file(225, 25, "l", 25, R), shared_file(250, 9, "l", 50),
    anon(259, 40), shared_file(299, 60, "l", 60), lock(200, 159), unlock(200, 159), unmap(200, 159),
    advise(SEEN, 128, COLD), unused(), populate(SEEN, 128), shared_file(200, 40, "l"), shared_file(240, 40, "l", 60),
    lock(200, 80),
)  # fmt: skip
PINNED_PAGES_COME_LOCKED = (
    *marked_once("l", 128), shared_file(200, 128, "l"), lock(200, 128, abi.MLOCK_ONFAULT), kernel_read(200, 90 * PAGE),
    advise(SEEN, 128, COLD), unused(), populate(SEEN, 128), unmap(200, 128), shared_file(200, 20, "l"),
    lock(200, 20, abi.MLOCK_ONFAULT), shared_file(220, 60, "l", 20), lock(240, 40, abi.MLOCK_ONFAULT),
    kernel_read(210, 60 * PAGE), kernel_write(203), kernel_write(275),
)  # fmt: skip
WHAT_CANNOT_BE_PAGED_OUT_IS_ACTIVE = (
    shared_file(0, 4), write(0), advise(0, 4, PAGEOUT), private_file(8, 4), write(11), populate(8, 1), populate(8, 1),
    fork(), shared_file(HUGE, HUGE, "l"), write(HUGE), advise(HUGE, HUGE, COLLAPSE), advise(HUGE, HUGE, PAGEOUT),
    private_file(16, 32, "l"), write(17), populate(16, 1), populate(16, 1), fork(2),
)  # fmt: skip

SCENARIOS = titled(globals(), FILES)
