"""Bringing pages in for an access: a table of them at a time.

A range is brought in block by block, a table of the last level each. In each, entries that already allow the access
only get their accessed and dirty bits; empty entries of plain anonymous memory are filled together; anything else takes
a page fault of its own, in order of address, so that what happened before a refused access is what Linux would have
done.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk import abi
from pagewalk.abi.signals import EHWPOISON
from pagewalk.errors import MemoryFault, OutOfFrames, SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.paging import hugetlb
from pagewalk.mm.paging.arrivals import Arrivals, LockList
from pagewalk.mm.paging.fault import find_area, handle
from pagewalk.mm.state.accessed import mark_accessed
from pagewalk.mm.state.areas import prepare_anon
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.mm.hardware.cpu import Access
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries

    Move = Callable[[int, Entries], object]

__all__ = ["populate", "touch"]

NEEDS: Final = {"read": Flag.READ, "write": Flag.WRITE, "execute": Flag.READ}  # what is present can be read
MARKS: Final = {"read": Flag.ACCESSED, "write": Flag.ACCESSED | Flag.DIRTY, "execute": Flag.ACCESSED}
"""What the hardware notes of an access."""
_PIECE: Final = 1 << 30
"""What a system call brings in at a time: it may be asked for more than there is room to list."""


class _Way(NamedTuple):
    """How pages are accessed.

    Attributes:
        access: What for.
        marks: What is noted in entries of the last level that were there.
        huge_marks: What is noted in those above.
    """

    access: Access
    marks: Flag
    huge_marks: Flag


def touch(
    mm: Space, start: int, end: int, access: Access, move: Move | None = None, *, by_kernel: bool = False
) -> Entries:
    """Access one byte of every page in ``[start, end)``, whole pages, as the CPU would.

    Args:
        mm: The address space.
        start, end: Virtual addresses.
        access: What for.
        move: Called with runs of pages, in order: the number of the first, and their physical addresses, while their
            table is locked, so that nobody takes the pages away.
        by_kernel: The kernel does, which looks up what is there, and notes in entries at most that a huge page is
            written (x86-64: ``pmdp_set_access_flags``).

    Returns:
        The physical address of each page, shape (n,), uint64.

    Raises:
        SegmentationFault, BusError: A page refuses; the pages before it have been accessed.
        OutOfFrames: No frame is left; likewise.
    """
    paddrs = np.empty((end - start) // mm.geometry.page_size, np.uint64)
    nothing = by_kernel and access != "write"
    way = _Way(access, Flag(0) if by_kernel else MARKS[access], Flag(0) if nothing else MARKS[access])
    addr = start
    while addr < end:
        addr = mm.machine.do(_step, mm, addr, end, way, paddrs, start, move)
    return paddrs


def _step(mm: Space, addr: int, end: int, way: _Way, paddrs: Entries, start: int, move: Move | None) -> int:
    """Access what lies in one table and one area; returns where that ends."""
    area, geometry = find_area(mm, addr, way.access), mm.geometry
    if way.access == "execute" and VmaFlags.EXEC not in area.flags:
        way = _Way(way.access, Flag(0), Flag(0))  # what is there refuses
    stop = min(end, area.end, geometry.block_start(addr) + geometry.block_size)
    at = (addr - start) // geometry.page_size
    part = paddrs[at : at + (stop - addr) // geometry.page_size]
    _block(mm, area, addr, stop, way, part, partial(move, at, part) if move else _stay)
    return stop


def _stay() -> None:
    """No data is moved."""


def _block(mm: Space, area: Area, start: int, end: int, way: _Way, paddrs: Entries, move: Any) -> None:
    """Access the pages of one block, all of one area; ``move`` is called when all of them are there."""
    need = NEEDS[way.access]
    while True:
        if area.huge_page_size:
            entry = hugetlb.slot(mm, area, start)
        else:
            entry = mm.tables.upper_at(start, grow=True)
            assert entry is not None
        if entry is not None and entry.is_leaf and need in entry.flags:
            with mm.tables.lock(entry.table):
                if not entry.is_leaf or need not in entry.flags:
                    continue
                entry.value = mm.geometry.upper.with_flags(entry.value, way.huge_marks)
                inside, base = start & entry.level.span - 1, np.uint64(entry.target or 0)
                offsets = np.arange(inside, inside + end - start, mm.geometry.page_size, dtype=np.uint64)
                paddrs[:] = base + offsets
                move()
                return
        if entry is None or not entry.is_table:
            _handle(mm, area, start, way.access)
            continue
        table = mm.tables.child(entry, start)
        with mm.tables.lock(table):
            entries = mm.tables.slice(entry, start, end).entries
            first = _sweep(mm, area, start, entries, way)
            if first is None:
                paddrs[:] = mm.geometry.last.frame(entries)
                move()
                return
        _handle(mm, area, start + first * mm.geometry.page_size, way.access)


def _handle(mm: Space, area: Area, page: int, access: Access) -> None:
    """Take a fault. That on writing to a file's page makes the page dirty too (``fault_dirty_shared_page``)."""
    try:
        handle(mm, page, access)
    except OutOfFrames as error:
        error.vaddr = page if error.vaddr is None else error.vaddr
        raise
    if access == "write" and VmaFlags.SHARED in area.flags and not area.huge_page_size:
        entry, frames = mm.tables.last_at(page) or mm.tables.upper_at(page), mm.machine.frames
        if entry is not None and entry.kind is Kind.PRESENT and entry.target is not None:
            large = frames.is_large(entry.target)
            frames.set_dirty(frames.folio(entry.target) if large else entry.target)


def _sweep(mm: Space, area: Area, start: int, entries: Entries, way: _Way) -> int | None:
    """Do what can be done together in a run of entries.

    Returns:
        The first entry that needs a fault of its own, None if all are done.
    """
    last = mm.geometry.last
    there = last.grants(entries, NEEDS[way.access])
    fill = last.is_none(entries) & (area.is_anonymous and not area.flags & VmaFlags.UFFD_WP)
    others = np.flatnonzero(~there & ~fill)
    stop = int(others[0]) if others.size else len(entries)
    done = np.flatnonzero(there[:stop])
    if done.size and way.marks:
        entries[done] = last.with_flags(entries[done], way.marks)
    holes = np.flatnonzero(fill[:stop])
    if holes.size:
        _fill(mm, area, start, entries, holes, way.access)
    return stop if others.size else None


def _fill(mm: Space, area: Area, start: int, entries: Entries, holes: Any, access: Access) -> None:
    """Fill empty entries of anonymous memory: with the zero page for reading, with pages of their own for writing."""
    size = mm.geometry.page_size
    if access != "write":
        entries[holes] = np.uint64(mm.zero_entry_for(area))
    else:
        prepare_anon(mm, area)
        frames = mm.machine.frames.take_up_to(len(holes), Usage.ANON)
        count = len(frames)
        flags = int(mm.page_flags(area, writable=True) | Flag.ACCESSED | mm.machine.dirtied)
        entries[holes[:count]] = mm.page_entry(area, frames, flags)
        if count < len(holes):
            vaddr = start + int(holes[count]) * size
            raise OutOfFrames(f"no frame is free of {len(mm.machine.frames)}", vaddr, mm.geometry.last.depth)
    mm.log("install", start, start + len(entries) * size)


def populate(mm: Space, start: int, end: int, access: Access) -> None:
    """Fault a range in for a system call, which notes that its pages are used, but for huge ones (``FOLL_TOUCH``).

    Raises:
        SystemCallError: EFAULT where a fault would be fatal, EHWPOISON where a page is poisoned, ENOMEM where memory
            is short.
    """
    clean, stop = _clean_pages(mm, start, end) if access == "write" else [], end
    area, arrivals = mm.area_at(start), None
    if area is not None and VmaFlags.LOCKED in area.flags and start < end:
        arrivals = Arrivals(mm, area, start, end, access)
    try:
        for first in range(start, end, _PIECE):
            touch(mm, first, min(end, first + _PIECE), access, by_kernel=True)
    except MemoryFault as error:
        stop = error.vaddr
        code = EHWPOISON if error.code == abi.BUS_MCEERR_AR else errno.EFAULT
        raise SystemCallError(code, str(error)) from error
    except OutOfFrames as error:
        stop = start if error.vaddr is None else error.vaddr
        raise SystemCallError(errno.ENOMEM, str(error)) from error
    finally:
        mm.machine.do(_mark_pages, mm, start, mm.geometry.page_start(stop), arrivals)
        for addrs, paddrs in clean:
            written = paddrs[addrs < np.uint64(stop)]
            mm.machine.frames.set_dirty(mm.machine.frames.whole_folios(written))


def _mark_pages(mm: Space, start: int, end: int, arrivals: Arrivals | None) -> None:
    """Note that the pages of a range of one area are used which entries of the last level map."""
    if start >= end:
        return
    last, area = mm.geometry.last, mm.area_at(start)
    pages = [entries[last.is_page(entries)] for _, entries in mm.tables.slices(start, end)]
    paddrs = last.frame(np.concatenate([np.empty(0, last.dtype), *pages]))
    locked = None if arrivals is None else arrivals.locked(LockList())
    mark_accessed(mm.machine, paddrs, areas=[] if area is None else [area], locked=locked)
    mm.machine.frames.recency.drain()


def _clean_pages(mm: Space, start: int, end: int) -> list[tuple[Entries, Entries]]:
    """Pages that may be written, and whose entries are not dirty yet: a table at a time, their addresses and frames."""
    found, last = [], mm.geometry.last
    for first, entries in mm.tables.slices(start, end):
        at = np.flatnonzero(last.grants(entries, Flag.WRITE) & (last.flags(entries) & int(Flag.DIRTY) == 0))
        if at.size:
            found.append((np.uint64(first) + at.astype(np.uint64) * np.uint64(last.span), last.frame(entries[at])))
    return found
