"""The page tables of a simulated address space: locks a table, arrays of entries, and tables set aside for splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.doors import refuse_pickling
from pagewalk.formats import Flag, Kind
from pagewalk.mm.frames import TableFrames
from pagewalk.tables import Entry, PageTables, Table
from pagewalk.walk import WalkOps, walk_page_range_novma

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.mm.machine import Machine

    Entries = npt.NDArray[np.uint64]

__all__ = ["PMD", "PTE", "MmTables", "Slice", "pte_array"]

PMD: Final = 3
PTE: Final = 4
_UPPER: Final = ((3, "pmd_entry"), (2, "pud_entry"), (1, "p4d_entry"), (0, "pgd_entry"))


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

    def __init__(self, machine: Machine) -> None:
        frames = TableFrames(machine.frames)
        super().__init__(machine.memory, frames.allocate(), machine.format, allocator=frames)
        self.machine = machine
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

    def split(self, entry: Entry, vaddr: int) -> None:
        """See ``PageTables.split``: into the table that was set aside; the huge zero page becomes 512 zero pages."""
        self.machine.do(self._split if entry.level.depth == PMD else super().split, entry, vaddr)

    def grow(self, entry: Entry, vaddr: int) -> None:
        """See ``PageTables.grow``."""
        self.machine.do(super().grow, entry, vaddr)

    def _split(self, entry: Entry, vaddr: int) -> None:
        self.check_split(entry, vaddr)
        zero = entry.target == self.machine.huge_zero
        contents = self._zero_page(entry) * entry.level.entries if zero else self.split_contents(entry)
        table = self.deposits.pop()
        self.machine.memory.write(table, contents)
        entry.value = self.format.table_entry(table)
        if zero:
            self.machine.drop_huge_zero()

    def _zero_page(self, entry: Entry) -> bytes:
        """An entry of the zero page with the rights that a huge zero page's entry has."""
        value = self.format.leaf_entry(self.machine.zero, int(entry.flags | Flag.SPECIAL))
        value |= entry.value & self.format.field_bits("PKEY", -1)
        if entry.kind is Kind.PROT_NONE:
            value = self.format.without_rights(value, self.format.levels[PTE])
        return value.to_bytes(8, "little")

    # -- finding -----------------------------------------------------------------------------------------------------

    def entry_at(self, vaddr: int, depth: int, *, grow: bool = False) -> Entry | None:
        """The entry for an address at a depth.

        Args:
            vaddr: The address.
            depth: The level wanted, 1 to 4.
            grow: Make missing tables.

        Returns:
            The entry; None where a table above is missing, or a huge page stands there.

        Raises:
            OutOfFrames: A table cannot be made.
        """
        table = self.root_table
        while True:
            entry = Entry(table, table.level.index(vaddr))
            if table.level.depth == depth:
                return entry
            if not self.format.folds_into_next(entry.level):
                if entry.is_none and grow:
                    with self.lock(table):
                        if entry.is_none:
                            self.grow(entry, vaddr)
                if not entry.is_table:
                    return None
            table = self.child(entry, vaddr)

    def huge_entries(self, start: int, end: int) -> list[Entry]:
        """The PMD entries that map huge pages in a range."""
        found: list[Entry] = []
        ops = WalkOps(pmd_entry=lambda entry, addr, next_, walk: found.append(entry))
        walk_page_range_novma(self, start, end, ops)
        return [entry for entry in found if entry.is_leaf]

    def slices(self, start: int, end: int) -> Iterator[Slice]:
        """The entries of the last level that exist in a range, a table at a time. Huge pages are passed over."""
        found: list[tuple[Entry, int, int]] = []
        ops = WalkOps(pmd_entry=lambda entry, addr, next_, walk: found.append((entry, addr, next_)))
        walk_page_range_novma(self, start, end, ops)
        return (self.slice(entry, addr, next_) for entry, addr, next_ in found if entry.is_table)

    def slice(self, pmd: Entry, start: int, end: int) -> Slice:
        """The entries below a PMD entry that cover a range, in place."""
        table = self.child(pmd, start)
        level = table.level
        first = level.index(start)
        return Slice(start, pte_array(table)[first : first + (end - start) // level.span])

    # -- freeing -----------------------------------------------------------------------------------------------------

    def free_tables(self, start: int, end: int, floor: int, ceiling: int) -> None:
        """Free the tables that covered ``[start, end)`` and nothing outside ``[floor, ceiling)``.

        Source: ``free_pgtables``, Linux 6.18.
        """
        for depth, name in _UPPER:
            level = self.format.levels[depth]
            if self.format.folds_into_next(level):
                continue
            first = start // level.span * level.span
            last = -(-end // level.span) * level.span
            first += level.span * (first < floor)
            last -= level.span * (last > ceiling)
            if first < last:
                self._unlink(name, first, last)

    def _unlink(self, callback: str, start: int, end: int) -> None:
        """Free the tables under the entries of one level."""
        gone: list[int] = []

        def unlink(entry: Entry, addr: int, next_: int, walk: Any) -> None:
            if entry.is_table:
                gone.append(self.format.table_paddr(entry.value))
                entry.value = 0

        walk_page_range_novma(self, start, end, WalkOps(**{callback: unlink}))  # type: ignore[arg-type]
        if gone:
            self.machine.frames.drop(np.array(gone, np.uint64))

    def free_root(self) -> None:
        """Free the top table, the last one left."""
        assert self.allocator is not None
        self.allocator.free(self.root)


def pte_array(table: Table) -> Entries:
    """A table's entries as an array, in place: shape (entries,), uint64."""
    slots: Any = table.slots
    return np.frombuffer(slots, "<u8")
