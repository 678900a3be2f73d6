"""Limits, protection keys, seals, and advice for another process."""

from pagewalk import abi
from pagewalk.abi import limits
from pagewalk.conform.scenarios import (
    At,
    Fcntl,
    Limited,
    MemfdCreate,
    Mseal,
    PkeyAlloc,
    PkeyFree,
    PkeyMprotect,
    ProcessMadvise,
)

from .words import (
    HUGE,
    NONE,
    PAGE,
    RW,
    RWX,
    R,
    X,
    advise,
    anon,
    exit_,
    fork,
    guard,
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
    unmap,
    write,
)

GROWSDOWN = abi.MAP_GROWSDOWN


def within(limit, room, step, **how):
    return Limited(limit, room, step, **how)


def seal(file, seals, **how):
    return Fcntl(file, limits.F_ADD_SEALS, seals, **how)


def seals(file, **how):
    return Fcntl(file, limits.F_GET_SEALS, **how)


def key(page, pages, number, prot=R, **how):
    return PkeyMprotect(At(page), pages * PAGE, prot, number, **how)


def tell(whom, advice, *ranges, **how):
    return ProcessMadvise(tuple((At(page), pages * PAGE) for page, pages in ranges), advice, whom, **how)


ADDRESS_SPACE = (
    anon(0, 4), within("as", 1, anon(8, 2)), within("as", 2, anon(8, 2)), within("as", 0, anon(0, 4)),
    within("as", 0, anon(2, 4)), within("as", 0, resize(8, 2, 3)), within("as", 1, resize(8, 2, 3)),
    within("as", 0, move(8, 2, 20)), within("as", 1, leave(20, 2, 30)), within("as", 2, leave(20, 2, 30)),
)  # fmt: skip
DATA = (
    anon(0, 4, R), within("data", 3, protect(0, 4, RW)), within("data", 4, protect(0, 4, RW)),
    within("data", 0, protect(0, 2, RWX)), within("data", 0, shared(8, 2)), within("data", 0, anon(8, 1)),
    within("data", 0, anon(8, 1, R)), within("data", 0, private_file(16, 1)),
    within("data", 0, anon(8, 1, RW, GROWSDOWN)),
)  # fmt: skip
LOCKING = (
    anon(0, 4), within("memlock", 1, lock(0, 2)), within("memlock", 2, lock(0, 2)), within("memlock", 1, lock(1, 2)),
    within("memlock", 0, lock(0, 2)), within("memlock", 0, anon(8, 1, RW, abi.MAP_LOCKED)),
    within("memlock", 1, anon(8, 1, RW, abi.MAP_LOCKED)), within("memlock", 0, resize(8, 1, 2)),
    within("memlock", 1, resize(8, 1, 2)),
)  # fmt: skip
STACK = (
    anon(400, 2, RW, GROWSDOWN), within("as", 0, write(399)), within("as", 1, write(399)),
    within("data", 0, write(398)), lock(398, 3), within("memlock", 0, write(397)), within("memlock", 1, write(397)),
)  # fmt: skip
AREAS = (
    anon(0, 8), within("areas", 0, anon(20, 1, R)), within("areas", 1, anon(20, 1, R)),
    within("areas", 0, unmap(2, 2)), within("areas", 0, unmap(0, 2)), within("areas", 0, protect(4, 2, R)),
    within("areas", 1, protect(4, 2, R)), within("areas", 0, advise(2, 1, abi.MADV_DONTFORK)),
    within("areas", 0, lock(3, 1)), within("areas", 0, anon(3, 1, R)), within("areas", 5, move(20, 1, 30)),
    within("areas", 6, move(20, 1, 30)), within("areas", 4, resize(2, 2, 9)),
)  # fmt: skip
AREAS_AND_SEALED_ONES = (
    anon(0, 8), Mseal(At(0), 8 * PAGE), within("areas", 0, unmap(2, 2)), within("areas", 0, unmap(0, 2)),
    within("areas", 0, unmap(6, 4)), within("areas", 0, protect(2, 2, R)), within("areas", 0, anon(2, 2, R)),
    within("areas", 0, lock(2, 2)), within("areas", 0, move(2, 2, 20)), within("areas", 9, move(2, 2, 20)),
    within("areas", 0, advise(2, 1, abi.MADV_DONTFORK)), within("areas", 0, resize(2, 2, 1)),
)  # fmt: skip
KEYS = (
    anon(0, 4), PkeyAlloc(0, 4), PkeyAlloc(1), key(0, 1, 1), key(0, 1, -1), PkeyAlloc(), PkeyAlloc(0, 2),
    key(0, 2, 1, RW), key(0, 2, 0), PkeyFree(0), PkeyFree(1), PkeyFree(16), read(0), write(0), anon(8, 1, X),
    key(8, 1, -1, RW),
)  # fmt: skip
SEALED_AGAINST_SIZE = (
    seals("a"), seal("a", limits.F_SEAL_SHRINK), truncate("a", PAGE), truncate("a", 25 * PAGE),
    seal("a", limits.F_SEAL_GROW), truncate("a", 26 * PAGE), punch("a", 0, 1), shared_file(0, 2), write(0),
    seals("a"), seal("a", limits.F_SEAL_SEAL), seal("a", 0), seals("a"),
)  # fmt: skip
SEALED_AGAINST_WRITING = (
    shared_file(0, 2), seal("a", limits.F_SEAL_WRITE), protect(0, 2, R), seal("a", limits.F_SEAL_WRITE), unmap(0, 2),
    private_file(8, 2), seal("a", limits.F_SEAL_WRITE), shared_file(0, 2), shared_file(0, 2, prot=R), protect(0, 2, RW),
    write(8), punch("a", 0, 1), truncate("a", 0), advise(0, 2, abi.MADV_REMOVE), read(0),
)  # fmt: skip
SEALED_AGAINST_MORE_WRITING = (
    shared_file(0, 2), seal("a", limits.F_SEAL_FUTURE_WRITE), write(0), protect(0, 2, R), protect(0, 2, RW), write(1),
    shared_file(8, 2), shared_file(8, 2, prot=R), protect(8, 2, RW), advise(0, 1, abi.MADV_REMOVE), fork(),
    write(0, process=1),
)  # fmt: skip
SEALED_FOR_GOOD = (
    seal("a", limits.F_SEAL_EXEC),
    seals("a"),
    shared_file(0, 1),
    seal("sealed", 0),
    seals("sealed"),
    seal("a", 64),
)
NEW_FILES = tuple(MemfdCreate(flags) for flags in (0, 1, 2, 3, 8, 10, 16, 18, 24, 32, 1 << 26))
FOR_A_CHILD = (
    anon(0, 4), write(0), write(1), fork(), write(0, process=1), tell(1, abi.MADV_PAGEOUT, (0, 2)),
    tell(1, abi.MADV_DONTNEED, (0, 2)), tell(0, abi.MADV_DONTNEED, (1, 1)), tell(1, abi.MADV_COLD, (0, 9)),
    tell(1, abi.MADV_WILLNEED, (20, 1)), tell(0, abi.MADV_COLD, (0, 4), process=1),
    tell(1, abi.MADV_GUARD_INSTALL, (0, 1)), exit_(1),
)  # fmt: skip
HUGE_FOR_A_CHILD = (
    anon(HUGE, HUGE), write(HUGE), fork(), write(HUGE + 1, process=1), tell(1, abi.MADV_COLLAPSE, (HUGE, HUGE)),
    tell(1, abi.MADV_COLLAPSE, (HUGE, 1)), guard(HUGE, process=1), tell(1, abi.MADV_COLLAPSE, (HUGE, HUGE)),
)  # fmt: skip
UNREADABLE = anon(0, 1), protect(0, 1, NONE), within("as", 0, protect(0, 1, RW)), within("as", 0, read(0)), write(0)
SCENARIOS = titled(globals())
