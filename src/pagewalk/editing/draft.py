"""Page tables over an overlay: their entries as arrays, to be looked at and changed before anybody else sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.editing.ways import ways
from pagewalk.errors import NeedsSplit
from pagewalk.formats import Kind
from pagewalk.memory.overlay import Overlay
from pagewalk.sweep.inplace import Held
from pagewalk.tables import Entry, PageTables
from pagewalk.tables.groups import unfold

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import numpy.typing as npt

    from pagewalk.editing.ways import Way
    from pagewalk.formats import Level
    from pagewalk.frames import FrameAllocator

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]
    Places = npt.NDArray[np.intp]

__all__ = ["PAGES", "Draft", "Slots"]

PAGES: Final = (Kind.PRESENT, Kind.PROT_NONE)
"""What maps memory."""


class Slots(NamedTuple):
    """Entries of one level that lie in a range and point to no table, by address.

    Attributes:
        way: Their tables.
        places: Their slots, counted from the first slot of the first table. Shape (n,).
        entries: What they are. Shape (n,), uint64.
        kinds: Their kinds. Shape (n,), uint8.
    """

    way: Way
    places: Places
    entries: Words
    kinds: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def level(self) -> Level:
        """Their level."""
        return self.way.level

    @property
    def vaddrs(self) -> Words:
        """The first address of each."""
        return self.way.vaddrs_of(self.places)

    def chosen(self, mask: Mask) -> Slots:
        """Some of them."""
        return Slots(self.way, self.places[mask], self.entries[mask], self.kinds[mask])

    def of(self, kinds: Collection[Kind]) -> Slots:
        """Those of some kinds."""
        return self.chosen(np.isin(self.kinds, [int(kind) for kind in kinds]))


class Draft:
    """Page tables over an overlay.

    Args:
        tables: The page tables that are to be changed; they are read only.
        allocator: Where frames for new tables come from.

    Attributes:
        before: The page tables as they were given.
        original: The same as they were when they were looked at, whatever has become of them.
        tables: The same as they are to be.
        overlay: Their memory.
    """

    def __init__(self, tables: PageTables, allocator: FrameAllocator) -> None:
        self.before = tables
        block = max(4096, *(level.table_bytes for level in tables.format.hardware))
        self.overlay = Overlay(tables.memory, block)
        self.tables = PageTables(self.overlay, None, tables.format, windows=tables.windows, allocator=allocator)
        self.original = PageTables(self.overlay.as_it_was(), None, tables.format, windows=tables.windows)
        self._held = Held(self.overlay, tables.format.word)

    def slots(self, start: int, end: int) -> Iterator[Slots]:
        """The entries of a range, level by level, root first; not those that are empty.

        A table that translates several parts of the range is looked at once: where it first does so.
        """
        for way in ways(self.tables, start, end):
            entries = self._rows(way).reshape(-1)[way.first : way.end]
            kinds = way.level.arrays.kinds(entries)
            places = np.flatnonzero((kinds != Kind.TABLE) & (kinds != Kind.NONE))
            found = Slots(way, places + way.first, entries[places], kinds[places])
            yield found.chosen(_met_first(way, found.places))

    def put(self, slots: Slots, values: Any) -> None:
        """Write entries: one for all, or one each."""
        table, slot = np.divmod(slots.places, slots.level.entries)
        self._held.words[self._starts(slots.way)[table] + slot] = values

    def entry(self, slots: Slots, at: int) -> Entry:
        """One of them, alone."""
        table, slot = divmod(int(slots.places[at]), slots.level.entries)
        return Entry(self.tables.table_at(int(slots.way.paddrs[table]), slots.level), slot)

    def fit(self, start: int, end: int, *, split: bool) -> None:
        """See to it that no page reaches out of a range.

        Args:
            start, end: The range.
            split: Split those that do; else they are refused.

        Raises:
            NeedsSplit: One does.
            OutOfFrames, UnsupportedError, WalkError: It cannot be split.
        """
        while (found := self._reaching_out(start, end)) is not None:
            slots, at = found
            vaddr, size = int(slots.vaddrs[at]), page_bytes(slots.level, int(slots.entries[at]))
            if not split:
                first = vaddr // size * size
                raise NeedsSplit(
                    f"the page of {size:#x} bytes at {first:#x} reaches out of [{start:#x}, {end:#x}): "
                    "take all of it, or let it be split (split=True, --split)",
                    vaddr,
                )
            self.divide(slots, at)

    def divide(self, slots: Slots, at: int) -> None:
        """Split one page into the next smaller ones, or let those of a group stand alone."""
        self.divide_entry(self.entry(slots, at), int(slots.vaddrs[at]))

    def divide_entry(self, entry: Entry, vaddr: int) -> None:
        """The same, by the page's entry."""
        if entry.level.decode(entry.value).row.order:
            unfold(entry.level, entry.table.slots, entry.index)
        else:
            self.tables.split(entry, vaddr)

    def empty_tables(self, start: int, end: int) -> list[Entry]:
        """The entries that point to tables of a range in which nothing is, of the lowest level that has any."""
        _, *below = ways(self.tables, start, end)
        for way in reversed(below):
            empty = np.asarray(way.level.is_none(self._rows(way))).all(axis=1)
            if empty.any():
                where = zip(way.vaddrs[empty].tolist(), way.paddrs[empty].tolist(), strict=True)
                return [self._pointing(vaddr, paddr) for vaddr, paddr in where]
        return []

    def _pointing(self, vaddr: int, paddr: int) -> Entry:
        """The entry on the way to an address that points to a table."""
        steps = self.tables.steps(vaddr)
        return next(entry for entry in steps if entry.is_table and entry.level.frame(entry.value) == paddr)

    def _reaching_out(self, start: int, end: int) -> tuple[Slots, int] | None:
        """A page that reaches out of a range: its level's entries, and which of them; the largest first."""
        for found in self.slots(start, end):
            pages = found.of(PAGES)
            for at in (0, -1) if len(pages) else ():
                size = page_bytes(pages.level, int(pages.entries[at]))
                first = int(pages.vaddrs[at]) // size * size
                if first < start or first + size > end:
                    return pages, at
        return None

    def _starts(self, way: Way) -> Places:
        """Where the tables' copies begin, in words."""
        return self._held.places(way.paddrs, way.level.table_bytes)[0]

    def _rows(self, way: Way) -> Words:
        """The raw entries of tables, shape (n, entries).

        Raises:
            BadRoot, Malformed: One is not in memory.
        """
        level = way.level
        places, outside = self._held.places(way.paddrs, level.table_bytes)
        if outside is not None:
            self.tables.table_at(int(way.paddrs[outside][0]), level)
        return self._held.rows(places, level.entries, np.empty((len(places), level.entries), np.uint64))


def page_bytes(level: Level, entry: int) -> int:
    """Bytes of the page that an entry maps, alone or with others."""
    return level.span << level.decode(entry).row.order


def _met_first(way: Way, places: Places) -> Mask:
    """Which of some slots are not of a table that was met before."""
    _, first = np.unique(way.paddrs, return_index=True)
    once = np.zeros(len(way.paddrs), np.bool_)
    once[first] = True
    return once[places >> way.level.index_bits]
