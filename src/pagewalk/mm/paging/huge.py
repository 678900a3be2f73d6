"""Transparent huge pages: when a fault gets one, what a write to one does, and collapsing small pages into one."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from pagewalk.errors import OutOfFrames
from pagewalk.formats import Flag, Kind
from pagewalk.mm.entries import is_page
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.paging.zap import armed, release
from pagewalk.mm.state.area import RIGHTS
from pagewalk.mm.state.areas import prepare_anon
from pagewalk.space import VmaFlags
from pagewalk.tables import Entry

if TYPE_CHECKING:
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries

__all__ = ["Refusal", "collapse", "fault", "fits", "is_ours", "may_reuse", "split_folio", "write_fault"]


def fits(mm: Space, area: Area, vaddr: int) -> bool:
    """Whether the block around an address lies inside the area, and can be a huge page."""
    start, size = mm.geometry.block_start(vaddr), mm.geometry.block_size
    return area.start <= start and start + size <= area.end and size in mm.geometry.huge


def wanted(mm: Space, area: Area) -> bool:
    """Whether the policy gives an area huge pages on a fault."""
    if not area.is_anonymous or VmaFlags.NOHUGEPAGE in area.flags:
        return False
    return mm.machine.thp == "always" or (mm.machine.thp == "madvise" and VmaFlags.HUGEPAGE in area.flags)


def fault(mm: Space, area: Area, upper: Entry, vaddr: int, *, write: bool) -> bool:
    """Fill an empty entry above the last level with a huge page, if policy, place and memory allow.

    Returns:
        Whether it did. If not, the fault falls back to a small page.
    """
    if not (wanted(mm, area) and fits(mm, area, vaddr)):
        return False
    prepare_anon(mm, area)
    try:
        mm.tables.deposit()
    except OutOfFrames:
        return False
    try:
        paddr = mm.machine.frames.take_block(Usage.ANON) if write else mm.machine.take_huge_zero()
    except OutOfFrames:
        mm.tables.withdraw()
        return False
    flags = mm.page_flags(area, writable=write) | Flag.ACCESSED
    flags |= mm.machine.dirtied if write else Flag(0)
    upper.value = mm.block_entry(area, paddr, flags)
    return True


def write_fault(mm: Space, area: Area, upper: Entry, vaddr: int) -> None:
    """A write to a huge page that is not writable: reuse it, replace the huge zero page, or split it."""
    paddr = upper.target
    assert paddr is not None
    flags = mm.page_flags(area, writable=True) | Flag.ACCESSED | mm.machine.dirtied
    if mm.tables.maps_file(upper):  # the file is asked anew, which may have no page there (``wp_huge_pmd``)
        mm.tables.split(upper, vaddr)
    elif paddr == mm.machine.huge_zero:
        try:
            fresh = mm.machine.frames.take_block(Usage.ANON)
        except OutOfFrames:
            mm.tables.split(upper, vaddr)
            return
        upper.value = mm.block_entry(area, fresh, flags)
        mm.machine.drop_huge_zero()
    elif not may_reuse(mm, paddr):
        mm.tables.split(upper, vaddr)
    else:
        mm.machine.frames.set_exclusive(mm.machine.frames.run(paddr, mm.geometry.block_size), exclusive=True)
        upper.value = mm.block_entry(area, paddr, flags)


def is_ours(mm: Space, paddr: int) -> bool:
    """Whether nobody but this address space maps any page of a frame's folio."""
    frames, geometry = mm.machine.frames, mm.geometry
    if not frames.is_large(paddr):
        return bool(frames.mapped_once(paddr)[0])
    total, first = frames.mappings_of_folio(paddr), geometry.block_start(paddr)
    mine = 0
    for vma in mm.vmas:
        if vma.huge_page_size:
            continue
        whole = mm.tables.huge_entries(vma.start, vma.end)
        mine += geometry.block_pages * sum(upper.target == first for upper in whole)
        for _, entries in mm.tables.slices(vma.start, vma.end):
            mine += int(np.count_nonzero(_maps_block(mm, entries, first)))
    return mine == total


def _maps_block(mm: Space, entries: Entries, first: int) -> Any:
    """Which entries map a page of the block at a physical address."""
    last, size = mm.geometry.last, np.uint64(mm.geometry.block_size)
    return last.is_page(entries) & (last.frame(entries) // size == first // int(size))


def may_reuse(mm: Space, paddr: int) -> bool:
    """Whether a write may go to an anonymous page as it is, without a copy (``wp_can_reuse_anon_folio``)."""
    return mm.machine.frames.is_exclusive(paddr) or (is_ours(mm, paddr) and mm.machine.swap.let_go(paddr))


class SwapIn(Protocol):
    """Reads a page back from swap: ``fault.swap_in``."""

    def __call__(self, mm: Space, area: Area, entry: Entry, page: int, *, write: bool) -> None:
        """Make an entry of swap one of a page."""


class Refusal(NamedTuple):
    """Why a block is not collapsed.

    Attributes:
        code: The errno.
        why: In words.
        goes_on: Whether the blocks after it are tried all the same.
    """

    code: int
    why: str
    goes_on: bool = True


def collapse(mm: Space, area: Area, start: int, swap_in: SwapIn) -> Refusal | None:
    """Replace the small pages of a block by one huge page (``MADV_COLLAPSE``); None: it is mapped by one now."""
    last, upper = mm.geometry.last, mm.tables.upper_at(start)
    if upper is None or upper.is_none:
        return Refusal(errno.EINVAL, "there is no table", goes_on=False)
    if upper.is_leaf:
        return None
    entries = mm.tables.slice(upper, start, start + mm.geometry.block_size).entries
    kinds = last.kind(entries)
    real = is_page(kinds) & (last.flags(entries) & int(Flag.SPECIAL) == 0)
    if refusal := _refusal(mm, area, entries, real) or _swapped(mm, area, upper, start, swap_in):
        return refusal
    kinds = last.kind(entries)
    real = is_page(kinds) & (last.flags(entries) & int(Flag.SPECIAL) == 0)
    sources = last.frame(entries[real])
    try:
        paddr = mm.machine.frames.take_block(Usage.ANON)
    except OutOfFrames as error:
        return Refusal(errno.ENOMEM, str(error), goes_on=False)
    prepare_anon(mm, area)
    mm.machine.frames.gather(sources, paddr, np.flatnonzero(real))
    flags = mm.page_flags(area, writable=True) | Flag.ACCESSED | mm.machine.dirtied
    entry = mm.block_entry(area, paddr, flags)
    small, table = entries.copy(), int(mm.geometry.upper.frame(upper.value))
    upper.value = entry if area.flags & RIGHTS else mm.geometry.upper.without_rights(entry)
    mm.tables.deposits.append(table)
    release(mm, small, kinds)  # last: who interrupts this finds the bytes in the one place or in the other
    return None


def _refusal(mm: Space, area: Area, entries: Entries, real: Any) -> Refusal | None:
    """What speaks against collapsing entries: the first that does (``hpage_collapse_scan_pmd``).

    Args:
        mm, area: Whose.
        entries: A whole table's.
        real: Which map pages other than the zero page.
    """
    last = mm.geometry.last
    kinds = last.kind(entries)
    protected = armed(last, entries)
    missing = ~real & ((kinds == Kind.NONE) | is_page(kinds)) & (VmaFlags.UFFD_WP in area.flags)
    first = np.flatnonzero(protected | missing)[:1]
    if first.size and protected[first[0]]:
        return Refusal(errno.EINVAL, "a page is write-protected with userfaultfd")
    if first.size:
        return Refusal(errno.EBUSY, "a page is missing, and userfaultfd is told of that range", goes_on=False)
    return None


def _swapped(mm: Space, area: Area, upper: Entry, start: int, swap_in: SwapIn) -> Refusal | None:
    """Bring in what is in swap (``__collapse_huge_page_swapin``): it ends at a marker, and at what has to be read.

    That is in the swap cache then, and no obstacle the next time.
    """
    last, swap, table = mm.geometry.last, mm.machine.swap, mm.tables.child(upper, start)
    kinds = last.kind(mm.tables.words(table))
    for at in np.flatnonzero(~is_page(kinds) & (kinds != Kind.NONE)).tolist():
        entry, page = Entry(table, at), start + at * last.span
        if entry.kind is not Kind.SWAP:
            return Refusal(errno.EINVAL, f"a marker stands at {page:#x}", goes_on=False)
        slot = int(last.swap_slot(entry.value)[1])
        if slot not in swap.cached and not swap.is_zero(slot):
            swap.fetch(slot)
            return Refusal(errno.EAGAIN, f"the page at {page:#x} was in swap: try again")
        swap_in(mm, area, entry, page, write=False)
    return None


def split_folio(mm: Space, paddr: int, *, broken: bool = False) -> None:
    """Split a large folio that only this address space maps, by small entries, into single pages.

    Its pages that are all zero give way to the shared zero page, unless they are locked (since 6.12), or the page at
    ``paddr``, if that is broken.
    """
    frames, last = mm.machine.frames, mm.geometry.last
    first = mm.geometry.block_start(paddr)
    folio = frames.run(first, mm.geometry.block_size)
    parts = [
        (vma, entries, np.flatnonzero(_maps_block(mm, entries, first)))
        for vma in mm.vmas
        if not vma.huge_page_size
        for _, entries in mm.tables.slices(vma.start, vma.end)
    ]
    if any((last.flags(entries[inside]) & int(Flag.DIRTY)).any() for _, entries, inside in parts):
        frames.set_dirty(folio)  # it counts for the folio, then for each page
    for vma, entries, inside in parts:
        if vma.flags & VmaFlags.LOCKED or frames.is_mlocked(first):
            continue
        paddrs = last.frame(entries[inside])
        empty = frames.all_zero(paddrs) & ~(broken & (paddrs == np.uint64(paddr)))
        frames.drop(paddrs[empty])
        gone, zero = inside[empty], np.uint64(mm.zero_entry_for(mm.as_area(vma)))
        protected, soft = gone[armed(last, entries[gone])], gone[last.flags(entries[gone]) & int(Flag.SOFT_DIRTY) != 0]
        entries[gone] = zero
        entries[protected] = last.with_flags(zero, Flag.UFFD_WP)
        entries[soft] = last.with_flags(entries[soft], Flag.SOFT_DIRTY)
    frames.dissolve(first)
