"""Random steps that change rights, and stories of memory whose rights go and come back.

What a page was before shows late: in what the kernel, or a second mapping of the page, finds dirty afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk import abi
from pagewalk.conform.scenarios import steps as do
from pagewalk.conform.scenarios.arena import At
from pagewalk.conform.scenarios.names import PAGE
from pagewalk.conform.scenarios.plan import HUGE

if TYPE_CHECKING:
    from pagewalk.conform.scenarios.plan import Plan

__all__ = ["mapped_twice", "mprotect", "random_prot", "there_and_back"]

_RW = abi.PROT_READ | abi.PROT_WRITE
_DATA = b"\xc3rights!"


def random_prot(plan: Plan) -> int:
    """Mostly what may be read and written."""
    return plan.choice(
        [*[_RW] * 9, *[abi.PROT_READ] * 3, abi.PROT_NONE, *[_RW | abi.PROT_EXEC] * 2, *[abi.PROT_EXEC] * 2]
    )


def mprotect(plan: Plan) -> do.Step:
    """Of something that is mapped, mostly."""
    return do.Mprotect(*plan.range(), random_prot(plan), process=plan.process)


def there_and_back(plan: Plan) -> do.Step:
    """Memory that may be free lazily and split; its rights go and come back; then it is used, in part."""
    blocks, who = plan.blocks(), plan.process
    at, length = (At(plan.choice(blocks)), HUGE * PAGE) if blocks and not plan.one_in(4) else plan.range(named=False)
    last = max(length // PAGE - 1, 0)
    inside, cut = (At(at.page + plan.draw.integer(0, last)) for _ in range(2))
    part = plan.choice([(at, length), (inside, PAGE * plan.pages())])
    plan.queue = [
        *[do.Madvise(at, length, abi.MADV_FREE, process=who)] * plan.choice([0, 1, 1]),
        *[do.Mprotect(cut, PAGE, abi.PROT_READ, process=who)] * plan.choice([0, 1, 1]),
        *[do.Write(inside, _DATA, process=who)] * plan.choice([0, 0, 1]),
        *_away(plan, *part),
        plan.choice([
            do.Madvise(inside, PAGE * 2, abi.MADV_POPULATE_WRITE, process=who),
            do.Madvise(at, length, abi.MADV_PAGEOUT, process=who),
            do.Mlock(inside, PAGE * 2, process=who),
            do.Write(inside, _DATA, process=who),
            do.KernelWrite(inside, _DATA, process=who),
        ]),
    ]  # fmt: skip
    return do.Write(inside, _DATA, process=who)


def mapped_twice(plan: Plan) -> do.Step:
    """A file's hole is read in two places; rights go and come back in one, which is written then."""
    pages, offset, who = plan.pages(4), plan.draw.integer(0, 8) * PAGE, plan.process
    first, second = plan.place(1), plan.place(1)
    for place in first, second:
        plan.note(place, pages)
    flags = abi.MAP_SHARED | abi.MAP_FIXED
    mapped = [do.Mmap(pages * PAGE, _RW, flags, At(place), "a", offset, process=who) for place in (second, first)]
    plan.queue = [
        *mapped, do.Read(At(second), process=who), do.Read(At(first), process=who),
        *_away(plan, At(first), pages * PAGE), do.Write(At(first), _DATA, process=who),
    ]  # fmt: skip
    return do.PunchHole("a", offset, pages * PAGE, process=who)


def _away(plan: Plan, at: At, length: int) -> list[do.Step]:
    """The rights of a range are taken away, and given back."""
    who = plan.process
    if plan.guards or plan.one_in(2):
        taken = plan.choice([abi.PROT_READ, abi.PROT_READ, abi.PROT_NONE])
        return [do.Mprotect(at, length, prot, process=who) for prot in (taken, _RW)]
    back = plan.choice([do.WriteProtect(at, length, False, process=who), do.Unregister(at, length, process=who)])
    return [
        do.Register(at, length, unpopulated=plan.unpopulated, later=plan.later, process=who),
        *[do.WriteProtect(at, length, process=who)] * plan.choice([0, 1, 1]),
        back,
    ]
