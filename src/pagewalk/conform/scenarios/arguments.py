"""Scenarios of odd arguments: every call, with the values at the edges of each of its arguments, two at a time.

How it works: a call is a row of ``CALLS``: what makes the step, and for each argument its values, the plain one first.
Two arguments take odd values together, the others are plain; every such pair of every call is asked once, in an order
that is shuffled once and for all. The calls are asked of a few mappings of every sort, that are there at the start.
"""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk import abi
from pagewalk.abi import limits
from pagewalk.conform.scenarios import steps as do
from pagewalk.conform.scenarios.arena import ARENA, ARENA_PAGES, At
from pagewalk.conform.scenarios.names import PAGE
from pagewalk.conform.scenarios.scenario import File, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CALLS", "Call", "ask", "pairs"]

TOGETHER: Final = 8
"""Odd calls in one scenario."""
END: Final = 1 << 64
TASK_SIZE: Final = (1 << 47) - PAGE
RW: Final = abi.PROT_READ | abi.PROT_WRITE
PRIVATE: Final = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
SHARED: Final = abi.MAP_SHARED | abi.MAP_ANONYMOUS

FILES: Final = File("a", 24), File("sealed", 6, writable=False)
SETUP: Final = (
    do.Mmap(8 * PAGE, RW, PRIVATE | abi.MAP_FIXED, At(0)),
    do.Write(At(0), b"\xc3" * 8),
    do.Write(At(2), b"\xc3" * 8),
    do.Write(At(3), b"\xc3" * 8),
    do.Mmap(4 * PAGE, RW, abi.MAP_SHARED | abi.MAP_FIXED, At(8), "a", 2 * PAGE),
    do.Read(At(9)),
    do.Mmap(4 * PAGE, abi.PROT_READ, PRIVATE | abi.MAP_FIXED, At(16)),
    do.Mmap(2 * PAGE, RW, PRIVATE | abi.MAP_FIXED | abi.MAP_LOCKED, At(24)),
    do.Mmap(4 * PAGE, RW, SHARED | abi.MAP_FIXED, At(28)),
    do.Write(At(29), b"\xc3" * 8),
    do.Mmap(2 * PAGE, abi.PROT_READ, abi.MAP_SHARED | abi.MAP_FIXED, At(36), "sealed"),
    do.Mmap(4 * PAGE, RW, PRIVATE | abi.MAP_FIXED | abi.MAP_GROWSDOWN, At(400)),
    do.Write(At(402), b"\xc3" * 8),
)

PLACES: Final = (
    *(At(page) for page in (0, 2, 7, 8, 10, 12, 18, 24, 28, 36, 402)),
    *(At(0, byte) for byte in (1, PAGE - 1)),
    *(0, 1, PAGE, 0xF000, TASK_SIZE - PAGE, TASK_SIZE, TASK_SIZE + PAGE, 1 << 62, 1 << 63, END - PAGE, END - 1),
)
LENGTHS: Final = (
    *(PAGE, 0, 1, PAGE - 1, PAGE + 1, 3 * PAGE, 6 * PAGE, 20 * PAGE, 1 << 32, TASK_SIZE, 1 << 47, 1 << 63),
    *(END - ARENA - PAGE, END - ARENA, END - PAGE, END - PAGE + 1, END - 1),
)
PROTS: Final = (RW, *range(6), 7, 8, 8 | RW, 0x10, 1 << 24 | RW, 1 << 25 | RW, 3 << 24, 1 << 31, 1 << 40, END - 1)
MAP_TYPES: Final = tuple(kind | abi.MAP_ANONYMOUS | abi.MAP_FIXED for kind in (2, 0, 1, 3, 4, 5, 6, 7, 8, 9, 15))
MAP_FLAGS: Final = (
    *MAP_TYPES,
    *(1 << place | abi.MAP_FIXED | kind for kind in (PRIVATE, SHARED) for place in range(6, 33) if place != 18),
    *(PRIVATE, abi.MAP_PRIVATE | abi.MAP_FIXED, PRIVATE | abi.MAP_FIXED_NOREPLACE, 8 | PRIVATE | abi.MAP_LOCKED),
)
FILE_FLAGS: Final = tuple(
    kind | abi.MAP_FIXED | more
    for kind in (abi.MAP_SHARED, abi.MAP_PRIVATE, abi.MAP_SHARED_VALIDATE, 0, 4, 8)
    for more in (0, abi.MAP_GROWSDOWN, abi.MAP_LOCKED, 1 << 19, 1 << 30, abi.MAP_POPULATE)
)
OFFSETS: Final = (0, 1, PAGE, 5 * PAGE, 1 << 32, (1 << 63) - PAGE, 1 << 63, END - PAGE, END - 2 * PAGE, END - 1)
FILE_OFFSETS: Final = (0, 1, PAGE, 5 * PAGE, 24 * PAGE - 1, 24 * PAGE, 1 << 32, (1 << 63) - PAGE, (1 << 63) - 1)
MREMAP_FLAGS: Final = (1, 0, 2, 3, 4, 5, 7, 8, 1 << 31, END - 1)
ADVICE: Final = (*range(29), 99, *range(102, 106), 1 << 31, 1 << 32 | 4, END - 1)
"""Without 100 and 101, which poison the machine's own frames."""
KEYS: Final = (1, 0, 2, 15, 16, -1, -2, 1 << 32, 1 << 32 | 1, 1 << 31)
MFD_FLAGS: Final = (0, *range(1, 33), 64, 1 << 26, 1 << 26 | 4, 21 << 26, 21 << 26 | 4, 34 << 26 | 6, 1 << 31, 1 << 32)
SEALS: Final = (0, *(1 << place for place in range(7)), 0x3F, 1 << 32, 1 << 31)
SIZES: Final = (PAGE, 0, 1, PAGE + 1, 3 * PAGE, 20 * PAGE)
MASKS: Final = (0, *(1 << place for place in range(10)), 0x2A, 0x18, 0x1FF, 1 << 63)
ENDS: Final = (At(40), At(0), At(1), At(9), At(12), At(30, 1), At(404))


class Call(NamedTuple):
    """A call, and what it is asked with.

    Attributes:
        make: The step, given the arguments.
        values: Those of each argument, the plain one first.
    """

    make: Callable[..., do.Step]
    values: tuple[tuple[Any, ...], ...]


def _mmap(addr: Any, length: int, prot: int, flags: int, offset: int) -> do.Step:
    return do.Mmap(length, prot, flags, addr, offset=offset)


def _mmap_file(addr: Any, length: int, prot: int, flags: int, offset: int, name: str) -> do.Step:
    return do.Mmap(length, prot, flags, addr, name, offset)


def _scan(
    end: Any, mask: int, anyof: int, inverted: int, returns: int, vector: int, max_pages: int, flags: int
) -> do.Step:
    return do.PagemapScan(At(0), end, flags, max_pages, inverted, mask, anyof, returns, vector)


def _scan_from(start: Any, length: int) -> do.Step:
    end = At(start.page + length // PAGE, start.byte) if isinstance(start, At) and length <= 20 * PAGE else length
    return do.PagemapScan(start, end)


def _advise_two(addr: Any, length: int, other: Any, more: int, advice: int) -> do.Step:
    return do.ProcessMadvise(((addr, length), (other, more)), advice)


def _advise_many(count: int, advice: int) -> do.Step:
    return do.ProcessMadvise(((At(0), PAGE),) * count, advice)


CALLS: Final = (
    Call(_mmap, (PLACES, LENGTHS, PROTS, MAP_FLAGS, OFFSETS)),
    Call(_mmap_file, (PLACES, LENGTHS, PROTS, FILE_FLAGS, OFFSETS, ("a", "sealed"))),
    Call(do.Munmap, (PLACES, LENGTHS)),
    Call(do.Mprotect, (PLACES, LENGTHS, PROTS)),
    Call(do.Mremap, (PLACES, LENGTHS, LENGTHS, MREMAP_FLAGS, PLACES)),
    Call(do.Mlock, (PLACES, LENGTHS, (0, 1, 2, 3, 1 << 31, 1 << 32, 1 << 32 | 1))),
    Call(do.Munlock, (PLACES, LENGTHS)),
    Call(do.Mlockall, ((1, *range(2, 9), 1 << 31, 1 << 32 | 1, END - 1),)),
    Call(do.Mseal, (PLACES, LENGTHS, (0, 1, 1 << 63))),
    Call(do.Msync, (PLACES, LENGTHS, (*range(9), 1 << 31, 1 << 32 | 4))),
    Call(do.Mincore, (PLACES, LENGTHS)),
    Call(do.Madvise, (PLACES, LENGTHS, ADVICE)),
    Call(_advise_two, (PLACES, LENGTHS, PLACES, LENGTHS, ADVICE)),
    Call(_advise_many, ((0, 1, 2, 1023, 1024, 1025, 4096), ADVICE)),
    Call(_scan, (ENDS, MASKS, MASKS, MASKS, (0x1FF, *MASKS), (64, 0, 1, 2), (0, 1, 2, 3, 5, 9), (0, 1, 2, 3, 4))),
    Call(_scan_from, (PLACES, LENGTHS)),
    Call(do.Read, (PLACES, (8, 1, PAGE))),
    Call(do.Write, (PLACES, (b"\xc3" * 8, b"\xc3", b"\xc3" * PAGE))),
    Call(do.Execute, (PLACES,)),
    Call(do.KernelRead, (PLACES, SIZES)),
    Call(do.KernelWrite, (PLACES, tuple(b"\xc3" * size for size in SIZES))),
    Call(do.ClearRefs, ((1, *range(7), 1 << 31, 1 << 32, 1 << 32 | 1, END - 1, -1),)),
    Call(do.Register, (PLACES, LENGTHS)),
    Call(do.Unregister, (PLACES, LENGTHS)),
    Call(do.WriteProtect, (PLACES, LENGTHS, (True, False))),
    Call(do.Pread, (("a", "sealed"), FILE_OFFSETS, SIZES)),
    Call(do.Pwrite, (("a", "sealed"), FILE_OFFSETS, tuple(b"\xc3" * size for size in SIZES))),
    Call(do.PunchHole, (("a", "sealed"), OFFSETS, LENGTHS)),
    Call(do.PkeyAlloc, ((0, 1, 1 << 32, END - 1), (0, 1, 2, 3, 4, 1 << 32))),
    Call(do.PkeyFree, (KEYS,)),
    Call(do.PkeyMprotect, (PLACES, LENGTHS, PROTS, KEYS)),
    Call(do.MemfdCreate, (MFD_FLAGS,)),
    Call(do.Fcntl, (("a", "sealed"), (limits.F_ADD_SEALS, limits.F_GET_SEALS), SEALS)),
    Call(do.Truncate, (("a", "sealed"), (0, 1, PAGE, 5 * PAGE + 1, 24 * PAGE, 1 << 40, (1 << 63) - 1))),
)
"""The table."""


@lru_cache(maxsize=1)
def pairs() -> tuple[do.Step, ...]:
    """Every pair of every call, each once, in an order of its own."""
    found = dict.fromkeys(step for call in CALLS for step in _of(call) if not _is_deadly(step))
    steps = list(found)
    random.Random(0).shuffle(steps)  # noqa: S311 (repeatable on purpose)
    return tuple(steps)


def _of(call: Call) -> list[do.Step]:
    """A call with every pair of arguments."""
    plain = [values[0] for values in call.values]
    places = combinations(range(len(plain)), min(2, len(plain)))
    return [
        call.make(*(dict(zip(which, odd, strict=True)).get(at, value) for at, value in enumerate(plain)))
        for which in places
        for odd in product(*(call.values[at] for at in which))
    ]


def _is_deadly(step: do.Step) -> bool:
    """Whether a call would reach out of the arena, for what the process that takes it lives in."""
    match step:
        case do.Mmap() | do.Munmap() | do.Register() | do.Unregister() | do.WriteProtect():
            return _leaves(step.addr, step.length, TASK_SIZE)
        case do.Mremap():
            return _leaves(step.addr, step.old_length, TASK_SIZE) or _leaves(step.new_addr, step.new_length, TASK_SIZE)
        case do.Madvise():
            return _leaves(step.addr, step.length, END)
        case do.PagemapScan():
            start, end = (ARENA + at.page * PAGE if isinstance(at, At) else at for at in (step.start, step.end))
            return _leaves(start, max(end - start, 0), TASK_SIZE)
        case do.ProcessMadvise():
            return any(_leaves(addr, length, END) for addr, length in step.ranges)
    return False


def _leaves(addr: Any, length: int, limit: int) -> bool:
    """Whether a range begins below the arena's end and goes on behind it; none ends beyond the limit."""
    start = ARENA + addr.page * PAGE if isinstance(addr, At) else addr
    end = ARENA + ARENA_PAGES * PAGE
    return start < end < start + length <= limit


def ask(number: int) -> Scenario:
    """The scenario of a number: the mappings, and some of the pairs."""
    steps = pairs()
    first = number * TOGETHER % len(steps)
    return Scenario((*SETUP, *steps[first : first + TOGETHER]), FILES)
