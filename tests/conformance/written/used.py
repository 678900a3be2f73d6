"""What smaps calls Referenced: accessed bits of entries, and what is noted of folios that were used.

A page that is clear of both is made by ``unused``; a fork shows what its folio has: a child's entries were not used.
"""

from pagewalk import abi
from pagewalk.conform.scenarios import At, ClearRefs, File, Pwrite

from .words import (
    DATA,
    HUGE,
    NONE,
    PAGE,
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
    shared,
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
COLLAPSE = abi.MADV_COLLAPSE
FILES = (File("a", 24), File("b", 0), File("l", 2 * HUGE + 40), File("always", 40, "huge=always"))


def unused(number=1, **how):
    return ClearRefs(number, **how)


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
    shared_file(0, 8), read(0), write(1), unmap(0, 4), read(5), advise(4, 4, abi.MADV_DONTNEED),
    shared_file(8, 8), populate(8, 8), fork(), advise(8, 8, abi.MADV_DONTNEED), populate(8, 8), unmap(8, 8),
    exit_(1), shared_file(8, 8), populate(8, 1), fork(2),
)  # fmt: skip
SEQUENTIAL_READERS_MARK_NOTHING = (
    shared_file(0, 4), shared_file(4, 4, offset=4), advise(0, 4, SEQUENTIAL), advise(4, 4, RANDOM), read(0), read(4),
    unmap(0, 8), shared_file(0, 8), read(0), fork(), unused(process=1), populate(0, 8, process=1), fork(2, process=1),
)  # fmt: skip
PRIVATE_COPIES_ARE_NOT_MARKED = (
    private_file(0, 4), read(0), write(1), unmap(0, 2), shared_file(8, 4), read(8), fork(), unmap(8, 4),
    shared_file(8, 4), populate(8, 4), fork(2), punch("a", 1, 2), truncate("a", PAGE), populate(8, 1),
)  # fmt: skip
WRITES_MARK_A_FILE = (
    shared_file(0, 12, "b"), pwrite("b", 0, DATA * 1024), populate(0, 2), fork(), unused(), pwrite("b", 0),
    pwrite("b", 0, byte=PAGE - 4), pwrite("b", 1), pwrite("b", 0), pwrite("b", 2, DATA * 1024), populate(0, 4),
    fork(2), pwrite("a", 0), pwrite("b", 9), populate(0, 8), unused(), pread("b", 0), pread("b", 1, 3 * PAGE),
    pread("b", 9), fork(3),
)  # fmt: skip
COLD_AND_PAGEOUT_FORGET = (
    anon(0, 4), populate_write(0, 4), populate(0, 4), shared_file(4, 4), populate(4, 4), populate(4, 4),
    advise(0, 8, COLD), populate(0, 8), advise(0, 8, PAGEOUT), fork(), populate(0, 8), unused(), populate(0, 8),
    advise(0, 2, FREE), populate(0, 4), advise(0, 4, FREE), write(0), advise(0, 4, PAGEOUT), fork(2),
)  # fmt: skip
LOCKED_PAGES_ARE_NEVER_ACTIVE = (
    anon(0, 4), populate_write(0, 4), populate(0, 2), shared_file(4, 4), populate(4, 4), populate(4, 4), unused(),
    lock(0, 8), populate(0, 8), populate(0, 8), unused(), unlock(0, 8), populate(0, 8), populate(0, 8), unused(),
    anon(8, 4, flags=abi.MAP_LOCKED), unused(), populate(8, 4), populate(8, 4), shared_file(16, 4, flags=abi.MAP_LOCKED),
    fork(), unused(), leave(8, 2, 24), populate(24, 2), populate(24, 2), unused(),
)  # fmt: skip
ONE_NOTE_FOR_A_HUGE_PAGE = (
    shared(HUGE, HUGE), write(600), advise(HUGE, HUGE, COLLAPSE), unused(), read(700), advise(HUGE, 1, abi.MADV_DONTNEED),
    fork(), populate(HUGE, 64), populate(HUGE + 64, 2), read(HUGE), unused(), populate(HUGE, 3),
    advise(HUGE, HUGE, COLD), populate(HUGE, 1), advise(HUGE, HUGE, PAGEOUT), populate(HUGE, 1), unmap(HUGE, HUGE),
)  # fmt: skip
A_SPLIT_FOLIO_LEAVES_ITS_NOTE = (
    shared_file(HUGE, HUGE, "l"), write(600), advise(HUGE, HUGE, COLLAPSE), read(HUGE), fork(),
    unmap(HUGE, HUGE), shared_file(HUGE, HUGE, "l"), truncate("l", 100 * PAGE), populate(HUGE, 100), fork(2),
    private_file(2 * HUGE, 64, "l"), populate(2 * HUGE, 64), unused(), populate(2 * HUGE, 2), fork(3),
)  # fmt: skip
FILES_THAT_ARE_WRITTEN_BY_FOLIOS = (
    shared_file(0, 40, "always"), pwrite("always", 0, DATA * 1024), populate(0, 40), fork(), unused(),
    pwrite("always", 3, DATA * 512), unused(), pwrite("always", 3, DATA), pwrite("always", 3), populate(0, 1),
    pwrite("always", 5, DATA * 2048), fork(2), pread("always", 0), pread("always", 3), unused(), pread("always", 0),
)  # fmt: skip
A_MOVED_PAGE_KEEPS_ITS_NOTE = (
    anon(0, 4), populate_write(0, 4), unused(), populate(0, 1), populate(1, 1), populate(1, 1), leave(0, 2, 8),
    populate(8, 2), fork(), write(8, process=1), write(8), read(0), unmap(0, 2),
)  # fmt: skip

SCENARIOS = titled(globals(), FILES)
