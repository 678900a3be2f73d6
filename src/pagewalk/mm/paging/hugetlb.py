"""hugetlb memory: pages of one size from a pool, promised when they are mapped.

How it works, as in the kernel (``mm/hugetlb.c``, 6.18). Whoever maps such memory is promised its pages, unless it is
MAP_NORESERVE: a shared mapping those of its file that were not promised before, a private one all of them. A child is
promised nothing. Whoever was promised a page takes it out of the promise; anybody else takes what is left over, and
gets a SIGBUS if nothing is.

A private page comes back to its owner's promise when the owner lets go of it, by munmap or MADV_DONTNEED. If a child
still has it, the machine remembers that (``restoring``), and promises it once the child is through.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pagewalk import abi
from pagewalk.errors import BusError, OutOfFrames, SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.state.areas import prepare_anon
from pagewalk.mm.state.huge_files import HugeFile
from pagewalk.space import VmaFlags
from pagewalk.walk.hugetlb import hugetlb_slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.mm.hardware.cpu import Access
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.space import Vma
    from pagewalk.tables import Entry

__all__ = ["fault", "gone", "inherit", "keeping", "move", "page_size_of", "reserve", "slot", "unshare", "zap"]


NEVER: Final = VmaFlags.ACCOUNT | VmaFlags.LOCKED | VmaFlags.LOCKONFAULT
"""What no such area is."""


def page_size_of(mm: Space, flags: int) -> int:
    """The page size that mmap flags ask for.

    Raises:
        SystemCallError: EINVAL, the format has no such page.
    """
    size = 1 << (flags >> abi.MAP_HUGE_SHIFT & 0x3F) if flags >> abi.MAP_HUGE_SHIFT & 0x3F else mm.geometry.block_size
    if size not in mm.geometry.huge:
        raise SystemCallError(errno.EINVAL, f"no huge pages of {size:#x} bytes")
    return size


def file_of(area: Area) -> HugeFile:
    """The file that a hugetlb area maps."""
    assert isinstance(area.mapping, HugeFile)
    return area.mapping


def is_shared(area: Area) -> bool:
    """Whether an area has its file's pages, though perhaps only for reading (VM_MAYSHARE)."""
    return VmaFlags.MAYSHARE in area.flags


@contextmanager
def keeping(mm: Space, start: int, end: int) -> Iterator[None]:
    """Keep what lies behind the mappings of a range, until others are made and populated in their place.

    The kernel lets go of the old files when the call returns: a mapping over itself wants its pages twice.
    """
    found = {vma.mapping for vma in mm.vmas.overlapping(start, end)}
    files = [file for file in found if isinstance(file, HugeFile)]
    for file in files:
        file.kept += 1
    try:
        yield
    finally:
        for file in files:
            file.kept -= 1
            file.let_go()


def reserve(mm: Space, area: Area) -> None:
    """Make an area that maps a file of huge pages hugetlb, its pages promised unless it is MAP_NORESERVE.

    A file that is shorter grows with what may be written (``hugetlbfs_file_mmap``). Such memory is never locked.

    Raises:
        SystemCallError: EINVAL, an offset inside a page; ENOMEM, the pool has not enough.
    """
    file, size = file_of(area), file_of(area).page_size
    area.huge_page_size = size
    area.flags = (area.flags | VmaFlags.HUGETLB | VmaFlags.DONTEXPAND) & ~NEVER
    if area.offset % size:
        raise SystemCallError(errno.EINVAL, f"offset {area.offset:#x} lies inside a page of {size:#x} bytes")
    first, last = area.offset // size, (area.offset + area.size) // size
    try:
        if VmaFlags.NORESERVE not in area.flags and is_shared(area):
            file.reserve(first, last)
        elif VmaFlags.NORESERVE not in area.flags:
            mm.machine.reserve_hugetlb(size, last - first)
            area.promised = set(range(first, last))
    except OutOfFrames as error:
        raise SystemCallError(errno.ENOMEM, str(error)) from error
    if VmaFlags.WRITE in area.flags:
        file.size = max(file.size, area.offset + area.size)


def slot(mm: Space, area: Vma, vaddr: int, *, grow: bool = False) -> Entry | None:
    """The entry for the huge page at an address."""
    if not grow:
        return hugetlb_slot(mm.tables, vaddr, area.huge_page_size)
    return mm.tables.entry_at(vaddr, mm.geometry.huge[area.huge_page_size], grow=True)


def fault(mm: Space, area: Area, vaddr: int, access: Access) -> None:
    """Resolve a fault.

    Raises:
        BusError: The pool is empty, the file ends before, or the page was taken away.
    """
    entry = slot(mm, area, vaddr, grow=True)
    assert entry is not None
    if entry.kind is Kind.HWPOISON:
        raise BusError(vaddr, access, "the huge page is poisoned", abi.BUS_MCEERR_AR)
    try:
        if entry.is_none:
            _bring_in(mm, area, entry, vaddr, access)
        if access == "write" and Flag.WRITE not in entry.flags:
            _make_writable(mm, area, entry, vaddr)
    except OutOfFrames as error:
        raise BusError(vaddr, access, str(error)) from error
    _map(mm, area, entry, entry.target or 0, entry.flags | (mm.machine.dirtied if access == "write" else Flag(0)))


def _map(mm: Space, area: Area, entry: Entry, paddr: int, flags: Flag) -> None:
    """Have an entry map a page."""
    entry.value = mm.page_entry(area, paddr, int(flags | Flag.ACCESSED), mm.geometry.huge[area.huge_page_size])


def _bring_in(mm: Space, area: Area, entry: Entry, vaddr: int, access: Access) -> None:
    """Map the file's page, or a page of one's own where a private mapping's file has none (``hugetlb_no_page``)."""
    file, index = file_of(area), area.offset_at(vaddr) // area.huge_page_size
    if area.robbed:
        raise BusError(vaddr, access, "its pages were taken away: the pool was empty, and they were promised to others")
    if index not in file.pages and index * file.page_size >= file.size:
        raise BusError(vaddr, access, f"{file.name} ends at {file.size:#x}")
    if file.is_poisoned(index):
        raise BusError(vaddr, access, f"a huge page of {file.name} is poisoned", abi.BUS_MCEERR_AR)
    own = index not in file.pages and not is_shared(area)
    paddr = _take(mm, area, index) if own else file.hold(index)
    if own:
        prepare_anon(mm, area)
    flags = mm.page_flags(area, writable=is_shared(area) or (own and access == "write"))
    noted = mm.machine.soft_dirty and Flag.WRITE in flags  # what may be written is made dirty (``make_huge_pte``)
    _map(mm, area, entry, paddr, flags | Flag.SOFT_DIRTY if noted else flags)


def _take(mm: Space, area: Area, index: int) -> int:
    """A page of one's own, out of what was promised if this one was.

    Raises:
        OutOfFrames: There is none.
    """
    promised = area.promised is not None and index in area.promised
    paddr = mm.machine.take_hugetlb(area.huge_page_size, promised=promised)
    if promised and area.promised is not None:
        area.promised.discard(index)
    return paddr


def _make_writable(mm: Space, area: Area, entry: Entry, vaddr: int) -> None:
    """Let a page be written: in place if it is the file's or nobody else has it, else as a copy (``hugetlb_wp``)."""
    if not is_shared(area) and not _is_alone(mm, entry):
        _copy(mm, area, entry, vaddr)
    _map(mm, area, entry, entry.target or 0, entry.flags | Flag.WRITE)


def _is_alone(mm: Space, entry: Entry) -> bool:
    """Whether a page is no file's, and nobody else maps it."""
    frames, paddr = mm.machine.frames, entry.target
    assert paddr is not None
    return bool(frames.used_as(paddr, Usage.HUGETLB)[0]) and frames.holders(paddr) == 2  # the pool's and ours


def _copy(mm: Space, area: Area, entry: Entry, vaddr: int) -> None:
    """Map a copy of a page, or the page itself, once it was taken from everybody else.

    Raises:
        OutOfFrames: The pool is empty, and the page was promised to nobody here.
    """
    frames, old, size = mm.machine.frames, entry.target, area.huge_page_size
    assert old is not None
    owner = area.promised is not None and bool(frames.used_as(old, Usage.HUGETLB)[0])
    try:
        index = area.offset_at(vaddr) // size
        paddr = mm.machine.take_hugetlb(size, promised=False) if owner else _take(mm, area, index)
    except OutOfFrames:
        if owner:
            _take_from_children(mm, area, vaddr, old)
        if not _is_alone(mm, entry):
            raise
        return
    prepare_anon(mm, area)
    frames.copy_run(old, paddr, size)
    _map(mm, area, entry, paddr, entry.flags)
    mm.machine.drop_hugetlb(old, size)


def unshare(mm: Space, vaddr: int) -> None:
    """Give a process its own copy of a page before the kernel reads it, see ``fault.unshare``.

    Raises:
        OutOfFrames: The pool is empty.
    """
    area = mm.area_at(vaddr)
    assert area is not None
    entry = slot(mm, area, vaddr)
    if entry is None or entry.kind is not Kind.PRESENT or is_shared(area) or _is_alone(mm, entry):
        return
    if mm.machine.frames.used_as(entry.target or 0, Usage.HUGETLB)[0]:
        _copy(mm, area, entry, vaddr)


def _take_from_children(mm: Space, area: Area, vaddr: int, paddr: int) -> None:
    """The pool is empty, and the page was promised to this area: unmap it from those it was shared with by a fork.

    They get a SIGBUS where they have none (``unmap_ref_private``).
    """
    size = area.huge_page_size
    page = area.offset_at(vaddr) // size * size
    for vma in file_of(area).overlapping(page, page + size):
        other = vma.mm.as_area(vma)
        if other is area or is_shared(other) or other.promised is not None:
            continue
        entry = slot(other.mm, other, other.range_of(page, page + size)[0])
        if entry is not None and entry.target == paddr:
            entry.value = mm.geometry.last.none
            other.robbed = True
            mm.machine.drop_hugetlb(paddr, size)


def entries(mm: Space, area: Area, start: int, end: int) -> Iterator[tuple[int, Entry]]:
    """The entries of a range that map pages, or say that one is poisoned, each with its address."""
    for vaddr in range(start, end, area.huge_page_size):
        entry = slot(mm, area, vaddr)
        if entry is not None and (entry.is_leaf or entry.kind is Kind.HWPOISON):
            yield vaddr, entry


def zap(mm: Space, area: Area, start: int, end: int) -> None:
    """Take the pages of a range out; an owner's own ones are promised to it again."""
    for vaddr, entry in entries(mm, area, start, end):
        paddr, mapped = entry.target, entry.is_leaf
        assert paddr is not None
        entry.value = mm.geometry.last.none
        if not mapped:
            continue
        if area.promised is not None and mm.machine.frames.used_as(paddr, Usage.HUGETLB)[0]:
            mm.machine.restoring.add(paddr)
            area.promised.add(area.offset_at(vaddr) // area.huge_page_size)
        mm.machine.drop_hugetlb(paddr, area.huge_page_size)


def gone(mm: Space, area: Area) -> None:
    """An area has been unmapped: nobody is owed its pages any more; a file without a name goes with its last."""
    file, size = file_of(area), area.huge_page_size
    if area.promised is not None:
        owed = area.promised & set(range(area.offset // size, (area.offset + area.size) // size))
        mm.machine.reserve_hugetlb(size, -len(owed))
        area.promised -= owed
    file.let_go()


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
    """Share a parent's pages with a child; private ones lose their write right on both sides. No promise goes along."""
    (twin,) = child.vmas.overlapping(area.start, area.end)
    own = child.as_area(twin)
    own.promised, own.robbed = None, False
    if is_shared(area) or area.anon is None:
        return
    frames, level = parent.machine.frames, parent.geometry.huge[area.huge_page_size]
    for vaddr, entry in entries(parent, area, area.start, area.end):
        paddr = entry.target
        assert paddr is not None
        there = slot(child, area, vaddr, grow=True)
        assert there is not None
        if not entry.is_leaf:
            there.value = entry.value
            continue
        frames.hold(frames.run(paddr, area.huge_page_size))
        if entry.kind is Kind.PRESENT:
            entry.value = parent.page_entry(area, paddr, int(entry.flags & ~Flag.WRITE), level)
        there.value = entry.value
