"""Memory that breaks, MADV_HWPOISON and MADV_SOFT_OFFLINE: asked of a kernel in a guest only, for it loses frames.

Not one of ``THEMES``: no test runs these on the running kernel, and ``Kernel`` refuses to. The first scenario breaks
the zero page, which a machine has for good: none of the others may ask that of it, nor that it be replaced, and whoever
records them begins on a machine that has just been started.
"""

from pagewalk import abi
from pagewalk.abi.limits import PKEY_DISABLE_ACCESS, PKEY_DISABLE_WRITE
from pagewalk.conform import scenarios as do
from pagewalk.conform.scenarios import At, File

from .words import (
    FILES,
    HUGE,
    NONE,
    PAGE,
    RW,
    RWX,
    R,
    W,
    X,
    advise,
    anon,
    core,
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
    pool,
    pread,
    private_file,
    protect,
    punch,
    read,
    resize,
    shared,
    shared_file,
    sync,
    titled,
    truncate,
    unguard,
    unlock,
    unmap,
    vector,
    write,
)

KEPT = (*FILES, File("h", 1024, "hugetlb"), File("big", 1024), File("always", 1024, "huge=always"))
UNTOLD = 0x17F
"""What a scan is asked to tell: all but soft-dirty."""


def broken(page, pages=1, **how):
    return advise(page, pages, abi.MADV_HWPOISON, **how)


def soft(page, pages=1, **how):
    return advise(page, pages, abi.MADV_SOFT_OFFLINE, **how)


def scan(page, pages):
    return do.PagemapScan(At(page), At(page + pages), returns=UNTOLD)


def unprivileged(step):
    return do.Limited("admin", 0, step)


def dontneed(page, pages=1, **how):
    return advise(page, pages, abi.MADV_DONTNEED, **how)


THE_ZERO_PAGE = (
    anon(0, 4), read(0), read(1), soft(0), soft(0, 2), fork(), soft(0), broken(0), read(0), read(1), broken(1),
    broken(0, 2), soft(0), soft(0, 2), vector(abi.MADV_HWPOISON, (1, 1), (2, 1)), read(0), write(0), broken(0),
    anon(5, 1, R), broken(5), soft(4), read(0, process=1), broken(0, process=1),
)  # fmt: skip
THE_HUGE_ZERO_PAGE_STAYS = (
    anon(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), read(HUGE), soft(HUGE), soft(600), read(600),
)  # fmt: skip

# -- anonymous pages -------------------------------------------------------------------------------------------------

WHO_ASKS_IS_TOLD = (
    anon(0, 4), write(0), write(1), write(2), broken(1), read(0), read(1), write(1), kernel_read(1), kernel_write(1),
    kernel_read(0, 8192), core(0, 4), scan(0, 3), broken(1), soft(1), soft(0, 3), broken(0, 3), protect(1, 1, R),
    read(1), dontneed(1), read(1), dontneed(0, 4), write(0), write(1), core(0, 4),
)  # fmt: skip
SEVERAL_AT_ONCE = anon(0, 5), write(0), write(1), write(2), write(3), broken(1, 3), read(0), read(1), read(2), read(3)
WHAT_WAS_CLEAN_IS_NOT_TOLD = (
    anon(0, 4), write(0), write(1), write(2), advise(0, 3, abi.MADV_FREE), broken(0), read(0), write(1), broken(1),
    soft(2), advise(0, 4, abi.MADV_PAGEOUT), read(2), read(1),
)  # fmt: skip
WHAT_TAKES_THE_ENTRY_AWAY = (
    anon(0, 6), write(0), write(1), write(2), write(3), write(4), broken(0, 5), advise(0, 1, abi.MADV_FREE), read(0),
    dontneed(1), read(1), guard(2), read(2), broken(2), soft(2), unguard(2), read(2), unmap(3, 1), anon(3, 1), read(3),
    resize(0, 6, 4), resize(0, 4, 6), read(4),
)  # fmt: skip
WHAT_LEAVES_IT = (
    anon(0, 2), write(0), write(1), broken(0), advise(0, 2, abi.MADV_COLD), advise(0, 1, abi.MADV_PAGEOUT), read(0),
    advise(0, 1, abi.MADV_WILLNEED), advise(0, 2, abi.MADV_POPULATE_READ), advise(0, 1, abi.MADV_POPULATE_WRITE),
    advise(1, 1, abi.MADV_POPULATE_WRITE), sync(0, 2, abi.MS_SYNC), protect(0, 2, NONE), read(0), protect(0, 2, R),
    protect(0, 2, RW), write(0), advise(0, 2, abi.MADV_DONTDUMP), advise(0, 2, abi.MADV_DODUMP), unguard(0, 2), read(0),
)  # fmt: skip
MOVED = (
    anon(0, 4), write(0), write(1), broken(1), move(0, 4, 10), read(10), read(11), broken(10), leave(10, 4, 20),
    read(20), read(10), move(20, 2, 30), read(30), read(31), unmap(30, 1), read(31),
)  # fmt: skip
LOCKED = (
    anon(0, 4), lock(0, 4), broken(1), read(1), read(0), unlock(0, 4), lock(0, 4), read(1), dontneed(1),
    advise(1, 1, abi.MADV_DONTNEED_LOCKED), lock(0, 4), read(1), soft(0, 4), do.Mlockall(abi.MCL_CURRENT),
    broken(2, 2), do.Munlockall(), do.Mlockall(abi.MCL_CURRENT | abi.MCL_FUTURE), anon(8, 1), broken(8), read(8),
)  # fmt: skip
OVER_HOLES = (
    anon(0, 1), anon(2, 1), write(0), write(2), broken(0, 3), read(0), read(2), broken(1), broken(3, 2), soft(3, 2),
    anon(6, 1), write(6), soft(6, 3), read(6), soft(2, 5), read(2),
)  # fmt: skip
ODD_ARGUMENTS = (
    anon(0, 4), write(0), write(1), do.Madvise(At(0, 1), PAGE, abi.MADV_HWPOISON),
    do.Madvise(At(0), 0, abi.MADV_HWPOISON), do.Madvise(At(0, 1), 0, abi.MADV_SOFT_OFFLINE),
    do.Madvise(At(0), 1, abi.MADV_SOFT_OFFLINE), do.Madvise(At(0), (1 << 64) - PAGE, abi.MADV_HWPOISON),
    do.Madvise(At(0), (1 << 64) - 1, abi.MADV_HWPOISON), do.Madvise(0, PAGE, abi.MADV_HWPOISON),
    do.Madvise(1 << 47, PAGE, abi.MADV_HWPOISON), do.Madvise((1 << 47) - PAGE, PAGE, abi.MADV_SOFT_OFFLINE),
    do.Madvise(0xFFFF_8000_0000_0000, PAGE, abi.MADV_HWPOISON), do.Madvise(0xFFFF_8000_0000_0000, 0, abi.MADV_HWPOISON),
    do.Madvise(At(0), PAGE + 1, abi.MADV_HWPOISON), read(0), read(1), read(2),
)  # fmt: skip
WHO_MAY = (
    anon(0, 4), write(0), unprivileged(broken(0)), unprivileged(soft(0)),
    unprivileged(do.Madvise(At(0, 1), PAGE, abi.MADV_HWPOISON)), unprivileged(do.Madvise(At(0), 0, abi.MADV_HWPOISON)),
    unprivileged(broken(8)), unprivileged(vector(abi.MADV_HWPOISON, (0, 1))),
    unprivileged(vector(abi.MADV_SOFT_OFFLINE, (0, 1))), read(0), soft(0), broken(0), read(0),
)  # fmt: skip
BY_VECTOR = (
    anon(0, 6), write(0), write(1), write(2), write(3), write(4), vector(abi.MADV_HWPOISON, (0, 1), (1, 1)), read(0),
    read(1), vector(abi.MADV_SOFT_OFFLINE, (2, 1), (3, 1)), read(2), vector(abi.MADV_HWPOISON, (0, 1)),
    vector(abi.MADV_SOFT_OFFLINE, (2, 1), (0, 1), (3, 1)), vector(abi.MADV_HWPOISON, (2, 1), (8, 1), (3, 1)), read(3),
    fork(), vector(abi.MADV_HWPOISON, (3, 1), whom=1), vector(abi.MADV_SOFT_OFFLINE, (3, 1), whom=1),
    vector(abi.MADV_HWPOISON, (4, 1), whom=0), read(4), read(4, process=1),
)  # fmt: skip
RIGHTS = (
    anon(0, 4), write(0), protect(0, 4, NONE), broken(0), soft(0), broken(1), protect(0, 4, R), soft(0), broken(0),
    read(0), protect(0, 4, NONE), read(0), protect(0, 4, RW), read(0), anon(4, 1, W), write(4), broken(4), soft(4),
    anon(5, 1, X), broken(5), anon(6, 2, RWX), write(6), write(7), soft(6), execute(6), broken(7), execute(7),
    anon(8, 1, W), read(8), broken(8), soft(8), anon(9, 2, RWX), write(9), write(10), protect(9, 2, X), broken(9),
    soft(10), protect(9, 2, RWX), read(9), shared_file(16, 4, prot=W), broken(16), write(17), soft(17), broken(17),
    write(17),
)  # fmt: skip
KEYS = (
    anon(0, 2), write(0), write(1), do.PkeyAlloc(0, PKEY_DISABLE_ACCESS), do.PkeyMprotect(At(0), 2 * PAGE, RW, 1),
    read(0), broken(0), soft(0), do.PkeyMprotect(At(0), 2 * PAGE, RW, 0), broken(0), read(0),
    do.PkeyAlloc(0, PKEY_DISABLE_WRITE), do.PkeyMprotect(At(0), 2 * PAGE, RW, 2), soft(1), write(1), read(1),
    write(0), read(0),
)  # fmt: skip
SEALED_OR_DROPPABLE = (
    anon(0, 2), write(0), write(1), do.Mseal(At(0), 2 * PAGE), broken(0), soft(0), soft(1), read(0),
    do.Mmap(2 * PAGE, RW, abi.MAP_DROPPABLE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, At(8)), write(8), write(9), broken(8),
    soft(9), read(9), read(8), fork(), read(8, process=1), advise(8, 2, abi.MADV_PAGEOUT), read(8),
)  # fmt: skip
ONE_ACCESS_OVER_SEVERAL_PAGES = (
    anon(0, 8), write(0, bytes(range(1, 9)) * 2048), broken(2), read(0, 4 * PAGE), write(0, b"\1" * (4 * PAGE)),
    read(0, 2 * PAGE), soft(3), read(3, PAGE), kernel_read(0, 4 * PAGE), kernel_write(0, b"\2" * (4 * PAGE)),
    read(0, 8), read(1, 8, 4000), read(1, 200, 4090), write(1, b"\3" * 100, 4090), read(1, 6, 4090),
)  # fmt: skip

# -- processes -------------------------------------------------------------------------------------------------------

SHARED_AFTER_A_FORK = (
    anon(0, 4), write(0), write(1), write(2), fork(), broken(0), read(0), read(0, process=1), write(0, process=1),
    broken(1, process=1), read(1), read(1, process=1), dontneed(1, process=1), read(1, process=1), write(1), soft(2),
    read(2), read(2, process=1), write(2), write(2, process=1), read(2), exit_(1), read(0), read(1),
)  # fmt: skip
A_FORK_LATER = (
    anon(0, 4), write(0), write(1), broken(0), fork(), read(0, process=1), write(1, process=1), read(1),
    dontneed(0, process=1), read(0, process=1), read(0), fork(2, process=1), read(0, process=2), exit_(0),
    read(0, process=2), write(1, process=2),
)  # fmt: skip
REPLACED_UNDER_THREE = (
    anon(0, 2), write(0), fork(), soft(0), write(0), read(0, process=1), write(0, process=1), fork(2), fork(3),
    soft(0, process=3), soft(0, process=2), write(0, process=2), read(0), exit_(2), write(0, process=3), exit_(3),
    write(0), read(0, process=1),
)  # fmt: skip
NOT_INHERITED = (
    anon(0, 4), write(0), write(1), broken(0), advise(0, 4, abi.MADV_WIPEONFORK), fork(), read(0, process=1),
    advise(0, 4, abi.MADV_KEEPONFORK), advise(0, 4, abi.MADV_DONTFORK), fork(2), read(0, process=2), read(0),
)  # fmt: skip
A_CHILD_BREAKS_A_FILE = (
    shared_file(0, 2), write(0), fork(), read(0, process=1), broken(0, process=1), read(0), read(0, process=1),
    exit_(1), read(0), fork(2), read(0, process=2), read(1, process=2),
)  # fmt: skip

# -- soft ------------------------------------------------------------------------------------------------------------

REPLACED = (
    anon(0, 4), write(0), write(1), lock(0, 1), soft(0, 2), read(0), read(1), write(0), soft(0, 2), read(0),
    protect(0, 2, R), soft(0), read(0), advise(1, 1, abi.MADV_FREE), soft(1), read(1), protect(0, 2, RW), write(1),
    soft(0, 2), unmap(0, 1), read(1),
)  # fmt: skip
REPLACED_OF_A_FILE = (
    shared_file(0, 4), write(0), read(1), shared_file(8, 4), read(8), soft(0, 4), read(0), read(8), write(8), read(0),
    pread("a", 0), private_file(16, 4), soft(16), read(16), write(16), soft(16), read(16), read(0), broken(10, 9),
    read(10), pread("a", 2), pread("a", 1), sync(0, 4, abi.MS_SYNC), unmap(0, 4), pread("a", 1),
)  # fmt: skip
REPLACED_UNWRITTEN = (
    shared(0, 4), read(0), read(1), soft(0, 2), read(0), core(0, 4), write(0), soft(0), read(0), fork(),
    soft(0, process=1), read(0), read(0, process=1), advise(0, 4, abi.MADV_PAGEOUT), core(0, 4), read(1),
)  # fmt: skip

# -- files -----------------------------------------------------------------------------------------------------------

A_FILE_KEEPS_IT = (
    shared_file(0, 4), write(0), write(1), read(2), broken(0), read(0), write(0), read(1), core(0, 4), scan(0, 4),
    pread("a", 0), pread("a", 1), pread("a", 0, 2 * PAGE), shared_file(8, 4), read(8), write(8), read(9),
    private_file(16, 4), read(16), write(16), read(17), broken(8), broken(0), soft(0), kernel_read(8), kernel_write(8),
    punch("a", 0, 1), pread("a", 0), read(8), read(0), core(0, 1), write(8), read(0), dontneed(0), read(0),
)  # fmt: skip
READ_UP_TO_IT = (
    shared_file(0, 8), write(3), broken(3), pread("a", 2, 3 * PAGE), pread("a", 3), pread("a", 4, PAGE), read(4),
    read(2, 3 * PAGE), broken(2), pread("a", 1, PAGE + 1),
)  # fmt: skip
EVERY_MAPPING_OF_IT = (
    shared_file(0, 4), shared_file(8, 4), private_file(16, 4), write(0), read(8), read(16), write(17), fork(),
    read(8, process=1), broken(0), read(8), read(16), read(17), read(8, process=1), broken(17), read(17), read(1),
    dontneed(0, 4), read(0), read(1), truncate("a", 0), read(0), truncate("a", 4 * PAGE), read(0), read(8), read(16),
    read(17),
)  # fmt: skip
THE_FIRST_MAPPING_IS_TOLD = (
    shared_file(20, 2, offset=1), shared_file(0, 4), shared_file(10, 4), write(1), broken(20),
    shared_file(30, 2, offset=2), private_file(40, 8), broken(30), read(30), read(2), read(42),
)  # fmt: skip
NEVER_WRITTEN = (
    shared(0, 4), read(0), read(1), broken(0), read(0), write(0), write(1), broken(1), read(1), fork(),
    read(1, process=1), advise(0, 2, abi.MADV_REMOVE), read(1), core(0, 2), read(1, process=1), exit_(1),
    dontneed(0, 2), read(1), write(1), unmap(0, 4),
)  # fmt: skip
HOLES_OF_A_FILE = (
    truncate("b", 0), truncate("b", 4 * PAGE), shared_file(0, 4, "b"), shared_file(8, 4, "b"), read(0), read(8),
    core(0, 4), broken(0), core(0, 4), read(8), read(0), pread("b", 0), write(8), pread("b", 0), pread("b", 1),
)  # fmt: skip
PRIVATE_COPIES = (
    private_file(0, 4), read(0), write(1), broken(0), broken(1), broken(2), read(0), read(1), read(2), pread("a", 0),
    pread("a", 1), pread("a", 2), protect(0, 4, NONE), protect(0, 4, RW), dontneed(0, 3), read(0), read(1), write(2),
)  # fmt: skip
NOT_FOR_WRITING = (
    shared_file(0, 4, "sealed", prot=R), read(0), broken(0), broken(1), read(0), read(1), pread("sealed", 0), soft(2),
    read(2), pread("sealed", 2), private_file(8, 4, "sealed"), write(8), write(10), broken(10), read(10), read(2),
)  # fmt: skip
BEYOND_THE_END = (
    shared_file(0, 8, "b"), broken(3), soft(4), broken(2), read(2), broken(2, 3), soft(0, 8), read(0), read(3),
)  # fmt: skip
FILES_AND_GUARDS = (
    shared_file(0, 4), write(0), guard(0), broken(0), broken(1), guard(1), unguard(0, 2), read(0), read(1), core(0, 4),
    lock(0, 4), read(1), resize(0, 4, 2), move(0, 2, 10), read(10), read(11), unmap(11, 1), read(10),
)  # fmt: skip
LATER_CALLS_ON_A_FILE = (
    shared_file(0, 4), write(0), broken(0), advise(0, 4, abi.MADV_PAGEOUT), advise(0, 4, abi.MADV_COLD),
    advise(0, 1, abi.MADV_POPULATE_READ), advise(0, 1, abi.MADV_WILLNEED), sync(0, 4, abi.MS_SYNC), lock(0, 4),
    unlock(0, 4), dontneed(0, 4), advise(0, 4, abi.MADV_POPULATE_WRITE), advise(1, 3, abi.MADV_POPULATE_WRITE),
    shared_file(8, 4, flags=abi.MAP_POPULATE), shared_file(16, 4, flags=abi.MAP_LOCKED),
    private_file(24, 4, flags=abi.MAP_POPULATE), truncate("a", 1), read(0), pread("a", 0), truncate("a", 5),
    pread("a", 0), truncate("a", 0), truncate("a", 9999), read(0),
)  # fmt: skip
WATCHED = (
    anon(0, 4), write(0), write(1), do.Register(At(0), 4 * PAGE), do.WriteProtect(At(0), 2 * PAGE), broken(0), soft(1),
    scan(0, 2), read(1), write(1), read(0), do.WriteProtect(At(1), 3 * PAGE, protect=False), write(1),
    do.Unregister(At(0), 4 * PAGE), read(0), fork(), write(1),
)  # fmt: skip
WATCHED_OF_A_FILE = (
    shared_file(0, 4), write(0), write(1), do.Register(At(0), 4 * PAGE), do.WriteProtect(At(0), 2 * PAGE), broken(0),
    soft(1), read(1), write(1), dontneed(0, 2), read(1), read(0), do.Unregister(At(0), 4 * PAGE), write(1), read(0),
)  # fmt: skip

# -- huge pages ------------------------------------------------------------------------------------------------------

SPLIT_FIRST = (
    *huge(), write(513), write(1000), broken(HUGE), read(HUGE), read(513), read(514), read(1000), read(1001),
    write(600), broken(513), read(513), read(1000), advise(HUGE, HUGE, abi.MADV_COLLAPSE), fork(),
    read(513, process=1), read(1000, process=1), unmap(HUGE, HUGE),
)  # fmt: skip
THE_REST_OF_IT_IS_PASSED_OVER = (
    anon(HUGE, 1024), advise(HUGE, 1024, abi.MADV_HUGEPAGE), write(HUGE), write(1024), write(1030), broken(520, HUGE),
    read(520), read(1032), broken(520), broken(1030, 100), read(1030), read(1031), read(1024),
)  # fmt: skip
ALL_OF_IT = *huge(), write(600), write(513), broken(HUGE, HUGE), read(HUGE), read(513), soft(513), soft(600), read(600)
SMALL_ENTRIES_TELL_NOBODY = (
    *huge(), write(600), protect(HUGE, 4, R), broken(513), read(HUGE), read(600), read(513), broken(HUGE), read(HUGE),
    dontneed(HUGE, HUGE), read(513), read(HUGE),
)  # fmt: skip
HALF_OF_IT = (
    *huge(), write(600), write(900), unmap(768, 256), broken(513), read(600), broken(600), read(600), read(HUGE),
    *huge(2048), write(2100), unmap(2048, 256), write(2400), soft(2400), read(2400), broken(2400), read(2400),
)  # fmt: skip
MOVED_HUGE = (
    *huge(), write(600), move(HUGE, HUGE, 2048), broken(2136), read(2136), read(2048), move(2048, HUGE, 4097),
    read(4097), read(4185), *huge(), write(600), move(HUGE, HUGE, 6145), broken(6233), read(6233), read(6145),
)  # fmt: skip
REPLACED_HUGE = (
    *huge(), write(600), soft(HUGE), read(HUGE), read(600), read(601), soft(600), read(600),
    advise(HUGE, HUGE, abi.MADV_COLLAPSE), read(600), soft(601), read(600), read(601), write(601),
)  # fmt: skip
HUGE_AND_LOCKED = (
    *huge(), lock(HUGE, HUGE), write(600), broken(513), read(513), read(514), soft(600), read(600), broken(514),
    unlock(HUGE, HUGE), read(514),
)  # fmt: skip
HUGE_AND_LAZY = (
    *huge(), write(600), advise(HUGE, HUGE, abi.MADV_FREE), broken(513), read(600), soft(600),
    advise(HUGE, HUGE, abi.MADV_PAGEOUT), read(600), read(513),
)  # fmt: skip
ONCE_SHARED_HUGE = *huge(), write(600), fork(), exit_(1), broken(600), read(600), read(HUGE), soft(HUGE), write(HUGE)
HUGE_OF_A_FILE = (
    shared_file(HUGE, HUGE, "big"), write(513), read(600), advise(HUGE, HUGE, abi.MADV_COLLAPSE), broken(513),
    read(HUGE), read(513), pread("big", 0), pread("big", 1), read(600), broken(HUGE, HUGE), read(HUGE), read(514),
    advise(HUGE, HUGE, abi.MADV_COLLAPSE), punch("big", 0, 2), advise(HUGE, HUGE, abi.MADV_COLLAPSE), read(513),
)  # fmt: skip
HUGE_OF_A_FILE_REPLACED = (
    shared_file(HUGE, HUGE, "big"), write(513), advise(HUGE, HUGE, abi.MADV_COLLAPSE), soft(513), read(HUGE),
    read(513), soft(HUGE, 100), read(514), advise(HUGE, HUGE, abi.MADV_COLLAPSE), read(513),
)  # fmt: skip
HUGE_OF_A_FILE_EVERYWHERE = (
    shared_file(HUGE, HUGE, "big"), shared_file(2048, HUGE, "big"), shared_file(3000, HUGE, "big"), write(513),
    advise(HUGE, HUGE, abi.MADV_COLLAPSE), read(2048), read(3001), fork(), read(600, process=1), broken(600),
    read(600), read(2136), read(3088), read(600, process=1), read(HUGE), read(2049),
    advise(HUGE, HUGE, abi.MADV_COLLAPSE),
)  # fmt: skip
PARTS_OF_A_HUGE_PAGE = (
    shared_file(HUGE, 1024, "big"), write(513), advise(HUGE, HUGE, abi.MADV_COLLAPSE), punch("big", 300, 1),
    read(HUGE), broken(530, 300), read(530), read(700), read(830), broken(900, 200), read(900), read(1000), read(1100),
)  # fmt: skip
PRIVATE_OF_A_HUGE_PAGE = (
    shared_file(2048, HUGE, "big"), advise(2048, HUGE, abi.MADV_COLLAPSE), private_file(HUGE, HUGE, "big"), write(513),
    broken(513), read(600), broken(600), read(513), read(600), read(2136), pread("big", 88), pread("big", 1),
)  # fmt: skip
HUGE_BY_ITSELF = (
    shared_file(HUGE, HUGE, "always"), read(600), soft(600), read(600), broken(601), read(601), read(HUGE),
    truncate("always", 0), truncate("always", 4 << 20), read(HUGE), soft(513), core(HUGE, 4), read(513), read(514),
    broken(514), read(514), write(515), broken(515), read(515), pread("always", 2), pread("always", 4),
)  # fmt: skip

# -- hugetlb ---------------------------------------------------------------------------------------------------------

HUGETLB = (
    hugetlb(HUGE, 1024), pool(), write(HUGE), write(1024), pool(), broken(HUGE), pool(), scan(HUGE, 1024), read(HUGE),
    read(600, byte=5), broken(HUGE), soft(HUGE), kernel_read(HUGE), core(HUGE, 4), read(1024), fork(),
    read(HUGE, process=1), protect(HUGE, HUGE, R), read(HUGE), dontneed(HUGE, HUGE), pool(), read(HUGE), pool(),
    write(1024, process=1), exit_(1), unmap(HUGE, 1024), pool(),
)  # fmt: skip
HUGETLB_SHARED = (
    hugetlb_shared(HUGE, 1024), pool(), write(HUGE), broken(513), pool(), read(HUGE), read(514), fork(),
    read(HUGE, process=1), dontneed(HUGE, HUGE), pool(), read(HUGE), core(HUGE, 2), exit_(1), unmap(HUGE, 1024), pool(),
)  # fmt: skip
HUGETLB_FILE = (
    shared_file(HUGE, 1024, "h"), pool(), write(HUGE), read(1024), pool(), broken(515), pool(), read(HUGE),
    pread("h", 0), pread("h", 2, 2 * PAGE), pread("h", 3), pread("h", 512), shared_file(2048, 1024, "h"), read(2048),
    read(2560), private_file(4096, 1024, "h"), read(4096), pool(), dontneed(HUGE, HUGE), read(HUGE),
    punch("h", 0, HUGE), pool(), read(2048), pool(), read(HUGE), dontneed(HUGE, HUGE), read(HUGE), truncate("h", 0),
    pool(),
)  # fmt: skip
HUGETLB_PRIVATE_OF_A_FILE = (
    shared_file(HUGE, HUGE, "h"), write(HUGE), private_file(2048, 1024, "h"), read(2048), write(2560), pool(),
    soft(2048), read(HUGE), read(2048), pool(), broken(2060), read(2048), read(HUGE), pool(), broken(2560),
    read(2560), pool(), fork(), read(2048, process=1), read(2560, process=1), unmap(2048, 1024), pool(), exit_(1),
    punch("h", 0, HUGE), read(HUGE), pool(),
)  # fmt: skip
HUGETLB_NO_LONGER_WRITABLE = (
    hugetlb(HUGE, HUGE, W), broken(HUGE), write(HUGE), soft(HUGE), broken(HUGE), write(HUGE), pool(),
)  # fmt: skip
HUGETLB_UNWRITTEN = (
    shared_file(HUGE, 1024, "h"), read(HUGE), broken(HUGE), pool(), read(HUGE), unmap(HUGE, 1024), pool(),
    hugetlb(HUGE, HUGE), read(HUGE), broken(HUGE), read(HUGE), pool(), unmap(HUGE, HUGE), pool(),
)  # fmt: skip
HUGETLB_OF_A_FORK = (
    hugetlb(HUGE, HUGE), write(HUGE), fork(), broken(HUGE), pool(), read(HUGE), read(HUGE, process=1), exit_(1), pool(),
    unmap(HUGE, HUGE), pool(),
)  # fmt: skip
HUGETLB_OF_A_CHILD = (
    hugetlb(HUGE, HUGE), write(HUGE), fork(), dontneed(HUGE, HUGE), pool(), broken(HUGE, process=1), pool(),
    read(HUGE, process=1), read(HUGE), pool(), exit_(1), pool(), unmap(HUGE, HUGE), pool(),
)  # fmt: skip
HUGETLB_REPLACED = (
    hugetlb(HUGE, 1024), write(HUGE), pool(), soft(HUGE), pool(), read(HUGE), soft(600), pool(), read(1024), pool(),
    fork(), soft(HUGE), pool(), read(HUGE, process=1), write(HUGE, process=1), pool(), exit_(1), pool(),
    unmap(HUGE, 1024), pool(),
)  # fmt: skip
HUGETLB_FILE_REPLACED = (
    shared_file(HUGE, 1024, "h"), write(HUGE), pool(), soft(HUGE), pool(), read(HUGE), soft(HUGE, 1024), pool(),
    read(1024), unmap(HUGE, 1024), pool(), shared_file(HUGE, 1024, "h"), read(HUGE), read(1024), pool(),
)  # fmt: skip
HUGETLB_TWO = (
    hugetlb(HUGE, 1024), write(HUGE), write(1024), broken(600, HUGE), pool(), read(HUGE), read(1024),
    broken(1024, HUGE), read(1024), broken(1024), pool(),
)  # fmt: skip
HUGETLB_MOVED = (
    hugetlb(HUGE, HUGE), write(HUGE), broken(HUGE), move(HUGE, HUGE, 2048), read(2048), pool(), unmap(2048, HUGE),
    pool(), hugetlb(HUGE, HUGE), write(HUGE), protect(HUGE, HUGE, NONE), broken(HUGE), protect(HUGE, HUGE, RW),
    broken(HUGE), protect(HUGE, HUGE, NONE), read(HUGE), protect(HUGE, HUGE, RW), read(HUGE), pool(),
)  # fmt: skip

SCENARIOS = titled(globals(), KEPT)
