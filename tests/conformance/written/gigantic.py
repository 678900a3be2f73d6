"""Pages of 1 GiB, of a pool that has one of them: few machines do, so a guest is asked (``recorded.py``)."""

from pagewalk import abi
from pagewalk.conform import scenarios as do
from pagewalk.conform.scenarios import At

from .words import (
    DATA,
    NONE,
    PAGE,
    RW,
    R,
    exit_,
    fork,
    titled,
)

GIGANTIC = 1 << 18
"""Pages of one."""
LAST = GIGANTIC - 1
POOL = abi.MAP_ANONYMOUS | abi.MAP_HUGETLB | abi.MAP_HUGE_1GB


def at(page, byte=0):
    return At(page, byte, "gigantic")


def mapped(prot=RW, flags=abi.MAP_PRIVATE, size=GIGANTIC):
    return do.Mmap(size * PAGE, prot, flags | POOL, name="gigantic")


def advise(page, pages, advice, **how):
    return do.Madvise(at(page), pages * PAGE, advice, **how)


def read(page, size=8, **how):
    return do.Read(at(page), size, **how)


def write(page, **how):
    return do.Write(at(page), DATA, **how)


def protect(page, pages, prot, **how):
    return do.Mprotect(at(page), pages * PAGE, prot, **how)


ONE_PAGE = mapped(), read(0), write(LAST), read(LAST), read(1 << 17), do.Mincore(at(0), PAGE)
A_SECOND_ONE_IS_NOT_TO_BE_HAD = (
    mapped(), do.Mmap(GIGANTIC * PAGE, RW, abi.MAP_PRIVATE | POOL, name="other"), write(0),
    do.Mmap(GIGANTIC * PAGE, RW, abi.MAP_SHARED | POOL, name="other"),
)  # fmt: skip
NOBODY_HAS_PROMISED_IT = (
    mapped(flags=abi.MAP_PRIVATE | abi.MAP_NORESERVE),
    do.Mmap(GIGANTIC * PAGE, RW, abi.MAP_PRIVATE | abi.MAP_NORESERVE | POOL, name="other"),
    do.Write(At(7, 0, "other"), DATA), read(0), do.Read(At(7, 0, "other")),
)  # fmt: skip
LENGTHS_ARE_ROUNDED = mapped(size=1), write(LAST), mapped(size=0), mapped(size=GIGANTIC + 1)
PARTS_ARE_REFUSED = (
    mapped(), write(0), protect(0, 512, R), protect(512, GIGANTIC - 512, R), do.Munmap(at(0), 512 * PAGE),
    do.Munmap(at(1), GIGANTIC * PAGE), do.Munmap(at(0), PAGE), advise(0, 512, abi.MADV_DONTNEED),
    advise(1, GIGANTIC, abi.MADV_DONTNEED), read(0), do.Mremap(at(0), GIGANTIC * PAGE, 512 * PAGE),
)  # fmt: skip
RIGHTS = (
    mapped(), write(5), protect(0, GIGANTIC, R), write(5), read(5), protect(0, GIGANTIC, NONE), read(5),
    protect(0, GIGANTIC, RW), write(6), read(5),
)  # fmt: skip
THROWN_AWAY_AND_TAKEN_AGAIN = (
    mapped(), write(5), advise(0, GIGANTIC, abi.MADV_DONTNEED), read(5), advise(0, GIGANTIC, abi.MADV_FREE),
    advise(0, GIGANTIC, abi.MADV_PAGEOUT), advise(0, GIGANTIC, abi.MADV_COLD),
    advise(0, GIGANTIC, abi.MADV_GUARD_INSTALL), advise(0, 1, abi.MADV_GUARD_INSTALL),
    advise(0, GIGANTIC, abi.MADV_REMOVE), advise(0, GIGANTIC, abi.MADV_DONTNEED_LOCKED),
)  # fmt: skip
POPULATED = (
    mapped(flags=abi.MAP_PRIVATE | abi.MAP_POPULATE), read(LAST), do.Munmap(at(0), GIGANTIC * PAGE), mapped(),
    advise(0, GIGANTIC, abi.MADV_POPULATE_READ), advise(0, GIGANTIC, abi.MADV_POPULATE_WRITE), write(0),
    do.Mlock(at(0), GIGANTIC * PAGE), do.Munlock(at(0), GIGANTIC * PAGE),
)  # fmt: skip
A_CHILD_GETS_NO_COPY = mapped(), write(3), fork(), read(3, process=1), write(3, process=1), read(3), exit_(1), write(3)
A_PARENT_TAKES_IT_FROM_ITS_CHILD = (
    mapped(), write(3), fork(), write(3), read(3), read(3, process=1), write(4, process=1), exit_(1),
)  # fmt: skip
SHARED = (
    mapped(flags=abi.MAP_SHARED), write(3), fork(), read(3, process=1), write(LAST, process=1), read(LAST),
    protect(0, GIGANTIC, R, process=1), write(3, process=1), write(4), do.Munmap(at(0), GIGANTIC * PAGE), exit_(1),
    mapped(), read(3),
)  # fmt: skip
MOVED = (
    mapped(), write(3), do.Mremap(at(0), GIGANTIC * PAGE, 2 * GIGANTIC * PAGE, abi.MREMAP_MAYMOVE, name="moved"),
    do.Mremap(at(0), GIGANTIC * PAGE, GIGANTIC * PAGE), do.Mremap(at(0), 2 * PAGE, 2 * PAGE),
)  # fmt: skip
FOR_THE_KERNEL = mapped(), do.KernelWrite(at(9), DATA), do.KernelRead(at(8), 3 * PAGE), do.KernelRead(at(LAST), 8192)

SCENARIOS = titled(globals(), ())
