"""Large folios of files: mapping one, making one of a block's pages, splitting one.

How it works. The page cache has a block of a file as one folio once it was collapsed, or brought in by policy. Whoever
maps the block whole and aligned then gets a huge page, whatever the settings say; others map the folio by small
entries, as a whole where there is room. Entries are never split: a file's huge page, or the entries of a folio that is
split, are emptied, and faults find the pages in the page cache. (``mm/shmem.c``, ``mm/khugepaged.c``, Linux 6.18.)
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from pagewalk.errors import OutOfFrames
from pagewalk.formats import Flag
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.paging.huge import Refusal, fits
from pagewalk.mm.paging.soft_dirty import of_dirty_pages
from pagewalk.mm.paging.zap import unmap_file
from pagewalk.mm.state.area import RIGHTS
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.files import File
    from pagewalk.mm.state.space import Space
    from pagewalk.tables import Entry

__all__ = [
    "Reach", "bring_in", "collapse", "is_aligned", "is_writable_at_once", "map_block", "map_folio", "reach", "split",
    "take_out", "unmap",
]  # fmt: skip


def is_aligned(mm: Space, area: Area) -> bool:
    """Whether an area of a file maps the file's blocks at borders of blocks."""
    return (area.start - area.offset) % mm.geometry.block_size == 0


def is_writable_at_once(mm: Space, area: Area) -> bool:
    """Whether a page that is read can be written too from then on, without a fault (not ``vma_wants_writenotify``)."""
    return area.flags & (VmaFlags.SHARED | VmaFlags.UFFD_WP) == VmaFlags.SHARED and not mm.tracks(area)


# -- mapping ---------------------------------------------------------------------------------------------------------


def bring_in(mm: Space, area: Area, page: int) -> None:
    """Bring in the block around an address of a file that has no page there, if the policy gives it one."""
    file = cast("File", area.mapping)
    index = area.offset_at(page) // file.page_size
    if index in file.pages or index in file.swapped or not file.wants_block(area.flags, index):
        return
    if fits(mm, area, page) and is_aligned(mm, area):
        file.bring_in(index, [file.folios.block])


def map_block(mm: Space, area: Area, upper: Entry, vaddr: int, *, write: bool = False) -> bool:
    """Map the block around an address by a huge page, if one folio has it and the area allows (``do_set_pmd``).

    Returns:
        Whether it did.
    """
    if VmaFlags.NOHUGEPAGE in area.flags or not fits(mm, area, vaddr) or not is_aligned(mm, area):
        return False
    file = cast("File", area.mapping)
    paddr = file.block_at(area.offset_at(mm.geometry.block_start(vaddr)) // file.page_size)
    if paddr is None:
        return False
    flags = mm.page_flags(area, writable=write or is_writable_at_once(mm, area)) | Flag.ACCESSED
    entry = mm.block_entry(area, paddr, flags | mm.machine.dirtied if write else flags)
    mm.machine.frames.hold(mm.machine.frames.run(paddr, mm.geometry.block_size))
    upper.value = entry if area.flags & RIGHTS else mm.geometry.upper.without_rights(entry)
    mm.update_mmu_cache(area, mm.geometry.block_start(vaddr), upper)
    return True


class Reach(NamedTuple):
    """What of a file small entries may map together.

    Attributes:
        pages: Numbers of pages in the file.
        entries: Where they go.
    """

    pages: range
    entries: Any


def reach(mm: Space, area: Area, page: int) -> Reach | None:
    """The large folio around an address, and its entries; None if it is one page, or area or table have no room."""
    file, size = cast("File", area.mapping), mm.geometry.page_size
    folio = file.folios.of(area.offset_at(page) // size)
    if len(folio) == 1:
        return None
    start = page + folio.start * size - area.offset_at(page)
    end, block = start + len(folio) * size, mm.geometry.block_start(page)
    if start < max(area.start, block) or end > min(area.end, block + mm.geometry.block_size):
        return None
    upper = mm.tables.upper_at(page)
    assert upper is not None
    return Reach(folio, mm.tables.slice(upper, start, end).entries)


def map_folio(mm: Space, area: Area, page: int, *, write: bool) -> bool:
    """Map the large folio that has the page at an address, if all its entries are empty (``finish_fault``, 6.11).

    Returns:
        Whether it did; if not, the page is mapped alone.
    """
    file = cast("File", area.mapping)
    whole = None if VmaFlags.UFFD_WP in area.flags else reach(mm, area, page)
    if whole is None or not mm.geometry.last.is_none(whole.entries).all():
        return False
    paddrs = file.paddrs(whole.pages)
    mm.machine.frames.hold(paddrs)
    flags = mm.page_flags(area, writable=write or is_writable_at_once(mm, area)) | Flag.ACCESSED
    made = mm.page_entry(area, paddrs, int(flags | mm.machine.dirtied if write else flags))
    whole.entries[:] = made if write else of_dirty_pages(mm, made)
    start = page + (whole.pages.start * file.page_size - area.offset_at(page))
    mm.update_mmu_cache_range(area, start, start + len(paddrs) * file.page_size)
    return True


# -- making one ------------------------------------------------------------------------------------------------------


def collapse(mm: Space, area: Area, start: int) -> Refusal | None:
    """Make the file's block at an address one folio, and map it (``MADV_COLLAPSE``); None: so it is now."""
    file = cast("File", area.mapping)
    first = area.offset_at(start) // file.page_size
    block = range(first, first + file.folios.block)
    if file.block_at(first) is None:
        refusal = _join(mm, file, block)
        if refusal is not None:
            return refusal
    upper = mm.tables.upper_at(start, grow=True)
    assert upper is not None
    if upper.is_leaf:
        return None
    if VmaFlags.UFFD_WP in area.flags:
        return Refusal(errno.EINVAL, "userfaultfd is told of writes to it")
    if upper.is_table:
        refusal = _what_stands_there(mm, file, block, upper, start)
        if refusal is not None:
            return refusal
        _drop_table(mm, upper, start)
    map_block(mm, area, upper, start)
    return None


def _join(mm: Space, file: File, block: range) -> Refusal | None:
    """Make a block one folio: unmap its pages everywhere, copy them, free the tables that served it alone."""
    frames = mm.machine.frames
    if frames.lost and any(file.is_poisoned(index) for index in block):
        return Refusal(errno.EAGAIN, "a page of it is poisoned")
    try:
        paddr = frames.take_block(Usage.FILE)
    except OutOfFrames as error:
        return Refusal(errno.ENOMEM, str(error), goes_on=False)
    for index in file.swapped.keys() & block:
        file.frame(index)
    if not any(index in file.pages for index in block):
        frames.drop(frames.run(paddr, mm.geometry.block_size))
        return Refusal(errno.EINVAL, "the file has no page there", goes_on=False)
    unmap(file, block)
    file.join(block, paddr)
    _retract_tables(file, block)
    return None


def _retract_tables(file: File, block: range) -> None:
    """Free the tables that are empty now, so that faults there map a huge page (``retract_page_tables``)."""
    size = file.page_size
    for vma in file.overlapping(block.start * size, (block.start + 1) * size):
        mm: Space = vma.mm
        area = mm.as_area(vma)
        addr = area.start + block.start * size - area.offset
        keeps = area.anon is not None or area.guarded or VmaFlags.UFFD_WP in area.flags
        if keeps or addr % mm.geometry.block_size or area.end < addr + mm.geometry.block_size:
            continue
        mm.tables.free_tables(addr, addr + mm.geometry.block_size, addr, addr + mm.geometry.block_size)


def _what_stands_there(mm: Space, file: File, block: range, upper: Entry, start: int) -> Refusal | None:
    """What speaks against mapping a block by a huge page instead of a table (``collapse_pte_mapped_thp``)."""
    last = mm.geometry.last
    entries = mm.tables.slice(upper, start, start + mm.geometry.block_size).entries
    pages, kept = last.is_page(entries), ~last.is_none(entries)
    others = np.flatnonzero(kept & ~(pages & (last.frame(entries) == file.paddrs(block))))
    if not others.size:
        return None
    if pages[others[0]]:
        return Refusal(errno.EINVAL, "a page of it was written privately", goes_on=False)
    return Refusal(errno.EINVAL, "a marker stands there")


def _drop_table(mm: Space, upper: Entry, start: int) -> None:
    """Free a table that maps nothing but pages of one folio of a file."""
    last, end = mm.geometry.last, start + mm.geometry.block_size
    entries = mm.tables.slice(upper, start, end).entries
    paddrs = last.frame(entries[~last.is_none(entries)])
    entries[:] = last.none
    mm.machine.frames.drop(paddrs)
    mm.tables.free_tables(start, end, start, end)


# -- splitting -------------------------------------------------------------------------------------------------------


def unmap(file: File, pages: range) -> None:
    """Take pages of a file out of every address space; private copies stay."""
    start, end = pages.start * file.page_size, pages.stop * file.page_size
    for vma in file.overlapping(start, end):
        unmap_file(vma, *vma.range_of(start, end), zaps=False)


def split(file: File, folio: range, at: int | None = None) -> None:
    """Split a folio into single pages, or so that the page ``at`` is one; it is mapped nowhere then."""
    if len(folio) > 1:
        unmap(file, folio)
        file.split(folio, at)


def take_out(file: File, start: int, end: int) -> None:
    """Take bytes out of a file whose whole pages are unmapped there: pages go, parts are zeroed (``shmem_undo_range``).

    Large folios that lie only partly in the range are split at its ends.
    """
    size = file.page_size
    first, last = -(-start // size), end // size
    for inside in (start, end - 1):
        folio = file.folios.of(inside // size)
        if folio.start in file.pages and (start > folio.start * size or end < folio.stop * size):
            file.set_dirty(folio)
            split(file, folio, max(folio.start, start // size))
            if end < folio.stop * size:
                split(file, file.folios.of(end // size), end // size)
    file.zero_edges(start, end - start)
    file.discard(first, last)
