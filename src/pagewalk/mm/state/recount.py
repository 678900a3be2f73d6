"""Counting a machine's books anew, after a change was torn off: by Ctrl-C, or by an error that nobody foresaw.

How it works. Page tables, areas and files are what a machine holds. Everything else follows from them: how often a
frame is referenced, which are free, who uses a swap slot, how many tables are set aside, what a pool has and owes. A
change that is torn off leaves the former right at every step, and the latter behind by one. So:

1. Areas: one that another has grown over is gone. Files are told of the areas that map them.
2. Tables: every space's are read from the root. An entry outside the areas is emptied, as is one whose frame or swap
   slot was given back already, a second link to a table, and the link to an empty one that no area needs: each was on
   its way there.
3. Files and pools hold one reference a page.
4. What was counted is what there is; frames that nobody has named are free.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.formats import Flag, Kind
from pagewalk.mm.entries import is_page
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.state.area import Area
from pagewalk.mm.state.files import File
from pagewalk.mm.state.huge_files import HugeFile
from pagewalk.mm.state.space import Space
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.hardware.machine import Hardware
    from pagewalk.mm.state.tables import Entries
    from pagewalk.space import Mapping, Vma

__all__ = ["recount"]


def recount(machine: Hardware) -> None:
    """Make a machine's books say what its page tables, areas and files hold. Its lock is held."""
    spaces = [mm for mm in machine.spaces if isinstance(mm, Space) and mm.alive]
    mappings = _mend_areas(machine, spaces)
    count = _Count(machine)
    for mm in spaces:
        count.space(mm)
    count.files(mappings)
    for paddr in machine.swap.recount(count.slots, count.held()):
        count.references[paddr // machine.geometry.page_size] += 1
    machine.frames.recount(count.references, _file_folios(mappings))
    count.mend_usage()
    machine.set_users_of_huge_zero(count.huge_zero)
    for mm in spaces:
        mm.tables.set_aside(count.deposits[mm])
    machine.hugetlb.update(_unused(machine))
    machine.restoring -= {paddr for pages in machine.hugetlb.values() for paddr in pages}
    machine.set_promised(_promised(machine, mappings))


def _mend_areas(machine: Hardware, spaces: list[Space]) -> set[Mapping]:
    """Make the lists of areas agree with each other; returns every file there is."""
    mappings: set[Mapping] = {file for file in machine.files if isinstance(file, File) and file.alive}
    for mm in spaces:
        mm.vmas.keep(_apart(list(mm.vmas)))
        mappings |= {vma.mapping for vma in mm.vmas if vma.mapping is not None}
    for mapping in mappings:
        mapping.forget()
    for mm in spaces:
        for vma in mm.vmas:
            vma.mm = mm
            if vma.mapping is not None:
                vma.mapping.add(vma)
    return mappings


def _apart(vmas: list[Vma]) -> list[Vma]:
    """VMAs in order, without those that others cover."""
    kept: list[Vma] = []
    for vma in sorted(vmas, key=lambda vma: (vma.start, -vma.end)):
        if not kept or kept[-1].end <= vma.start:
            kept.append(vma)
        else:
            vma.mm = None
    return kept


def _file_folios(mappings: set[Mapping]) -> list[Entries]:
    """The frames of each large folio of a file; one of which a page is gone is none any more."""
    found = []
    for file in [file for file in mappings if isinstance(file, File)]:
        for folio in list(file.folios):
            if all(index in file.pages for index in folio):
                found.append(file.paddrs(folio))
            else:
                file.folios.forget(folio)
    return found


def _unused(machine: Hardware) -> dict[int, list[int]]:
    """The pages of the hugetlb pools that nobody but the pool has."""
    frames, unused = machine.frames, {}
    for size, pages in machine.pools.items():
        unused[size] = [paddr for paddr in pages if frames.holders(paddr) == 1]
        for paddr in unused[size]:
            frames.use(frames.run(paddr, size), Usage.HUGETLB)
    return unused


def _promised(machine: Hardware, mappings: set[Mapping]) -> dict[int, int]:
    """How many pages of each size are owed; promises to areas that are gone are struck off."""
    promised: Counter[int] = Counter()
    for file in mappings:
        if isinstance(file, HugeFile):
            promised[file.page_size] += _owed_to_shared(file) + _owed_to_private(file)
    for size, pages in machine.pools.items():
        promised[size] -= len(machine.restoring.intersection(pages))
    return dict(promised)


def _owed_to_shared(file: HugeFile) -> int:
    """How many pages of a file its shared mappings are owed: none, once it is gone with the last of them."""
    file.promised = set() if file.unlinked and not file.vmas else file.promised - file.pages.keys()
    return len(file.promised)


def _owed_to_private(file: HugeFile) -> int:
    """How many pages the private mappings of a file are owed; what shares a promise has a part of it each."""
    areas = [vma for vma in file.vmas if isinstance(vma, Area) and vma.promised is not None]
    total = 0
    for promised in {id(area.promised): area.promised for area in areas}.values():
        own: set[int] = set()
        for area in areas:
            if promised is area.promised and promised is not None:
                own.update(range(area.offset // file.page_size, (area.offset + area.size) // file.page_size))
        if promised is not None:
            promised &= own
            total += len(promised)
    return total


def _outside(bounds: Entries, addrs: Entries) -> Any:
    """Which addresses lie in no area: a bool an address. ``bounds``: start and end of each area, in order."""
    if not len(bounds):
        return np.ones(len(addrs), bool)
    below = np.searchsorted(bounds[:, 0], addrs, "right") - 1
    return (below < 0) | (addrs >= bounds[below, 1])


def _any_in(bounds: Entries, start: int, end: int) -> bool:
    """Whether any area reaches into a range."""
    return bool(((bounds[:, 0] < np.uint64(end)) & (bounds[:, 1] > np.uint64(start))).any())


class _Count:
    """What was counted so far.

    Attributes:
        references: For each frame, who holds it.
        slots: For each swap slot, how many entries name it.
        huge_zero: How many entries map the huge zero page.
        deposits: For each space, the tables set aside that it needs: one a huge page.
    """

    def __init__(self, machine: Hardware) -> None:
        self.machine = machine
        self.references = np.zeros(len(machine.frames), np.int32)
        self.slots: Counter[int] = Counter()
        self.huge_zero = 0
        self.deposits: dict[Space, list[int | None]] = {}
        self._page_size = machine.geometry.page_size
        self._free = machine.frames.usage == Usage.FREE
        self._linked: set[int] = set()
        self._huge = 0
        self._of_files: set[int] = set()
        self.references[machine.zero // self._page_size] += 1
        self.references += machine.frames.poisoned_at

    def files(self, mappings: set[Mapping]) -> None:
        """Count the pages that files and pools hold."""
        for size, pages in self.machine.pools.items():
            for paddr in pages:
                self._hold(paddr, size)
        for mapping in mappings:
            pages_of: dict[int, int] = getattr(mapping, "pages", {})
            for paddr in pages_of.values():
                self._hold(paddr, mapping.page_size)
            if isinstance(mapping, File):
                self._of_files.update(pages_of.values())
                self._swapped(mapping)
        if self.huge_zero and self.machine.huge_zero is not None:
            self._hold(self.machine.huge_zero, self.machine.geometry.block_size)

    def _swapped(self, file: File) -> None:
        """Count the pages of a file that are in swap: not those that are back, nor those whose slot is free."""
        there = self.machine.swap.has
        file.swapped = {at: slot for at, slot in file.swapped.items() if at not in file.pages and there(slot)}
        self.slots.update(file.swapped.values())

    def held(self) -> Any:
        """The frames in the swap cache that somebody maps; not those that a file has, or has again."""
        cached = set(self.machine.swap.cached.values()) - self._of_files
        return [paddr for paddr in cached if self.references[paddr // self._page_size]]

    def mend_usage(self) -> None:
        """Say of each frame whether it is in the swap cache."""
        frames, cached = self.machine.frames, set(self.machine.swap.cached.values())
        for number in np.flatnonzero(frames.usage == Usage.SWAP_CACHE).tolist():
            paddr = number * self._page_size
            if paddr not in cached:
                frames.use(paddr, Usage.FILE if paddr in self._of_files else Usage.ANON)

    def _hold(self, paddr: int, size: int) -> None:
        self.references[paddr // self._page_size : (paddr + size) // self._page_size] += 1

    def space(self, mm: Space) -> None:
        """Count one address space, emptying what does not belong there."""
        self._huge = 0
        bounds = np.array([(vma.start, vma.end) for vma in mm.vmas], np.uint64).reshape(-1, 2)
        self._table(mm, bounds, mm.tables.root, 0, 0)
        there = [paddr for paddr in dict.fromkeys(mm.tables.deposits) if paddr not in self._linked]
        wanted: list[int | None] = [*there[: self._huge]]
        for paddr in there[: self._huge]:
            self._hold(paddr, self._page_size)
        self.deposits[mm] = wanted + [None] * (self._huge - len(wanted))

    def _table(self, mm: Space, bounds: Entries, paddr: int, number: int, vaddr: int) -> None:
        """Count one table, of the numbered one of the levels that the hardware has, and those below it."""
        self._linked.add(paddr)
        self._hold(paddr, self._page_size)
        level = mm.geometry.real_levels[number]
        entries = mm.tables.words_at(paddr, level)
        is_table = level.is_table(entries)
        for at in np.flatnonzero(is_table).tolist():
            below = int(level.frame(int(entries[at])))
            start = vaddr + at * level.span
            if below in self._linked or self._free[below // self._page_size]:
                entries[at] = level.none
                continue
            self._table(mm, bounds, below, number + 1, start)
            if self._is_empty(mm, below, number + 1) and not _any_in(bounds, start, start + level.span):
                entries[at] = level.none
                self.references[below // self._page_size] = 0
        others = np.flatnonzero((entries != level.none) & ~is_table)
        if others.size:
            addrs = np.uint64(vaddr) + others.astype(np.uint64) * np.uint64(level.span)
            outside = _outside(bounds, addrs)
            entries[others[outside]] = level.none
            self._entries(mm, entries, others[~outside], level, addrs[~outside])

    def _is_empty(self, mm: Space, paddr: int, number: int) -> bool:
        """Whether a table has no entries."""
        level = mm.geometry.real_levels[number]
        return level.all_none(mm.tables.words_at(paddr, level))

    def _entries(self, mm: Space, entries: Entries, others: Any, level: LevelEntries, addrs: Entries) -> None:
        """Count the entries of a table that are neither empty nor tables."""
        values = entries[others]
        kinds = level.kind(values)
        pages = is_page(kinds) & (level.flags(values) & int(Flag.SPECIAL) == 0)
        for at in others[kinds == Kind.SWAP].tolist():
            slot = int(level.swap_slot(int(entries[at]))[1])
            if self.machine.swap.has(slot):
                self.slots[slot] += 1
            else:
                entries[at] = level.none
        paddrs = level.frame(values)
        gone = pages & self._free[np.where(pages, paddrs, np.uint64(0)) // np.uint64(self._page_size)]
        entries[others[gone]] = level.none
        pages &= ~gone
        if level is mm.geometry.last:
            np.add.at(self.references, paddrs[pages] // np.uint64(self._page_size), 1)
            return
        for addr, paddr in zip(addrs[pages].tolist(), paddrs[pages].tolist(), strict=True):
            self._huge_page(mm, paddr, level, addr)

    def _huge_page(self, mm: Space, paddr: int, level: LevelEntries, addr: int) -> None:
        """Count a huge page."""
        area = mm.area_at(addr)
        assert area is not None
        self._huge += VmaFlags.HUGETLB not in area.flags and not self.machine.frames.used_as(paddr, Usage.FILE)[0]
        if paddr == self.machine.huge_zero:
            self.huge_zero += 1
        else:
            self._hold(paddr, level.span)
