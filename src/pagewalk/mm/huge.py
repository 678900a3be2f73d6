"""Transparent huge pages: when a fault gets one, what a write to one does, and collapsing small pages into one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pagewalk.errors import OutOfFrames
from pagewalk.formats import Flag, Kind
from pagewalk.mm.areas import RIGHTS, prepare_anon
from pagewalk.mm.frames import BLOCK, PAGE, Usage
from pagewalk.mm.zap import release
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.areas import Area
    from pagewalk.mm.mm import Mm
    from pagewalk.tables import Entry

__all__ = ["collapse", "fault", "fits", "is_ours", "may_reuse", "split_folio", "write_fault"]

PMD = 3


def fits(area: Area, vaddr: int) -> bool:
    """Whether the 2 MiB around an address lie inside the area."""
    start = vaddr // BLOCK * BLOCK
    return area.start <= start and start + BLOCK <= area.end


def wanted(mm: Mm, area: Area) -> bool:
    """Whether the policy gives an area huge pages on a fault."""
    if not area.is_anonymous or VmaFlags.NOHUGEPAGE in area.flags:
        return False
    return mm.machine.thp == "always" or (mm.machine.thp == "madvise" and VmaFlags.HUGEPAGE in area.flags)


def fault(mm: Mm, area: Area, pmd: Entry, vaddr: int, *, write: bool) -> bool:
    """Fill an empty PMD entry with a huge page, if policy, place and memory allow.

    Returns:
        Whether it did. If not, the fault falls back to a small page.
    """
    if not (wanted(mm, area) and fits(area, vaddr)):
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
    flags |= Flag.DIRTY if write else Flag(0)
    pmd.value = mm.page_entry(area, paddr, int(flags), pmd.level)
    return True


def write_fault(mm: Mm, area: Area, pmd: Entry, vaddr: int) -> None:
    """A write to a huge page that is not writable: reuse it, replace the huge zero page, or split it."""
    paddr = pmd.target
    assert paddr is not None
    flags = mm.page_flags(area, writable=True) | Flag.ACCESSED | Flag.DIRTY
    if paddr == mm.machine.huge_zero:
        try:
            fresh = mm.machine.frames.take_block(Usage.ANON)
        except OutOfFrames:
            mm.tables.split(pmd, vaddr)
            return
        pmd.value = mm.page_entry(area, fresh, int(flags), pmd.level)
        mm.machine.drop_huge_zero()
    elif not may_reuse(mm, paddr):
        mm.tables.split(pmd, vaddr)
    else:
        mm.machine.frames.set_exclusive(mm.machine.frames.run(paddr, BLOCK), exclusive=True)
        pmd.value = mm.page_entry(area, paddr, int(flags), pmd.level)


def is_ours(mm: Mm, paddr: int) -> bool:
    """Whether nobody but this address space maps any page of a frame's folio."""
    frames, form = mm.machine.frames, mm.format
    if not frames.is_large(paddr):
        return not frames.shared(paddr)[0]
    total, block = frames.mappings_of_folio(paddr), paddr // BLOCK
    mine = 0
    for vma in mm.vmas:
        if vma.huge_page_size:
            continue
        mine += sum(BLOCK // PAGE for pmd in mm.tables.huge_entries(vma.start, vma.end) if pmd.target == block * BLOCK)
        for _, entries in mm.tables.slices(vma.start, vma.end):
            inside = form.leaf_paddr(entries, form.levels[4]) // np.uint64(BLOCK) == block
            mine += int(np.count_nonzero(inside & form.is_present(entries)))
    return mine == total


def may_reuse(mm: Mm, paddr: int) -> bool:
    """Whether a write may go to an anonymous page as it is, without a copy (``wp_can_reuse_anon_folio``)."""
    return mm.machine.frames.is_exclusive(paddr) or is_ours(mm, paddr)


def collapse(mm: Mm, area: Area, start: int) -> bool:
    """Replace the small pages of an aligned 2 MiB range by one huge page (``MADV_COLLAPSE``).

    Returns:
        Whether the range is mapped by a huge page now. It is not where there is no table to collapse, a guard or
        another marker in it, or no memory.
    """
    pmd = mm.tables.entry_at(start, PMD)
    if pmd is None or pmd.is_none:
        return False
    if pmd.is_leaf:
        return True
    entries = mm.tables.slice(pmd, start, start + BLOCK).entries
    kinds = mm.format.kind(entries)
    pages = (kinds == Kind.PRESENT) | (kinds == Kind.PROT_NONE)
    real = pages & (mm.format.flags(entries) & int(Flag.SPECIAL) == 0)
    if not (pages | (kinds == Kind.NONE)).all():
        return False
    frames = mm.format.leaf_paddr(entries[real], mm.format.levels[4])
    try:
        paddr = mm.machine.frames.take_block(Usage.ANON)
    except OutOfFrames:
        return False
    prepare_anon(mm, area)
    words = mm.machine.frames.words
    words[paddr // PAGE + np.flatnonzero(real)] = words[frames // np.uint64(PAGE)]
    flags = mm.page_flags(area, writable=True) | Flag.ACCESSED | Flag.DIRTY
    entry = mm.page_entry(area, paddr, int(flags), pmd.level)
    small, table = entries.copy(), mm.format.table_paddr(pmd.value)
    pmd.value = entry if area.flags & RIGHTS else mm.format.without_rights(entry, pmd.level)
    mm.tables.deposits.append(table)
    release(mm, small, kinds)  # last: who interrupts this finds the bytes in the one place or in the other
    return True


def split_folio(mm: Mm, paddr: int) -> None:
    """Split a large folio that only this address space maps, by small entries, into single pages.

    Its pages that are all zero give way to the shared zero page, unless they are locked (since 6.12).
    """
    frames, form = mm.machine.frames, mm.format
    first = paddr // BLOCK * BLOCK
    for vma in mm.vmas:
        if vma.huge_page_size or vma.flags & VmaFlags.LOCKED:
            continue
        zero = np.uint64(mm.zero_entry_for(mm.as_area(vma)))
        for _, entries in mm.tables.slices(vma.start, vma.end):
            frame = form.leaf_paddr(entries, form.levels[4])
            inside = np.flatnonzero(form.is_present(entries) & (frame // np.uint64(BLOCK) == first // BLOCK))
            if (
                form.leaf_flags(entries[inside]) & int(Flag.DIRTY)
            ).any():  # it counts for the folio, then for each page
                frames.set_lazy(frames.run(first, BLOCK), lazy=False)
                frames.set_dirty(frames.run(first, BLOCK))
            if frames.is_mlocked(first):
                continue
            empty = inside[~frames.words[frame[inside] // np.uint64(PAGE)].any(axis=1)]
            frames.drop(frame[empty])
            entries[empty] = zero
    frames.dissolve(first)
