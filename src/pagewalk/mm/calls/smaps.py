"""What ``/proc/PID/smaps`` says: one row a VMA, in bytes (``fs/proc/task_mmu.c``, Linux 6.18).

A page counts whole in Rss, and as a share in Pss: by how many entries map it. Private is what one entry maps, dirty
what its entry or the page itself says so of. Neither the zero pages nor hugetlb pages are in any of these; guards and
userfaultfd's markers are in nothing at all. Locked is the Pss of locked memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.abi.smaps import ANON_HUGE, COUNTED, SHMEM_HUGE
from pagewalk.formats import Flag, Kind
from pagewalk.mm.entries import is_page
from pagewalk.mm.hardware.frames import HOLDERS, Usage
from pagewalk.mm.state.files import File
from pagewalk.mm.state.tables import ops_of
from pagewalk.space import VM_FLAG_CODES, VmaFlags
from pagewalk.walk import Action, walk_page_range

if TYPE_CHECKING:
    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

__all__ = ["SmapsRow", "smaps", "smaps_by_vma"]

SHARES: Final = ("Pss", "Pss_Dirty", "SwapPss", "Locked")
SHARE_BITS: Final = 12
"""Shares are summed up in such a part of a byte (PSS_SHIFT)."""
SUMS: Final = ("Size", *COUNTED)
MAYBE_GUARD: Final = VmaFlags(0x800)
"""VM_MAYBE_GUARD, which ``Area`` has as ``guarded``."""
MNEMONICS: Final = sorted([(MAYBE_GUARD, "gu"), *((flag, code) for code, flag in VM_FLAG_CODES.items())])


class SmapsRow(NamedTuple):
    """What smaps says of one VMA.

    Attributes:
        start, end: The VMA, in bytes.
        name: As in maps.
        values: Every line by its name, in the kernel's order: bytes; THPeligible and ProtectionKey, which is there if
            the CPU has keys, are numbers. The kernel shows whole KiB, rounded down.
        flags: The words of VmFlags, such as ``rd``.
    """

    start: int
    end: int
    name: str
    values: dict[str, int]
    flags: tuple[str, ...]


def smaps_by_vma(mm: Space) -> list[SmapsRow]:
    """A row a VMA, in order."""
    return [_row(mm, mm.as_area(vma)) for vma in mm.vmas]


def smaps(mm: Space) -> dict[str, int]:
    """The sums over all VMAs, in bytes, and Guard, which the kernel does not tell."""
    totals = dict.fromkeys((*SUMS, "Guard"), 0)
    for vma in mm.vmas:
        sums = _sums(mm, mm.as_area(vma))
        totals["Size"] += vma.size
        totals["Guard"] += sums.guards
        for name, value in sums.bytes().items():
            totals[name] += value
    return totals


def _row(mm: Space, area: Area) -> SmapsRow:
    size = area.huge_page_size or mm.geometry.page_size
    values = {"Size": area.size, "KernelPageSize": size, "MMUPageSize": size, **_sums(mm, area).bytes()}
    values["THPeligible"] = int(_may_be_huge(mm, area))
    if mm.machine.pku:
        values["ProtectionKey"] = area.protection_key
    said = area.flags | (MAYBE_GUARD if area.guarded else VmaFlags(0))
    flags = tuple(word for flag, word in MNEMONICS if flag in said)
    return SmapsRow(area.start, area.end, area.name, values, flags)


def _may_be_huge(mm: Space, area: Area) -> bool:
    """Whether the last whole block of an area may be a huge page (``__thp_vma_allowable_orders``)."""
    fits = mm.geometry.block_start(area.end - mm.geometry.block_size) >= area.start
    if not fits or VmaFlags.NOHUGEPAGE in area.flags or area.huge_page_size:
        return False
    if isinstance(area.mapping, File):
        aligned = (area.start - area.offset) % mm.geometry.block_size == 0
        return aligned and area.mapping.wants_block(area.flags, area.offset // mm.geometry.page_size)
    return mm.machine.thp == "always" or (mm.machine.thp == "madvise" and VmaFlags.HUGEPAGE in area.flags)


def _sums(mm: Space, area: Area) -> _Sums:
    """Count the pages of an area."""
    sums = _Sums(mm, area)
    levels = {level.depth: level for level in (mm.geometry.upper, *mm.geometry.huge.values())}
    ops = ops_of(levels.values(), sums.upper, hugetlb_entry=sums.hugetlb)
    walk_page_range(mm, area.start, area.end, ops)
    if isinstance(area.mapping, File) and area.mapping.swapped:
        sums.counts["Swap"] += mm.geometry.page_size * _swapped_of_file(mm, area, area.mapping)
    return sums


def _swapped_of_file(mm: Space, area: Area, file: File) -> int:
    """How many pages of a mapped file are in swap; of a private mapping that may be written, where it has no copy."""
    pages = (area.start + index * file.page_size - area.offset for index in file.swapped)
    inside = [page for page in pages if area.start <= page < area.end]
    if area.flags & (VmaFlags.SHARED | VmaFlags.WRITE) != VmaFlags.WRITE:
        return len(inside)
    entries = [mm.tables.last_at(page) for page in inside]
    return sum(entry is None or entry.is_none for entry in entries)


class _Sums:
    """What was counted of an area so far: shares in parts of a byte, all else in bytes."""

    def __init__(self, mm: Space, area: Area) -> None:
        self.mm = mm
        self.locked = VmaFlags.LOCKED in area.flags
        self.counts = dict.fromkeys(COUNTED, 0)
        self.guards = 0

    def bytes(self) -> dict[str, int]:
        """By the line's name."""
        return {name: value >> (SHARE_BITS if name in SHARES else 0) for name, value in self.counts.items()}

    def upper(self, entry: Entry, addr: int, next_: int, walk: Walk) -> None:
        """Count what an entry above the last level maps, or the entries of its table."""
        geometry = self.mm.geometry
        if entry.is_leaf:
            self._huge(entry, geometry.levels[entry.level.depth])
            walk.action = Action.CONTINUE
        elif entry.level.depth == geometry.upper.depth and entry.is_table:
            entries = self.mm.tables.slice(entry, addr, next_).entries
            held = entries[geometry.last.held(entries)]
            if held.size:
                self._entries(held)

    def hugetlb(self, entry: Entry, hmask: int, addr: int, next_: int, walk: Walk) -> None:
        """Count a hugetlb page: of the kernel's rows it is in two only."""
        if entry.is_leaf and entry.target is not None:
            number = entry.target // self.mm.geometry.page_size
            alone = self._mappings(np.array([number]))[0] < 2
            self.counts["Private_Hugetlb" if alone else "Shared_Hugetlb"] += next_ - addr
        elif entry.kind is Kind.HWPOISON:
            self.counts["Shared_Hugetlb"] += next_ - addr

    def _huge(self, entry: Entry, level: LevelEntries) -> None:
        """Count a huge page."""
        frames, page_size, paddr = self.mm.machine.frames, self.mm.geometry.page_size, entry.target
        if paddr is None or paddr == self.mm.machine.huge_zero:
            return
        numbers = np.arange(paddr // page_size, (paddr + level.span) // page_size)
        self.counts[ANON_HUGE if frames.is_anonymous(paddr) else SHMEM_HUGE] += level.span
        self._pages(numbers, np.full(len(numbers), int(entry.flags), np.uint64))

    def _entries(self, entries: Entries) -> None:
        """Count entries of the last level, none of them empty."""
        last, page_size = self.mm.geometry.last, self.mm.geometry.page_size
        kinds, flags = last.kind(entries), last.flags(entries)
        self.guards += page_size * int(np.count_nonzero(kinds == Kind.GUARD))
        swapped = entries[kinds == Kind.SWAP]
        if len(swapped):
            self._swap(last.swap_slot(swapped)[1])
        poisoned = entries[kinds == Kind.HWPOISON]
        if len(poisoned):
            self._poisoned(last.frame(poisoned))
        pages = is_page(kinds)
        numbers = last.frame(entries[pages]) // np.uint64(page_size)
        own = self.mm.machine.frames.usage[numbers] != Usage.ZERO
        self._pages(numbers[own], flags[pages][own])

    def _swap(self, slots: Entries) -> None:
        """Count pages in swap."""
        page_size, swap = self.mm.geometry.page_size, self.mm.machine.swap
        self.counts["Swap"] += page_size * len(slots)
        self.counts["SwapPss"] += sum((page_size << SHARE_BITS) // swap.users(slot) for slot in slots.tolist())

    def _poisoned(self, paddrs: Entries) -> None:
        """Count poisoned pages: nobody knows how many map them, so each is shared, and counts whole."""
        page_size, frames = self.mm.geometry.page_size, self.mm.machine.frames
        paddrs = paddrs[paddrs < np.uint64(frames.size)]
        is_dirty, anonymous = frames.dirty(paddrs), frames.used_as(paddrs, Usage.POISONED)
        dirty, total = int(np.count_nonzero(is_dirty)), len(paddrs)
        self.counts["Rss"] += page_size * total
        self.counts["Shared_Dirty"] += page_size * dirty
        self.counts["Shared_Clean"] += page_size * (total - dirty)
        self.counts["Anonymous"] += page_size * int(np.count_nonzero(anonymous))
        self.counts["Referenced"] += page_size * int(np.count_nonzero(frames.recency.referenced(paddrs)))
        self.counts["LazyFree"] += page_size * int(np.count_nonzero(anonymous & frames.lazy(paddrs) & ~is_dirty))
        self.counts["Pss"] += page_size * total << SHARE_BITS
        self.counts["Pss_Dirty"] += page_size * dirty << SHARE_BITS
        self.counts["Locked"] += (page_size * total << SHARE_BITS) * self.locked

    def _mappings(self, numbers: Any) -> Any:
        """How many entries map each frame."""
        frames = self.mm.machine.frames
        return frames.references[numbers] - HOLDERS[frames.usage[numbers]]

    def _pages(self, numbers: Any, flags: Any) -> None:
        """Count pages. Arguments: their frames' numbers, and what their entries say of each."""
        frames, page_size = self.mm.machine.frames, self.mm.geometry.page_size
        paddrs = numbers.astype(np.uint64) * np.uint64(page_size)
        mappings = self._mappings(numbers)
        shares = (page_size << SHARE_BITS) // np.maximum(mappings, 1).astype(np.int64)
        folio_dirty = frames.dirty(paddrs)
        dirty, alone = folio_dirty | (flags & int(Flag.DIRTY) != 0), mappings < 2
        anonymous = frames.anonymous(paddrs)
        of_pages = {
            "Rss": np.ones(len(numbers), bool), "Shared_Clean": ~alone & ~dirty, "Shared_Dirty": ~alone & dirty,
            "Private_Clean": alone & ~dirty, "Private_Dirty": alone & dirty, "Anonymous": anonymous,
            "Referenced": (flags & int(Flag.ACCESSED) != 0) | frames.recency.referenced(paddrs),
            "LazyFree": anonymous & frames.lazy(paddrs) & ~dirty,
        }  # fmt: skip
        for name, counted in of_pages.items():
            self.counts[name] += page_size * int(np.count_nonzero(counted))
        total = int(shares.sum())
        self.counts["Pss"] += total
        self.counts["Pss_Dirty"] += int(shares[dirty].sum())
        self.counts["Locked"] += total if self.locked else 0
