"""Advice about how old pages are: MADV_FREE, MADV_COLD and MADV_PAGEOUT.

The three walk a range alike: huge pages and large folios that lie only partly in it are split first, what others map
too is left alone (``madvise_cold_or_pageout_pte_range``, ``madvise_free_pte_range``, Linux 6.18).
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pagewalk.errors import SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.paging.file_advice import advise_block, advise_folios
from pagewalk.mm.paging.huge import is_ours, split_folio
from pagewalk.mm.paging.zap import armed, clear_huge, empty, release, remembers_protection
from pagewalk.mm.state.accessed import locked_folios
from pagewalk.mm.state.files import File
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

    Frames = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]
    Change = Callable[[Space, Entries, Places], None]

__all__ = ["cold", "free", "pageout"]


def free(mm: Space, area: Area, start: int, end: int) -> None:
    """Mark anonymous pages as not needed: clean now, gone when memory is short, kept if written again.

    Raises:
        SystemCallError: EINVAL, not plain anonymous memory, or locked.
    """
    _check(area)
    if not area.is_anonymous:
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} has a file")
    _each_table(mm, start, end, _free_huge, _free_pages)


def cold(mm: Space, area: Area, start: int, end: int) -> None:
    """Forget that the pages were accessed. Errors as ``pageout``."""
    _check(area)
    _each_table(mm, start, end, _cold_huge, _cold_pages)


def pageout(mm: Space, area: Area, start: int, end: int) -> None:
    """Write anonymous pages to swap while there is any, drop those that are lazily free and clean, unmap a file's.

    Raises:
        SystemCallError: EINVAL, locked, hugetlb or special memory.
    """
    _check(area)
    if VmaFlags.DROPPABLE in area.flags:
        _each_table(mm, start, end, _drop_huge, _drop_pages)
        return
    _each_table(mm, start, end, _pageout_huge, partial(_pageout_pages, area=area), reclaim=True)


def _check(area: Area) -> None:
    """Refuse areas whose pages cannot be reclaimed (``can_madv_lru_vma``)."""
    if area.flags & (VmaFlags.LOCKED | VmaFlags.PFNMAP | VmaFlags.HUGETLB):
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} is locked, hugetlb or special")


def _each_table(
    mm: Space,
    start: int,
    end: int,
    on_huge: Callable[[Space, Entry], None],
    on_pages: Change,
    *,
    reclaim: bool = False,
) -> None:
    """Apply an advice to a range of one area, a table at a time."""
    area = mm.area_at(start)
    assert area is not None

    def at_upper(upper: Entry, addr: int, next_: int, walk: Walk) -> None:
        with mm.tables.lock(upper.table):
            if upper.is_leaf:
                if mm.tables.maps_file(upper):
                    advise_block(mm, area, upper, addr, next_, reclaim=reclaim)
                    return
                paddr = upper.target
                if paddr == mm.machine.huge_zero or paddr is None or not is_ours(mm, paddr):
                    return
                if next_ - addr == mm.geometry.block_size:
                    on_huge(mm, upper)
                    return
                mm.tables.split(upper, addr, folio=True)
                split_folio(mm, paddr)
            if not upper.is_table:
                return
        with mm.tables.lock(mm.tables.child(upper, addr)):
            entries = mm.tables.slice(upper, addr, next_).entries
            kept = _split_folios(mm, entries, reclaim=reclaim)
            own = _own_pages(mm, entries)
            own = own[~np.isin(_blocks(mm, entries[own]), kept)] if kept else own
            if isinstance(area.mapping, File):
                own = advise_folios(mm, area, addr, entries, own, reclaim=reclaim)
            on_pages(mm, entries, own)

    mm.tables.each_upper(start, end, at_upper)
    mm.log("flush", start, end)


def _pages(mm: Space, entries: Entries) -> Places:
    """Where entries map pages with a life of their own."""
    last = mm.geometry.last
    return np.flatnonzero(last.is_page(entries) & (last.flags(entries) & int(Flag.SPECIAL) == 0))


def _own_pages(mm: Space, entries: Entries) -> Places:
    """Where entries map pages that nobody else maps, nor any of their folio."""
    at = _unshared_folios(mm, entries)
    return at[mm.machine.frames.mapped_once(mm.geometry.last.frame(entries[at]))]


def _blocks(mm: Space, pages: Entries) -> Frames:
    """The physical address of the block that each page lies in."""
    size = np.uint64(mm.geometry.block_size)
    return mm.geometry.last.frame(pages) // size * size


def _unshared_folios(mm: Space, entries: Entries) -> Places:
    """Where entries map single pages, or pages of large folios that nobody else maps."""
    at, frames = _pages(mm, entries), mm.machine.frames
    block_of = _blocks(mm, entries[at])
    blocks = np.unique(block_of).tolist()
    others = [block for block in blocks if frames.is_large(block) and not is_ours(mm, block)]
    return at[~np.isin(block_of, np.array(others, np.uint64))]


def _split_folios(mm: Space, entries: Entries, *, reclaim: bool) -> list[int]:
    """Split the large folios of which only a part is mapped here, and, to reclaim them, those that would need swap.

    A part of a folio is also what is write-protected with userfaultfd where the rest is not.
    A lazily free folio is dropped as a whole; one that was written since is kept as a whole.

    Returns:
        The physical addresses of those that are kept.
    """
    frames, geometry, kept = mm.machine.frames, mm.geometry, list[int]()
    at = _pages(mm, entries)
    pages = entries[at]
    block_of = _blocks(mm, pages)
    dirty, protected = geometry.last.flags(pages) & int(Flag.DIRTY) != 0, armed(geometry.last, pages)
    for block in np.unique(block_of).tolist():
        here = block_of == block
        if not frames.is_large(block) or not frames.is_anonymous(block) or not is_ours(mm, block):
            continue
        lazy = frames.is_lazy(block)
        alike = np.count_nonzero(here) == geometry.block_pages and len(np.unique(protected[here])) == 1
        if not alike or (reclaim and not lazy):
            split_folio(mm, block)
        elif reclaim and dirty[here].any():
            _keep(mm, frames.run(block, geometry.block_size))
            used = (geometry.last.flags(pages[here]) & int(Flag.ACCESSED)).any()
            marks = Flag.DIRTY | Flag.ACCESSED if used else Flag.DIRTY  # unmapped together, and mapped again
            entries[at[here]] = geometry.last.with_flags(pages[here], marks)
            kept.append(block)
    return kept


def _free_huge(mm: Space, upper: Entry) -> None:
    assert upper.target is not None
    folio = mm.machine.frames.run(upper.target, mm.geometry.block_size)
    _become_lazy(mm, folio)
    mm.machine.frames.set_dirty(folio, dirty=False)
    upper.value = mm.geometry.upper.without(upper.value, Flag.ACCESSED | Flag.DIRTY)


def _free_pages(mm: Space, entries: Entries, own: Places) -> None:
    """Mark pages as lazily free, shared ones too; but not one that is shared and known to be dirty."""
    last, frames = mm.geometry.last, mm.machine.frames
    at = _unshared_folios(mm, entries)
    paddrs = last.frame(entries[at])
    alone = np.isin(at, own)
    may = (~frames.dirty(paddrs) | alone) & _free_of_swap(mm, paddrs, alone)
    _become_lazy(mm, paddrs[may & ~_mlocked_elsewhere(mm, paddrs)])
    frames.set_dirty(paddrs[may], dirty=False)
    entries[at[may]] = last.without(entries[at[may]], Flag.ACCESSED | Flag.DIRTY)
    kinds = last.kind(entries)
    for slot in np.flatnonzero(kinds == Kind.SWAP):
        mm.machine.swap.drop(int(last.swap_slot(entries[slot])[1]))
        entries[slot] = last.none
    entries[kinds == Kind.HWPOISON] = last.none


def _become_lazy(mm: Space, paddrs: Frames) -> None:
    """Mark frames as lazily free: those that were not were not used lately then, to most kernels (``lru_lazyfree``)."""
    frames = mm.machine.frames
    if not mm.machine.lru_gen:
        frames.recency.forget(paddrs[~frames.lazy(paddrs) & ~frames.mlocked(paddrs)])
    frames.set_lazy(paddrs, lazy=True)


def _free_of_swap(mm: Space, paddrs: Frames, alone: Mask) -> Mask:
    """Which frames are not in the swap cache, or can leave it, being mapped by one entry alone."""
    swap, free = mm.machine.swap, np.ones(len(paddrs), bool)
    for at in np.flatnonzero(mm.machine.frames.used_as(paddrs, Usage.SWAP_CACHE)).tolist() if swap.cached else ():
        free[at] = alone[at] and swap.let_go(int(paddrs[at]))
    return free


def _mlocked_elsewhere(mm: Space, paddrs: Frames) -> Mask:
    """Which frames another address space maps where it is locked: they cannot be lazily free."""
    if not mm.machine.frames.shared(paddrs).any():
        return np.zeros(len(paddrs), bool)
    locked = locked_folios(mm.machine, set(mm.machine.spaces) - {mm})
    return np.isin(mm.machine.frames.recency.folios(paddrs), locked)


def _cold_huge(mm: Space, upper: Entry) -> None:
    assert upper.target is not None
    mm.machine.frames.recency.forget(np.array([upper.target], np.uint64))
    upper.value = mm.geometry.upper.without(upper.value, Flag.ACCESSED)


def _cold_pages(mm: Space, entries: Entries, own: Places) -> None:
    mm.machine.frames.recency.forget(mm.geometry.last.frame(entries[own]))
    entries[own] = mm.geometry.last.without(entries[own], Flag.ACCESSED)


def _pageout_huge(mm: Space, upper: Entry) -> None:
    """A lazily free folio goes or is kept as a whole; for any other, small entries first, then the folio is split."""
    paddr, frames, dirty = upper.target, mm.machine.frames, Flag.DIRTY in upper.flags
    assert paddr is not None
    size = mm.geometry.block_size
    frames.recency.forget(np.array([paddr], np.uint64))
    if frames.is_mlocked(paddr):
        return
    if frames.is_lazy(paddr) and mm.machine.reclaims_whole:
        if dirty:
            _keep(mm, frames.run(paddr, size))
        else:
            clear_huge(mm, upper)
        return
    lazy = frames.is_lazy(paddr)
    mm.tables.split(upper, 0, folio=not lazy)
    if not lazy:
        split_folio(mm, paddr)
    elif dirty:
        _keep(mm, frames.run(paddr, size))
        return
    entries = mm.tables.slice(upper, 0, size).entries
    _pageout_pages(mm, entries, _own_pages(mm, entries))


def _pageout_pages(mm: Space, entries: Entries, own: Places, area: Area | None = None) -> None:
    last, frames = mm.geometry.last, mm.machine.frames
    file = None if area is None else area.mapping
    frames.recency.forget(last.frame(entries[own]))
    for at in own.tolist():
        paddr = last.frame(int(entries[at]))
        if frames.is_anonymous(paddr):
            _page_out(mm, entries, at, paddr)
        elif area is not None and isinstance(file, File) and not frames.is_mlocked(paddr):
            one = entries[at : at + 1]
            release(mm, one, last.kind(one))
            empty(last, one, np.arange(1), remembers=remembers_protection(area))
            file.reclaim(paddr, mm.machine.swap)


def _drop_huge(mm: Space, upper: Entry) -> None:
    """Let a huge page go that may be dropped at any time; one that was written leaves a table behind."""
    if Flag.DIRTY not in upper.flags:
        clear_huge(mm, upper)
        return
    mm.tables.split(upper, 0)
    entries = mm.tables.slice(upper, 0, mm.geometry.block_size).entries
    _drop_pages(mm, entries, _pages(mm, entries))


def _drop_pages(mm: Space, entries: Entries, own: Places) -> None:
    """Let pages go that may be dropped at any time, written or not."""
    release(mm, entries[own], mm.geometry.last.kind(entries[own]))
    entries[own] = mm.geometry.last.none


def _keep(mm: Space, paddrs: Frames | int) -> None:
    """Pages that cannot go: those that were lazily free are so no longer, since they were written meanwhile."""
    frames, paddrs = mm.machine.frames, np.atleast_1d(np.asarray(paddrs, np.uint64))
    frames.recency.activate(paddrs[~frames.mlocked(paddrs)])
    frames.set_dirty(paddrs, dirty=frames.lazy(paddrs) | frames.dirty(paddrs))
    frames.set_lazy(paddrs, lazy=False)


def _page_out(mm: Space, entries: Entries, at: int, paddr: int) -> None:
    """Reclaim one anonymous page that nobody else has."""
    machine, last = mm.machine, mm.geometry.last
    flags, lazy = Flag(last.flags(int(entries[at]))), machine.frames.is_lazy(paddr)
    dirty = Flag.DIRTY in flags or bool(machine.frames.dirty(paddr)[0])
    if lazy and not dirty:
        entries[at] = last.none
        machine.frames.drop(paddr)
    elif not lazy and not machine.frames.is_mlocked(paddr) and _has_slot(mm, paddr):
        _swap_out(mm, entries, at, paddr, dirty=dirty)
    else:
        _keep(mm, paddr)


def _has_slot(mm: Space, paddr: int) -> bool:
    """Whether a frame has a slot in swap, or there is one for it."""
    swap = mm.machine.swap
    return swap.slot_of(paddr) is not None or swap.used < swap.slots


def _swap_out(mm: Space, entries: Entries, at: int, paddr: int, *, dirty: bool) -> None:
    """Give a page a slot and write it there, unless its slot has it already; its frame is in the swap cache then.

    It does not stay there if nothing had to be written: as it was clean, or zeros.
    """
    swap, frames, last = mm.machine.swap, mm.machine.frames, mm.geometry.last
    slot, written = swap.slot_of(paddr), dirty
    if slot is None:
        slot, written = swap.enter(paddr), True
    elif dirty:
        swap.store(slot, paddr)
    flags = Flag(last.flags(int(entries[at]))) & (Flag.UFFD_WP | Flag.SOFT_DIRTY)
    swap.hold(slot)
    entries[at] = last.swap(slot, flags | Flag.EXCLUSIVE if frames.is_exclusive(paddr) else flags)
    frames.drop(paddr)
    if not written or swap.is_zero(slot):
        swap.leave(slot)
