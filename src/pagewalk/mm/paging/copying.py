"""Copying an address space's pages for a fork: both sides share them until one of the two writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.formats import Flag, Kind
from pagewalk.mm.entries import is_page
from pagewalk.mm.paging.marks import unprotected
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

__all__ = ["copy_pages"]


def copy_pages(parent: Space, child: Space, area: Area) -> None:
    """Copy entries, a table at a time; private pages lose their write right on both sides (``copy_page_range``)."""
    private, geometry = VmaFlags.SHARED not in area.flags, parent.geometry

    def at_upper(upper: Entry, addr: int, next_: int, walk: Walk) -> None:
        if upper.is_leaf and parent.tables.maps_file(upper):
            return  # a fault will find it
        if upper.is_leaf and next_ - addr < geometry.block_size:
            parent.tables.split(upper, addr)
        if upper.is_leaf:
            _copy_huge(parent, child, upper, addr)
        elif upper.is_table:
            child.tables.last_at(addr, grow=True)  # for an empty table too, as Linux does
            source = parent.tables.slice(upper, addr, next_).entries
            if geometry.last.all_none(source):
                return
            there = child.tables.upper_at(addr)
            assert there is not None
            child.tables.slice(there, addr, next_).entries[:] = _shared_entries(parent, source, private=private)

    parent.tables.each_upper(area.start, area.end, at_upper)


def _shared_entries(parent: Space, source: Entries, *, private: bool) -> Entries:
    """Hold what entries name once more, and make them copy-on-write; returns the child's entries."""
    last, frames = parent.geometry.last, parent.machine.frames
    kinds = last.kind(source)
    pages = is_page(kinds)
    own = pages & (last.flags(source) & int(Flag.SPECIAL) == 0)
    paddrs = last.frame(source[own])
    frames.hold(paddrs)
    frames.set_exclusive(paddrs, exclusive=False)
    swapped = kinds == Kind.SWAP
    for entry in source[swapped]:
        parent.machine.swap.hold(int(last.swap_slot(entry)[1]))
    source[swapped] = last.swapped_without(source[swapped], Flag.EXCLUSIVE)
    if private:
        present = kinds == Kind.PRESENT
        source[present] = last.without(source[present], Flag.WRITE)
    copies = source.copy()
    lost = Flag.ACCESSED if private else Flag.ACCESSED | Flag.DIRTY  # the parent's entry will say that it was written
    copies[pages] = last.without(copies[pages], lost)
    if parent.machine.soft_dirty:  # markers are made anew (``copy_pte_marker``)
        markers = ~pages & ~swapped & (kinds != Kind.NONE)
        copies[markers] = last.swapped_without(copies[markers], Flag.SOFT_DIRTY)
    return unprotected(last, copies, guards=True)


def _copy_huge(parent: Space, child: Space, upper: Entry, addr: int) -> None:
    """Share one huge page with the child."""
    frames, level = parent.machine.frames, parent.geometry.upper
    there = child.tables.upper_at(addr, grow=True)
    assert there is not None
    child.tables.deposit()
    if upper.target == parent.machine.huge_zero:
        there.value = upper.value
        parent.machine.take_huge_zero()
        return
    paddr = upper.target
    assert paddr is not None
    run = frames.run(paddr, parent.geometry.block_size)
    frames.hold(run)
    frames.set_exclusive(run, exclusive=False)
    if upper.kind is Kind.PRESENT:
        upper.value = level.without(upper.value, Flag.WRITE)
    there.value = level.without(upper.value, Flag.ACCESSED | Flag.UFFD_WP)
