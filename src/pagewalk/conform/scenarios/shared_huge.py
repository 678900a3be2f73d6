"""Random steps on shared huge pages: files and shared memory in blocks of 2 MiB, collapsed, cut, moved, truncated.

Several mappings have the same few files, at borders of blocks and beside them; most steps touch a whole block or a few
pages of one. MADV_COLLAPSE makes pages huge, and one file's are so by themselves: it is on a mount that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk import abi
from pagewalk.conform.scenarios import steps as do
from pagewalk.conform.scenarios.arena import At
from pagewalk.conform.scenarios.names import PAGE
from pagewalk.conform.scenarios.plan import BLOCKS, HUGE
from pagewalk.conform.scenarios.scenario import File
from pagewalk.conform.scenarios.used import write_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.conform.scenarios.plan import Plan

__all__ = ["GUARDS", "SHARED_HUGE_TABLE", "begin", "files"]

_FILES = ("large", "large", "large", "short", "mounted")
_OPTIONS = ("huge=always", "huge=within_size", "huge=advise")
_RW = abi.PROT_READ | abi.PROT_WRITE
_WHOLE = (
    abi.MADV_DONTNEED, abi.MADV_DONTNEED, abi.MADV_PAGEOUT, abi.MADV_PAGEOUT, abi.MADV_COLD, abi.MADV_REMOVE,
    abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE, abi.MADV_NOHUGEPAGE, abi.MADV_HUGEPAGE, abi.MADV_DONTNEED_LOCKED,
    abi.MADV_FREE, abi.MADV_DONTFORK, abi.MADV_DOFORK, abi.MADV_WILLNEED,
)  # fmt: skip
_PART = (*_WHOLE[:8], abi.MADV_REMOVE, abi.MADV_COLD, abi.MADV_SEQUENTIAL)


def _place(plan: Plan) -> int:
    """Where a block begins, seldom beside it."""
    return HUGE * plan.draw.integer(1, BLOCKS) + plan.choice([0] * 9 + [1, 64])


def _block(plan: Plan) -> At:
    """A block that is probably mapped as a whole."""
    blocks = plan.blocks()
    return At(plan.choice(blocks) if blocks else HUGE * plan.draw.integer(1, BLOCKS))


def _part(plan: Plan) -> tuple[At, int]:
    """A few pages, or many, of a block."""
    first = _block(plan).page
    start = plan.choice([0, 0, 1, 8, 64, 100, 256, 300, HUGE - 8, plan.draw.integer(0, HUGE - 1)])
    pages = plan.choice([1, 1, 2, 3, 16, 64, 200, 256, HUGE])
    return At(first + start), min(pages, HUGE + 8 - start) * PAGE


def _map(plan: Plan) -> do.Step:
    """Shared memory, or a file: shared, or privately."""
    first, pages = _place(plan), plan.choice([HUGE, HUGE, HUGE, 2 * HUGE, HUGE + 3, HUGE - 1])
    plan.note(first, pages)
    prot = plan.choice([_RW] * 8 + [abi.PROT_READ, abi.PROT_NONE])
    flags = abi.MAP_FIXED | plan.choice([0] * 30 + [abi.MAP_POPULATE, abi.MAP_LOCKED])
    length, at = pages * PAGE, At(first)
    if plan.one_in(4):
        return do.Mmap(length, prot, flags | abi.MAP_SHARED | abi.MAP_ANONYMOUS, at, process=plan.process)
    flags |= plan.choice([abi.MAP_SHARED, abi.MAP_SHARED, abi.MAP_PRIVATE])
    file = plan.choice(_FILES)
    offset = PAGE * plan.choice([0, 0, 0, 0, HUGE, HUGE, 1, HUGE - 64])
    return do.Mmap(length, prot, flags, at, file, offset, process=plan.process)


def _collapse(plan: Plan) -> do.Step:
    """Mostly of something that was touched."""
    at, pages = _block(plan), HUGE * plan.choice([1, 1, 1, 1, 2])
    collapse = do.Madvise(at, pages * PAGE, abi.MADV_COLLAPSE, process=plan.process)
    if plan.one_in(2):
        return collapse
    plan.queue = [collapse]
    return _access(plan, at)


def _access(plan: Plan, block: At) -> do.Step:
    at = At(block.page + plan.choice([0, 1, 3, 20, 63, 64, 100, 257, HUGE - 1]))
    if plan.one_in(2):
        return do.Read(at, process=plan.process)
    return do.Write(at, b"\xc3" + plan.draw.integer(0, 255).to_bytes(1, "little") + b"shared", process=plan.process)


def _twice(plan: Plan) -> do.Step:
    """A block of a file is mapped at two places, or by parent and child; used at both, collapsed at one, and used."""
    file, offset = plan.choice(_FILES[:4]), HUGE * PAGE * plan.choice([0, 0, 1])
    first, beside = plan.choice([(1, 2), (1, 3), (2, 4), (3, 2)]), plan.choice([0, 0, 0, 0, 1])
    places = At(HUGE * first[0]), At(HUGE * first[1] + beside)
    kinds = abi.MAP_SHARED, plan.choice([abi.MAP_SHARED, abi.MAP_SHARED, abi.MAP_PRIVATE])
    for at in places:
        plan.note(at.page, HUGE)
    one, other = (
        do.Mmap(HUGE * PAGE, _RW, kind | abi.MAP_FIXED, at, file, offset, process=plan.process)
        for at, kind in zip(places, kinds, strict=True)
    )
    plan.queue = [
        other,
        *[_access(plan, plan.choice(places)) for _ in range(plan.draw.integer(1, 3))],
        *([_advise(plan)] if plan.one_in(3) else []),
        do.Madvise(plan.choice(places), HUGE * PAGE, abi.MADV_COLLAPSE, process=plan.choice(plan.processes)),
        *[_access(plan, at) for at in places],
    ]
    return one


def _story(plan: Plan) -> do.Step:
    """A block is collapsed; a part of it is cut, and what is left is used, given advice about, or collapsed again."""
    block = _block(plan)
    at, length = _part(plan)
    at = At(block.page + at.page % HUGE)
    cut = plan.choice([
        do.Mprotect(at, length, abi.PROT_READ, process=plan.process),
        do.Madvise(at, length, abi.MADV_GUARD_REMOVE, process=plan.process),
        do.Madvise(at, length, plan.choice(_PART), process=plan.process),
        do.Madvise(at, length, abi.MADV_REMOVE, process=plan.process),
        _punch(plan),
        _truncate(plan),
    ])  # fmt: skip
    plan.queue = [
        do.Madvise(block, HUGE * PAGE, abi.MADV_COLLAPSE, process=plan.process),
        *[_access(plan, block)] * plan.draw.integer(0, 1),
        cut,
        *[_access(plan, block) for _ in range(plan.draw.integer(1, 3))],
        *[do.Madvise(at, length, plan.choice(_PART), process=plan.process)] * plan.draw.integer(0, 1),
        *[do.Madvise(block, HUGE * PAGE, plan.choice(_WHOLE), process=plan.process)] * plan.draw.integer(0, 1),
        _access(plan, block),
        *[do.Madvise(block, HUGE * PAGE, abi.MADV_COLLAPSE, process=plan.process)] * plan.draw.integer(0, 1),
    ]
    return _access(plan, block)


def _touch(plan: Plan) -> do.Step:
    return _access(plan, _block(plan))


def _touch_by_kernel(plan: Plan) -> do.Step:
    at, length = _part(plan)
    if plan.one_in(2):
        return do.KernelRead(at, min(length, 3 * PAGE), process=plan.process)
    return do.KernelWrite(at, b"\xc3kernel!" * plan.choice([1, 1024]), process=plan.process)


def _advise(plan: Plan) -> do.Step:
    if plan.one_in(2):
        return do.Madvise(_block(plan), HUGE * PAGE, plan.choice(_WHOLE), process=plan.process)
    return do.Madvise(*_part(plan), plan.choice(_PART), process=plan.process)


def _guard(plan: Plan) -> do.Step:
    """Mostly taken away again, later."""
    at, length = _part(plan)
    if plan.one_in(2):
        plan.queue = [
            *[_touch(plan)] * plan.draw.integer(0, 2),
            do.Madvise(at, length, abi.MADV_GUARD_REMOVE, process=plan.process),
        ]
    advice = plan.choice([abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE])
    return do.Madvise(at, length, advice, process=plan.process)


def _protect(plan: Plan) -> do.Step:
    at, length = (_block(plan), HUGE * PAGE) if plan.one_in(2) else _part(plan)
    return do.Mprotect(at, length, plan.choice([_RW, _RW, abi.PROT_READ, abi.PROT_NONE]), process=plan.process)


def _unmap(plan: Plan) -> do.Step:
    at, length = _part(plan)
    plan.forget(at.page, length // PAGE)
    return do.Munmap(at, length, process=plan.process)


def _lock(plan: Plan) -> do.Step:
    at, length = (_block(plan), HUGE * PAGE) if plan.one_in(2) else _part(plan)
    if plan.one_in(2):
        return do.Munlock(at, length, process=plan.process)
    return do.Mlock(at, length, plan.choice([0, abi.MLOCK_ONFAULT]), process=plan.process)


def _move(plan: Plan) -> do.Step:
    """A whole block to another, or a part somewhere."""
    at, length = (_block(plan), HUGE * PAGE) if plan.one_in(2) else _part(plan)
    to = HUGE * plan.draw.integer(1, BLOCKS + 1) + plan.choice([0, 0, 0, at.page % HUGE, 7])
    flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED | plan.choice([0, 0, abi.MREMAP_DONTUNMAP])
    pages = length // PAGE
    if not at.page - pages < to < at.page + pages:
        if not flags & abi.MREMAP_DONTUNMAP:
            plan.forget(at.page, pages)
        plan.note(to, pages)
    return do.Mremap(at, length, length, flags, At(to), process=plan.process)


def _mincore(plan: Plan) -> do.Step:
    return do.Mincore(_block(plan), HUGE * PAGE, process=plan.process)


def _punch(plan: Plan) -> do.Step:
    offset = plan.choice([0, 1, 5, 64, 100, 256, HUGE, HUGE + 200]) * PAGE + plan.choice([0, 0, 0, 100])
    length = plan.choice([1, 2, 3, 64, 256, HUGE, HUGE + 10]) * PAGE - plan.choice([0, 0, 0, 50])
    return do.PunchHole(plan.choice(_FILES), offset, length, process=plan.process)


def _truncate(plan: Plan) -> do.Step:
    pages = plan.choice([0, 3, 5, 100, 256, HUGE - 1, HUGE, HUGE + 64, 2 * HUGE, 2 * HUGE + 40])
    size = pages * PAGE + plan.choice([0, 0, 0, 10])
    return do.Truncate(plan.choice(_FILES), size, process=plan.process)


def _write(plan: Plan) -> do.Step:
    return write_to(plan, _FILES, 2 * HUGE + 40)


def files(plan: Plan) -> tuple[File, ...]:
    """What a scenario has; of what is mounted, pages come huge by themselves."""
    mounted = File("mounted", plan.choice([0, 5, 40, HUGE + 40]), plan.choice(_OPTIONS))
    return File("large", 2 * HUGE + 40), File("short", 5), mounted


def begin(plan: Plan) -> list[do.Step]:
    """What a scenario begins with."""
    return [_map(plan), _touch(plan), do.Madvise(_block(plan), HUGE * PAGE, abi.MADV_COLLAPSE)]


SHARED_HUGE_TABLE: tuple[tuple[int, Callable[[Plan], do.Step]], ...] = (
    (36, _map),
    (20, _collapse),
    (30, _story),
    (16, _twice),
    (50, _touch),
    (6, _touch_by_kernel),
    (40, _advise),
    (10, _guard),
    (16, _protect),
    (12, _unmap),
    (5, _lock),
    (14, _move),
    (3, _mincore),
    (12, _punch),
    (8, _truncate),
    (5, _write),
)
"""Weight and maker of each kind of step, as in ``STEP_TABLE``."""
GUARDS = frozenset({_guard})
"""Those that may install guards."""
