"""Tables that many entries point to: their rows are found once, and given again for each.

How it works. Broken, hostile and sound page tables share tables: KASAN's shadow of 16 TiB is one page, and one table of
each level. Where entries of a level point to few tables, these are laid out at addresses of their own, a table's span
apart, so that nothing joins across; what a sweep finds there is cut up by table, and shifted to where the table is
reached. Shared tables below shared tables are met on the way and dealt with alike. So the work is bounded by the tables
that there are, and the rows that come out; rows that all map one frame are one row again at each level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import Rights
from pagewalk.formats.flags import BARE
from pagewalk.sweep.chunk import Tables
from pagewalk.sweep.columns import part
from pagewalk.sweep.findings import Findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.sweep.columns import Block

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]

__all__ = ["MANY", "MOST", "Copied", "Elsewhere", "Shared", "shared_tables"]

MANY: Final = 8
"""Entries that point to a table before it counts as shared: with fewer, it is as soon looked at each time."""

MOST: Final = 1 << 16
"""Rows of shared tables that are kept; those of further tables are found where they are reached."""

_RIGHTS: Final = int(Rights.all() | BARE).bit_length()
_SCATTERED: Final = 16
"""How many numbers there may be for each entry before it is better to sort."""


@dataclass(slots=True)
class Shared:
    """Tables of a level that many entries point to.

    Attributes:
        tables: One of each, the one reached most often first, at an address of its own.
        apart: Bytes from one to the next.
        firsts: The lowest address at which each is reached. Shape (tables,), uint64.
        places: Among all tables of the level: where they are reached, ascending.
        which: Which of the shared tables that is.
    """

    tables: Tables
    apart: int
    firsts: Words
    places: Places
    which: Places

    def number(self, vaddr: int) -> int:
        """Which table an address of the layout is in."""
        return vaddr // self.apart

    def real(self, vaddrs: Words) -> Words:
        """Addresses of the layout as those at which their tables are reached first."""
        apart = np.uint64(self.apart)
        return self.firsts[(vaddrs // apart).view(np.intp)] + vaddrs % apart


def shared_tables(
    paddrs: Callable[[Level, Tables], Words], level: Level, tables: Tables, span: tuple[int, int]
) -> Shared | None:
    """The tables that many entries point to, with the same rights, and that lie in the range as a whole; None: none.

    Args:
        paddrs: Says where tables of a level are.
        level: The tables' level, not the first.
        tables: Tables, by address.
        span: The range's first and last byte.
    """
    size = level.span << level.index_bits
    low = int(len(tables) and int(tables.vaddr[0]) < span[0])
    high = len(tables) - int(len(tables) and int(tables.vaddr[-1]) + size - 1 > span[1])
    if high - low < MANY:
        return None
    numbers = _numbered(paddrs(level, tables[low:high]), tables.rights[low:high])
    if numbers is None:
        return None
    counts = np.bincount(numbers)
    counts[0] = 0
    often = np.flatnonzero(counts >= MANY)
    if not len(often):
        return None
    wanted = often[np.argsort(-counts[often], kind="stable")[: (1 << 63) // size]]
    rank = np.full(len(counts), -1, np.intp)
    rank[wanted] = np.arange(len(wanted))
    which = rank[numbers]
    places = np.flatnonzero(which >= 0)
    which, places = which[places], places + low
    firsts = np.empty(len(wanted), np.intp)
    firsts[which[::-1]] = places[::-1]  # what is written last stays: the first place
    layout = np.arange(len(wanted), dtype=np.uint64) * np.uint64(2 * size)
    once = Tables(tables.entry[firsts], layout, tables.rights[firsts])
    return Shared(once, 2 * size, tables.vaddr[firsts], places, which)


def _numbered(paddrs: Words, rights: npt.NDArray[np.uint8]) -> Places | None:
    """Small numbers, equal for equal tables with equal rights; 0 is for those that are rare. None: all are."""
    offsets: Any = paddrs - paddrs.min()
    aligned = int(np.bitwise_or.reduce(offsets))
    zeros = np.uint64(max((aligned & -aligned).bit_length() - 1, 0))
    keys: Any = offsets >> zeros << np.uint64(_RIGHTS) | rights
    if int(keys.max()) < _SCATTERED * len(keys):
        return (keys + np.uint64(1)).view(np.intp)
    ordered = np.sort(keys)
    often = np.unique(ordered[MANY - 1 :][ordered[MANY - 1 :] == ordered[: len(ordered) - MANY + 1]])
    if not len(often):
        return None
    numbers = often.searchsorted(keys).clip(max=len(often) - 1)
    return (numbers + 1) * (often[numbers] == keys)


@dataclass(slots=True)
class Copied:
    """Rows of shared tables, and where they belong.

    Attributes:
        rows: The rows of each table in turn; addresses count from the table's first.
        firsts, counts: Where each table's rows begin, and how many there are.
        bases: The addresses at which the tables are reached, ascending. Shape (n,), uint64.
        which: Which table that is. Shape (n,).
    """

    rows: Block
    firsts: Places
    counts: Places
    bases: Words
    which: Places

    @classmethod
    def of(cls, shared: Shared, rows: Block, complete: int, tables: Tables) -> tuple[Copied, Tables]:
        """The rows of the first ``complete`` shared tables, and the tables whose rows are not among them."""
        numbers = (rows[0] // np.uint64(shared.apart)).view(np.intp)
        rows = part(rows, numbers < complete)
        numbers = numbers[numbers < complete]
        rows[0][:] %= np.uint64(shared.apart)
        borders = numbers.searchsorted(np.arange(complete + 1))
        known = shared.which < complete
        places = shared.places[known]
        others = np.ones(len(tables), np.bool_)
        others[places] = False
        counts = borders[1:] - borders[:-1]
        return cls(rows, borders[:-1], counts, tables.vaddr[places], shared.which[known]), tables[others]

    @property
    def total(self) -> int:
        """How many rows the copies are."""
        return int(self.counts[self.which].sum())

    def blocks(self, most: int) -> Iterator[tuple[Block, np.uint64]]:
        """The rows where they belong, about ``most`` at a time, by address; and the address up to which that is all."""
        ends = np.cumsum(self.counts[self.which])
        done, before = 0, 0
        while done < len(ends):
            end = max(int(ends.searchsorted(before + most, side="right")), done + 1)
            last = int(self.bases[end]) if end < len(ends) else 1 << 64
            yield self._copies(slice(done, end)), np.uint64(last - 1)
            done, before = end, int(ends[end - 1])

    def _copies(self, some: slice) -> Block:
        """The rows of some of the places."""
        which = self.which[some]
        counts = self.counts[which]
        ahead = self.firsts[which] - (np.cumsum(counts) - counts)
        block = part(self.rows, np.arange(int(counts.sum())) + np.repeat(ahead, counts))
        block[0][:] += np.repeat(self.bases[some], counts)
        return block


class Elsewhere(Findings):
    """What is wrong in shared tables, at addresses of their layout: noted, and told when it is clear where they are."""

    def __init__(self, outer: Findings) -> None:
        super().__init__(outer.tables, [])
        self._outer = outer
        self._noted: list[tuple[str, Level, Words, Words]] = []

    def reserved(self, level: Level, entries: Words, vaddrs: Words) -> None:
        """See ``Findings``."""
        self._noted.append(("reserved", level, entries.copy(), vaddrs.copy()))

    def missing(self, level: Level, entries: Words, vaddrs: Words) -> None:
        """See ``Findings``."""
        self._noted.append(("missing", level, entries.copy(), vaddrs.copy()))

    def hand_on(self, shared: Shared, complete: int) -> None:
        """Tell what is wrong in the first ``complete`` tables: once, where each is reached first."""
        for what, level, entries, vaddrs in self._noted:
            known = vaddrs // np.uint64(shared.apart) < complete
            real = shared.real(vaddrs[known])
            order = np.argsort(real, kind="stable")
            report: Any = getattr(self._outer, what)
            if len(order):
                report(level, entries[known][order], real[order])
