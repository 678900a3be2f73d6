"""Rare kinds of memory: sealed, droppable, growing, mergeable, of types that there are not."""

from pagewalk import abi
from pagewalk.conform.scenarios import At, Mlockall, Mmap, Mprotect, Mseal, Munlockall

from .words import (
    HUGE,
    NONE,
    PAGE,
    RW,
    R,
    advise,
    anon,
    fork,
    guard,
    lock,
    move,
    private_file,
    protect,
    read,
    resize,
    shared,
    shared_file,
    titled,
    unlock,
    unmap,
    write,
)

GROWS = abi.MAP_GROWSDOWN
DISCARDS = (
    abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_REMOVE, abi.MADV_DONTFORK, abi.MADV_WIPEONFORK,
    abi.MADV_DONTNEED_LOCKED, abi.MADV_GUARD_INSTALL,
)  # fmt: skip
OTHERS = abi.MADV_COLD, abi.MADV_PAGEOUT, abi.MADV_GUARD_REMOVE, abi.MADV_HUGEPAGE, abi.MADV_DONTDUMP


def seal(page, pages, **how):
    return Mseal(At(page), pages * PAGE, **how)


def droppable(page, pages, flags=0):
    return Mmap(pages * PAGE, RW, abi.MAP_DROPPABLE | abi.MAP_ANONYMOUS | abi.MAP_FIXED | flags, At(page))


def of_type(kind, page=0):
    return Mmap(PAGE, RW, kind | abi.MAP_FIXED, At(page)), Mmap(PAGE, RW, kind | abi.MAP_FIXED, At(page), "a")


SEALED_MEMORY_STAYS = (
    anon(0, 6), write(0), write(2), seal(1, 3), unmap(2, 1), unmap(0, 6), protect(0, 6, R), protect(2, 1, RW),
    move(2, 1, 20), resize(1, 3, 2), resize(1, 3, 8), anon(2, 1), write(2), read(1),
)  # fmt: skip
SEALING_SPLITS_AND_MERGES = (
    anon(0, 8), seal(2, 2), seal(4, 2), seal(2, 4), anon(8, 2), seal(6, 4), fork(), unmap(2, 1, process=1),
)  # fmt: skip
SEALING_WANTS_NO_GAPS = (
    anon(0, 2), anon(4, 2), seal(0, 6), protect(0, 1, R), seal(8, 1), Mseal(At(0, 1), PAGE), Mseal(At(0), 0),
    Mseal(At(0), PAGE, 1), Mseal(At(0), (1 << 64) - 1), Mseal(At(0), 1), protect(0, 1, RW),
)  # fmt: skip
SEALED_MEMORY_THAT_CAN_BE_WRITTEN_CAN_BE_THROWN_AWAY = (
    anon(0, 2), write(0), seal(0, 2), *(advise(0, 2, advice) for advice in (*OTHERS, *DISCARDS)),
)  # fmt: skip
SEALED_MEMORY_THAT_CANNOT_STAYS = (
    anon(0, 2), write(0), protect(0, 2, R), seal(0, 2), *(advise(0, 2, advice) for advice in (*OTHERS, *DISCARDS)),
    read(0),
)  # fmt: skip
SEALED_FILES_CAN_BE_THROWN_AWAY = (
    private_file(0, 2, prot=R), shared_file(4, 2, prot=R), read(0), read(4), seal(0, 2), seal(4, 2),
    *(advise(page, 2, advice) for advice in (*OTHERS, *DISCARDS) for page in (0, 4)),
)  # fmt: skip
SEALED_MEMORY_CAN_BE_LOCKED = (anon(0, 4), seal(0, 4), lock(1, 2), unlock(1, 1), protect(1, 1, RW), guard(3))

EVERYTHING_IS_LOCKED = (
    anon(0, 4), shared(4, 2), private_file(8, 2), anon(12, 2, NONE), droppable(20, 2), guard(1),
    Mlockall(abi.MCL_CURRENT), anon(24, 2), Munlockall(), anon(26, 2), Mlockall(abi.MCL_CURRENT | abi.MCL_ONFAULT),
    anon(28, 2), fork(), anon(30, 1, process=1), Munlockall(process=1),
)  # fmt: skip
WHAT_COMES_IS_LOCKED = (
    Mlockall(abi.MCL_FUTURE), anon(0, 4), shared(4, 2), private_file(8, 2), droppable(12, 2), resize(0, 4, 3),
    resize(8, 2, 3), fork(), anon(16, 2, process=1), Mlockall(abi.MCL_FUTURE | abi.MCL_ONFAULT), anon(20, 2), read(20),
    Munlockall(), anon(24, 2), Mlockall(abi.MCL_ONFAULT), Mlockall(0), Mlockall(8),
)  # fmt: skip

DROPPABLE_MEMORY = (
    droppable(0, 4), write(0), write(1), lock(0, 2), advise(0, 4, abi.MADV_KEEPONFORK), advise(0, 4, abi.MADV_DODUMP),
    advise(0, 1, abi.MADV_PAGEOUT), read(0), read(1), fork(), read(1, process=1), advise(0, 4, abi.MADV_MERGEABLE),
    guard(2), read(3), advise(0, 4, abi.MADV_COLD), advise(0, 4, abi.MADV_FREE), advise(0, 4, abi.MADV_WIPEONFORK),
)  # fmt: skip
DROPPABLE_HUGE_PAGES = (
    droppable(HUGE, HUGE), advise(HUGE, HUGE, abi.MADV_HUGEPAGE), write(HUGE), advise(HUGE, HUGE, abi.MADV_PAGEOUT),
    read(HUGE), write(HUGE + 1), advise(HUGE, HUGE, abi.MADV_COLLAPSE), advise(HUGE + 3, 2, abi.MADV_PAGEOUT),
)  # fmt: skip
DROPPABLE_IS_FOR_PLAIN_MEMORY = (
    droppable(0, 1, abi.MAP_LOCKED), droppable(0, 1, GROWS), *of_type(abi.MAP_DROPPABLE), droppable(0, 1, 1),
)  # fmt: skip

GROWING_IS_FOR_PLAIN_MEMORY = (
    anon(0, 2, flags=GROWS), shared(4, 2, flags=GROWS), private_file(8, 2, flags=GROWS),
    shared_file(12, 2, flags=GROWS),
)  # fmt: skip
PROT_GROWSDOWN_REACHES_DOWN = (
    anon(400, 4, flags=GROWS), anon(20, 2), Mprotect(At(402), PAGE, R | abi.PROT_GROWSDOWN),
    Mprotect(At(20), PAGE, R | abi.PROT_GROWSDOWN), Mprotect(At(402), PAGE, R | abi.PROT_GROWSUP),
    Mprotect(At(402), PAGE, R | abi.PROT_GROWSUP | abi.PROT_GROWSDOWN),
    Mprotect(At(18), 3 * PAGE, R | abi.PROT_GROWSDOWN),
    Mprotect(At(30), PAGE, R | abi.PROT_GROWSDOWN), Mprotect(At(402), PAGE, RW | abi.PROT_SEM),
    Mprotect(At(402), 4 * PAGE, R | abi.PROT_GROWSDOWN),
)  # fmt: skip
MERGEABLE_MEMORY_IS_ANOTHER_AREA = (
    anon(0, 4), private_file(4, 2), shared(8, 2), shared_file(12, 2), anon(16, 2),
    *(advise(page, 1, abi.MADV_MERGEABLE) for page in (0, 4, 8, 12, 16)), advise(0, 2, abi.MADV_MERGEABLE),
    advise(0, 1, abi.MADV_UNMERGEABLE), advise(8, 1, abi.MADV_UNMERGEABLE), fork(),
)  # fmt: skip
THERE_ARE_NO_OTHER_TYPES = tuple(
    step for kind in (0, 4, 5, 6, 7, 9, 15, abi.MAP_SHARED_VALIDATE) for step in of_type(kind | abi.MAP_ANONYMOUS)
)  # fmt: skip
SHARED_VALIDATE_KNOWS_WHAT_IT_KNOWS = tuple(
    Mmap(PAGE, RW, abi.MAP_SHARED_VALIDATE | abi.MAP_FIXED | more, At(0), "a")
    for more in (0, abi.MAP_SYNC, abi.MAP_FIXED_NOREPLACE, 1 << 30, 1 << 31, 1 << 32, abi.MAP_STACK, abi.MAP_POPULATE)
)
A_SYNCHRONOUS_MAPPING_IS_ANOTHER_AREA = (anon(0, 2), anon(2, 2, flags=abi.MAP_SYNC), anon(4, 2), anon(6, 1, RW | 8))

SCENARIOS = titled(globals())
