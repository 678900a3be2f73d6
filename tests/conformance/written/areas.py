"""How VMAs are split and merged: by rights, flags, offsets, and the history of their anonymous pages."""

from pagewalk import abi
from pagewalk.conform.scenarios import At, Mmap

from .words import (
    NONE,
    PAGE,
    RW,
    R,
    advise,
    anon,
    guard,
    leave,
    lock,
    move,
    private_file,
    protect,
    read,
    shared,
    shared_file,
    titled,
    unlock,
    unmap,
    write,
)

NEIGHBOURS_MERGE_ON_BOTH_SIDES = anon(0, 2), anon(4, 2), anon(2, 2), anon(6, 2, R), anon(8, 2), protect(6, 2, RW)
A_FAULTED_AREA_TAKES_A_FRESH_NEIGHBOUR = anon(2, 2), write(2), anon(4, 2), anon(0, 2)
TWO_HISTORIES_STAY_APART = anon(0, 2), write(0), anon(4, 2), write(4), anon(2, 2), write(2)
A_READ_MAKES_NO_HISTORY = anon(0, 2), read(0), anon(4, 2), read(4), anon(2, 2), write(1), write(5)
A_HISTORY_IS_BORROWED_FROM_A_NEIGHBOUR = (
    anon(0, 2), anon(2, 2, R), write(0), protect(2, 2, RW | abi.PROT_EXEC), write(2), protect(2, 2, RW),
)  # fmt: skip
A_MOVED_HISTORY_KEEPS_ITS_OFFSET = anon(0, 4), write(0), move(2, 2, 20), anon(22, 2), write(20), move(20, 2, 2)
AN_UNTOUCHED_AREA_FORGETS_ITS_OFFSET = anon(0, 4), move(2, 2, 20), anon(22, 2), move(20, 2, 2)
SPLIT_BY_EACH_FLAG_AND_MERGED_AGAIN = (
    anon(0, 8), write(0), advise(2, 2, abi.MADV_DONTFORK), advise(2, 2, abi.MADV_DOFORK),
    advise(1, 3, abi.MADV_WIPEONFORK), advise(1, 3, abi.MADV_KEEPONFORK), advise(3, 2, abi.MADV_SEQUENTIAL),
    advise(4, 2, abi.MADV_RANDOM), advise(3, 3, abi.MADV_NORMAL), advise(5, 2, abi.MADV_DONTDUMP),
    advise(5, 2, abi.MADV_DODUMP), lock(2, 3), lock(2, 3, abi.MLOCK_ONFAULT), unlock(2, 3), protect(3, 1, NONE),
    protect(3, 1, RW),
)  # fmt: skip
HUGE_PAGE_ADVICE_STAYS_A_FLAG = (
    anon(0, 4), advise(1, 1, abi.MADV_HUGEPAGE), advise(2, 1, abi.MADV_NOHUGEPAGE), advise(0, 4, abi.MADV_HUGEPAGE),
)  # fmt: skip
FILE_OFFSETS_MUST_RUN_ON = (
    shared_file(0, 2), shared_file(2, 2, offset=2), shared_file(4, 2, offset=5), private_file(6, 2, offset=7),
    shared_file(8, 2, "b"), unmap(1, 1), shared_file(1, 1, offset=1),
)  # fmt: skip
SHARED_ANONYMOUS_MEMORY_NEVER_MERGES = shared(0, 2), shared(2, 2), protect(1, 1, R), protect(1, 1, RW), write(2)
RESERVED_AND_NOT_RESERVED_STAY_APART = (
    anon(0, 2, flags=abi.MAP_NORESERVE), anon(2, 2), anon(4, 2, R, abi.MAP_NORESERVE), anon(6, 2, R),
    protect(6, 2, RW), protect(4, 2, RW),
)  # fmt: skip
A_STACK_MAPPING_IS_NEVER_HUGE = (
    anon(0, 2, flags=abi.MAP_STACK), anon(2, 2), anon(4, 2), advise(4, 2, abi.MADV_NOHUGEPAGE),
)  # fmt: skip
WHAT_IS_LEFT_BEHIND_STARTS_AFRESH = (
    anon(0, 2), write(0), leave(0, 2, 20), anon(2, 2), write(0), anon(22, 2), anon(18, 2),
)  # fmt: skip
A_GUARD_GIVES_A_HISTORY = anon(0, 2), guard(0, 1), anon(4, 2), write(4), anon(2, 2)
A_PLACE_THE_KERNEL_CHOSE = (
    Mmap(4 * PAGE, RW, name="m"), write(0), guard(0), Mmap(2 * PAGE, R, addr=At(8)), Mmap(2 * PAGE, RW, addr=At(8)),
)  # fmt: skip
ACCOUNTED_ONCE_WRITABLE = (
    private_file(0, 4, prot=R), protect(1, 2, RW), protect(1, 2, R), protect(0, 4, RW), protect(0, 4, R),
)  # fmt: skip

SCENARIOS = titled(globals())
