"""The oracle of the walk: contract.md, on a model of the tables made of dicts (x86-64).

Which callbacks a walk makes, in which order, and what installing and splitting leave behind. Nothing here comes from
``pagewalk``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.reference.x86 import ADDRESS, PAGE, SHIFT_OF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.reference.found import Read

NAMES = ("pgd_entry", "p4d_entry", "pud_entry", "pmd_entry", "pte_entry")

Tables = dict[int, "int | Table"]


class Table:
    """A table of the model: only what is not empty. Aliased tables are one object."""

    def __init__(self, slots: Tables | None = None, paddr: int | None = None) -> None:
        self.slots = slots if slots is not None else {}
        self.paddr = paddr

    def __getitem__(self, index: int) -> int | Table:
        return self.slots.get(index, 0)


class Call(NamedTuple):
    """One callback. ``raw`` is an entry's value; "table" for one made by the walk, None where there is no entry."""

    name: str
    addr: int
    next: int
    depth: int | None = None
    raw: int | str | None = None


class NoFrame(Exception):
    """The model has no frame for a table; carries the address."""


class Area(NamedTuple):
    """A VMA of the model."""

    start: int
    end: int
    pfnmap: bool = False
    huge: int = 0


@dataclass
class Contract:
    """The walk that contract.md describes, on a model of the tables.

    ``install`` gives the value for an address, or None to skip; after ``frames`` tables there are no more.
    ``calls``, ``allocated`` and ``installed`` are what the walk did.
    """

    root: Table
    levels: int
    present: frozenset[str]
    install: Callable[[int], int | None] | None = None
    vmas: list[Area] | None = None
    skip: Callable[[int], bool] = lambda start: False
    calls: list[Call] = field(default_factory=list)
    frames: int | None = None
    allocated: int = 0
    installed: int = 0

    def walk(self, start: int, end: int) -> list[Call]:
        """A whole walk."""
        if self.vmas is None:
            self.table(self.root, 0, start, end)
            return self.calls
        at = start
        for area in sorted(self.vmas):
            low, high = max(at, area.start), min(end, area.end)
            if low < high:
                if at < low:
                    self.hole(at, low, -1)
                self.area(area, low, high)
                at = high
        if at < end:
            self.hole(at, end, -1)
        return self.calls

    def area(self, area: Area, low: int, high: int) -> None:
        """Rule: "``test_walk``: before a VMA ... Without it, VM_PFNMAP VMAs are skipped, after a ``pte_hole``"."""
        if "test_walk" in self.present:
            self.calls.append(Call("test_walk", low, high))
            if self.skip(area.start):
                return
        elif area.pfnmap:
            self.hole(low, high, -1)
            return
        if "pre_vma" in self.present:
            self.calls.append(Call("pre_vma", low, high))
        if area.huge:
            self.hugetlb(area, low, high)
        else:
            self.table(self.root, 0, low, high)
        if "post_vma" in self.present:
            self.calls.append(Call("post_vma", 0, 0))

    def hugetlb(self, area: Area, low: int, high: int) -> None:
        """Rule: "hugetlb VMAs see no other entry callback"; a hole of -1 "where a hugetlb entry has no table"."""
        if "hugetlb_entry" not in self.present:
            return
        at = low
        while at < high:
            next_ = min((at // area.huge + 1) * area.huge, high)
            slot = self.slot_of_size(at, area.huge)
            if slot is None:
                self.hole(at, next_, -1)
            else:
                self.calls.append(Call("hugetlb_entry", at, next_, None, slot))
            at = next_

    def slot_of_size(self, vaddr: int, size: int) -> int | str | None:
        table: int | Table = self.root
        for depth in (0, 1, 2, 3):
            if self.levels == 4 and depth == 1:
                continue
            if not isinstance(table, Table):
                return None
            entry = table[vaddr >> SHIFT_OF[self.levels][depth] & 511]
            if 1 << SHIFT_OF[self.levels][depth] == size:
                return shown(entry)
            table = entry
        raise AssertionError(f"no level has pages of {size:#x} bytes")

    def hole(self, addr: int, next_: int, depth: int) -> None:
        if "pte_hole" in self.present:
            self.calls.append(Call("pte_hole", addr, next_, depth))

    def entry(self, depth: int, addr: int, next_: int, entry: int | Table) -> None:
        if NAMES[depth] in self.present:
            self.calls.append(Call(NAMES[depth], addr, next_, depth, shown(entry)))

    def wanted_below(self, depth: int) -> bool:
        """Rule: "A level is descended into only when a callback for a lower level, or ``install_pte``, is there"."""
        return any(name in self.present for name in NAMES[depth + 1 :])

    def table(self, table: Table, depth: int, start: int, end: int) -> None:
        """Every entry of one table that lies in the range."""
        shift = SHIFT_OF[self.levels][depth]
        at = start
        while at < end:
            next_ = min((at >> shift) + 1 << shift, end)
            if depth == 4:
                self.last(table, at, next_)
            else:
                self.upper(table, depth, at, next_)
            at = next_

    def upper(self, table: Table, depth: int, addr: int, next_: int) -> None:
        """One entry above the last level."""
        slot = addr >> SHIFT_OF[self.levels][depth] & 511
        if self.levels == 4 and depth == 0:
            # "Folded levels ... still get their callbacks"; "a folded upper level is never empty"
            self.entry(0, addr, next_, table[slot])
            if not self.wanted_below(0) and self.install is None:
                return
            depth = 1
        if empty(table[slot]):
            if self.install is None:
                self.hole(addr, next_, 0 if self.levels == 4 and depth == 1 else depth)
                return
            self.allocate(addr)
            table.slots[slot] = Table()
        self.entry(depth, addr, next_, table[slot])
        entry = table[slot]
        if not isinstance(entry, Table):
            if not self.may_split(entry, depth):
                return
            self.allocate(addr)
            table.slots[slot] = entry = split(entry, depth)
        if self.wanted_below(depth) or self.install is not None:
            self.table(entry, depth + 1, addr, next_)

    def allocate(self, addr: int) -> None:
        """Rule: "a table cannot be allocated (ENOMEM), the walk ends there"."""
        if self.allocated == self.frames:
            raise NoFrame(addr)
        self.allocated += 1

    def may_split(self, entry: int, depth: int) -> bool:
        """Rule: "split, if a lower handler has work in it"; without VMAs never; only installing: not a present one."""
        if self.vmas is None:
            return False
        return self.wanted_below(depth) or (self.install is not None and not entry & 0x101)

    def last(self, table: Table, addr: int, next_: int) -> None:
        """Rule: "for every entry of the lowest level, empty ones too, unless ``install_pte`` is set"."""
        slot = addr >> 12 & 511
        if self.install is not None and empty(table[slot]):
            self.calls.append(Call("install_pte", addr, next_))
            value = self.install(addr)
            if value is not None:
                table.slots[slot] = value
                self.installed += 1
        else:
            self.entry(4, addr, next_, table[slot])


def empty(entry: int | Table) -> bool:
    """Linux's ``none``: stray accessed and dirty bits do not count (the Xeon Phi erratum)."""
    return not isinstance(entry, Table) and entry & ~0x60 == 0


def shown(entry: int | Table) -> int | str:
    """How a call records an entry: tables by one word, since the walk chooses where new ones lie."""
    return "table" if isinstance(entry, Table) else entry


def split(entry: int, depth: int) -> Table:
    """A huge page as 512 smaller ones. SDM tables 5-16, 5-18, 5-20; PROT_NONE's frames are inverted."""
    frames = 1 << (9 if depth == 2 else 0)  # 4 KiB frames in one of the smaller pages
    if not entry & 0x101:  # a migration entry: the offset, inverted in bits 58:9, holds the frame number
        return Table({i: entry - (i * frames << 9) for i in range(512)})
    bytes_ = PAGE * frames
    big = bytes_ * 512
    inverted = not entry & 1
    frame = (entry ^ (ADDRESS if inverted else 0)) & ADDRESS & -big
    rest = entry & ~ADDRESS & ~0x80
    pat = entry >> 12 & 1
    low = pat << 12 | 0x80 if depth == 2 else pat << 7
    slots: Tables = {}
    for i in range(512):
        address = (frame + i * bytes_) ^ (ADDRESS if inverted else 0)
        slots[i] = rest | low | address & ADDRESS & -bytes_
    return Table(slots)


def model(read: Read, root: int, levels: int) -> Table:
    """The tables in a memory, as a model; every table object is shared by all entries that point to it."""
    seen: dict[tuple[int, int], Table] = {}

    def load(paddr: int, depth: int) -> Table:
        if (paddr, depth) in seen:
            return seen[paddr, depth]
        table = seen[paddr, depth] = Table({}, paddr)
        for index in range(512):
            entry = read(paddr + 8 * index) or 0
            if entry:
                pointer = entry & 1 and depth < 4 and not (depth in (2, 3) and entry & 0x80)
                below = 2 if levels == 4 and depth == 0 else depth + 1
                table.slots[index] = load(entry & ADDRESS, below) if pointer else entry
        return table

    return load(root, 0)


def flatten(table: Table, levels: int, depth: int = 0, base: int = 0) -> Iterator[tuple[int, int, int]]:
    """Every non-empty entry that is no table, as ``(vaddr, depth, raw)``; addresses without their sign bits."""
    for index, entry in sorted(table.slots.items()):
        vaddr = base + (index << SHIFT_OF[levels][depth])
        if isinstance(entry, Table):
            yield from flatten(entry, levels, 2 if levels == 4 and depth == 0 else depth + 1, vaddr)
        else:
            yield vaddr, depth, entry
