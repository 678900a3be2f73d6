"""hugetlb memory: pages of one size from a pool, promised when they are mapped."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from pagewalk import abi
from pagewalk.errors import BusError, OutOfFrames, SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.state.files import HugeFile
from pagewalk.space import VmaFlags
from pagewalk.walk.hugetlb import hugetlb_slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.mm.hardware.cpu import Access
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.space import Vma
    from pagewalk.tables import Entry

__all__ = ["entries", "fault", "gone", "inherit", "move", "page_size_of", "reserve", "slot", "zap"]


def page_size_of(mm: Space, flags: int) -> int:
    """The page size that mmap flags ask for.

    Raises:
        SystemCallError: EINVAL, the format has no such page.
    """
    size = 1 << (flags >> abi.MAP_HUGE_SHIFT & 0x3F) if flags >> abi.MAP_HUGE_SHIFT & 0x3F else mm.geometry.block_size
    if size not in mm.geometry.huge:
        raise SystemCallError(errno.EINVAL, f"no huge pages of {size:#x} bytes")
    return size


def reserve(mm: Space, area: Area, size: int) -> None:
    """Make an area hugetlb, its pages promised unless it is MAP_NORESERVE.

    Raises:
        SystemCallError: ENOMEM, the pool has not enough.
    """
    area.huge_page_size = size
    area.flags = (area.flags | VmaFlags.HUGETLB | VmaFlags.DONTEXPAND) & ~VmaFlags.ACCOUNT
    file = HugeFile(size)
    area.mapping, area.offset = file, 0
    area.name = area.mapping.name
    if VmaFlags.NORESERVE not in area.flags:
        try:
            mm.machine.reserve_hugetlb(size, area.size // size)
        except OutOfFrames as error:
            raise SystemCallError(errno.ENOMEM, str(error)) from error
        area.promised, file.promised = True, set(range(area.size // size))


def slot(mm: Space, area: Vma, vaddr: int, *, grow: bool = False) -> Entry | None:
    """The entry for the huge page at an address."""
    if not grow:
        return hugetlb_slot(mm.tables, vaddr, area.huge_page_size)
    return mm.tables.entry_at(vaddr, mm.geometry.huge[area.huge_page_size], grow=True)


def fault(mm: Space, area: Area, vaddr: int, access: Access) -> None:
    """Resolve a fault.

    Raises:
        BusError: The pool is empty.
    """
    entry = slot(mm, area, vaddr, grow=True)
    assert entry is not None
    _resolve(mm, area, entry, vaddr, access)


def _resolve(mm: Space, area: Area, entry: Entry, vaddr: int, access: Access) -> None:
    """Resolve a fault at an entry."""
    if not entry.is_none and (access != "write" or Flag.WRITE in entry.flags):
        return
    shared = VmaFlags.SHARED in area.flags
    old = entry.target
    try:
        paddr = _shared_page(mm, area, vaddr) if shared else _private_page(mm, area, vaddr, old)
    except OutOfFrames as error:
        raise BusError(vaddr, access, str(error)) from error
    flags = mm.page_flags(area, writable=shared or access == "write" or old is None) | Flag.ACCESSED
    flags |= Flag.DIRTY if access == "write" else Flag(0)
    entry.value = mm.page_entry(area, paddr, int(flags), mm.geometry.huge[area.huge_page_size])


def _shared_page(mm: Space, area: Area, vaddr: int) -> int:
    """The file's page, brought in if it was not there; held once more for this mapping."""
    file: Any = area.mapping
    index = area.offset_at(vaddr) // area.huge_page_size
    if index not in file.pages:
        file.pages[index] = _take(mm, area, index)
    frames = mm.machine.frames
    frames.hold(frames.run(file.pages[index], area.huge_page_size))
    return int(file.pages[index])


def _private_page(mm: Space, area: Area, vaddr: int, old: int | None) -> int:
    """A page of one's own: a new one, the old one if nobody else has it, or a copy of it."""
    frames, size = mm.machine.frames, area.huge_page_size
    if old is None:
        return _take(mm, area, area.offset_at(vaddr) // size)
    if frames.holders(old) == 2:  # the pool's and ours
        return old
    try:
        paddr = mm.machine.take_hugetlb(size, promised=False)
    except OutOfFrames:
        if not area.promised:
            raise
        _take_from_children(mm, area, vaddr, old)
        return old
    frames.copy_run(old, paddr, size)
    mm.machine.drop_hugetlb(old, size)
    return paddr


def _take_from_children(mm: Space, area: Area, vaddr: int, paddr: int) -> None:
    """The pool is empty, and the page was promised to this area: unmap it from those it was shared with by a fork.

    They get a SIGBUS when they touch it (``unmap_ref_private``).
    """
    assert area.mapping is not None
    size = area.huge_page_size
    page = area.offset_at(vaddr) // size * size
    for vma in area.mapping.overlapping(page, page + size):
        other = slot(vma.mm, vma, vma.range_of(page, page + size)[0])
        if vma is not area and other is not None and other.target == paddr:
            other.value = mm.geometry.last.none
            mm.machine.drop_hugetlb(paddr, size)


def _take(mm: Space, area: Area, index: int) -> int:
    """A page of the pool, out of what was promised if this one was."""
    file: Any = area.mapping
    owed = index in file.promised and (area.promised or VmaFlags.SHARED in area.flags)
    shared = VmaFlags.SHARED in area.flags
    paddr = mm.machine.take_hugetlb(area.huge_page_size, promised=owed, file=shared)
    if owed:
        file.promised.remove(index)
    return paddr


def entries(mm: Space, area: Area, start: int, end: int) -> Iterator[tuple[int, Entry]]:
    """The entries of a range that map pages, each with its address."""
    for vaddr in range(start, end, area.huge_page_size):
        entry = slot(mm, area, vaddr)
        if entry is not None and entry.is_leaf:
            yield vaddr, entry


def zap(mm: Space, area: Area, start: int, end: int) -> None:
    """Take the pages of a range out; the pool owes the owner a page of its own that came back."""
    file: Any = area.mapping
    for vaddr, entry in entries(mm, area, start, end):
        paddr = entry.target
        assert paddr is not None
        entry.value = mm.geometry.last.none
        came_back = mm.machine.drop_hugetlb(paddr, area.huge_page_size)
        if came_back and area.promised and VmaFlags.SHARED not in area.flags:
            mm.machine.reserve_hugetlb(area.huge_page_size, 1)
            file.promised.add(area.offset_at(vaddr) // area.huge_page_size)


def gone(mm: Space, area: Area) -> None:
    """An area has been unmapped: nobody is owed its pages any more; a shared file goes with its last mapping."""
    file, size = area.mapping, area.huge_page_size
    assert isinstance(file, HugeFile)
    if VmaFlags.SHARED in area.flags:
        if file.vmas:
            return
        owed = file.promised
        for paddr in file.pages.values():
            mm.machine.drop_hugetlb(paddr, size)
        file.pages.clear()
    else:
        own = range(area.offset // size, (area.offset + area.size) // size)
        owed = file.promised & set(own) if area.promised else set()
    mm.machine.reserve_hugetlb(size, -len(owed))
    file.promised = file.promised - owed


def move(mm: Space, area: Area, new_start: int) -> None:
    """Move the pages of an area, and the promise with them.

    Raises:
        OutOfFrames: No frame for a table; nothing has moved.
    """
    found = list(entries(mm, area, area.start, area.end))
    there = [slot(mm, area, vaddr - area.start + new_start, grow=True) for vaddr, _ in found]
    for (_, entry), target in zip(found, there, strict=True):
        assert target is not None
        target.value, entry.value = entry.value, mm.geometry.last.none


def inherit(child: Space, parent: Space, area: Area) -> None:
    """Share a parent's pages with a child; private ones lose their write right on both sides."""
    (twin,) = child.vmas.overlapping(area.start, area.end)
    child.as_area(twin).promised = False
    if VmaFlags.SHARED in area.flags:
        return
    frames, level = parent.machine.frames, parent.geometry.huge[area.huge_page_size]
    for vaddr, entry in entries(parent, area, area.start, area.end):
        paddr = entry.target
        assert paddr is not None
        there = slot(child, area, vaddr, grow=True)
        assert there is not None
        frames.hold(frames.run(paddr, area.huge_page_size))
        if entry.kind is Kind.PRESENT:
            entry.value = parent.page_entry(area, paddr, int(entry.flags & ~Flag.WRITE), level)
        there.value = entry.value
