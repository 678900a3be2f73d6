"""MADV_COLD and MADV_PAGEOUT on large folios of files (``madvise_cold_or_pageout_pte_range``, Linux 6.18).

What other processes map too is left alone. A folio that is only partly meant is split, which unmaps it everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from pagewalk.formats import Flag
from pagewalk.mm.paging.file_folios import split, unmap
from pagewalk.mm.paging.zap import armed
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.files import File
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries
    from pagewalk.space import Vma
    from pagewalk.tables import Entry

    Places = npt.NDArray[np.intp]

__all__ = ["advise_block", "advise_folios"]


def advise_block(mm: Space, area: Area, upper: Entry, addr: int, next_: int, *, reclaim: bool) -> None:
    """Give advice about a range of a huge page.

    Args:
        mm, area, upper: Whose page.
        addr, next_: The range.
        reclaim: MADV_PAGEOUT; else MADV_COLD.
    """
    file = cast("File", area.mapping)
    folio = file.folios.of(area.offset_at(addr) // file.page_size)
    users = _users(file, folio)
    if any(vma.mm is not mm for vma in users):
        return
    if next_ - addr < mm.geometry.block_size:
        split(file, folio)
    elif reclaim:
        _page_out(file, folio, users)
    else:
        file.pool.recency.forget(file.paddrs(folio))
        upper.value = mm.geometry.upper.without(upper.value, Flag.ACCESSED)


def advise_folios(mm: Space, area: Area, addr: int, entries: Entries, own: Places, *, reclaim: bool) -> Places:
    """Give advice about the large folios that a range of small entries maps.

    Args:
        mm, area: Whose entries.
        addr, entries: A range of one table.
        own: Where pages are that nobody else maps.
        reclaim: As ``advise_block``.

    Returns:
        Where of those are pages that the advice is still to be given about.
    """
    file, at = cast("File", area.mapping), 0
    base = area.offset_at(addr) // file.page_size
    while len(file.folios) and at < len(entries):
        folio = file.folios.of(base + at)
        here = range(at, min(folio.stop - base, len(entries)))
        if len(folio) > 1:
            mapped = here.start + np.flatnonzero(_maps_pages(mm, entries[here.start : here.stop], file, base + at))
            own = np.setdiff1d(own, mapped)
            if _advise_folio(mm, file, folio, entries[mapped], reclaim=reclaim):
                own = np.union1d(own, mapped)
        at = here.stop
    return own


def _maps_pages(mm: Space, entries: Entries, file: File, first: int) -> npt.NDArray[np.bool_]:
    """Which entries map the pages of a file from one on, each its own: a bool an entry."""
    last = mm.geometry.last
    paddrs = file.paddrs(range(first, first + len(entries)))
    maps: npt.NDArray[np.bool_] = last.is_page(entries) & (last.frame(entries) == paddrs)
    return maps


def _advise_folio(mm: Space, file: File, folio: range, mapped: Entries, *, reclaim: bool) -> bool:
    """Give advice about a folio of which these entries map pages; whether they have only to forget being accessed."""
    if not len(mapped):
        return False
    if len(mapped) == len(folio) and len(np.unique(armed(mm.geometry.last, mapped))) == 1:
        if not mm.machine.frames.mapped_once(file.paddrs(folio)).all():
            return False
        if reclaim:
            _page_out(file, folio, _users(file, folio))
        return not reclaim
    if all(vma.mm is mm for vma in _users(file, folio)):
        split(file, folio)
    return False


def _page_out(file: File, folio: range, users: list[Vma]) -> None:
    """Unmap a folio, if nobody has it locked; one never written is a hole again, others go to swap, if any, or stay.

    In swap its pages are single ones: a fault brings back one at a time.
    """
    file.pool.recency.forget(file.paddrs(folio))
    first = file.pages[folio.start]
    if file.pool.is_mlocked(first) or any(VmaFlags.LOCKED in vma.flags for vma in users):
        return
    unmap(file, folio)
    swap = file.machine.swap
    if not file.pool.dirty(first)[0]:
        file.discard(folio.start, folio.stop)
    elif swap.slots - swap.used >= len(folio):
        file.split(folio)
        for paddr in [file.pages[index] for index in folio if index in file.pages]:
            file.reclaim(paddr, swap)
    else:
        file.pool.recency.activate(file.paddrs(folio))


def _users(file: File, folio: range) -> list[Vma]:
    """The VMAs that map a page of a folio."""
    found = file.overlapping(folio.start * file.page_size, folio.stop * file.page_size)
    return [vma for vma in found if _maps(vma, file, folio)]


def _maps(vma: Vma, file: File, folio: range) -> bool:
    """Whether a VMA maps a page of a folio."""
    mm: Space = vma.mm
    start, end = vma.range_of(folio.start * file.page_size, folio.stop * file.page_size)
    paddrs, last = file.paddrs(folio), mm.geometry.last
    if any(upper.target in paddrs for upper in mm.tables.huge_entries(start, end)):
        return True
    pages = (entries[last.is_page(entries)] for _, entries in mm.tables.slices(start, end))
    return any(bool(np.isin(last.frame(some), paddrs).any()) for some in pages)
