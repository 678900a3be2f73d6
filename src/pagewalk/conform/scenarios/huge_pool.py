"""Random steps on hugetlb memory: mappings of all kinds, what throws pages away, forks, and looks at the pool.

Three things are never drawn. A part of a private mapping is not moved: 6.18 then leaks what was promised to the rest.
Nor is any that a child may have: 6.18 looks for a child's page at its parent's address, and would look for ever. Both
are the kernel's faults (docs/kernel-bugs.md). And a file is mapped privately once at most, for the same reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk import abi
from pagewalk.conform.scenarios import steps as do
from pagewalk.conform.scenarios.arena import At
from pagewalk.conform.scenarios.names import PAGE
from pagewalk.conform.scenarios.plan import HUGE
from pagewalk.conform.scenarios.scenario import File

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.conform.scenarios.plan import Plan

__all__ = ["HUGE_FILES", "HUGE_POOL_TABLE"]

HUGE_FILES = (File("huge", 2 * HUGE, "hugetlb"), File("empty", 0, "hugetlb"))
_PRIVATE_FILE = "huge"
_RW = abi.PROT_READ | abi.PROT_WRITE
_ANONYMOUS = abi.MAP_ANONYMOUS | abi.MAP_HUGETLB | abi.MAP_HUGE_2MB
_LAST = 7
"""The highest block that is mapped."""
_ADVICE = (
    abi.MADV_DONTNEED, abi.MADV_DONTNEED, abi.MADV_REMOVE, abi.MADV_REMOVE, abi.MADV_DONTNEED_LOCKED,
    abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE, abi.MADV_DONTFORK, abi.MADV_DOFORK, abi.MADV_SEQUENTIAL,
    abi.MADV_NORMAL, abi.MADV_FREE, abi.MADV_COLD, abi.MADV_COLLAPSE, abi.MADV_GUARD_INSTALL,
)  # fmt: skip


def _place(plan: Plan) -> tuple[int, int]:
    """Where to map, seldom inside a block; in pages."""
    first, pages = HUGE * plan.draw.integer(1, _LAST - 2), HUGE * plan.draw.integer(1, 3)
    if plan.one_in(30):
        return first + 5, pages
    return first, pages - plan.choice([0] * 15 + [3])


def _spot(plan: Plan) -> tuple[int, int]:
    """A range of such memory, mostly whole pages of it."""
    if plan.blocks_of_pool and not plan.one_in(12):
        first = HUGE * plan.choice(sorted(plan.blocks_of_pool))
    else:
        first = HUGE * plan.draw.integer(1, _LAST)
    pages = HUGE * plan.choice([1, 1, 1, 2, 3])
    return first + plan.choice([0] * 15 + [3]), pages - plan.choice([0] * 15 + [5])


def _note(plan: Plan, first: int, pages: int) -> None:
    """Remember a mapping, for good: hugetlb memory may be there in some process."""
    plan.note(first, pages)
    plan.blocks_of_pool.update(range(first // HUGE, -(-(first + pages) // HUGE)))


def _mmap(plan: Plan) -> do.Step:
    """Private, or shared, or a file; all the pool's pages together are few."""
    first, pages = _place(plan)
    if not first % HUGE:
        _note(plan, first, pages)
    prot = plan.choice([_RW] * 6 + [abi.PROT_READ, abi.PROT_NONE])
    flags = abi.MAP_FIXED | plan.choice([0] * 8 + [abi.MAP_NORESERVE] * 3 + [abi.MAP_POPULATE, abi.MAP_LOCKED])
    length, at = pages * PAGE, At(first)
    if plan.one_in(3):
        file = plan.choice(HUGE_FILES).name
        private = file == _PRIVATE_FILE and not plan.file_is_private and plan.one_in(2)
        plan.file_is_private |= private
        flags |= abi.MAP_PRIVATE if private else abi.MAP_SHARED
        offset = HUGE * PAGE * plan.choice([0, 0, 0, 1, 2])
        return do.Mmap(length, prot, flags, at, file, offset, process=plan.process)
    flags |= _ANONYMOUS | plan.choice([abi.MAP_PRIVATE, abi.MAP_PRIVATE, abi.MAP_SHARED])
    return do.Mmap(length, prot, flags, at, process=plan.process)


def _touch(plan: Plan) -> do.Step:
    first, _ = _spot(plan)
    at = At(first // HUGE * HUGE + plan.choice([0, 0, 1, 100, HUGE - 1]))
    if plan.one_in(3):
        return do.Read(at, process=plan.process)
    return do.Write(at, b"\xc3" + plan.draw.integer(0, 255).to_bytes(1, "little") + b"pgpool", process=plan.process)


def _touch_by_kernel(plan: Plan) -> do.Step:
    at = At(_spot(plan)[0])
    if plan.one_in(2):
        return do.KernelRead(at, process=plan.process)
    return do.KernelWrite(at, b"\xc3kernel!", process=plan.process)


def _madvise(plan: Plan) -> do.Step:
    first, pages = _spot(plan)
    return do.Madvise(At(first), pages * PAGE, plan.choice(_ADVICE), process=plan.process)


def _mprotect(plan: Plan) -> do.Step:
    first, pages = _spot(plan)
    prot = plan.choice([_RW, _RW, abi.PROT_READ, abi.PROT_NONE])
    return do.Mprotect(At(first), pages * PAGE, prot, process=plan.process)


def _munmap(plan: Plan) -> do.Step:
    first, pages = _spot(plan)
    return do.Munmap(At(first), pages * PAGE, process=plan.process)


def _shrink(plan: Plan) -> do.Step:
    """Shrink or grow in place, which is refused."""
    first, pages = _spot(plan)
    new = max(pages + HUGE * plan.choice([-1, -1, 1]), 1)
    return do.Mremap(At(first), pages * PAGE, new * PAGE, process=plan.process)


def _move(plan: Plan) -> do.Step:
    """A story: a new private mapping is moved as a whole, at once."""
    first, pages = HUGE * plan.draw.integer(1, 2), HUGE * plan.draw.integer(1, 2)
    to = HUGE * plan.draw.integer(4, 5)
    for place in (first, to):
        _note(plan, place, pages)
    flags = abi.MAP_FIXED | _ANONYMOUS | plan.choice([abi.MAP_PRIVATE, abi.MAP_SHARED])
    touch = do.Write(At(first + HUGE * plan.draw.integer(0, 1)), b"\xc3moving!", process=plan.process)
    moves = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
    moved = do.Mremap(At(first), pages * PAGE, pages * PAGE, moves, At(to), process=plan.process)
    plan.at_once = [*[touch] * plan.draw.integer(0, 1), moved]
    return do.Mmap(pages * PAGE, _RW, flags, At(first), process=plan.process)


def _mincore(plan: Plan) -> do.Step:
    first, _ = _spot(plan)
    return do.Mincore(At(first), 3 * PAGE, process=plan.process)


def _mlock(plan: Plan) -> do.Step:
    first, pages = _spot(plan)
    return do.Mlock(At(first), pages * PAGE, process=plan.process)


def _punch(plan: Plan) -> do.Step:
    file, offset, pages = plan.choice(HUGE_FILES).name, HUGE * plan.draw.integer(0, 2), HUGE * plan.draw.integer(1, 2)
    inside = plan.choice([0] * 6 + [3])
    return do.PunchHole(file, (offset + inside) * PAGE, pages * PAGE, process=plan.process)


def _truncate(plan: Plan) -> do.Step:
    size = HUGE * PAGE * plan.draw.integer(0, 3) + plan.choice([0] * 9 + [PAGE])
    return do.Truncate(plan.choice(HUGE_FILES).name, size, process=plan.process)


HUGE_POOL_TABLE: tuple[tuple[int, Callable[[Plan], do.Step]], ...] = (
    (28, _mmap),
    (45, _touch),
    (5, _touch_by_kernel),
    (18, _madvise),
    (10, _mprotect),
    (8, _munmap),
    (2, _shrink),
    (4, _move),
    (2, _mincore),
    (2, _mlock),
    (6, _punch),
    (5, _truncate),
)
"""Weight and maker of each kind of step, as in ``STEP_TABLE``."""
