"""Random steps that tell what was used lately: accessed bits forgotten, and files written by system calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk import abi
from pagewalk.abi.pagemap import CLEAR_REFS_ALL, CLEAR_REFS_ANON, CLEAR_REFS_MAPPED
from pagewalk.conform.scenarios import steps as do
from pagewalk.conform.scenarios.names import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.conform.scenarios.plan import Plan

__all__ = ["USED_TABLE", "write_to"]

_CLEARED = (CLEAR_REFS_ALL, CLEAR_REFS_ALL, CLEAR_REFS_ANON, CLEAR_REFS_MAPPED)
_ADVICE = (abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE, abi.MADV_DONTNEED, abi.MADV_COLD, abi.MADV_PAGEOUT)
_DATA = b"\xc3written"


def _forget(plan: Plan) -> do.Step:
    """Nothing was accessed; then something is, by the CPU, the kernel, or as a file's, perhaps more than once."""
    at, length = plan.range(named=False)
    who = plan.process
    again: list[do.Step] = [
        do.KernelRead(at, max(length, 1), process=who), do.KernelWrite(at, _DATA, process=who),
        *[do.Madvise(at, length, advice, process=who) for advice in _ADVICE], do.Munmap(at, length, process=who),
        do.Mlock(at, length, process=who), do.Munlock(at, length, process=who), do.Read(at, process=who),
        _write(plan),
    ]  # fmt: skip
    plan.queue = [plan.choice(again) for _ in range(plan.draw.integer(0, 3))]
    return do.ClearRefs(plan.choice(_CLEARED), process=who)


def write_to(plan: Plan, files: tuple[str, ...], pages: int = 24) -> do.Step:
    """Write to a file of so many pages: within a page, over several, perhaps beyond its end."""
    offset = plan.draw.integer(0, pages) * PAGE + plan.choice([0, 0, 4, PAGE - 4])
    data = plan.choice([_DATA, _DATA, b"\xc3" * PAGE, b"\xc3" * (3 * PAGE)])
    return do.Pwrite(plan.choice(files), offset, data, process=plan.process)


def _write(plan: Plan) -> do.Step:
    return write_to(plan, ("a", "a", "b"))


USED_TABLE: tuple[tuple[int, Callable[[Plan], do.Step]], ...] = (
    (2, _forget),
    (1, _write),
)
"""Weight and maker of each kind of step, as in ``STEP_TABLE``."""
