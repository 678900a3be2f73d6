"""PROT_EXEC alone: where the CPU has protection keys it may be executed and not read; where it has none, both."""

from pagewalk import abi

from .words import (
    HUGE,
    NONE,
    RW,
    RWX,
    R,
    X,
    advise,
    anon,
    execute,
    fork,
    guard,
    huge,
    kernel_read,
    kernel_write,
    lock,
    move,
    private_file,
    protect,
    read,
    resize,
    shared,
    shared_file,
    titled,
    unguard,
    unlock,
    unmap,
    write,
)

PROTECTED = (
    anon(0, 3), write(0), protect(0, 2, X), read(0), write(0), execute(0), read(1), execute(1), read(1), kernel_read(0),
    kernel_write(0), kernel_read(0, 8192),
)  # fmt: skip
MAPPED = anon(0, 2, X), execute(0), read(0), read(1), write(1), anon(4, 1, X, abi.MAP_POPULATE), read(4), execute(4)
OTHER_RIGHTS_GIVE_IT_BACK = tuple(
    step
    for prot in (R, RW, RWX, NONE, X)
    for step in (anon(0, 2), write(0), protect(0, 2, X), read(0), protect(0, 2, prot), read(0), write(0), execute(0))
)
ACROSS_A_BORDER = (
    anon(0, 3), write(0, bytes(3 * 4096)), protect(1, 1, X), read(0, 16, 4088), write(0, b"\xc3" * 16, 4088),
    read(1, 16, 4088), write(1, b"\xc3" * 16, 4088), kernel_read(0, 12288),
)  # fmt: skip
NEIGHBOURS_MERGE_BY_KEY = (
    anon(0, 6), write(0, bytes(6 * 4096)), protect(1, 1, X), protect(3, 1, X), protect(2, 1, X), protect(1, 3, RW),
    anon(8, 2, X), anon(10, 2, X), anon(12, 2, R), protect(12, 2, X), protect(8, 6, RWX),
)  # fmt: skip
HISTORIES = (
    anon(0, 1), write(0), anon(2, 1), write(2), protect(2, 1, X), anon(1, 1), write(1), protect(1, 1, X),
    protect(0, 1, X), protect(0, 3, RW),
)  # fmt: skip
HISTORIES_BY_A_FAULT = (
    anon(0, 1),
    write(0),
    anon(1, 1, R),
    protect(0, 1, X),
    protect(1, 1, RW),
    write(1),
    protect(0, 1, RW),
)
FILES = (
    private_file(0, 4, prot=X), execute(0), read(0), kernel_read(1), shared_file(8, 4, prot=X), execute(8), read(8),
    write(8), private_file(16, 4), write(16), protect(16, 4, X), execute(16), execute(17), read(16), protect(16, 4, R),
    read(16), shared_file(24, 4, "b", prot=X), execute(26), execute(27), read(27),
)  # fmt: skip
SHARED_MEMORY = shared(0, 2), write(0), protect(0, 2, X), read(0), execute(0), protect(0, 2, RW), read(0)
POPULATING = (
    anon(0, 4, X), lock(0, 4), unlock(0, 4), advise(0, 4, abi.MADV_POPULATE_READ), anon(8, 4), protect(8, 4, X),
    advise(8, 4, abi.MADV_POPULATE_READ), advise(8, 4, abi.MADV_POPULATE_WRITE), lock(8, 4),
    anon(16, 2, X, abi.MAP_LOCKED), private_file(20, 4, prot=X, flags=abi.MAP_POPULATE),
    advise(20, 4, abi.MADV_POPULATE_READ), lock(20, 4),
    anon(28, 2), lock(28, 2, abi.MLOCK_ONFAULT), protect(28, 2, X), execute(28), anon(32, 2, NONE), lock(32, 2),
    protect(32, 2, X), protect(32, 2, RW),
)  # fmt: skip
GUARDS = (
    anon(0, 4), write(0), write(1), protect(0, 4, X), guard(1, 2), read(1), write(1), execute(1), execute(2),
    kernel_read(1), unguard(1, 2), execute(1), read(1), protect(0, 4, RW), read(1), guard(0), protect(0, 1, X),
    read(0), execute(0),
)  # fmt: skip
A_CHILD_INHERITS_IT = (
    anon(0, 2), write(0), protect(0, 2, X), anon(4, 2, X), fork(), read(0, process=1), execute(0, process=1),
    read(4, process=1), execute(4, process=1), protect(0, 2, RW, process=1), write(0, process=1), read(0), execute(0),
    anon(8, 1, X, process=1), read(8, process=1), fork(2, process=1), read(8, process=2), execute(8, process=2),
)  # fmt: skip
A_CHILD_TAKES_ITS_OWN = (
    anon(0, 2), write(0), fork(), protect(0, 1, X, process=1), read(0, process=1), read(0), protect(0, 2, X), read(0),
    execute(0),
)  # fmt: skip
MOVED = (
    anon(0, 4), write(0), write(1), protect(0, 4, X), move(0, 2, 16), read(16), execute(16), execute(17),
    resize(2, 2, 1), resize(16, 2, 4), execute(19), read(19), move(16, 4, 24, flags=abi.MREMAP_DONTUNMAP),
    execute(16), read(16),
    read(24), protect(24, 4, RW), read(24),
)  # fmt: skip
HUGE_PAGES = (
    *huge(), protect(HUGE, HUGE, X), read(HUGE), execute(HUGE), execute(HUGE + 7), read(HUGE + 7),
    protect(HUGE + 8, 4, RW), read(HUGE + 8), read(HUGE), execute(HUGE + 100),
    protect(HUGE, HUGE, RW), read(HUGE + 100),
)  # fmt: skip
HUGE_PAGES_BY_FETCHING = (
    anon(HUGE, HUGE, X), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), execute(HUGE), read(HUGE), execute(HUGE + 9),
    protect(HUGE + 4, 1, RW), write(HUGE + 4), read(HUGE + 5), advise(HUGE, HUGE, abi.MADV_COLLAPSE), read(HUGE + 3),
    protect(HUGE, HUGE, X), advise(HUGE, HUGE, abi.MADV_COLLAPSE), read(HUGE + 3), execute(HUGE + 3),
)  # fmt: skip
ADVICE = (
    anon(0, 4), write(0, bytes(4 * 4096)), protect(0, 4, X), advise(0, 1, abi.MADV_DONTNEED), execute(0), read(0),
    advise(1, 1, abi.MADV_FREE), execute(1), advise(0, 4, abi.MADV_COLD), advise(0, 4, abi.MADV_PAGEOUT), execute(2),
    advise(0, 4, abi.MADV_WILLNEED), read(3), unmap(1, 1), read(1), execute(1),
)  # fmt: skip
STACKS = (
    anon(400, 2, flags=abi.MAP_GROWSDOWN), protect(400, 2, X), execute(399), read(398), read(399), execute(398),
    write(397),
)  # fmt: skip

SCENARIOS = titled(globals())
