"""fork, and what children share, copy or do not get."""

from pagewalk import abi

from .words import (
    NONE,
    R,
    advise,
    anon,
    exit_,
    fork,
    guard,
    kernel_read,
    kernel_write,
    leave,
    lock,
    move,
    private_file,
    protect,
    read,
    shared,
    shared_file,
    titled,
    unmap,
    write,
)

PAGES_ARE_COPIED_ON_WRITE = (
    anon(0, 4), write(0), read(1), fork(), write(0, b"\xc3child", process=1), read(0), write(0), exit_(1), write(0),
)  # fmt: skip
THE_LAST_ONE_KEEPS_THE_PAGE = (
    anon(0, 2), write(0), fork(), exit_(1), write(0), fork(2), fork(3, process=2), exit_(2), write(0, process=3),
    read(0),
)  # fmt: skip
THE_CHILD_WRITES_FIRST = (
    anon(0, 2), write(0), write(1), fork(), write(0, process=1), unmap(1, 1), write(1, process=1), read(0),
)  # fmt: skip
A_READ_ONLY_PAGE_IS_SHARED = (
    anon(0, 2), write(0), protect(0, 1, R), fork(), protect(0, 1, 3, process=1), write(0, process=1), read(0),
)  # fmt: skip
SHARED_MEMORY_IS_SHARED = (
    shared(0, 4), shared_file(8, 4), write(0), write(8), fork(), write(1, process=1), write(8, process=1), read(1),
    read(8),
)  # fmt: skip
DONTFORK_AND_DOFORK = (
    anon(0, 6), write(1), write(3), advise(0, 2, abi.MADV_DONTFORK), fork(), read(1, process=1), read(3, process=1),
    advise(0, 2, abi.MADV_DOFORK), fork(2), read(1, process=2),
)  # fmt: skip
WIPEONFORK_EMPTIES = (
    anon(0, 6), write(1), write(3), advise(0, 2, abi.MADV_WIPEONFORK), fork(), read(1, process=1), read(3, process=1),
    advise(0, 2, abi.MADV_KEEPONFORK), fork(2), read(1, process=2), fork(4, process=1),
)  # fmt: skip
WIPEONFORK_IS_FOR_PRIVATE_MEMORY = (
    shared(0, 2), private_file(4, 2), advise(0, 2, abi.MADV_WIPEONFORK), advise(4, 2, abi.MADV_WIPEONFORK),
)  # fmt: skip
FILE_PAGES_COME_BY_FAULT = (
    private_file(0, 4), private_file(8, 4), read(0), write(8), fork(), read(0, process=1), read(8, process=1),
    write(9, process=1),
)  # fmt: skip
A_CHILD_DOES_NOT_MERGE_WITH_ITS_PAST = (
    anon(0, 2), write(0), anon(4, 2), fork(), anon(2, 2, process=1), write(2, process=1), anon(2, 2),
    protect(0, 1, R, process=1), protect(0, 1, 3, process=1),
)  # fmt: skip
THE_KERNEL_READS_A_COPY = (
    anon(0, 3), write(0), write(1), fork(), kernel_read(0, process=1), kernel_write(1, process=1), kernel_read(0),
    read(1),
)  # fmt: skip
A_CHILD_MOVES_ITS_OWN = (
    anon(0, 4), write(0), guard(2), fork(), move(0, 4, 20, process=1), write(20, process=1), read(0),
    leave(20, 4, 40, process=1),
)  # fmt: skip
LOCKED_AND_FORKED = (
    anon(0, 4), write(0), lock(0, 4), fork(), advise(0, 4, abi.MADV_DONTNEED, process=1), read(0), write(0),
)  # fmt: skip
POPULATING_WHAT_IS_SHARED = (
    anon(0, 4), write(0), write(1), fork(), advise(0, 1, abi.MADV_POPULATE_READ, process=1),
    advise(1, 1, abi.MADV_POPULATE_WRITE, process=1), lock(0, 2),
)  # fmt: skip
A_PAGE_WITHOUT_RIGHTS_IS_GIVEN_BACK = (
    anon(0, 2), write(0), write(1), fork(), protect(0, 2, NONE, process=1), unmap(0, 1, process=1),
    anon(1, 1, process=1), write(0),
)  # fmt: skip
WHAT_THE_PARENT_LOCKS_IS_NOT_LAZILY_FREE = (
    anon(0, 3), lock(0, 3), write(0), fork(), advise(0, 3, abi.MADV_FREE, process=1), unmap(0, 2),
    advise(0, 3, abi.MADV_PAGEOUT, process=1), read(0, process=1),
)  # fmt: skip

A_CHILD_HAS_NOT_WRITTEN_WHAT_IT_SHARES = (
    shared(0, 8, flags=abi.MAP_POPULATE), guard(4), write(6), fork(), write(6, process=1), exit_(1), write(7), fork(2),
)  # fmt: skip

SCENARIOS = titled(globals())
