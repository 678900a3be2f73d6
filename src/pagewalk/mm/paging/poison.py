"""Memory errors that somebody asks for: MADV_HWPOISON and MADV_SOFT_OFFLINE (``mm/memory-failure.c``, Linux 6.18).

How it works. Both bring a page in as for a read, and take its frame away for ever. MADV_HWPOISON breaks the page: all
entries that map it say so from then on, a file keeps it as one that nobody can read, and who asked gets a SIGBUS, if it
held what is nowhere else. MADV_SOFT_OFFLINE moves it to another frame first: nobody notices. A page of a transparent
huge page is made a single one before; one of a hugetlb page takes the whole of it along. The call goes on behind the
page, or as many bytes further as the huge page has that it was a part of, wherever in it that was.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk import abi
from pagewalk.errors import BusError, MemoryFault, OutOfFrames, SystemCallError, UnsupportedError
from pagewalk.formats import Flag
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.paging import file_folios, huge, hugetlb
from pagewalk.mm.paging.broken_hugetlb import break_huge, replace_huge
from pagewalk.mm.paging.touch import touch
from pagewalk.mm.state.accessed import mark_accessed
from pagewalk.mm.state.files import File
from pagewalk.mm.state.space import Space
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.mm.state.area import Area
    from pagewalk.tables import Entry

__all__ = ["inject"]

OUT_OF_REACH: Final = VmaFlags.IO | VmaFlags.PFNMAP


def inject(mm: Space, start: int, end: int, *, soft: bool) -> None:
    """Have the pages of a range break, or, softly, be replaced in time.

    Args:
        mm: The address space whose process asks.
        start, end: The range in bytes; ``start`` is page-aligned.
        soft: MADV_SOFT_OFFLINE.

    Raises:
        SystemCallError: EPERM, CAP_SYS_ADMIN is missing; EFAULT, a page cannot be read; ENOMEM; EBUSY, EIO or
            EHWPOISON, the zero page. What lies before is done.
        BusError: All was done that can be, and a page held what is lost now; where the first one was. It is raised
            from the SystemCallError, if there was one too.
        UnsupportedError: A page that is in the swap cache; one of a huge page that other processes map too; the huge
            zero page.
    """
    if not mm.limits.sys_admin:
        raise SystemCallError(errno.EPERM, "memory breaks only for those who have CAP_SYS_ADMIN")
    act, told = _replace if soft else _break, list[int]()
    error = None
    try:
        while start < end:
            page = _reach(mm, start)
            start += page.folio_size
            act(page, told)
    except SystemCallError as stop:
        error = stop
    if told:
        raise BusError(told[0], "read", "the page was poisoned just now", abi.BUS_MCEERR_AR) from error
    if error is not None:
        raise error


class _Page(NamedTuple):
    """A page: who wants it gone, and where it is.

    Attributes:
        mm, area: Who.
        vaddr, paddr: Where.
    """

    mm: Space
    area: Area
    vaddr: int
    paddr: int

    @property
    def file(self) -> File | None:
        """The file in whose page cache it is; None for any other."""
        in_cache = self.mm.machine.frames.used_as(self.paddr, Usage.FILE)[0]
        return self.area.mapping if in_cache and isinstance(self.area.mapping, File) else None

    @property
    def number(self) -> int:
        """Its number in the file."""
        return self.area.offset_at(self.vaddr) // self.mm.geometry.page_size

    @property
    def folio_size(self) -> int:
        """Bytes of what it is a part of: a large folio, a hugetlb page; if nothing, its own."""
        geometry, file = self.mm.geometry, self.file
        if self.area.huge_page_size:
            return self.area.huge_page_size
        if file is not None:
            return len(file.folios.of(self.number)) * geometry.page_size
        return geometry.block_size if self.mm.machine.frames.is_large(self.paddr) else geometry.page_size


def _reach(mm: Space, vaddr: int) -> _Page:
    """Bring a page in, as the kernel does to read it on the process's behalf.

    Raises:
        SystemCallError: EFAULT, it cannot be had; ENOMEM.
    """
    area = mm.area_at(vaddr)
    there = area is not None and _is_there(mm, area, vaddr)
    may = there or (area is not None and VmaFlags.READ in area.flags)
    if area is None or not may or area.flags & OUT_OF_REACH or not mm.keys.permits(area, "read"):
        raise SystemCallError(errno.EFAULT, f"{vaddr:#x} cannot be read")
    try:
        paddrs = touch(mm, vaddr, vaddr + mm.geometry.page_size, "read", by_kernel=True)
    except MemoryFault as error:
        raise SystemCallError(errno.EFAULT, str(error)) from error
    except OutOfFrames as error:
        raise SystemCallError(errno.ENOMEM, str(error)) from error
    if there:
        mm.machine.frames.recency.refer(paddrs)
    elif mm.tables.last_at(vaddr) is not None:
        mark_accessed(mm.machine, paddrs)
    return _Page(mm, area, vaddr, int(paddrs[0]))


def _is_there(mm: Space, area: Area, vaddr: int) -> bool:
    """Whether the CPU could read a page: then nobody asks what the area allows (``gup_fast``)."""
    size = area.huge_page_size
    entry = hugetlb.slot(mm, area, vaddr) if size else mm.tables.last_at(vaddr) or mm.tables.upper_at(vaddr)
    if entry is None or not entry.is_leaf or entry.target is None or Flag.READ not in entry.flags:
        return False
    return not mm.machine.frames.used_as(entry.target, Usage.ZERO)[0]


# -- breaking --------------------------------------------------------------------------------------------------------


def _break(page: _Page, told: list[int]) -> None:
    """Break a page; ``told`` gets the address that a signal tells, if one is due (``memory_failure``)."""
    mm, area, vaddr, paddr = page
    if mm.machine.frames.used_as(paddr, Usage.ZERO)[0]:
        _break_zero(page, told)
    elif area.huge_page_size:
        where = _told_at(page)
        if break_huge(mm.machine, area, vaddr, paddr):
            told.append(where)
    else:
        whole, where = _is_mapped_whole(page), _told_at(page)
        unmapped = _make_single(page, broken=True) and not whole  # before anybody looked who had it
        if _break_single(page) and not unmapped:
            told.append(where)


def _break_single(page: _Page) -> bool:
    """Break a page that is a folio of its own; whether it held what is nowhere else."""
    mm, _, _, paddr = page
    frames, file = mm.machine.frames, page.file
    entries = _entries(page)
    dirty = bool(frames.dirty(paddr)[0]) or any(Flag.DIRTY in entry.flags for entry in entries)
    frames.set_dirty(paddr, dirty=dirty)
    frames.poison(paddr, Usage.POISONED if file is None else Usage.POISONED_FILE)
    for entry in entries:
        entry.value = mm.geometry.last.poisoned(paddr)
        frames.drop(paddr)
    return dirty


def _break_zero(page: _Page, told: list[int]) -> None:
    """The kernel marks the zero page, and goes on using it; the second time it says who has it, the first in a walk.

    Raises:
        SystemCallError: EBUSY; EHWPOISON, it is marked already.
        UnsupportedError: The huge zero page.
    """
    mm, frames = page.mm, page.mm.machine.frames
    if page.paddr != mm.machine.zero:
        raise UnsupportedError("poisoning the huge zero page is not simulated")
    if not frames.poisoned(page.paddr)[0]:
        frames.poison(page.paddr, Usage.ZERO)
        raise SystemCallError(errno.EBUSY, "the zero page is the kernel's own")
    told.append(next(_places_of(mm, page.paddr)))
    raise SystemCallError(abi.EHWPOISON, "the zero page is poisoned already")


def _told_at(page: _Page) -> int:
    """The address that a signal tells: of a page of a file, in the first area that has it, by offset in the file."""
    mm, area, vaddr, paddr = page
    in_cache = page.file is not None or mm.machine.frames.used_as(paddr, Usage.HUGETLB_FILE)[0]
    if area.mapping is None or not in_cache:
        return vaddr
    start, end = area.offset_at(vaddr), area.offset_at(vaddr) + mm.geometry.page_size
    return next(vma.range_of(start, end)[0] for vma in area.mapping.overlapping(start, end) if vma.mm is mm)


# -- replacing -------------------------------------------------------------------------------------------------------


def _replace(page: _Page, _: list[int]) -> None:
    """Move a page to another frame (``soft_offline_page``).

    Raises:
        SystemCallError: EIO, the zero page; ENOMEM.
    """
    mm, area, vaddr, paddr = page
    frames = mm.machine.frames
    if frames.poisoned(paddr)[0]:
        return
    if frames.used_as(paddr, Usage.ZERO)[0]:
        raise SystemCallError(errno.EIO, "the zero page cannot be moved")
    if area.huge_page_size:
        replace_huge(mm.machine, area, vaddr, paddr)
        return
    file = page.file
    _make_single(page, broken=False)
    if file is not None:
        _replace_of_file(page, file)
    elif not frames.poisoned(paddr)[0]:
        _move(page)


def _replace_of_file(page: _Page, file: File) -> None:
    """Move a page of a file; one that nobody maps and that was never written is dropped instead."""
    frames = page.mm.machine.frames
    if frames.holders(page.paddr) == 1 and not frames.dirty(page.paddr)[0]:
        frames.poison(page.paddr, Usage.POISONED)
        file.discard(page.number, page.number + 1)
    else:
        file.pages[page.number] = _move(page)


def _move(page: _Page) -> int:
    """Move a page that is a folio of its own; returns where it is now.

    Raises:
        SystemCallError: ENOMEM.
    """
    frames, last = page.mm.machine.frames, page.mm.geometry.last
    entries = _entries(page)
    if any(Flag.DIRTY in entry.flags for entry in entries):
        frames.set_dirty(page.paddr)
    try:
        fresh = frames.take(Usage.ANON)
    except OutOfFrames as error:
        raise SystemCallError(errno.ENOMEM, str(error)) from error
    frames.take_over(page.paddr, fresh)
    for entry in entries:
        entry.value = last.moved(entry.value, page.paddr, fresh)
    frames.poison(page.paddr, Usage.POISONED)
    return fresh


# -- pages and their entries -----------------------------------------------------------------------------------------


def _is_mapped_whole(page: _Page) -> bool:
    """Whether anonymous memory has the page by an entry for a huge page."""
    upper = page.mm.tables.upper_at(page.vaddr)
    return page.file is None and upper is not None and upper.is_leaf


def _make_single(page: _Page, *, broken: bool) -> bool:
    """Make a page of a large folio a single one; whether it was one of a large one.

    One of zeros, if it is not broken, has given way to the zero page then: its frame is lost already.

    Raises:
        UnsupportedError: The folio is not simulated so.
    """
    mm, _, vaddr, paddr = page
    frames, file = mm.machine.frames, page.file
    if frames.used_as(paddr, Usage.SWAP_CACHE)[0]:
        raise UnsupportedError(f"the page at {vaddr:#x} is in the swap cache: taking its frame away is not simulated")
    if page.folio_size == mm.geometry.page_size:
        return False
    if file is not None:
        file_folios.split(file, file.folios.of(page.number))
        return True
    if not huge.is_ours(mm, paddr):
        raise UnsupportedError(f"the huge page at {vaddr:#x} has others too: taking its frames away is not simulated")
    upper = mm.tables.upper_at(vaddr)
    assert upper is not None
    if upper.is_leaf:
        mm.tables.split(upper, vaddr)
    frames.hold(paddr)
    huge.split_folio(mm, paddr, broken=broken)
    if frames.holders(paddr) == 1:
        frames.poison(paddr, Usage.POISONED)
    frames.drop(paddr)
    return True


def _entries(page: _Page) -> list[Entry]:
    """The entries of all address spaces that map a page that is a folio of its own; they are about to be flushed."""
    mm, area, vaddr, paddr = page
    file, size = page.file, mm.geometry.page_size
    offset = area.offset_at(vaddr)
    places: Iterator[tuple[Space, int]]
    if file is not None:
        places = ((vma.mm, vma.range_of(offset, offset + size)[0]) for vma in file.overlapping(offset, offset + size))
    elif mm.machine.frames.holders(paddr) == 1:
        places = iter([(mm, vaddr)])
    else:
        spaces = [other for other in mm.machine.spaces if isinstance(other, Space) and other.alive]
        places = ((other, place) for other in spaces for place in _places_of(other, paddr))
    found = []
    for other, place in places:
        entry = other.tables.last_at(place)
        if entry is not None and mm.geometry.last.is_page(entry.value) and entry.target == paddr:
            other.log("flush", place, place + size)
            found.append(entry)
    return found


def _places_of(mm: Space, paddr: int) -> Iterator[int]:
    """Where an address space maps a frame by small entries, lowest first."""
    last = mm.geometry.last
    for vma in mm.vmas:
        for start, entries in () if vma.huge_page_size else mm.tables.slices(vma.start, vma.end):
            here = last.is_page(entries) & (last.frame(entries) == np.uint64(paddr))
            yield from (start + at * last.span for at in np.flatnonzero(here).tolist())
