"""Random scenarios: one weighted table of steps, drawn from by a seeded generator or by Hypothesis.

How it works: a ``Plan`` remembers roughly what is mapped, so that most ranges fall on something; some are moved,
stretched or misaligned on purpose. Small mappings crowd the first 64 pages of the arena, so that they touch, split and
merge; huge ones lie on 2 MiB blocks above.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from pagewalk import abi
from pagewalk.conform import scenario as do
from pagewalk.conform.names import PAGE
from pagewalk.conform.scenario import At, File, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["STEP_TABLE", "Draw", "Plan", "generate", "plan"]

T = TypeVar("T")

_CROWDED = 64
_HUGE = 512
_BLOCKS = 4
_STACK = 400
_FILES = (File("a", 24), File("b", 3))


class Draw(Protocol):
    """Where choices come from."""

    def integer(self, low: int, high: int) -> int:
        """Of ``low`` to ``high``, both included."""


@dataclass
class Plan:
    """What a scenario under construction has probably made.

    Attributes:
        draw: Where choices come from.
        ranges: Mapped ranges: (first page, pages), the latest last.
        names: Mappings whose place the kernel chose: name and pages.
        processes: Numbers of processes that are alive; ``born`` counts them all.
        process: Who takes the step that is being drawn.
    """

    draw: Draw
    ranges: list[tuple[int, int]] = field(default_factory=list)
    names: list[tuple[str, int]] = field(default_factory=list)
    processes: list[int] = field(default_factory=lambda: [0])
    born: int = 1
    process: int = 0

    def one_in(self, number: int) -> bool:
        """True once in a while."""
        return self.draw.integer(1, number) == 1

    def choice(self, items: Sequence[T]) -> T:
        """One of them."""
        return items[self.draw.integer(0, len(items) - 1)]

    def pages(self, limit: int = 8) -> int:
        """A number of pages."""
        return self.draw.integer(1, limit)

    def place(self, pages: int) -> int:
        """A page to map at: in the crowd, or on a huge page's border for what is large."""
        if pages >= _HUGE:
            return _HUGE * self.draw.integer(1, _BLOCKS)
        return self.draw.integer(0, _CROWDED - 1)

    def spot(self, *, named: bool = True) -> tuple[At, int]:
        """An address and a number of pages, mostly within something mapped."""
        if named and self.names and self.one_in(8):
            name, pages = self.choice(self.names)
            first = self.draw.integer(0, pages - 1)
            return At(first, base=name), self.draw.integer(1, pages - first)
        if not self.ranges or self.one_in(14):
            return At(self.draw.integer(0, _CROWDED)), self.pages()
        first, pages = self.choice(self.ranges[-8:])
        if self.one_in(3):
            return At(first), pages
        if self.one_in(8):
            return At(max(first - 2, 0)), pages + self.draw.integer(0, 4)
        start = self.draw.integer(0, pages - 1)
        return At(first + start), self.draw.integer(1, min(pages - start, 9))

    def range(self, *, named: bool = True) -> tuple[At, int]:
        """An address and a length in bytes; seldom misaligned, empty or overlong.

        Args:
            named: Whether it may lie in a mapping whose place the kernel chose. Those are never left, unmapped or
                moved: what is beside them, or comes there later, belongs to the process that runs the scenario.
        """
        at, pages = self.spot(named=named)
        if at.base:
            return at, pages * PAGE
        if self.one_in(50):
            return At(at.page, 16), pages * PAGE
        if self.one_in(50):
            return at, self.choice([0, 1, PAGE - 1, pages * PAGE + 1])
        return at, pages * PAGE

    def blocks(self) -> list[int]:
        """First pages of whole blocks of 2 MiB within what is mapped."""
        firsts = range(_HUGE, _HUGE * (_BLOCKS + 2), _HUGE)
        return [f for f in firsts if any(start <= f and f + _HUGE <= start + size for start, size in self.ranges)]

    def note(self, first: int, pages: int) -> None:
        """Remember a mapping, in place of what it covers."""
        self.forget(first, pages)
        self.ranges.append((first, pages))

    def forget(self, first: int, pages: int) -> None:
        """Remember that nothing is mapped there."""
        end, kept = first + pages, []
        for start, size in self.ranges:
            pieces = (start, min(start + size, first)), (max(start, end), start + size)
            kept += [(low, high - low) for low, high in pieces if low < high]
        self.ranges = kept


def _prot(plan: Plan) -> int:
    rw = abi.PROT_READ | abi.PROT_WRITE
    return plan.choice([*[rw] * 9, *[abi.PROT_READ] * 3, abi.PROT_NONE, *[rw | abi.PROT_EXEC] * 3])


def _mmap(plan: Plan) -> do.Step:
    pages, first = plan.pages(), plan.place(1)
    plan.note(first, pages)
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | (abi.MAP_FIXED_NOREPLACE if plan.one_in(8) else abi.MAP_FIXED)
    flags |= plan.choice([0] * 12 + [abi.MAP_NORESERVE, abi.MAP_POPULATE, abi.MAP_LOCKED, abi.MAP_STACK])
    return do.Mmap(pages * PAGE, _prot(plan), flags, At(first), process=plan.process)


def _mmap_huge(plan: Plan) -> do.Step:
    pages = plan.choice([_HUGE, _HUGE, 2 * _HUGE, _HUGE + 3])
    first = plan.place(pages)
    plan.note(first, pages)
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    return do.Mmap(pages * PAGE, _prot(plan), flags, At(first), process=plan.process)


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
    return do.Mmap(pages * PAGE, _prot(plan), flags, At(first), process=plan.process)


def _mmap_file(plan: Plan) -> do.Step:
    pages, first = plan.pages(), plan.place(1)
    plan.note(first, pages)
    flags = abi.MAP_FIXED | plan.choice([abi.MAP_SHARED, abi.MAP_PRIVATE])
    flags |= plan.choice([0] * 6 + [abi.MAP_POPULATE])
    file, offset = plan.choice(_FILES).name, plan.draw.integer(0, 4) * PAGE
    return do.Mmap(pages * PAGE, _prot(plan), flags, At(first), file, offset, process=plan.process)


def _mmap_anywhere(plan: Plan) -> do.Step:
    pages, name = plan.pages(), f"m{len(plan.names)}"
    plan.names.append((name, pages))
    return do.Mmap(pages * PAGE, _prot(plan), name=name, process=plan.process)


def _munmap(plan: Plan) -> do.Step:
    at, length = plan.range(named=False)
    if not at.byte:
        plan.forget(at.page, -(-length // PAGE))
    return do.Munmap(at, length, process=plan.process)


def _mprotect(plan: Plan) -> do.Step:
    return do.Mprotect(*plan.range(), _prot(plan), process=plan.process)


def _mremap(plan: Plan) -> do.Step:
    """Shrink or grow in place."""
    at, length = plan.range(named=False)
    new = max(length + plan.draw.integer(-3, 3) * PAGE, 0)
    return do.Mremap(at, length, new, process=plan.process)


def _mremap_move(plan: Plan) -> do.Step:
    at, length = plan.range(named=False)
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


def _msync(plan: Plan) -> do.Step:
    flags = plan.choice([abi.MS_SYNC, abi.MS_ASYNC, abi.MS_INVALIDATE, abi.MS_SYNC | abi.MS_ASYNC])
    return do.Msync(*plan.range(), flags, process=plan.process)


def _mincore(plan: Plan) -> do.Step:
    return do.Mincore(*plan.range(), process=plan.process)


_ADVICE = (
    abi.MADV_NORMAL, abi.MADV_DONTNEED, abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_WILLNEED, abi.MADV_HUGEPAGE,
    abi.MADV_HUGEPAGE, abi.MADV_NOHUGEPAGE, abi.MADV_COLLAPSE, abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE,
    abi.MADV_DONTFORK, abi.MADV_DOFORK, abi.MADV_WIPEONFORK, abi.MADV_KEEPONFORK, abi.MADV_COLD, abi.MADV_PAGEOUT,
)  # fmt: skip


_HUGE_ADVICE = (
    abi.MADV_HUGEPAGE, abi.MADV_HUGEPAGE, abi.MADV_HUGEPAGE, abi.MADV_COLLAPSE, abi.MADV_POPULATE_WRITE,
    abi.MADV_POPULATE_READ, abi.MADV_DONTNEED, abi.MADV_FREE, abi.MADV_NOHUGEPAGE,
)  # fmt: skip


def _madvise(plan: Plan) -> do.Step:
    return do.Madvise(*plan.range(), plan.choice(_ADVICE), process=plan.process)


def _huge(plan: Plan) -> do.Step:
    """Advice on a whole block of 2 MiB."""
    blocks = plan.blocks()
    if not blocks:
        return _mmap_huge(plan)
    return do.Madvise(At(plan.choice(blocks)), _HUGE * PAGE, plan.choice(_HUGE_ADVICE), process=plan.process)


def _touch_huge(plan: Plan) -> do.Step:
    """A read or write within a whole block."""
    blocks = plan.blocks()
    if not blocks:
        return _write(plan)
    at = At(plan.choice(blocks) + plan.choice([0, 1, 5, 100, _HUGE - 1]))
    return do.Read(at, process=plan.process) if plan.one_in(3) else do.Write(at, _data(plan, 8), process=plan.process)


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


def _read(plan: Plan) -> do.Step:
    return do.Read(_touch(plan), process=plan.process)


def _write(plan: Plan) -> do.Step:
    return do.Write(_touch(plan), _data(plan, 8), process=plan.process)


def _write_across(plan: Plan) -> do.Step:
    at = _touch(plan)
    return do.Write(At(at.page, PAGE - 8, at.base), _data(plan, 16), process=plan.process)


def _data(plan: Plan, size: int) -> bytes:
    """The first byte of any eight is ``ret``, so that it may be executed."""
    return (b"\xc3" + plan.draw.integer(0, 255).to_bytes(1, "little") + b"pgwalk") * (size // 8)


def _execute(plan: Plan) -> do.Step:
    return do.Execute(_touch(plan), process=plan.process)


def _kernel_read(plan: Plan) -> do.Step:
    at, pages = plan.spot()
    return do.KernelRead(at, min(pages, 16) * PAGE, process=plan.process)


def _kernel_write(plan: Plan) -> do.Step:
    at = _touch(plan)
    return do.KernelWrite(At(at.page, plan.choice([0, PAGE - 8]), at.base), _data(plan, 16), process=plan.process)


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
    (7, _mprotect),
    (4, _mremap),
    (6, _mremap_move),
    (3, _mlock),
    (3, _munlock),
    (1, _msync),
    (2, _mincore),
    (12, _madvise),
    (7, _huge),
    (9, _guard),
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
)
"""Weight and maker of each kind of step."""
_HUGE_WEIGHTS: dict[Callable[[Plan], do.Step], int] = {_mmap_huge: 3, _huge: 30, _touch_huge: 30}
"""In every fourth scenario these count instead: huge pages are rare otherwise."""
_MAKERS = [maker for weight, maker in STEP_TABLE for _ in range(weight)]
_HUGE_MAKERS = [maker for weight, maker in STEP_TABLE for _ in range(_HUGE_WEIGHTS.get(maker, weight))]


def plan(draw: Draw, steps: int) -> Scenario:
    """A scenario from a source of choices."""
    state = Plan(draw)
    large = state.one_in(4)
    makers = _HUGE_MAKERS if large else _MAKERS
    made = [_mmap_huge(state), _huge(state)] if large else [_mmap(state)]
    while len(made) < steps:
        state.process = state.choice(state.processes)
        made.append(state.choice(makers)(state))
    return Scenario(tuple(made), _FILES)


class _Seeded:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (repeatable on purpose)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


def generate(seed: int, steps: int = 30) -> Scenario:
    """The scenario of a seed: the same at all times."""
    return plan(_Seeded(seed), steps)
