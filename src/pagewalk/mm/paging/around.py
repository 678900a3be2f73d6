"""Fault-around: a read fault of a file maps what the page cache has around it (``do_fault_around``, Linux 6.18)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from pagewalk.formats import Flag
from pagewalk.mm.paging.file_folios import is_writable_at_once, reach
from pagewalk.mm.paging.soft_dirty import of_dirty_pages
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.hardware.cpu import Access
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.files import File
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries

__all__ = ["map_around", "maps_around", "takes_around", "window"]

FAULT_AROUND: Final = 64 << 10
"""Bytes around a read fault of a file that are mapped with it, if they are in the page cache (fault_around_bytes)."""


def window(mm: Space, area: Area, page: int) -> tuple[int, int]:
    """What a read fault of a file may map: up to a table's end."""
    size = max(FAULT_AROUND, mm.geometry.page_size)
    start = max(page // size * size, area.start)
    return start, min(start + size, area.end, mm.geometry.block_start(page) + mm.geometry.block_size)


def takes_around(area: Area, access: Access) -> bool:
    """Whether faults of an area take more than their own page along, where there is more."""
    return not area.is_anonymous and access != "write" and VmaFlags.UFFD_WP not in area.flags


def maps_around(mm: Space, area: Area, page: int, access: Access) -> bool:
    """Whether a fault maps pages of the file that are in the page cache, its own or others."""
    file = cast("File", area.mapping)
    if not takes_around(area, access):
        return False
    start, end = window(mm, area, page)
    offsets = range(area.offset_at(start), area.offset_at(end), mm.geometry.page_size)
    return any(offset // file.page_size in file.pages and file.has(offset) for offset in offsets)


def map_around(mm: Space, area: Area, page: int) -> None:
    """Map the pages of the file that are in the page cache around a read fault, within one table.

    A large folio of which one is a part is mapped as a whole where it has room (6.18).
    """
    file, size = cast("File", area.mapping), mm.geometry.page_size
    start, end = window(mm, area, page)
    first = area.offset_at(start) // size
    pages = range(first, min(first + (end - start) // size, file.page_count))
    there = [index for index in pages if index in file.pages and not file.is_poisoned(index)]
    for index in there if len(file.folios) else ():
        whole = reach(mm, area, start + (index - first) * size)
        if whole is not None:
            _map_empty(mm, area, whole.entries, list(whole.pages))
    upper = mm.tables.upper_at(page)
    assert upper is not None
    entries = mm.tables.slice(upper, start, end).entries
    _map_empty(mm, area, entries, there, np.array(there, np.intp) - first)


def _map_empty(mm: Space, area: Area, entries: Entries, pages: list[int], at: Any = slice(None)) -> None:
    """Map pages of the file where entries, all of them or those at some places, are empty."""
    file = cast("File", area.mapping)
    at = np.arange(len(entries))[at]
    empty = mm.geometry.last.is_none(entries[at])
    if not empty.any():
        return
    paddrs = file.paddrs(pages)[empty]
    mm.machine.frames.hold(paddrs)
    flags = mm.page_flags(area, writable=is_writable_at_once(mm, area)) | Flag.ACCESSED
    entries[at[empty]] = of_dirty_pages(mm, mm.page_entry(area, paddrs, int(flags)))
