"""The oracle: page tables walked slowly and obviously, from the manual and from the contract.

Nothing here comes from ``pagewalk``; plain integers only. Two halves:

* ``Hardware`` is Intel SDM vol. 3A, chapter 5: what an address translates to, and everything in a range.
* ``Contract`` is contract.md: which callbacks a walk makes, in which order, on a model of the tables made of dicts, and
  what installing and splitting leave behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

Read = Callable[[int], "int | None"]
"""The 8-byte word at a physical address, or None where there is no memory."""

PAGE = 4096
EVERYTHING = (1 << 64) - 1
ADDRESS = 0x000F_FFFF_FFFF_F000  # bits 51:12

# SDM 5.5.4: which bits of a linear address select the entry, by the kernel's depth: 0 PML5 (or PML4) .. 4 PT.
SHIFT_OF = {4: (39, 39, 30, 21, 12), 5: (48, 39, 30, 21, 12)}
NAMES = ("pgd_entry", "p4d_entry", "pud_entry", "pmd_entry", "pte_entry")


def canonical(vaddr: int, levels: int) -> bool:
    """SDM 5.5.4 and vol. 1, 3.3.7.1: bits 63:47 (63:56 with 5 levels) are all equal."""
    top = vaddr >> (47 if levels == 4 else 56)
    return top in (0, 0x1FFFF if levels == 4 else 0xFF)


class Found(NamedTuple):
    """What one entry that ends a translation says."""

    what: str  # leaf, absent (not empty), hole, reserved, outside
    vaddr: int
    size: int
    depth: int
    entry: int
    paddr: int = 0
    write: bool = False
    user: bool = False
    execute: bool = False


@dataclass(frozen=True)
class Hardware:
    """The paging structures as the processor reads them."""

    read: Read
    root: int
    levels: int = 4
    physical_bits: int = 52

    def depths(self) -> list[int]:
        return [0, 2, 3, 4] if self.levels == 4 else [0, 1, 2, 3, 4]

    def everything(self, start: int, end: int) -> Iterator[Found]:
        """Every entry that ends a translation in ``[start, end)``, by address."""
        at = start
        while at < end:
            found = self.look(at)
            yield found
            at = found.vaddr + found.size

    def look(self, vaddr: int) -> Found:
        """One translation. Tables 5-14 to 5-20."""
        write = user = execute = True
        table = self.root
        for depth in self.depths():
            shift = SHIFT_OF[self.levels][depth]
            first = vaddr >> shift << shift
            slot = table + 8 * (vaddr >> shift & 511)
            entry = self.read(slot)
            if entry is None:
                return Found("outside", first, 1 << shift, depth, 0)
            if not entry & 1:
                empty = entry & ~0x60 == 0  # Linux leaves stray A and D bits out of account
                return Found("hole" if empty else "absent", first, 1 << shift, depth, entry)
            leaf = depth == 4 or (depth in (2, 3) and entry & 0x80 != 0)
            if entry & self.must_be_zero(depth, leaf):
                return Found("reserved", first, 1 << shift, depth, entry)
            write, user, execute = write and bool(entry & 2), user and bool(entry & 4), execute and not entry >> 63
            if leaf:
                paddr = entry & ADDRESS & (EVERYTHING << shift)
                return Found("leaf", first, 1 << shift, depth, entry, paddr, write, user, execute)
            table = entry & ADDRESS
            if self.read(table) is None or self.read(table + PAGE - 8) is None:
                return Found("outside", first, 1 << shift, depth, entry)
        raise AssertionError("the last level has only pages")

    def must_be_zero(self, depth: int, leaf: bool) -> int:
        """Reserved bits: above MAXPHYADDR, PS in PML5E and PML4E, and the address bits under a large page."""
        above = (1 << 52) - (1 << self.physical_bits)
        if depth < 2:
            return above | 0x80
        if leaf and depth == 2:
            return above | 0x3FFF_E000  # bits 29:13
        if leaf and depth == 3:
            return above | 0x001F_E000  # bits 20:13
        return above


# -- the contract --------------------------------------------------------------------------------------------------

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


class Page(NamedTuple):
    """One row of a listing: a page or what stands in its place; ``frame`` is None where there is none."""

    vaddr: int
    frame: int | None
    size: int
    span: int
    alike: tuple[int, ...]


def joined(pages: list[Page]) -> list[tuple[int, int | None, int, tuple[int, ...], bool]]:
    """Rule: "Rows join while the frames go on, or while all pages have the *same* frame"; the latter first.

    Returns:
        vaddr, first frame, size, what all pages have alike, and whether they all have that one frame.
    """

    def neighbours(low: Page, high: Page) -> bool:
        return low.vaddr + low.size == high.vaddr and low.alike == high.alike and low.span == high.span

    def same(at: int) -> bool:
        if not 0 <= at < len(pages) - 1:
            return False
        low, high = pages[at], pages[at + 1]
        return neighbours(low, high) and low.frame is not None and low.frame == high.frame and low.size == low.span

    def follows(at: int) -> bool:
        low, high = pages[at], pages[at + 1]
        if not neighbours(low, high) or same(at - 1) or same(at + 1):
            return False
        return high.frame == (None if low.frame is None else low.frame + low.size)

    rows: list[tuple[int, int | None, int, tuple[int, ...], bool]] = []
    for at, page in enumerate(pages):
        if rows and (same(at - 1) or follows(at - 1)):
            vaddr, frame, size, alike, _ = rows.pop()
            rows.append((vaddr, frame, size + page.size, alike, same(at - 1)))
        else:
            rows.append((page.vaddr, page.frame, page.size, page.alike, False))
    return rows
