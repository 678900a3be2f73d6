"""The page tables of a simulated address space: locks a table, arrays of entries, and tables set aside for splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.doors import refuse_pickling
from pagewalk.formats import Flag
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.hardware.pool import TableFrames
from pagewalk.tables import Entry, PageTables, Table
from pagewalk.walk import WalkOps, walk_page_range_novma

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

    import numpy.typing as npt

    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.hardware.machine import Hardware
    from pagewalk.walk import Walk

    Entries = npt.NDArray[np.uint64]

__all__ = ["MmTables", "Slice", "ops_of"]

_CALLBACKS: Final = ("pgd_entry", "p4d_entry", "pud_entry", "pmd_entry")
"""The walk's names for the levels above the last, by depth."""


class Slice(NamedTuple):
    """Entries of one table of the last level, in place.

    Attributes:
        vaddr: The address of the first.
        entries: Raw values, shape (n,), uint64; writing to it writes the table.
    """

    vaddr: int
    entries: Entries


class MmTables(PageTables):
    """Page tables in a simulated machine's RAM.

    For each huge page a table is set aside when it is mapped (the kernel's deposited page table), so that splitting it
    never fails for want of a frame.

    Args:
        machine: Whose RAM and frames.

    Raises:
        OutOfFrames: No frame for the top table.

    Attributes:
        deposits: The tables set aside.
    """

    def __init__(self, machine: Hardware) -> None:
        frames = TableFrames(machine.frames)
        super().__init__(machine.memory, frames.allocate(), machine.format, allocator=frames)
        self.machine = machine
        self.geometry = machine.geometry
        self.deposits: list[int] = []

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "PageTables(machine.memory, mm.tables.root) can, with a copy of the RAM")

    def lock(self, table: Table) -> threading.RLock:
        """The lock of one table: the machine's, which guards them all."""
        return self.machine.lock

    # -- huge pages --------------------------------------------------------------------------------------------------

    def deposit(self) -> None:
        """Set a table aside for a huge page that is about to be mapped.

        Raises:
            OutOfFrames: There is none.
        """
        assert self.allocator is not None
        self.deposits.append(self.allocator.allocate())

    def withdraw(self) -> None:
        """Give a set-aside table back: a huge page has gone."""
        assert self.allocator is not None
        self.allocator.free(self.deposits.pop())

    def set_aside(self, deposits: list[int | None]) -> None:
        """Say which tables are set aside; None for one that is missing and taken anew."""
        assert self.allocator is not None
        self.deposits = [self.allocator.allocate() if paddr is None else paddr for paddr in deposits]

    def split(self, entry: Entry, vaddr: int, *, folio: bool = False) -> None:
        """See ``PageTables.split``: into the table that was set aside; the huge zero page becomes zero pages.

        ``folio``: its folio is split at once, and what is dirty is not told as a write (``freeze``).

        A file's huge page leaves an empty entry: faults will find its pages in the page cache (``__split_huge_pmd``).
        """
        set_aside = entry.level.span == self.geometry.block_size
        if set_aside:
            self.machine.do(self._split, entry, vaddr, folio)
        else:
            self.machine.do(super().split, entry, vaddr)

    def grow(self, entry: Entry, vaddr: int) -> None:
        """See ``PageTables.grow``."""
        self.machine.do(super().grow, entry, vaddr)

    def _split(self, entry: Entry, vaddr: int, folio: bool) -> None:
        self.check_split(entry, vaddr)
        if self.maps_file(entry):
            self.split_file(entry)
            return
        zero = entry.target == self.machine.huge_zero
        contents = self._zero_pages(entry) if zero else self.split_contents(entry, vaddr)
        table = self.deposits.pop()
        self.machine.memory.write(table, contents)
        entry.value = self.geometry.upper.table(table)
        if self.machine.soft_dirty and not folio:
            self._note_dirty(self.words_at(table, self.geometry.last))
        if zero:
            self.machine.drop_huge_zero()

    def _note_dirty(self, entries: Entries) -> None:
        """Entries of the last level were made anew: those that are dirty are soft-dirty then (``pte_mkdirty``)."""
        last = self.geometry.last
        dirty = last.flags(entries) & int(Flag.DIRTY) != 0
        entries[dirty] = last.with_flags(entries[dirty], Flag.SOFT_DIRTY)

    def maps_file(self, entry: Entry) -> bool:
        """Whether a huge page of a block is a file's: no table is set aside for it."""
        return entry.target is not None and bool(self.machine.frames.used_as(entry.target, Usage.FILE)[0])

    def split_file(self, entry: Entry) -> None:
        """Empty an entry of a file's huge page, to be mapped by parts: its folio is referenced if it was used."""
        frames = self.machine.frames
        if Flag.ACCESSED in entry.flags and entry.target is not None:
            frames.recency.refer(frames.run(entry.target, self.machine.frames.page_size))
        self.clear_file(entry)

    def clear_file(self, entry: Entry) -> None:
        """Empty an entry that maps a file's huge page, which is dirty now if it was written there."""
        frames, paddr = self.machine.frames, entry.target
        assert paddr is not None
        run, dirty = frames.run(paddr, self.geometry.block_size), Flag.DIRTY in entry.flags
        entry.value = self.geometry.upper.none
        if dirty:
            frames.set_dirty(run)
        frames.drop(run)

    def _zero_pages(self, entry: Entry) -> bytes:
        """A table of entries of the zero page with the rights that a huge zero page's entry has."""
        last = self.geometry.last
        value = last.zero_page(self.machine.zero, self.geometry.levels[entry.level.depth], entry.value)
        return np.full(last.per_table, value, last.dtype).tobytes()

    # -- finding -----------------------------------------------------------------------------------------------------

    def upper_at(self, vaddr: int, *, grow: bool = False) -> Entry | None:
        """The entry above the last level: a link to a table of it, or a huge page. As ``entry_at``."""
        return self.entry_at(vaddr, self.geometry.upper, grow=grow)

    def last_at(self, vaddr: int, *, grow: bool = False) -> Entry | None:
        """The entry of the last level. As ``entry_at``."""
        return self.entry_at(vaddr, self.geometry.last, grow=grow)

    def entry_at(self, vaddr: int, level: LevelEntries, *, grow: bool = False) -> Entry | None:
        """The entry for an address at a level.

        Args:
            vaddr: The address.
            level: The level wanted; ``upper_at`` and ``last_at`` are those of the levels wanted most.
            grow: Make missing tables.

        Returns:
            The entry; None where a table above is missing, or a huge page stands there.

        Raises:
            OutOfFrames: A table cannot be made.
        """
        table = self.root_table
        while True:
            entry = Entry(table, table.level.index(vaddr))
            if table.level.depth == level.depth:
                return entry
            if not entry.level.folds:
                if entry.is_none and grow:
                    with self.lock(table):
                        if entry.is_none:
                            self.grow(entry, vaddr)
                if not entry.is_table:
                    return None
            table = self.child(entry, vaddr)

    def each_upper(self, start: int, end: int, visit: Callable[[Entry, int, int, Walk], None]) -> None:
        """Visit the entries of a range above the last level that are not empty, each with its part of the range."""
        walk_page_range_novma(self, start, end, ops_of([self.geometry.upper], visit))

    def huge_entries(self, start: int, end: int) -> list[Entry]:
        """The entries of a range that map huge pages of a block."""
        found: list[Entry] = []
        self.each_upper(start, end, lambda entry, addr, next_, walk: found.append(entry))
        return [entry for entry in found if entry.is_leaf]

    def slices(self, start: int, end: int) -> Iterator[Slice]:
        """The entries of the last level that exist in a range, a table at a time. Huge pages are passed over."""
        found: list[tuple[Entry, int, int]] = []
        self.each_upper(start, end, lambda entry, addr, next_, walk: found.append((entry, addr, next_)))
        return (self.slice(entry, addr, next_) for entry, addr, next_ in found if entry.is_table)

    def slice(self, upper: Entry, start: int, end: int) -> Slice:
        """The entries below one of the level above that cover a range, in place."""
        level = self.geometry.last
        first = level.index(start)
        return Slice(start, self.words(self.child(upper, start))[first : first + (end - start) // level.span])

    def words(self, table: Table) -> Entries:
        """A table's entries as an array, in place: shape (entries,)."""
        slots: Any = table.slots
        return np.frombuffer(slots, self.geometry.last.dtype)

    def words_at(self, paddr: int, level: LevelEntries) -> Entries:
        """The entries of the table of a level that a frame holds, in place."""
        frame = self.machine.frames.words[paddr // self.geometry.page_size]
        return frame.view(level.dtype)[: level.per_table]

    # -- freeing -----------------------------------------------------------------------------------------------------

    def free_tables(self, start: int, end: int, floor: int, ceiling: int) -> None:
        """Free the tables that covered ``[start, end)`` and nothing outside ``[floor, ceiling)``.

        Source: ``free_pgtables``, Linux 6.18.
        """
        for level in reversed(self.geometry.levels[:-1]):
            if level.level.folds:
                continue
            first = start // level.span * level.span
            last = -(-end // level.span) * level.span
            first += level.span * (first < floor)
            last -= level.span * (last > ceiling)
            if first < last:
                self._unlink(level, first, last)

    def _unlink(self, level: LevelEntries, start: int, end: int) -> None:
        """Free the tables under the entries of one level."""
        gone: list[int] = []

        def unlink(entry: Entry, addr: int, next_: int, walk: Walk) -> None:
            if entry.is_table:
                gone.append(int(level.frame(entry.value)))
                entry.value = level.none

        walk_page_range_novma(self, start, end, ops_of([level], unlink))
        if gone:
            self.machine.frames.drop(np.array(gone, np.uint64))

    def free_root(self) -> None:
        """Free the top table, the last one left."""
        assert self.allocator is not None
        self.allocator.free(self.root)


def ops_of(levels: Iterable[LevelEntries], visit: Callable[[Entry, int, int, Walk], None], **more: Any) -> WalkOps:
    """What a walk needs to visit the entries of levels above the last, and whatever else it is to call."""
    return WalkOps(**{_CALLBACKS[level.depth]: visit for level in levels}, **more)  # type: ignore[arg-type]
