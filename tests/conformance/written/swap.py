"""Memory in swap: out and in, shared by a fork, moved, dropped; and what stays in the swap cache."""

from pagewalk import abi
from pagewalk.conform.scenarios import ClearRefs, Swapoff

from .watched import resume, stop, watch
from .words import (
    HUGE,
    NONE,
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


def out(page, pages, **how):
    return advise(page, pages, abi.MADV_PAGEOUT, **how)


def want(page, pages, **how):
    return advise(page, pages, abi.MADV_WILLNEED, **how)


def swapoff(**how):
    return Swapoff(**how)


OUT_AND_IN = anon(0, 4), write(0), write(1), out(0, 4), core(0, 4), read(0), write(1), core(0, 4)
ZEROS_DO_NOT_STAY = anon(0, 2), write(0, bytes(8)), write(1), out(0, 2), core(0, 2), read(0), out(0, 2), core(0, 2)
CLEAN_AGAIN = anon(0, 2), write(0), out(0, 1), read(0), out(0, 1), core(0, 1), want(0, 1), core(0, 1), read(0)
WRITTEN_AGAIN = anon(0, 2), write(0), out(0, 1), read(0), write(0), out(0, 1), core(0, 1), read(0)
NEVER_TOUCHED = anon(0, 2), out(0, 2), read(0), out(0, 2), core(0, 2)
FORKED_IN_SWAP = (
    anon(0, 3), write(0), write(1), out(0, 3), fork(), write(0, process=1), read(0), read(1), read(1, process=1),
    write(1), write(1, process=1),
)  # fmt: skip
FORKED_AND_GONE = anon(0, 3), write(0), out(0, 3), fork(), exit_(1), read(0), write(0), out(0, 1), core(0, 1)
FORKED_AND_DROPPED = anon(0, 1), write(0), out(0, 1), fork(), advise(0, 1, abi.MADV_DONTNEED, process=1), write(0)
FORKED_THEN_OUT = anon(0, 1), write(0), fork(), out(0, 1), write(0, process=1), out(0, 1), out(0, 1, process=1), read(0)
BOTH_FROM_THE_CACHE = (
    anon(0, 1), write(0), out(0, 1), fork(), read(0), out(0, 1), read(0, process=1), out(0, 1, process=1), core(0, 1),
    write(0),
)  # fmt: skip
LAZILY_FREE = (
    anon(0, 4), write(0), write(1), write(2), out(0, 3), read(0), write(1), advise(0, 4, abi.MADV_FREE), out(0, 4),
    core(0, 4), read(0), read(1),
)  # fmt: skip
LAZILY_FREE_WHILE_SHARED = (
    anon(0, 1),
    write(0),
    out(0, 1),
    fork(),
    read(0),
    advise(0, 1, abi.MADV_FREE),
    out(0, 1),
    read(0),
)
RIGHTS_CHANGE = anon(0, 2), write(0), out(0, 2), protect(0, 2, NONE), read(0), protect(0, 2, R), read(0), write(0)
MOVED = (
    anon(0, 4),
    write(0),
    write(2),
    out(0, 4),
    move(0, 4, 8),
    read(8),
    write(10),
    out(8, 4),
    leave(8, 4, 16),
    read(16),
)
GUARDED = anon(0, 3), write(0), write(1), out(0, 3), guard(1), unguard(1), read(1), read(0)
LOCKED = anon(0, 2), write(0), write(1), out(0, 2), lock(0, 1), out(1, 1), core(0, 2)
BY_THE_KERNEL = anon(0, 2), write(0), write(1), out(0, 2), fork(), kernel_read(0), kernel_write(1), kernel_read(1)
UNMAPPED = anon(0, 4), write(0), write(1), out(0, 4), read(0), unmap(0, 2), core(2, 2)
SHARED_MEMORY = (
    shared(0, 4), write(0), write(1), write(2, bytes(8)), out(0, 4), core(0, 4), fork(), read(0, process=1), read(1),
    write(2), out(0, 4), core(0, 4),
)  # fmt: skip
A_FILE = shared_file(0, 4), read(0), read(1), out(0, 4), core(0, 4), want(0, 2), core(0, 4), read(0), write(1)
A_FILE_PUNCHED = shared_file(0, 4), read(0), out(0, 4), punch("a", 0, 2), core(0, 4), read(0), read(2)
A_FILE_CUT_OFF = shared_file(0, 4), write(0), write(1), out(0, 4), truncate("a", 6000), core(0, 4), read(0), read(2)
A_PRIVATE_FILE = (
    private_file(0, 4), write(0), read(1), out(0, 4), core(0, 4), punch("a", 0, 4), read(0), read(1), write(2),
    out(0, 4), truncate("a", 0), read(0),
)  # fmt: skip
ZEROED_IN_PART = (
    shared_file(0, 2),
    write(0),
    out(0, 2),
    punch("a", 0, 0),
    truncate("a", 5),
    truncate("a", 8192),
    read(0),
)
COLLAPSED = (
    anon(HUGE, HUGE), write(HUGE), write(HUGE + 5), write(HUGE + 9, bytes(8)), out(HUGE, 16),
    advise(HUGE, HUGE, abi.MADV_COLLAPSE),
)  # fmt: skip
COLLAPSED_WHEN_READ = (
    anon(HUGE, HUGE), write(HUGE), write(HUGE + 5), out(HUGE, 16), read(HUGE), read(HUGE + 5), out(HUGE, 16),
    advise(HUGE, HUGE, abi.MADV_COLLAPSE), core(HUGE, 8), advise(HUGE, HUGE, abi.MADV_COLLAPSE),
    advise(HUGE, HUGE, abi.MADV_COLLAPSE),
)  # fmt: skip
A_HUGE_PAGE = *huge(), write(HUGE + 3), out(HUGE, HUGE), read(HUGE), write(HUGE + 3), core(HUGE, 8)
A_PART_OF_A_HUGE_PAGE = *huge(), write(HUGE + 3), out(HUGE, 2), read(HUGE), out(HUGE, HUGE)
LAZY_AND_SPLIT = (
    *huge(), advise(HUGE, HUGE, abi.MADV_FREE), guard(HUGE + 9), write(HUGE), out(HUGE, HUGE), out(HUGE, HUGE),
    read(HUGE),
)  # fmt: skip
WATCHED = (
    anon(0, 3),
    watch(0, 3),
    write(0),
    write(1),
    stop(0, 1),
    out(0, 3),
    stop(1, 1),
    write(0),
    read(1),
    resume(0, 3),
    write(0),
)
OFF = (
    anon(0, 4), write(0), write(1), shared(8, 2), write(8), out(0, 4), out(8, 2), fork(), swapoff(), write(0),
    read(1, process=1), core(8, 2), out(0, 4), read(0),
)  # fmt: skip
OFF_WHILE_READ_BACK = (
    anon(0, 2),
    write(0),
    write(1),
    out(0, 2),
    read(0),
    protect(0, 2, NONE),
    swapoff(),
    protect(0, 2, RW),
    write(1),
)
A_LAZY_FOLIO_IN_SMALL_ENTRIES_STAYS_WHOLE = (
    *huge(), advise(HUGE, HUGE, abi.MADV_FREE), protect(700, 1, R), write(600), protect(HUGE, HUGE, R), out(HUGE, HUGE),
    read(600), out(HUGE, HUGE),
)  # fmt: skip
WHOEVER_LOCKED_IT_IT_LEAVES_THE_CACHE_WITH_ITS_LAST_SLOT = (
    anon(0, 4), write(0), write(1), write(2), protect(0, 2, R), out(0, 4), fork(), lock(0, 1, process=1), read(0),
    lock(1, 1, process=1), fork(2), exit_(1), read(1, process=2), read(1), lock(2, 1, abi.MLOCK_ONFAULT, process=2),
    read(2), read(2, process=2), write(3), out(3, 1), fork(4), read(3), lock(3, 1), read(3, process=4),
)  # fmt: skip
SOFT_DIRTY = (
    anon(0, 6), write(0), write(1), write(2), ClearRefs(), write(1), out(0, 4), read(0), write(1), out(0, 4),
    ClearRefs(), read(0), write(1), write(2), out(0, 4), move(0, 3, 20), read(20), ClearRefs(), out(20, 3), fork(),
    write(20), read(21, process=1), write(22, process=1), ClearRefs(process=1), out(20, 3, process=1),
    read(22, process=1),
)  # fmt: skip
SOFT_DIRTY_AND_SWAPPED_OFF = (
    anon(0, 4), write(0), write(1), ClearRefs(), write(1), out(0, 4), swapoff(), read(0), write(0), out(0, 2),
    ClearRefs(), swapoff(), write(1), shared(8, 4), write(8), ClearRefs(), out(8, 1), swapoff(), read(8), write(8),
)  # fmt: skip

SCENARIOS = titled(globals())
