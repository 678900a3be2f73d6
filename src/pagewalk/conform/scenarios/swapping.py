"""Random steps on memory that may be in swap: what writes it out or brings it back, what copies or drops it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk import abi
from pagewalk.conform.scenarios import steps as do
from pagewalk.conform.scenarios.arena import At
from pagewalk.conform.scenarios.names import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.conform.scenarios.plan import Plan

__all__ = ["SWAP_TABLE"]

_AFTER = (
    abi.MADV_PAGEOUT, abi.MADV_PAGEOUT, abi.MADV_WILLNEED, abi.MADV_FREE, abi.MADV_DONTNEED, abi.MADV_COLD,
    abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE, abi.MADV_REMOVE, abi.MADV_GUARD_INSTALL,
)  # fmt: skip
"""The guard comes last."""


def _pageout(plan: Plan) -> do.Step:
    return do.Madvise(*plan.range(), abi.MADV_PAGEOUT, process=plan.process)


def _zero(plan: Plan) -> do.Step:
    """A page of zeros that was written: it takes a slot, and nothing is written there."""
    at, _ = plan.spot(named=False)
    return do.Write(at, bytes(8), process=plan.process)


def _story(plan: Plan) -> do.Step:
    """Written, out, perhaps forked, and then what may become of it, perhaps out again."""
    at, length = plan.range(named=False)
    inside = At(at.page + plan.draw.integer(0, max(length // PAGE - 1, 0)))
    data = b"\xc3swapped" if plan.one_in(4) else b"\xc3" + bytes(plan.draw.integer(1, 200) for _ in range(7))
    if plan.one_in(3):
        plan.queue.append(do.Read(inside, process=plan.process))
    plan.queue.append(do.Madvise(at, length, abi.MADV_PAGEOUT, process=plan.process))
    after = _AFTER if plan.guards else _AFTER[:-1]
    for _ in range(plan.draw.integer(1, 4)):
        who = plan.choice(plan.processes)
        plan.queue.append(
            plan.choice([
                do.Read(inside, process=who),
                do.Write(inside, data, process=who),
                do.Madvise(inside, PAGE * plan.pages(4), plan.choice(after), process=who),
                do.Madvise(at, length, plan.choice(after), process=who),
                do.Mincore(inside, PAGE * plan.pages(3), process=who),
                do.KernelRead(inside, 16, process=who),
                do.KernelWrite(inside, data, process=who),
                do.Mlock(inside, PAGE, process=who),
            ])
        )  # fmt: skip
    return do.Write(inside, data, process=plan.process)


def _collapse(plan: Plan) -> do.Step:
    """A block, some of which is in swap, is to become huge: at the second try, if something had to be read."""
    blocks = plan.blocks()
    if not blocks:
        return _pageout(plan)
    block, who = At(plan.choice(blocks)), plan.process
    some = At(block.page + plan.draw.integer(0, 400)), PAGE * plan.pages(60)
    advice = [*[abi.MADV_PAGEOUT] * plan.draw.integer(1, 2), abi.MADV_COLLAPSE, abi.MADV_COLLAPSE]
    plan.queue = [
        do.Madvise(*(some if it != abi.MADV_COLLAPSE else (block, 512 * PAGE)), it, process=who) for it in advice
    ]
    return do.Write(some[0], b"\xc3collaps", process=who)


def _willneed(plan: Plan) -> do.Step:
    return do.Madvise(*plan.range(), abi.MADV_WILLNEED, process=plan.process)


def _mincore(plan: Plan) -> do.Step:
    return do.Mincore(*plan.range(), process=plan.process)


def _swapoff(plan: Plan) -> do.Step:
    return do.Swapoff(process=plan.process)


SWAP_TABLE: tuple[tuple[int, Callable[[Plan], do.Step]], ...] = (
    (16, _pageout),
    (14, _story),
    (3, _zero),
    (4, _collapse),
    (2, _willneed),
    (4, _mincore),
    (1, _swapoff),
)
"""Weight and maker of each kind of step, as in ``STEP_TABLE``."""
