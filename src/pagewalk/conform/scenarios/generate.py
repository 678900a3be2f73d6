"""Random scenarios: one weighted table of steps, drawn from by a seeded generator or by Hypothesis.

How it works: each maker draws one step, at places that a ``Plan`` says are probably mapped. A few are stories: they put
the steps that must follow into the plan's queue, and others may come between.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pagewalk import abi
from pagewalk.conform.scenarios import steps as do
from pagewalk.conform.scenarios.arena import At
from pagewalk.conform.scenarios.huge_pool import HUGE_FILES, HUGE_POOL_TABLE
from pagewalk.conform.scenarios.limits import LIMITS_TABLE
from pagewalk.conform.scenarios.names import PAGE
from pagewalk.conform.scenarios.plan import HUGE, Plan
from pagewalk.conform.scenarios.rights import mapped_twice, mprotect, random_prot, there_and_back
from pagewalk.conform.scenarios.scenario import File, Scenario
from pagewalk.conform.scenarios.shared_huge import GUARDS, SHARED_HUGE_TABLE, begin, files
from pagewalk.conform.scenarios.swapping import SWAP_TABLE
from pagewalk.conform.scenarios.used import USED_TABLE
from pagewalk.conform.scenarios.watching import clear_refs, protect_what_matches, protected_and_dropped

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.conform.scenarios.plan import Draw

__all__ = ["STEP_TABLE", "generate", "plan"]

_STACK = 400
_FILES = (File("a", 24), File("b", 3))
_READ_ONLY = File("sealed", 6, writable=False)


def _mmap(plan: Plan) -> do.Step:
    pages, first = plan.pages(), plan.place(1)
    plan.note(first, pages)
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | (abi.MAP_FIXED_NOREPLACE if plan.one_in(8) else abi.MAP_FIXED)
    flags |= plan.choice([0] * 12 + [abi.MAP_NORESERVE, abi.MAP_POPULATE, abi.MAP_LOCKED, abi.MAP_STACK])
    return do.Mmap(pages * PAGE, random_prot(plan), flags, At(first), process=plan.process)


def _mmap_huge(plan: Plan) -> do.Step:
    pages = plan.choice([HUGE, HUGE, 2 * HUGE, HUGE + 3])
    first = plan.place(pages)
    plan.note(first, pages)
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    return do.Mmap(pages * PAGE, random_prot(plan), flags, At(first), process=plan.process)


def _mmap_stack(plan: Plan) -> do.Step:
    """One that grows down, far above the crowd: growth stops 256 pages from its neighbour."""
    first = _STACK + 8 * plan.draw.integer(0, 3)
    plan.note(first - 6, 8)
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED | abi.MAP_GROWSDOWN
    return do.Mmap(2 * PAGE, abi.PROT_READ | abi.PROT_WRITE, flags, At(first), process=plan.process)


def _mmap_shared(plan: Plan) -> do.Step:
    pages, first = plan.pages(), plan.place(1)
    plan.note(first, pages)
    flags = abi.MAP_SHARED | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    return do.Mmap(pages * PAGE, random_prot(plan), flags, At(first), process=plan.process)


def _mmap_file(plan: Plan) -> do.Step:
    pages, first = plan.pages(), plan.place(1)
    plan.note(first, pages)
    flags = abi.MAP_FIXED | plan.choice([abi.MAP_SHARED, abi.MAP_PRIVATE])
    flags |= plan.choice([0] * 6 + [abi.MAP_POPULATE])
    file, offset = plan.choice([*_FILES, *_FILES, *_FILES, _READ_ONLY]).name, plan.draw.integer(0, 4) * PAGE
    return do.Mmap(pages * PAGE, random_prot(plan), flags, At(first), file, offset, process=plan.process)


def _mmap_anywhere(plan: Plan) -> do.Step:
    pages, name = plan.pages(), f"m{len(plan.names)}"
    plan.names.append((name, pages))
    return do.Mmap(pages * PAGE, random_prot(plan), name=name, process=plan.process)


def _munmap(plan: Plan) -> do.Step:
    at, length = plan.range(named=False)
    if not at.byte:
        plan.forget(at.page, -(-length // PAGE))
    return do.Munmap(at, length, process=plan.process)


def _mremap(plan: Plan) -> do.Step:
    """Shrink or grow in place."""
    at, length = plan.range(named=False)
    new = max(length + plan.draw.integer(-3, 3) * PAGE, 0)
    return do.Mremap(at, length, new, process=plan.process)


def _mremap_move(plan: Plan) -> do.Step:
    at, length = plan.range(named=False)
    if plan.blocks_of_pool & set(range(at.page // HUGE, (at.page + length // PAGE) // HUGE + 1)):
        return _write(plan)  # see huge_pool.py
    new = max(length + plan.choice([0, 0, 0, 0, -PAGE, PAGE]), 0)
    pages = -(-new // PAGE) or 1
    first = plan.place(pages)
    flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED | plan.choice([0, 0, abi.MREMAP_DONTUNMAP])
    kept = flags & abi.MREMAP_DONTUNMAP
    if not (at.byte or (kept and new != length) or at.page - pages < first < at.page + length // PAGE):
        if not kept:
            plan.forget(at.page, length // PAGE)
        plan.note(first, pages)
    return do.Mremap(at, length, new, flags, At(first), process=plan.process)


def _mlock(plan: Plan) -> do.Step:
    return do.Mlock(*plan.range(), plan.choice([0, 0, abi.MLOCK_ONFAULT]), process=plan.process)


def _munlock(plan: Plan) -> do.Step:
    return do.Munlock(*plan.range(), process=plan.process)


def _mlockall(plan: Plan) -> do.Step:
    if plan.one_in(2):
        return do.Munlockall(process=plan.process)
    return do.Mlockall(plan.choice([1, 2, 3, 5, 6, 7]), process=plan.process)


def _mseal(plan: Plan) -> do.Step:
    return do.Mseal(*plan.range(named=False), process=plan.process)


def _msync(plan: Plan) -> do.Step:
    flags = plan.choice([abi.MS_SYNC, abi.MS_ASYNC, abi.MS_INVALIDATE, abi.MS_SYNC | abi.MS_ASYNC])
    return do.Msync(*plan.range(), flags, process=plan.process)


def _mincore(plan: Plan) -> do.Step:
    return do.Mincore(*plan.range(), process=plan.process)


_ADVICE = (
    abi.MADV_NORMAL, abi.MADV_DONTNEED, abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_WILLNEED, abi.MADV_HUGEPAGE,
    abi.MADV_HUGEPAGE, abi.MADV_NOHUGEPAGE, abi.MADV_COLLAPSE, abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE,
    abi.MADV_DONTFORK, abi.MADV_DOFORK, abi.MADV_WIPEONFORK, abi.MADV_KEEPONFORK, abi.MADV_COLD, abi.MADV_PAGEOUT,
    abi.MADV_REMOVE, abi.MADV_DONTNEED_LOCKED, abi.MADV_SEQUENTIAL, abi.MADV_DONTDUMP, abi.MADV_DODUMP,
)  # fmt: skip


_HUGE_ADVICE = (
    abi.MADV_HUGEPAGE, abi.MADV_HUGEPAGE, abi.MADV_HUGEPAGE, abi.MADV_COLLAPSE, abi.MADV_POPULATE_WRITE,
    abi.MADV_POPULATE_READ, abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_NOHUGEPAGE,
)  # fmt: skip


def _scan(plan: Plan) -> do.Step:
    """All there is, or what matches random categories."""
    at, length = plan.range(named=False)
    bits = [0, *(1 << place for place in range(9)), 0x2A, 0x2A, 0x0A, 0x22]
    inverted, mask, anyof = (plan.choice(bits) * (not plan.one_in(2)) for _ in range(3))
    most, room = plan.choice([0, 0, 1, 3, 7]), plan.choice([64, 64, 1, 2])
    end = At(at.page + -(-length // PAGE))
    return do.PagemapScan(At(at.page), end, 0, most, inverted, mask, anyof, 0x1FF, room, process=plan.process)


def _madvise(plan: Plan) -> do.Step:
    return do.Madvise(*plan.range(), plan.choice(_ADVICE), process=plan.process)


def _huge(plan: Plan) -> do.Step:
    """Advice on a whole block of 2 MiB."""
    blocks = plan.blocks()
    if not blocks:
        return _mmap_huge(plan)
    return do.Madvise(At(plan.choice(blocks)), HUGE * PAGE, plan.choice(_HUGE_ADVICE), process=plan.process)


def _touch_huge(plan: Plan) -> do.Step:
    """A read or write within a whole block."""
    blocks = plan.blocks()
    if not blocks:
        return _write(plan)
    at = At(plan.choice(blocks) + plan.choice([0, 1, 5, 100, HUGE - 1]))
    return do.Read(at, process=plan.process) if plan.one_in(3) else do.Write(at, _data(plan, 8), process=plan.process)


def _lazy(plan: Plan) -> do.Step:
    """A story: memory that is lazily free is written again, in part, perhaps split, and paged out.

    What reclaim takes tells dirty pages from clean ones.
    """
    blocks = plan.blocks()
    at, length = (At(plan.choice(blocks)), HUGE * PAGE) if blocks and not plan.one_in(4) else plan.range(named=False)
    last = max(length // PAGE - 1, 0)
    inside = At(at.page + plan.draw.integer(0, last))
    cut = At(at.page + plan.draw.integer(0, last)), PAGE * plan.pages(3)
    split = plan.choice([
        do.Mprotect(*cut, abi.PROT_READ, process=plan.process),
        do.Madvise(*cut, abi.MADV_GUARD_INSTALL, process=plan.process),
        do.Madvise(*cut, abi.MADV_DONTNEED, process=plan.process),
        do.Munmap(*cut, process=plan.process),
    ])  # fmt: skip
    plan.queue = [
        do.Madvise(at, length, abi.MADV_FREE, process=plan.process),
        *[do.Write(inside, _data(plan, 8), process=plan.process)] * plan.choice([0, 1, 1]),
        *[split] * plan.choice([0, 1, 1, 1]),
        do.Madvise(at, length, abi.MADV_PAGEOUT, process=plan.process),
        do.Read(inside, process=plan.process),
    ]
    return do.Write(inside, _data(plan, 8), process=plan.process)


def _between(plan: Plan) -> do.Step:
    """A story: two mappings with histories of their own, then one between them, which may join only one."""
    first, pages = plan.place(1), [plan.pages(3) for _ in range(3)]
    starts = first, first + pages[0], first + pages[0] + pages[1]
    prot = random_prot(plan) | abi.PROT_WRITE
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    left, middle, right = (
        do.Mmap(size * PAGE, prot, flags, At(start), process=plan.process)
        for start, size in zip(starts, pages, strict=True)
    )
    touch = [do.Write(At(start), _data(plan, 8), process=plan.process) for start in starts]
    plan.note(first, sum(pages))
    gap = do.Munmap(middle.addr, middle.length, process=plan.process)
    plan.queue = [gap, touch[0], right, touch[2], middle, touch[1]]
    return left


def _guard(plan: Plan) -> do.Step:
    advice = plan.choice([abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE])
    return do.Madvise(*plan.range(), advice, process=plan.process)


def _process_madvise(plan: Plan) -> do.Step:
    ranges = tuple(plan.range() for _ in range(plan.draw.integer(0, 4)))
    advice = plan.choice([*_ADVICE, abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE])
    return do.ProcessMadvise(ranges, advice, process=plan.process)


def _touch(plan: Plan) -> At:
    if plan.ranges and not plan.one_in(6):
        first, pages = plan.choice(plan.ranges[-8:])
        return At(first + plan.draw.integer(0, min(pages, 9) - 1))
    at, pages = plan.spot()
    return At(at.page + plan.draw.integer(0, pages - 1), 0, at.base)


def _register(plan: Plan) -> do.Step:
    at, length = plan.range(named=False)
    if not at.byte and length:
        plan.registered.append((plan.process, at.page, -(-length // PAGE)))
    return do.Register(at, length, unpopulated=plan.unpopulated, later=plan.later, process=plan.process)


def _unregister(plan: Plan) -> do.Step:
    return do.Unregister(*plan.range(named=False), process=plan.process)


def _writeprotect(plan: Plan) -> do.Step:
    """Mostly of something that is registered, and then that is written, read or thrown away."""
    at, length = plan.range(named=False)
    here = [one for one in plan.registered[-6:] if one[0] in plan.processes]
    if here and not plan.one_in(6):
        plan.process, first, pages = plan.choice(here)
        start = plan.draw.integer(0, pages - 1)
        at, length = At(first + start), plan.draw.integer(1, pages - start) * PAGE
        last = max(length // PAGE - 1, 0)
        inside = At(at.page + plan.draw.integer(0, last))
        plan.queue = [
            plan.choice([
                do.Write(inside, _data(plan, 8), process=plan.process),
                do.Read(inside, process=plan.process),
                do.Madvise(inside, PAGE * plan.pages(4), plan.choice(_ADVICE), process=plan.process),
                do.Mprotect(inside, PAGE * plan.pages(4), random_prot(plan), process=plan.process),
                do.KernelRead(inside, 16, process=plan.process),
            ])
            for _ in range(plan.draw.integer(0, 3))
        ]  # fmt: skip
    return do.WriteProtect(at, length, not plan.one_in(3), process=plan.process)


def _read(plan: Plan) -> do.Step:
    return do.Read(_touch(plan), process=plan.process)


def _write(plan: Plan) -> do.Step:
    return do.Write(_touch(plan), _data(plan, 8), process=plan.process)


def _write_across(plan: Plan) -> do.Step:
    return do.Write(_before_border(_touch(plan)), _data(plan, 16), process=plan.process)


def _before_border(at: At) -> At:
    """Eight bytes before the page's end; never in a mapping whose place the kernel chose: see ``Plan.range``."""
    return at if at.base else At(at.page, PAGE - 8)


def _data(plan: Plan, size: int) -> bytes:
    """The first byte of any eight is ``ret``, so that it may be executed."""
    return (b"\xc3" + plan.draw.integer(0, 255).to_bytes(1, "little") + b"pgwalk") * (size // 8)


def _execute(plan: Plan) -> do.Step:
    return do.Execute(_touch(plan), process=plan.process)


def _kernel_read(plan: Plan) -> do.Step:
    at, pages = plan.spot()
    return do.KernelRead(at, min(pages, plan.choice([16, 2048])) * PAGE, process=plan.process)


def _kernel_write(plan: Plan) -> do.Step:
    at = _touch(plan)
    pages = 0 if at.base or not plan.one_in(3) else min(plan.pages(), 16)
    return do.KernelWrite(plan.choice([at, _before_border(at)]), _data(plan, pages * PAGE or 16), process=plan.process)


def _fork(plan: Plan) -> do.Step:
    if len(plan.processes) >= 3:
        return _read(plan)
    child, plan.born = plan.born, plan.born + 1
    plan.processes.append(child)
    return do.Fork(child, process=plan.process)


def _exit(plan: Plan) -> do.Step:
    if plan.process == 0:
        return _write(plan)
    plan.processes.remove(plan.process)
    return do.Exit(process=plan.process)


def _punch(plan: Plan) -> do.Step:
    offset = plan.draw.integer(0, 8) * PAGE
    return do.PunchHole(plan.choice(_FILES).name, offset, plan.pages() * PAGE, process=plan.process)


def _truncate(plan: Plan) -> do.Step:
    return do.Truncate(plan.choice(_FILES).name, plan.draw.integer(0, 24) * PAGE, process=plan.process)


STEP_TABLE: tuple[tuple[int, Callable[[Plan], do.Step]], ...] = (
    (10, _mmap),
    (3, _mmap_shared),
    (5, _mmap_file),
    (1, _mmap_anywhere),
    (2, _mmap_huge),
    (1, _mmap_stack),
    (4, _munmap),
    (7, mprotect),
    (4, _mremap),
    (6, _mremap_move),
    (3, _mlock),
    (3, _munlock),
    (1, _mlockall),
    (1, _mseal),
    (1, _msync),
    (3, _scan),
    (2, _mincore),
    (12, _madvise),
    (7, _huge),
    (9, _guard),
    (2, _lazy),
    (2, there_and_back),
    (1, mapped_twice),
    (2, _between),
    (3, _process_madvise),
    (7, _read),
    (18, _write),
    (5, _touch_huge),
    (2, _write_across),
    (2, _execute),
    (2, _kernel_read),
    (2, _kernel_write),
    (3, _fork),
    (1, _exit),
    (1, _punch),
    (1, _truncate),
    *USED_TABLE,
)
"""Weight and maker of each kind of step."""
_HUGE_WEIGHTS: dict[Callable[[Plan], do.Step], int] = {
    _mmap_huge: 3, _huge: 30, _touch_huge: 30, _lazy: 16, there_and_back: 8,
}  # fmt: skip
"""In every fourth scenario these count instead: huge pages are rare otherwise."""
_SCANS, _DROPS = 20, 8
_UFFD_MAKERS: list[Callable[[Plan], do.Step]] = [*[_register] * 25, *[_writeprotect] * 30, *[_unregister] * 4]
"""In every sixth scenario, besides the others."""
_GUARDED = frozenset({_guard, _lazy, _process_madvise, *GUARDS})
"""What may install guards: over what userfaultfd protects in a file, Linux 6.18 tries that for ever."""
_FILED = frozenset({_mmap_shared, _mmap_file, mapped_twice})
_MAKERS = [maker for weight, maker in STEP_TABLE for _ in range(weight)]
_FORKS = 10
"""Of a hundred and more steps where the pool is asked for: what is promised is told apart by a fork."""
_POOL_MAKERS = [maker for weight, maker in HUGE_POOL_TABLE for _ in range(weight)]
_LIMITS_MAKERS = [maker for weight, maker in LIMITS_TABLE for _ in range(weight)]
_CALLS = 3
"""Which of four seeds have limits, seals and keys."""
_SWAP_MAKERS = [maker for weight, maker in SWAP_TABLE for _ in range(weight)]
_SHARED_HUGE_MAKERS = [maker for weight, maker in SHARED_HUGE_TABLE for _ in range(weight)]
_SHARED_HUGE_TIMES = 3
"""As often as others these are drawn where they are asked for."""
_SOFT_DIRTY_MAKERS: list[Callable[[Plan], do.Step]] = [clear_refs] * 16
_SHARED_HUGE_IN, _SOFT_DIRTY_IN = 5, 16
"""One in so many seeds is for these, unless something else is asked for."""
_HUGE_MAKERS = [maker for weight, maker in STEP_TABLE for _ in range(_HUGE_WEIGHTS.get(maker, weight))]


def plan(
    draw: Draw,
    steps: int,
    *,
    hugetlb: bool = False,
    uffd: bool = False,
    swap: bool = False,
    calls: bool = False,
    shared_huge: bool = False,
    soft_dirty: bool = False,
) -> Scenario:
    """A scenario from a source of choices.

    Args:
        draw: The source.
        steps: How many steps.
        hugetlb: Map pages of the pool too, and look at it after each step. All processes of a machine share it: run
            one such scenario at a time.
        uffd: Write-protect with userfaultfd, which else one in six does.
        swap: Swap out, and switch swap off and on: likewise one at a time, with swap on.
        calls: Limits, seals, protection keys, and advice for others; no mlockall, which locks all that a real process
            has besides.
        shared_huge: Make huge pages of files and shared memory.
        soft_dirty: Clear what says that pages were written, and look what says so since.
    """
    state = Plan(draw)
    large = not shared_huge and state.one_in(4)
    makers = (_HUGE_MAKERS if large else _MAKERS) + (_POOL_MAKERS + [_fork] * _FORKS) * hugetlb
    makers = makers + (_SWAP_MAKERS + [_fork] * _FORKS) * swap + (_LIMITS_MAKERS + [_fork] * 2) * calls
    if shared_huge:
        makers = makers + (_SHARED_HUGE_MAKERS + [_fork] * _FORKS) * _SHARED_HUGE_TIMES
    makers = makers + _SOFT_DIRTY_MAKERS * soft_dirty
    if uffd or (not hugetlb and state.one_in(6)):
        state.unpopulated = state.one_in(2)
        left_out = _GUARDED if shared_huge or state.one_in(2) else _FILED
        state.later, state.guards = calls, False
        makers = [maker for maker in makers if maker not in left_out] + _UFFD_MAKERS
        if left_out is _GUARDED:
            makers = makers + [protected_and_dropped] * _DROPS
        if state.later:
            makers = makers + [protect_what_matches] * _SCANS
    if calls:
        makers = [maker for maker in makers if maker is not _mlockall]
    made = [_mmap_huge(state), _huge(state)] if large else begin(state) if shared_huge else [_mmap(state)]
    while len(made) < steps:
        if state.at_once:
            made.append(state.at_once.pop(0))
            continue
        if state.queue and not state.one_in(5):
            made.append(state.queue.pop(0))
            continue
        state.process = state.choice(state.processes)
        made.append(state.choice(makers)(state))
    if not hugetlb:
        return Scenario(tuple(made[:steps]), (*_FILES, _READ_ONLY, *(files(state) if shared_huge else ())))
    looked = tuple(both for step in made[:steps] for both in (step, do.Pool()))
    return Scenario(looked, (*_FILES, _READ_ONLY, *HUGE_FILES))


class _Seeded:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (repeatable on purpose)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


def generate(
    seed: int,
    steps: int = 30,
    *,
    hugetlb: bool = False,
    uffd: bool = False,
    swap: bool = False,
    shared_huge: bool | None = None,
    soft_dirty: bool | None = None,
) -> Scenario:
    """The scenario of a seed, always the same.

    See ``plan``: one in four has ``calls``, one in five ``shared_huge``, one in sixteen ``soft_dirty``.
    """
    plain = not (hugetlb or uffd)
    if shared_huge is None:
        shared_huge = plain and seed % _SHARED_HUGE_IN == _SHARED_HUGE_IN - 1
    if soft_dirty is None:
        soft_dirty = plain and not swap and seed % _SOFT_DIRTY_IN == _SOFT_DIRTY_IN - 1
    asked = {"hugetlb": hugetlb, "uffd": uffd, "swap": swap, "shared_huge": shared_huge, "soft_dirty": soft_dirty}
    return plan(_Seeded(seed), steps, calls=seed % 4 == _CALLS, **asked)
