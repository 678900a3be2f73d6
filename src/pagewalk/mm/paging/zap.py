"""Zapping: taking pages out of page tables, and giving back what they held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.formats import Flag, Kind
from pagewalk.mm.entries import is_page
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.paging import hugetlb
from pagewalk.mm.state.accessed import mark_accessed
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries
    from pagewalk.space import Vma
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

    Mask = npt.NDArray[np.bool_]
    Places = npt.NDArray[np.intp]

__all__ = ["READ_ONCE", "armed", "clear_huge", "empty", "release", "remembers_protection", "unmap_file", "zap"]

READ_ONCE: Final = VmaFlags.SEQ_READ | VmaFlags.RAND_READ
"""Of such an area nobody notes that its pages were used (``vma_has_recency``)."""


def zap(mm: Space, area: Area, start: int, end: int, *, markers: bool = False, reclaim: bool = False) -> None:
    """Empty the entries of ``[start, end)``, whatever pages or swap they hold.

    Args:
        mm: The address space.
        area: The area that holds the range.
        start, end: Virtual addresses, page-aligned.
        markers: Take markers too (munmap); otherwise guards stay, and where a page of a file was write-protected with
            userfaultfd, a marker (``ZAP_FLAG_DROP_MARKER``).
        reclaim: Free the tables that are wholly in the range and empty now (CONFIG_PT_RECLAIM, 6.14).
    """
    if area.huge_page_size:
        hugetlb.zap(mm, area, start, end)
        return

    block, last, remembers = mm.geometry.block_size, mm.geometry.last, not markers and remembers_protection(area)

    def at_upper(upper: Entry, addr: int, next_: int, walk: Walk) -> None:
        with mm.tables.lock(upper.table):
            if upper.is_leaf:
                if next_ - addr == block:
                    _zap_huge(mm, area, upper)
                    return
                mm.tables.split(upper, addr)
            if not upper.is_table:
                return
        table = mm.tables.child(upper, addr)
        with mm.tables.lock(table):
            entries = mm.tables.slice(upper, addr, next_).entries
            _note_use(mm, area, entries)
            _zap_entries(mm, entries, markers=markers, remembers=remembers)
            if reclaim and next_ - addr == block and last.all_none(entries):
                mm.tables.free_tables(addr, next_, addr, next_)

    mm.tables.each_upper(start, end, at_upper)


def remembers_protection(area: Vma) -> bool:
    """Whether write protection outlives the pages of an area: it may have others for them, which are as protected."""
    return area.mapping is not None and VmaFlags.UFFD_WP in area.flags


def armed(level: LevelEntries, entries: Entries) -> Mask:
    """Which entries say that their place is write-protected with userfaultfd: pages, pages in swap, markers."""
    found: Mask = (level.flags(entries) & int(Flag.UFFD_WP) != 0) | (level.kind(entries) == Kind.UFFD_WP)
    return found


def _zap_entries(mm: Space, entries: Entries, *, markers: bool, remembers: bool) -> None:
    """Empty entries in place."""
    last, first = mm.geometry.last, int(entries[0])
    kind = last.kind(first)
    if kind in (Kind.NONE, Kind.GUARD) and (entries == first).all():  # nothing there, or a large guard region
        if kind == Kind.GUARD and markers:
            entries[:] = last.none
        return
    kinds = last.kind(entries)
    release(mm, entries, kinds)
    kept = (kinds == Kind.GUARD) if not markers else np.zeros(len(entries), bool)
    protected = armed(last, entries) if remembers else None
    entries[~kept] = last.none
    if protected is not None:
        entries[protected] = last.write_protected


def release(mm: Space, entries: Entries, kinds: Entries) -> None:
    """Give back what entries hold: frames and swap slots. The entries stay as they are."""
    last, frames = mm.geometry.last, mm.machine.frames
    pages = entries[is_page(kinds)]
    if pages.size:
        flags = last.flags(pages)
        own = flags & int(Flag.SPECIAL) == 0
        paddrs = last.frame(pages)
        cached = ~frames.anonymous(paddrs)  # an anonymous page's dirty bit goes with its entry
        frames.set_dirty(frames.whole_folios(paddrs[own & cached & (flags & int(Flag.DIRTY) != 0)]))
        frames.drop(paddrs[own])
        if mm.machine.swap.cached:
            mm.machine.swap.unmapped(paddrs[own].tolist())
    for entry in entries[kinds == Kind.SWAP]:
        mm.machine.swap.drop(int(last.swap_slot(entry)[1]))


def _note_use(mm: Space, vma: Vma, entries: Entries) -> None:
    """Note which pages of a file were used before they are zapped: once for a run of entries of the same folio."""
    last, frames = mm.geometry.last, mm.machine.frames
    if vma.mapping is None or vma.flags & READ_ONCE:
        return
    at = np.flatnonzero(last.is_page(entries))
    at = at[frames.used_as(last.frame(entries[at]), Usage.FILE)]
    if not at.size:
        return
    folios, protected = frames.recency.folios(last.frame(entries[at])), armed(last, entries[at])
    ends = (np.diff(at) != 1) | (folios[1:] != folios[:-1]) | (protected[1:] != protected[:-1])
    begins = np.flatnonzero(np.append(True, ends))
    used = np.logical_or.reduceat(last.flags(entries[at]) & int(Flag.ACCESSED) != 0, begins)
    mark_accessed(mm.machine, folios[begins[used]])


def _zap_huge(mm: Space, vma: Vma, upper: Entry) -> None:
    """Empty an entry that maps a huge page of a block; it is noted whether a file's was used before."""
    paddr = upper.target
    assert paddr is not None
    if mm.tables.maps_file(upper) and Flag.ACCESSED in upper.flags and not vma.flags & READ_ONCE:
        mark_accessed(mm.machine, np.array([paddr], np.uint64))
    clear_huge(mm, upper)


def unmap_file(vma: Vma, start: int, end: int, *, private: bool = False, zaps: bool = True) -> None:
    """Take a file's pages out of a range of a VMA that maps it; markers stay.

    Args:
        vma, start, end: Where.
        private: Private copies too.
        zaps: False takes a folio out of everywhere, and nothing is noted of its use, but for huge pages.
    """
    mm: Space = vma.mm
    if vma.huge_page_size:
        hugetlb.zap(mm, mm.as_area(vma), start, end)
        return
    end = mm.geometry.page_end(end)
    if start >= end:
        return
    remembers, start = remembers_protection(vma), mm.geometry.page_start(start)

    def at_upper(upper: Entry, addr: int, next_: int, walk: Walk) -> None:
        if upper.is_leaf and zaps and next_ - addr == mm.geometry.block_size:
            _zap_huge(mm, vma, upper)
        elif upper.is_leaf:
            mm.tables.split_file(upper)

    mm.tables.each_upper(start, end, at_upper)
    for _, entries in mm.tables.slices(start, end):
        if zaps:
            _note_use(mm, vma, entries)
        _unmap_pages(mm, entries, private=private, remembers=remembers)


def _unmap_pages(mm: Space, entries: Entries, *, private: bool, remembers: bool) -> None:
    """Take a file's pages out of a table; private copies, if they are asked for: swapped out and broken ones too."""
    last = mm.geometry.last
    kinds = last.kind(entries)
    at = np.flatnonzero(is_page(kinds))
    owned = mm.machine.frames.used_as(last.frame(entries[at]), Usage.FILE)
    gone = at[owned | private]
    if private:
        gone = np.union1d(gone, np.flatnonzero((kinds == Kind.SWAP) | (kinds == Kind.HWPOISON)))
    release(mm, entries[gone], kinds[gone])
    empty(last, entries, gone, remembers=remembers)


def empty(level: LevelEntries, entries: Entries, places: Places, *, remembers: bool) -> None:
    """Empty entries whose pages are gone, but for markers where those were write-protected."""
    protected = places[armed(level, entries[places])] if remembers else places[:0]
    entries[places] = level.none
    entries[protected] = level.write_protected


def clear_huge(mm: Space, upper: Entry) -> None:
    """Empty an entry that maps a huge page of a block."""
    paddr = upper.target
    assert paddr is not None
    if mm.tables.maps_file(upper):
        mm.tables.clear_file(upper)
        return
    upper.value = mm.geometry.upper.none
    mm.tables.withdraw()
    if paddr == mm.machine.huge_zero:
        mm.machine.drop_huge_zero()
    else:
        mm.machine.frames.drop(mm.machine.frames.run(paddr, mm.geometry.block_size))
