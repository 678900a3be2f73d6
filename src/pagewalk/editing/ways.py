"""Which tables translate a range, level by level: where they are, and what the levels above grant."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pagewalk.errors import ReservedBits, WalkError
from pagewalk.formats import Rights
from pagewalk.sweep.chunk import bounds_of
from pagewalk.sweep.source import Source
from pagewalk.walk.ranges import range_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]

__all__ = ["Way", "checked_range", "ways"]


class Way(NamedTuple):
    """Tables of one level that translate a range, by address.

    Attributes:
        level: The level.
        paddrs: Where they are. Shape (n,), uint64.
        vaddrs: The first address that each translates. Shape (n,), uint64.
        rights: The ``Rights`` that the levels above grant. Shape (n,), uint8.
        first, end: Their slots that lie in the range, counted from the first slot of the first table.
    """

    level: Level
    paddrs: Words
    vaddrs: Words
    rights: npt.NDArray[np.uint8]
    first: int
    end: int

    def vaddrs_of(self, slots: npt.NDArray[np.intp]) -> Words:
        """The first address of each of some slots."""
        table, slot = np.divmod(slots, self.level.entries)
        found: Words = self.vaddrs[table] + (slot.astype(np.uint64) << np.uint64(self.level.shift))
        return found


def checked_range(tables: PageTables, vaddr: int, size: int) -> tuple[int, int]:
    """A range to change, as its start and end.

    Raises:
        WalkError: EINVAL: it is empty, not whole pages, or not in one window.
        TypeError: No integers.
    """
    if size <= 0:
        raise WalkError(22, f"empty range: {size:#x} bytes at {vaddr:#x}")
    return range_of(vaddr, vaddr + size, tables)


def ways(tables: PageTables, start: int, end: int) -> Iterator[Way]:
    """The tables of each level that translate a range, root first; a level that has none there ends it.

    Args:
        tables: The page tables.
        start, end: The range, in one window.

    Raises:
        BadRoot, Malformed: A table is not in memory.
        ReservedBits: An entry on the way is none.
    """
    window = tables.window_of(start)
    source = Source(tables.memory, tables.format)
    levels = [level for level in tables.format.levels_of(window) if not level.folded]
    top = levels[0]
    tables.top(window)
    base = start >> top.shift + top.index_bits << top.shift + top.index_bits
    way = _way(top, _words(window.root), _words(base), np.array([Rights.all()], np.uint8), (start, end - 1))
    for level in levels:
        yield way
        below = level.beneath
        if below is None:
            return
        entries, found = source.rows(way.paddrs, level, np.empty((len(way.paddrs), level.entries), np.uint64))
        if found is not None:
            _missing(tables, way, found)
        next_ = _below(way, entries.reshape(-1)[way.first : way.end], (start, end - 1))
        if next_ is None:
            return
        way = next_


def _words(value: int) -> Words:
    """One word, as an array."""
    return np.array([value % (1 << 64)], np.uint64)


def _way(level: Level, paddrs: Words, vaddrs: Words, rights: npt.NDArray[np.uint8], span: tuple[int, int]) -> Way:
    """Tables with the slots that lie in the range."""
    return Way(level, paddrs, vaddrs, rights, *bounds_of(level, vaddrs, span))


def _below(way: Way, entries: Words, span: tuple[int, int]) -> Way | None:
    """The tables that entries in the range point to."""
    level, arrays = way.level, way.level.arrays
    below = level.beneath
    assert below is not None
    held = arrays.places(entries)
    wrong = arrays.wrong(entries[held])
    at = held[arrays.is_table(entries[held])]
    if wrong is not None:
        slot = held[np.flatnonzero(wrong)[:1]]
        vaddr, entry = int(way.vaddrs_of(slot + way.first)[0]), int(entries[slot[0]])
        raise ReservedBits(vaddr, level.real_depth, entry, f"{level.real_name} entry {entry:#x} is none: mend it first")
    if not len(at):
        return None
    children, places = entries[at], at + way.first
    rights = arrays.rights(children) & way.rights[places >> level.index_bits]
    return _way(below, arrays.tables(children), way.vaddrs_of(places), rights, span)


def _missing(tables: PageTables, way: Way, found: npt.NDArray[np.bool_]) -> None:
    """Raise what a walk would raise over a table that is not in memory."""
    at = int((~found).argmax())
    tables.table_at(int(way.paddrs[at]), way.level)
