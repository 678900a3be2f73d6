"""mprotect, mlock and munlock, msync, mincore."""

from pagewalk import abi
from pagewalk.conform.scenarios import At, Mincore, Mlock, Mprotect, Msync

from .words import (
    NONE,
    PAGE,
    RW,
    RWX,
    R,
    W,
    advise,
    anon,
    core,
    execute,
    fork,
    guard,
    kernel_read,
    lock,
    private_file,
    protect,
    read,
    shared,
    shared_file,
    sync,
    titled,
    unlock,
    unmap,
    write,
)

PROTECT_TAKES_AND_GIVES = (
    anon(0, 4), write(0), read(1), protect(0, 3, R), write(0), protect(0, 3, NONE), read(0), protect(0, 4, RWX),
    write(0), execute(0), write(1), protect(0, 1, W), read(0), kernel_read(0),
)  # fmt: skip
PROTECT_STOPS_AT_A_GAP = (
    anon(0, 2), anon(4, 2), write(4), protect(0, 6, R), protect(4, 2, R), protect(2, 4, R), protect(0, 0, R),
)  # fmt: skip
PROTECT_OF_A_SEALED_FILE = (
    shared_file(2, 2, "sealed", prot=R), anon(0, 2, R), anon(4, 2, R), protect(0, 6, RW),
    private_file(8, 2, "sealed", prot=R), protect(8, 2, RW), write(8), protect(2, 2, NONE), protect(2, 2, R), read(2),
)  # fmt: skip
PROTECT_CHECKS_ARGUMENTS = anon(0, 2), Mprotect(At(0, 16), PAGE, R), Mprotect(At(0), 1, R), Mprotect(At(0), PAGE, 0x80)
PROTECT_POPULATES_WHAT_IS_LOCKED = (
    anon(0, 4, R), read(0), lock(0, 4), protect(1, 2, RW), private_file(8, 3, prot=R), lock(8, 3), protect(8, 3, RW),
)  # fmt: skip
PROTECT_AND_FORKED_PAGES = (
    anon(0, 2), write(0), fork(), protect(0, 2, R, process=1), protect(0, 2, RW, process=1), write(0, process=1),
    read(0),
)  # fmt: skip
LOCK_POPULATES = (
    anon(0, 4), lock(0, 4), anon(4, 2, R), lock(4, 2), private_file(8, 2), lock(8, 2), shared_file(12, 4),
    lock(12, 2),
)  # fmt: skip
LOCK_AND_A_GAP = anon(0, 2), anon(4, 2), lock(0, 6), unlock(0, 2), lock(1, 1), unlock(0, 6), unlock(0, 20)
LOCK_OF_WHAT_CANNOT_BE_TOUCHED = (
    anon(0, 2, NONE), lock(0, 2), anon(4, 4), guard(5), lock(4, 4), shared_file(8, 4, "b"), lock(8, 4),
)  # fmt: skip
LOCK_ON_FAULT = (
    anon(0, 4), lock(0, 4, abi.MLOCK_ONFAULT), write(1), lock(0, 2), unlock(1, 2), lock(0, 4, 2),
    Mlock(At(0, 100), 1),
)  # fmt: skip
LOCKED_IS_NOT_INHERITED = (
    anon(0, 2), lock(0, 2), shared(4, 2), lock(4, 2, abi.MLOCK_ONFAULT), fork(), write(0, process=1), read(0),
)  # fmt: skip
SYNC = (
    shared_file(0, 4), anon(6, 2), write(0), lock(6, 2), sync(0, 4, abi.MS_SYNC), sync(0, 4, abi.MS_ASYNC),
    sync(0, 4, abi.MS_SYNC | abi.MS_ASYNC), sync(0, 8, abi.MS_SYNC), sync(6, 2, abi.MS_INVALIDATE), sync(0, 4, 8),
    Msync(At(0, 16), PAGE, abi.MS_SYNC), sync(20, 1, abi.MS_SYNC), sync(0, 0, abi.MS_SYNC),
    sync(0, 8, abi.MS_INVALIDATE),
)  # fmt: skip
CORE = (
    anon(0, 6), write(0), read(1), guard(2), protect(3, 1, NONE), core(0, 6), shared_file(8, 6), core(8, 6), guard(9),
    core(8, 6), private_file(16, 4, "b"), core(16, 4), write(16), core(16, 2), unmap(3, 1), core(0, 6),
    Mincore(At(0, 1), PAGE), Mincore(At(0), 1), shared(24, 4), write(25), advise(24, 4, abi.MADV_DONTNEED),
    core(24, 4),
)  # fmt: skip

SCENARIOS = titled(globals())
