"""Advice about how old pages are: MADV_FREE, MADV_COLD and MADV_PAGEOUT.

The three walk a range alike: huge pages and large folios that lie only partly in it are split first, what others map
too is left alone (``madvise_cold_or_pageout_pte_range``, ``madvise_free_pte_range``, Linux 6.18).
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk import sweep
from pagewalk.errors import SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.files import File
from pagewalk.mm.frames import BLOCK, PAGE
from pagewalk.mm.huge import is_ours, split_folio
from pagewalk.mm.uffd import swap_bits
from pagewalk.mm.zap import clear_huge, release
from pagewalk.space import VmaFlags
from pagewalk.walk import WalkOps, walk_page_range_novma

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.mm.areas import Area
    from pagewalk.mm.mm import Mm
    from pagewalk.mm.tables import Entries
    from pagewalk.space import Mapping
    from pagewalk.tables import Entry

    Change = Callable[[Mm, Entries, Any], None]

__all__ = ["cold", "free", "pageout"]


def free(mm: Mm, area: Area, start: int, end: int) -> None:
    """Mark anonymous pages as not needed: clean now, gone when memory is short, kept if written again.

    Raises:
        SystemCallError: EINVAL, not plain anonymous memory, or locked.
    """
    _check(area)
    if not area.is_anonymous:
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} has a file")
    _each_table(mm, start, end, _free_huge, _free_pages)


def cold(mm: Mm, area: Area, start: int, end: int) -> None:
    """Forget that the pages were accessed. Errors as ``pageout``."""
    _check(area)
    _each_table(mm, start, end, _cold_huge, _cold_pages)


def pageout(mm: Mm, area: Area, start: int, end: int) -> None:
    """Write anonymous pages to swap while there is any, drop those that are lazily free and clean, unmap a file's.

    Raises:
        SystemCallError: EINVAL, locked, hugetlb or special memory.
    """
    _check(area)
    _each_table(mm, start, end, _pageout_huge, partial(_pageout_pages, file=area.mapping), reclaim=True)


def _check(area: Area) -> None:
    """Refuse areas whose pages cannot be reclaimed (``can_madv_lru_vma``)."""
    if area.flags & (VmaFlags.LOCKED | VmaFlags.PFNMAP | VmaFlags.HUGETLB):
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} is locked, hugetlb or special")


def _each_table(
    mm: Mm,
    start: int,
    end: int,
    on_huge: Callable[[Mm, Entry], None],
    on_pages: Change,
    *,
    reclaim: bool = False,
) -> None:
    """Apply an advice to a range, a table at a time."""

    def at_pmd(pmd: Entry, addr: int, next_: int, walk: Any) -> None:
        with mm.tables.lock(pmd.table):
            if pmd.is_leaf:
                paddr = pmd.target
                if paddr == mm.machine.huge_zero or paddr is None or not is_ours(mm, paddr):
                    return
                if next_ - addr == BLOCK:
                    on_huge(mm, pmd)
                    return
                mm.tables.split(pmd, addr)
                split_folio(mm, paddr)
            if not pmd.is_table:
                return
        with mm.tables.lock(mm.tables.child(pmd, addr)):
            entries = mm.tables.slice(pmd, addr, next_).entries
            _split_folios(mm, entries, reclaim=reclaim)
            on_pages(mm, entries, _own_pages(mm, entries))

    walk_page_range_novma(mm.tables, start, end, WalkOps(pmd_entry=at_pmd))
    mm.log("flush", start, end)


def _pages(mm: Mm, entries: Entries) -> Any:
    """Where entries map pages with a life of their own."""
    form = mm.format
    return np.flatnonzero(form.is_present(entries) & (form.leaf_flags(entries) & int(Flag.SPECIAL) == 0))


def _own_pages(mm: Mm, entries: Entries) -> Any:
    """Where entries map pages that nobody else maps, nor any of their folio."""
    at = _unshared_folios(mm, entries)
    return at[mm.machine.frames.mapped_once(mm.format.leaf_paddr(entries[at], mm.format.levels[4]))]


def _unshared_folios(mm: Mm, entries: Entries) -> Any:
    """Where entries map single pages, or pages of large folios that nobody else maps."""
    at, frames = _pages(mm, entries), mm.machine.frames
    block_of = mm.format.leaf_paddr(entries[at], mm.format.levels[4]) // np.uint64(BLOCK)
    blocks = np.unique(block_of).tolist()
    others = [block for block in blocks if frames.is_large(block * BLOCK) and not is_ours(mm, block * BLOCK)]
    return at[~np.isin(block_of, np.array(others, np.uint64))]


def _split_folios(mm: Mm, entries: Entries, *, reclaim: bool) -> None:
    """Split the large folios of which only a part is mapped here, and, to reclaim them, those that would need swap.

    A lazily free folio is dropped as a whole; one that was written since is kept as a whole.
    """
    frames, form = mm.machine.frames, mm.format
    pages = entries[_pages(mm, entries)]
    block_of = form.leaf_paddr(pages, form.levels[4]) // np.uint64(BLOCK)
    dirty = form.leaf_flags(pages) & int(Flag.DIRTY) != 0
    for block in np.unique(block_of).tolist():
        base, here = block * BLOCK, block_of == block
        if not frames.is_large(base) or not is_ours(mm, base):
            continue
        lazy = frames.is_lazy(base)
        if np.count_nonzero(here) < BLOCK // PAGE or (reclaim and not lazy):
            split_folio(mm, base)
        elif reclaim and dirty[here].any():
            _keep(mm, frames.run(base, BLOCK))


def _clear_state(mm: Mm, flags: Flag) -> np.uint64:
    """A mask that takes flags of state away."""
    return np.uint64((1 << 64) - 1 - mm.format.state_bits(int(flags)))


def _free_huge(mm: Mm, pmd: Entry) -> None:
    assert pmd.target is not None
    mm.machine.frames.set_lazy(mm.machine.frames.run(pmd.target, BLOCK), lazy=True)
    pmd.value &= int(_clear_state(mm, Flag.ACCESSED | Flag.DIRTY))


def _free_pages(mm: Mm, entries: Entries, own: Any) -> None:
    """Mark pages as lazily free, shared ones too; but not one that is shared and known to be dirty."""
    form, frames = mm.format, mm.machine.frames
    at = _unshared_folios(mm, entries)
    paddrs = form.leaf_paddr(entries[at], form.levels[4])
    may = ~frames.dirty(paddrs) | np.isin(at, own)
    frames.set_lazy(paddrs[may & ~_mlocked_elsewhere(mm, paddrs)], lazy=True)
    frames.set_dirty(paddrs[may], dirty=False)
    entries[at[may]] &= _clear_state(mm, Flag.ACCESSED | Flag.DIRTY)
    for slot in np.flatnonzero(form.kind(entries) == Kind.SWAP):
        mm.machine.swap.drop(int(form.software.swap_slot(entries[slot])[1]))
        entries[slot] = 0


def _mlocked_elsewhere(mm: Mm, paddrs: Any) -> Any:
    """Which frames another address space maps where it is locked: they cannot be lazily free."""
    mlocked = np.zeros(len(paddrs), bool)
    if not mm.machine.frames.shared(paddrs).any():
        return mlocked
    for other in set(mm.machine.spaces) - {mm}:
        for vma in other.vmas:
            if VmaFlags.LOCKED in vma.flags and not vma.huge_page_size:
                rows = sweep.mappings(other.tables, vma.start, vma.end, coalesce=False, threads=1)
                mlocked |= np.isin(paddrs, rows.paddr)
    return mlocked


def _cold_huge(mm: Mm, pmd: Entry) -> None:
    pmd.value &= int(_clear_state(mm, Flag.ACCESSED))


def _cold_pages(mm: Mm, entries: Entries, own: Any) -> None:
    entries[own] &= _clear_state(mm, Flag.ACCESSED)


def _pageout_huge(mm: Mm, pmd: Entry) -> None:
    """A lazily free folio goes or is kept as a whole; for any other, small entries first, then the folio is split."""
    paddr, frames, dirty = pmd.target, mm.machine.frames, Flag.DIRTY in pmd.flags
    assert paddr is not None
    if frames.is_mlocked(paddr):
        return
    if frames.is_lazy(paddr) and mm.machine.reclaims_whole:
        if dirty:
            _keep(mm, frames.run(paddr, BLOCK))
        else:
            clear_huge(mm, pmd)
        return
    mm.tables.split(pmd, 0)
    if not frames.is_lazy(paddr):
        split_folio(mm, paddr)
    elif dirty:
        _keep(mm, frames.run(paddr, BLOCK))
        return
    entries = mm.tables.slice(pmd, 0, BLOCK).entries
    _pageout_pages(mm, entries, _own_pages(mm, entries))


def _pageout_pages(mm: Mm, entries: Entries, own: Any, file: Mapping | None = None) -> None:
    form, frames = mm.format, mm.machine.frames
    for at in own.tolist():
        entry = int(entries[at])
        paddr = form.leaf_paddr(entry, form.levels[4])
        if frames.is_anonymous(paddr):
            _page_out(mm, entries, at, paddr)
        elif isinstance(file, File):
            release(mm, entries[at : at + 1], form.kind(entries[at : at + 1]))
            entries[at] = 0
            file.reclaim(paddr)


def _keep(mm: Mm, paddrs: Any) -> None:
    """Pages that cannot go: those that were lazily free are so no longer, since they were written meanwhile."""
    frames = mm.machine.frames
    frames.set_dirty(paddrs, dirty=frames.lazy(paddrs) | frames.dirty(paddrs))
    frames.set_lazy(paddrs, lazy=False)


def _page_out(mm: Mm, entries: Entries, at: int, paddr: int) -> None:
    """Reclaim one anonymous page that nobody else has."""
    machine, software = mm.machine, mm.format.software
    dirty, lazy = mm.format.leaf_flags(int(entries[at])) & Flag.DIRTY, machine.frames.is_lazy(paddr)
    if lazy and not dirty:
        entries[at] = 0
    elif not lazy and machine.swap.used < machine.swap.slots and not machine.frames.is_mlocked(paddr):
        slot = machine.swap.put(mm.memory.read(paddr, PAGE))
        kept = mm.format.leaf_flags(int(entries[at])) & Flag.UFFD_WP
        entries[at] = software.swap_entry(0, slot) | swap_bits(mm, Flag(kept))
    else:
        _keep(mm, paddr)
        return
    machine.frames.drop(paddr)
