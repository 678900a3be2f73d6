"""mmap in its variants, and munmap."""

from pagewalk import abi
from pagewalk.conform.scenarios import At, Mmap, Munmap

from .words import (
    NONE,
    PAGE,
    RW,
    RWX,
    R,
    W,
    anon,
    execute,
    fork,
    guard,
    lock,
    private_file,
    protect,
    read,
    shared,
    shared_file,
    titled,
    unmap,
    write,
)

ANONYMOUS = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
FIXED_REPLACES_WHAT_IS_THERE = anon(0, 8), write(2), write(5), anon(2, 3, R), read(2), read(5), anon(0, 8), read(5)
NOREPLACE_REFUSES = (
    anon(0, 4), write(0), Mmap(2 * PAGE, RW, ANONYMOUS | abi.MAP_FIXED_NOREPLACE, At(3)),
    Mmap(2 * PAGE, RW, ANONYMOUS | abi.MAP_FIXED_NOREPLACE, At(4)), Mmap(PAGE, RW, ANONYMOUS, At(1), name="m"),
)  # fmt: skip
NORESERVE = anon(0, 4, flags=abi.MAP_NORESERVE), write(1), protect(0, 2, R), protect(0, 2, RW), write(0)
POPULATE_FAULTS_IN = (
    anon(0, 4, flags=abi.MAP_POPULATE), anon(4, 4, R, abi.MAP_POPULATE), anon(8, 4, NONE, abi.MAP_POPULATE),
    shared_file(12, 4, flags=abi.MAP_POPULATE), private_file(16, 4, flags=abi.MAP_POPULATE),
    private_file(20, 4, prot=R, flags=abi.MAP_POPULATE), shared_file(24, 4, "b", flags=abi.MAP_POPULATE),
    anon(28, 4, flags=abi.MAP_POPULATE | abi.MAP_NONBLOCK),
)  # fmt: skip
LOCKED_FAULTS_IN_AND_STAYS = (
    anon(0, 4, flags=abi.MAP_LOCKED), anon(4, 2, R, abi.MAP_LOCKED), anon(6, 2, NONE, abi.MAP_LOCKED), lock(4, 2),
    anon(2, 1), shared(8, 2, flags=abi.MAP_LOCKED),
)  # fmt: skip
A_STACK_GROWS_DOWN_TO_A_TOUCH = anon(400, 2, flags=abi.MAP_GROWSDOWN), write(399), read(390), write(389), write(402)
A_STACK_KEEPS_ITS_GAP = anon(100, 1), anon(400, 2, flags=abi.MAP_GROWSDOWN), write(357), write(356), write(110)
A_STACK_GROWS_TO_WHAT_IS_INACCESSIBLE = (
    anon(300, 4, NONE), anon(400, 2, flags=abi.MAP_GROWSDOWN), write(310), write(304),
)  # fmt: skip
A_FIXED_MAPPING_MAY_LAND_IN_THE_GAP = anon(400, 2, flags=abi.MAP_GROWSDOWN), anon(390, 2), write(395), write(390)
SHARED_ANONYMOUS = shared(0, 4), write(0), read(3), fork(), write(0, b"\xc3child", process=1), read(0)
RIGHTS_OF_EACH_KIND = (
    anon(0, 1, R), anon(1, 1, W), anon(2, 1, abi.PROT_EXEC), anon(3, 1, NONE), anon(4, 1, RWX),
    *(access(page) for page in range(5) for access in (read, write, execute)),
)  # fmt: skip
FILES_READ_ONLY_AND_SHARED = (
    shared_file(0, 2, "sealed", prot=RW), shared_file(0, 2, "sealed", prot=R), read(0), write(0), protect(0, 2, RW),
    private_file(4, 2, "sealed"), write(4), protect(0, 2, R | abi.PROT_EXEC), execute(0),
)  # fmt: skip
ARGUMENTS_ARE_CHECKED = (
    Mmap(0, RW, addr=At(0)), Mmap(PAGE, RW, abi.MAP_ANONYMOUS, At(0)), Mmap(PAGE, RW, abi.MAP_PRIVATE, At(0)),
    anon(0, 1, flags=abi.MAP_FIXED_NOREPLACE), Mmap(PAGE, RW, ANONYMOUS | abi.MAP_FIXED, At(0, 16)),
    Mmap(PAGE, RW, abi.MAP_PRIVATE | abi.MAP_FIXED, At(4), "a", 100), Mmap(1, RW, ANONYMOUS | abi.MAP_FIXED, At(8)),
    Mmap(1 << 60, RW, ANONYMOUS), Mmap(1 << 56, RW, ANONYMOUS | abi.MAP_FIXED, At(0)),
)  # fmt: skip
UNMAPPED_IN_PIECES = (
    anon(0, 8), write(1), write(4), write(7), unmap(1, 2), unmap(0, 20), unmap(0, 4), Munmap(At(0, 1), PAGE),
    Munmap(At(0), 0), Munmap(At(0), 1),
)  # fmt: skip
UNMAPPED_ACROSS_KINDS = (
    anon(0, 2), shared_file(2, 2), private_file(4, 2), guard(1), write(2), write(4), unmap(1, 4), read(0),
)  # fmt: skip

SCENARIOS = titled(globals())
