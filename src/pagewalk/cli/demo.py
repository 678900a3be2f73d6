"""``pagewalk demo``: guard regions on a simulated machine, and on the running kernel, side by side.

The same plan twice: on a ``Machine``'s ``Mm``, and on a mapping of this process, captured. Both are read by the same
walk.
"""

from __future__ import annotations

import ctypes
import json
import mmap
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from pagewalk import abi
from pagewalk.cli.output import write
from pagewalk.cli.params import json_option
from pagewalk.errors import PagewalkError
from pagewalk.formats import Kind, find_format
from pagewalk.formats.running import running_format
from pagewalk.mm import Machine
from pagewalk.report.demo import Demo, Seen, Step, demo_text
from pagewalk.walk import WalkOps, walk_page_range
from pagewalk.walk.ops import ENTRY_CALLBACKS

if TYPE_CHECKING:
    from pagewalk.space import AddressSpace
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

__all__ = ["demo"]

FORM: Final = find_format(running_format())
PAGE: Final = FORM.page_size
TABLE_SPAN: Final = FORM.levels[-1].entries * PAGE
"""Bytes that one table of the last level covers."""


@dataclass(frozen=True)
class Plan:
    """What is done on both sides.

    Attributes:
        pages: Pages in the range; half of them lie below a ``TABLE_SPAN`` boundary, the rest in the next table.
        touched: Pages that are written to, none above the boundary: there is no table there.
        guarded: Pages that then become a guard region.
    """

    pages: int = 16
    touched: tuple[int, ...] = (0, 1, 2, 5)
    guarded: range = range(4, 12)

    def start(self, boundary: int) -> int:
        """Where the range begins, for a boundary between two tables."""
        return boundary - self.pages // 2 * PAGE


PLAN: Final = Plan()


@click.command
@json_option
def demo(as_json: bool) -> int:
    """Install a guard region on a simulated machine and on the running kernel, and compare.

    Shows what a walk's callbacks see, how install_pte fills the holes, and the page tables before and after. Exits with
    1 if the model and the kernel disagree about any page.
    """
    model = Model(PLAN)
    before = look(model.mm, PLAN, model.start)
    steps = model.guard(PLAN)
    after = look(model.mm, PLAN, model.start)
    marker = FORM.last.marked(Kind.GUARD.label)
    names = tuple(level.name for level in FORM.levels)
    result = Demo(PLAN.pages, PLAN.guarded, names, before, steps, after, marker, *_ask_kernel(PLAN))
    write([json.dumps(result.json(), indent=2) + "\n" if as_json else demo_text(result)])
    return int(result.agree is False)


# -- the walk that reads both sides ------------------------------------------------------------------------------------


def look(space: AddressSpace, plan: Plan, start: int) -> list[Seen]:
    """What the callbacks of one walk see in the plan's range, in order; like neighbours joined."""
    seen: list[Seen] = []

    def note(callback: str, depth: int, slot: int, what: str, addr: int, next_: int) -> None:
        first, end = (addr - start) // PAGE, (next_ - start) // PAGE
        new = Seen(callback, depth, slot, slot, what, first, end)
        if callback == "pte_entry" and seen and new.continues(seen[-1]):
            begun = seen.pop()
            new = new._replace(slot=begun.slot, first=begun.first)
        seen.append(new)

    def entry(entry: Entry, addr: int, next_: int, walk: Walk) -> None:
        what = f"table at {entry.target:#x}" if entry.is_table else entry.kind.label
        note(ENTRY_CALLBACKS[entry.level.depth], entry.level.depth, entry.index, what, addr, next_)

    def hole(addr: int, next_: int, depth: int, walk: Walk) -> None:
        slot = walk.tables.format.levels[depth].index(addr)
        note("pte_hole", depth, slot, Kind.NONE.label, addr, next_)

    ops = WalkOps(pgd_entry=entry, pud_entry=entry, pmd_entry=entry, pte_entry=entry, pte_hole=hole)
    with space.mmap_lock.read() if space.mmap_lock else nullcontext():
        walk_page_range(space, start, start + plan.pages * PAGE, ops)
    return seen


# -- the simulated machine ---------------------------------------------------------------------------------------------


class Model:
    """A simulated machine with one anonymous mapping, the plan's pages touched."""

    RAM: Final = 1 << 20
    BOUNDARY: Final = 0x7F00_0020_0000

    def __init__(self, plan: Plan) -> None:
        self.machine = Machine(self.RAM, FORM)
        self.mm = self.machine.mm()
        flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
        length, rights = plan.pages * PAGE, abi.PROT_READ | abi.PROT_WRITE
        self.start = self.mm.mmap(length, rights, flags, addr=plan.start(self.BOUNDARY))
        for page in plan.touched:
            self.mm.write(self.start + page * PAGE, b"demo")

    def guard(self, plan: Plan) -> list[Step]:
        """Install the plan's guard region; what that took, read off the log of installed entries."""
        full = {self.start + page * PAGE for page in plan.touched}
        tables = {addr // TABLE_SPAN for addr in full}
        self.mm.events.clear()
        self.mm.madvise(self.start + plan.guarded.start * PAGE, len(plan.guarded) * PAGE, abi.MADV_GUARD_INSTALL)
        steps: list[Step] = []
        for addr in (event.start for event in self.mm.events if event.name == "install"):
            if addr in full:
                self._note(steps, "zap", addr)
            if addr // TABLE_SPAN not in tables:
                tables.add(addr // TABLE_SPAN)
                self._note(steps, "grow", addr)
            self._note(steps, "install_pte", addr)
        return steps

    def _note(self, steps: list[Step], what: str, addr: int) -> None:
        page = (addr - self.start) // PAGE
        if steps and steps[-1].continued_by(what, page):
            steps[-1] = steps[-1]._replace(end=page + 1)
        else:
            steps.append(Step(what, page, page + 1))


# -- the running kernel ------------------------------------------------------------------------------------------------


def _ask_kernel(plan: Plan) -> tuple[tuple[list[Seen], list[Seen]] | None, str]:
    """What the running kernel's page tables hold before and after; None, and why, where it cannot be asked."""
    from pagewalk import abi
    from pagewalk.live import PageIs, capture, madvise, scan

    area, first = _mapping(4 * TABLE_SPAN)
    start = plan.start((first + 2 * TABLE_SPAN) // TABLE_SPAN * TABLE_SPAN)
    with suppress(OSError):  # EINVAL: a kernel without huge pages
        madvise(first, len(area), abi.MADV_NOHUGEPAGE)
    for page in plan.touched:
        area[start - first + page * PAGE] = 1
    try:
        before = look(capture(), plan, start)
        madvise(start + plan.guarded.start * PAGE, len(plan.guarded) * PAGE, abi.MADV_GUARD_INSTALL)
        scan(0, start, start + PAGE, anyof=PageIs.GUARD)
        return (before, look(capture(), plan, start)), ""
    except PagewalkError as error:
        return None, str(error)
    except OSError as error:
        return None, f"{error.strerror or error} (guard regions: Linux 6.13)"


def _mapping(size: int) -> tuple[mmap.mmap, int]:
    """Private anonymous memory of this process, and its address."""
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return area, ctypes.addressof(ctypes.c_char.from_buffer(area))
