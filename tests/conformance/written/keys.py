"""Protection keys that a program takes and gives to its memory; a CPU without any has what is left of the scenarios."""

from pagewalk import abi
from pagewalk.abi.limits import PKEY_DISABLE_ACCESS, PKEY_DISABLE_WRITE
from pagewalk.conform.scenarios import At, PkeyAlloc, PkeyFree, PkeyMprotect

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
    execute,
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
    read,
    resize,
    shared,
    shared_file,
    titled,
    unmap,
    write,
)

FREE, UNWRITABLE, UNREADABLE = (PkeyAlloc(0, rights) for rights in (0, PKEY_DISABLE_WRITE, PKEY_DISABLE_ACCESS))


def key(page, pages, number, prot=RW, **how):
    return PkeyMprotect(At(page), pages * PAGE, prot, number, **how)


def touched(page, **how):
    return read(page, **how), write(page, **how), read(page, **how)


REFUSED_READS_AND_WRITES = (
    anon(0, 8), write(0), write(2), write(4), UNREADABLE, key(0, 2, 1), UNWRITABLE, key(2, 2, 2), FREE, key(4, 2, 3),
    *touched(0), *touched(1), *touched(2), *touched(3), *touched(4), *touched(5), *touched(6),
)  # fmt: skip
INSTRUCTIONS_ARE_FETCHED_ALL_THE_SAME = (
    anon(0, 4, RWX), write(0), UNREADABLE, key(0, 2, 1, RWX), execute(0), read(0), execute(1), read(1),
    key(0, 2, 1, RW), execute(0), key(0, 2, 1, X), execute(0), read(0),
)  # fmt: skip
THE_KERNEL_IS_NOT_ASKED = (
    anon(0, 4), write(0), UNREADABLE, key(0, 2, 1), kernel_read(0), kernel_write(0), kernel_read(1), kernel_write(1),
    UNWRITABLE, key(2, 2, 2), kernel_write(2), kernel_read(0, 4 * PAGE), read(2),
)  # fmt: skip
ALL_ARE_TAKEN = (*[FREE] * 16, PkeyFree(7), FREE, PkeyFree(3), UNWRITABLE, anon(0, 1, X), PkeyFree(15), anon(2, 1, X))
ONE_FOR_MEMORY_THAT_IS_EXECUTED = (
    anon(0, 2, X), FREE, FREE, PkeyFree(1), key(0, 1, 1, R), key(0, 1, 2, X), read(0), key(0, 1, -1, X), read(0),
    key(0, 1, 0, X), read(0), protect(0, 2, RW), write(0), PkeyFree(2), PkeyFree(2),
)  # fmt: skip
WHICH_ARE_REFUSED = (
    anon(0, 2), key(0, 1, 0), key(0, 1, 1), FREE, key(0, 1, 1), key(0, 1, 2), key(0, 1, 16), key(0, 1, -2),
    PkeyFree(0), PkeyFree(0), key(0, 1, 0), PkeyFree(1), key(0, 1, 1), PkeyFree(1), PkeyAlloc(0, 4), PkeyAlloc(1),
    PkeyAlloc(0, 3), key(0, 1, 1), read(0),
)  # fmt: skip
GIVEN_BACK_AND_TAKEN_AGAIN = (
    anon(0, 2), write(0), UNREADABLE, key(0, 1, 1), PkeyFree(1), read(0), FREE, read(0), write(0), PkeyFree(1),
    UNWRITABLE, read(0), write(0),
)  # fmt: skip
KEPT_BY_RIGHTS_AND_MOVES = (
    anon(0, 6), write(0), write(3), UNWRITABLE, key(0, 4, 1), protect(0, 2, R), read(0), protect(0, 2, RW), write(0),
    move(0, 2, 20), write(20), read(20), resize(2, 2, 4), leave(2, 2, 30), write(2), write(31), protect(20, 2, X),
    execute(20), read(20), protect(20, 2, RW), write(20),
)  # fmt: skip
NEIGHBOURS = (
    anon(0, 6), FREE, FREE, key(1, 1, 1), key(2, 1, 1), key(3, 1, 2), key(3, 1, 1), key(1, 3, 0), key(0, 6, 2),
    key(2, 2, 2, R), key(2, 2, 2, RW),
)  # fmt: skip
A_CHILD_HAS_THEM_TOO = (
    anon(0, 4), write(0), UNWRITABLE, key(0, 2, 1), fork(), write(0, process=1), read(0, process=1),
    PkeyAlloc(0, 0, process=1), key(2, 1, 2, process=1), key(2, 1, 2), PkeyFree(1, process=1), key(3, 1, 1), FREE,
    key(3, 1, 2), write(3), write(3, process=1), PkeyAlloc(0, 0, process=1), write(0, process=1), write(0), exit_(1),
)  # fmt: skip
FAULTS_ARE_NOT_RESOLVED = (
    anon(0, 4), UNREADABLE, key(0, 4, 1), read(0), lock(0, 4), advise(0, 4, abi.MADV_POPULATE_READ),
    advise(0, 4, abi.MADV_POPULATE_WRITE), read(0), UNWRITABLE, anon(8, 4), key(8, 4, 2), lock(8, 4),
    advise(8, 2, abi.MADV_POPULATE_READ), advise(8, 4, abi.MADV_POPULATE_WRITE), write(8),
    anon(16, 4), key(16, 4, 1), advise(16, 4, abi.MADV_POPULATE_READ), key(16, 4, 0), read(16),
)  # fmt: skip
ASKED_BEFORE_ALL_ELSE = (
    anon(0, 4), UNREADABLE, UNWRITABLE, key(0, 4, 1), guard(0), read(0), write(0), key(0, 4, 2), read(0), write(0),
    key(1, 1, 1, NONE), read(1), execute(1), key(2, 1, 2, R), write(2), key(2, 1, 1, R), write(2),
    shared_file(8, 4, "b"), key(8, 4, 1), read(11), key(8, 4, 2), read(11), write(11), write(8), read(8),
)  # fmt: skip
STACKS_GROW = (
    anon(400, 2, flags=abi.MAP_GROWSDOWN), FREE, key(400, 2, 1), write(399), UNREADABLE, key(399, 3, 2), read(398),
    key(399, 3, 1), read(398),
)  # fmt: skip
FILES_AND_SHARED_MEMORY = (
    shared(0, 2), write(0), UNWRITABLE, key(0, 1, 1), *touched(0), *touched(1), private_file(4, 2), key(4, 2, 1),
    *touched(4), kernel_write(4), *touched(4), shared_file(8, 2), key(8, 2, 1), *touched(8), fork(),
    *touched(8, process=1), key(8, 2, 0, process=1), *touched(8, process=1),
)  # fmt: skip
HUGE_PAGES = (
    *huge(), UNWRITABLE, key(HUGE, HUGE, 1), *touched(HUGE), key(HUGE + 4, 4, 0), *touched(HUGE + 5),
    *touched(HUGE + 9), key(HUGE, HUGE, 0), advise(HUGE, HUGE, abi.MADV_COLLAPSE), *touched(HUGE),
    UNREADABLE, key(HUGE, HUGE, 2), advise(HUGE, HUGE, abi.MADV_COLLAPSE), *touched(HUGE + 3),
)  # fmt: skip
ADVICE = (
    anon(0, 4), write(0), write(1), write(2), UNREADABLE, key(0, 4, 1), advise(0, 1, abi.MADV_DONTNEED),
    advise(1, 1, abi.MADV_FREE), advise(0, 4, abi.MADV_PAGEOUT), kernel_read(0, 4 * PAGE), unmap(1, 1), read(1),
    key(0, 1, 0), read(0),
)  # fmt: skip

SCENARIOS = titled(globals())
