"""Zapping: taking pages out of page tables, and giving back what they held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pagewalk.formats import Flag, Kind
from pagewalk.mm.entries import is_page
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.paging import hugetlb

if TYPE_CHECKING:
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries
    from pagewalk.space import Vma
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

__all__ = ["clear_huge", "release", "unmap_file", "zap"]


def zap(mm: Space, area: Area, start: int, end: int, *, markers: bool = False, reclaim: bool = False) -> None:
    """Empty the entries of ``[start, end)``, whatever pages or swap they hold.

    Args:
        mm: The address space.
        area: The area that holds the range.
        start, end: Virtual addresses, page-aligned.
        markers: Take guard markers too (munmap); otherwise they stay (``ZAP_FLAG_DROP_MARKER``).
        reclaim: Free the tables that are wholly in the range and empty now (CONFIG_PT_RECLAIM, 6.14).
    """
    if area.huge_page_size:
        hugetlb.zap(mm, area, start, end)
        return

    block, last = mm.geometry.block_size, mm.geometry.last

    def at_upper(upper: Entry, addr: int, next_: int, walk: Walk) -> None:
        with mm.tables.lock(upper.table):
            if upper.is_leaf:
                if next_ - addr == block:
                    clear_huge(mm, upper)
                    return
                mm.tables.split(upper, addr)
            if not upper.is_table:
                return
        table = mm.tables.child(upper, addr)
        with mm.tables.lock(table):
            entries = mm.tables.slice(upper, addr, next_).entries
            _zap_entries(mm, entries, markers=markers)
            if reclaim and next_ - addr == block and last.all_none(entries):
                mm.tables.free_tables(addr, next_, addr, next_)

    mm.tables.each_upper(start, end, at_upper)


def _zap_entries(mm: Space, entries: Entries, *, markers: bool) -> None:
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
    entries[~kept] = last.none


def release(mm: Space, entries: Entries, kinds: Entries) -> None:
    """Give back what entries hold: frames and swap slots. The entries stay as they are."""
    last, frames = mm.geometry.last, mm.machine.frames
    pages = entries[is_page(kinds)]
    if pages.size:
        flags = last.flags(pages)
        own = flags & int(Flag.SPECIAL) == 0
        paddrs = last.frame(pages)
        cached = ~frames.anonymous(paddrs)  # an anonymous page's dirty bit goes with its entry
        frames.set_dirty(paddrs[own & cached & (flags & int(Flag.DIRTY) != 0)])
        frames.drop(paddrs[own])
    for entry in entries[kinds == Kind.SWAP]:
        mm.machine.swap.drop(int(last.swap_slot(entry)[1]))


def unmap_file(vma: Vma, start: int, end: int, *, private: bool = False) -> None:
    """Take a file's pages out of a range of a VMA that maps it, private copies only if asked; markers stay."""
    mm: Space = vma.mm
    if vma.huge_page_size:
        hugetlb.zap(mm, mm.as_area(vma), start, end)
        return
    end = mm.geometry.page_end(end)
    if start >= end:
        return
    for _, entries in mm.tables.slices(mm.geometry.page_start(start), end):
        _unmap_pages(mm, entries, private=private)


def _unmap_pages(mm: Space, entries: Entries, *, private: bool) -> None:
    """Take a file's pages out of a table."""
    last = mm.geometry.last
    kinds = last.kind(entries)
    at = np.flatnonzero(is_page(kinds))
    owned = mm.machine.frames.used_as(last.frame(entries[at]), Usage.FILE)
    gone = at[owned | private]
    release(mm, entries[gone], kinds[gone])
    entries[gone] = last.none


def clear_huge(mm: Space, upper: Entry) -> None:
    """Empty an entry that maps a huge page of a block."""
    paddr = upper.target
    assert paddr is not None
    upper.value = mm.geometry.upper.none
    mm.tables.withdraw()
    if paddr == mm.machine.huge_zero:
        mm.machine.drop_huge_zero()
    else:
        mm.machine.frames.drop(mm.machine.frames.run(paddr, mm.geometry.block_size))
