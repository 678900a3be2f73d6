"""mmap and munmap: which areas there are."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pagewalk import abi
from pagewalk.errors import SystemCallError
from pagewalk.mm.hardware.cpu import key_flags
from pagewalk.mm.paging import hugetlb
from pagewalk.mm.paging.touch import populate
from pagewalk.mm.paging.zap import zap
from pagewalk.mm.state import areas
from pagewalk.mm.state.area import Area
from pagewalk.mm.state.files import File
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.state.space import Space

__all__ = [
    "accounted",
    "find_gap",
    "find_place",
    "flags_of_prot",
    "mmap",
    "munmap",
    "populate_area",
    "populate_quietly",
    "unmap",
]

MAY: Final = VmaFlags.MAYREAD | VmaFlags.MAYWRITE | VmaFlags.MAYEXEC
PROT_FLAGS: Final = (
    (abi.PROT_READ, VmaFlags.READ),
    (abi.PROT_WRITE, VmaFlags.WRITE),
    (abi.PROT_EXEC, VmaFlags.EXEC),
)
MAP_FLAGS: Final = (
    (abi.MAP_GROWSDOWN, VmaFlags.GROWSDOWN),
    (abi.MAP_LOCKED, VmaFlags.LOCKED),
    (abi.MAP_NORESERVE, VmaFlags.NORESERVE),
    (abi.MAP_STACK, VmaFlags.NOHUGEPAGE),  # since 6.7
)


def flags_of_prot(prot: int) -> VmaFlags:
    """The rights of a protection."""
    flags = VmaFlags(0)
    for bit, flag in PROT_FLAGS:
        flags |= flag if prot & bit else VmaFlags(0)
    return flags


def mmap(mm: Space, length: int, prot: int, flags: int, addr: int, file: File | None, offset: int) -> int:
    """See ``Mm.mmap``."""
    size = hugetlb.page_size_of(mm, flags) if flags & abi.MAP_HUGETLB else 0
    length = -(-length // size) * size if size else mm.geometry.page_end(length)
    _check(mm, length, flags, addr, file, offset)
    vma_flags = _vma_flags(prot, flags, file) | key_flags(prot, pku=mm.machine.pku)
    start = _place(mm, length, flags, addr, size or mm.geometry.page_size)
    if flags & abi.MAP_SHARED and file is None:
        file, offset = File(mm.machine, "/dev/zero (deleted)", length, unlinked=True), 0
    area = Area(start, start + length, vma_flags, start if file is None else offset, file, lock=mm.new_vma_lock())
    if file is not None:
        area.name = file.name
    if flags & (abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE):
        unmap(mm, start, start + length)
    if size:
        hugetlb.reserve(mm, area, size)
    areas.insert(mm, area)
    if flags & (abi.MAP_POPULATE | abi.MAP_LOCKED) and not (flags & abi.MAP_NONBLOCK and not flags & abi.MAP_LOCKED):
        populate_quietly(mm, start, start + length)
    return start


def _check(mm: Space, length: int, flags: int, addr: int, file: File | None, offset: int) -> None:
    """Refuse what mmap(2) refuses.

    Raises:
        SystemCallError: EINVAL, ENOMEM, EEXIST or EACCES.
    """
    fixed, size = flags & (abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE), mm.geometry.page_size
    if length <= 0 or offset % size or (fixed and addr % size):
        raise SystemCallError(errno.EINVAL, f"mmap of {length:#x} bytes at {addr:#x}, offset {offset:#x}")
    if flags & abi.MAP_SHARED_VALIDATE not in (abi.MAP_SHARED, abi.MAP_PRIVATE, abi.MAP_SHARED_VALIDATE):
        raise SystemCallError(errno.EINVAL, "neither MAP_SHARED nor MAP_PRIVATE")
    if length > mm.task_size or (fixed and addr > mm.task_size - length):
        raise SystemCallError(errno.ENOMEM, f"{length:#x} bytes at {addr:#x} do not fit below {mm.task_size:#x}")
    if flags & abi.MAP_FIXED_NOREPLACE and mm.vmas.overlapping(addr, addr + length):
        raise SystemCallError(errno.EEXIST, f"[{addr:#x}, {addr + length:#x}) is in use")
    if file is not None and flags & abi.MAP_SHARED and flags & abi.MAP_GROWSDOWN:
        raise SystemCallError(errno.EINVAL, "a stack cannot be a shared file")


def _vma_flags(prot: int, flags: int, file: File | None) -> VmaFlags:
    """The flags of a new area (``do_mmap``, ``mmap_region``)."""
    result = flags_of_prot(prot) | MAY
    for bit, flag in MAP_FLAGS:
        result |= flag if flags & bit else VmaFlags(0)
    if flags & abi.MAP_SHARED:
        result |= VmaFlags.SHARED | VmaFlags.MAYSHARE
        if file is not None and not file.writable:
            if prot & abi.PROT_WRITE:
                raise SystemCallError(errno.EACCES, f"{file.name} is not open for writing")
            result &= ~(VmaFlags.SHARED | VmaFlags.MAYWRITE)
    return result | accounted(result)


def accounted(flags: VmaFlags) -> VmaFlags:
    """VM_ACCOUNT for private writable memory (``accountable_mapping``)."""
    bits = flags & (VmaFlags.NORESERVE | VmaFlags.SHARED | VmaFlags.WRITE | VmaFlags.HUGETLB)
    return VmaFlags.ACCOUNT if bits == VmaFlags.WRITE else VmaFlags(0)


def _place(mm: Space, length: int, flags: int, addr: int, alignment: int) -> int:
    """Where a new area goes."""
    if flags & (abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE):
        if addr % alignment:
            raise SystemCallError(errno.EINVAL, f"{addr:#x} is not aligned to {alignment:#x}")
        return addr
    return find_place(mm, length, addr, alignment)


def find_place(mm: Space, length: int, hint: int, alignment: int = 1) -> int:
    """A free range of a length: at the hint if it is free, else the highest.

    Raises:
        SystemCallError: ENOMEM, there is none.
    """
    alignment = max(alignment, mm.geometry.page_size)
    wanted, hint = hint, -(-hint // alignment) * alignment
    if wanted and hint <= mm.task_size - length and _is_free(mm, hint, hint + length):
        return hint
    return find_gap(mm, length, alignment)


def _is_free(mm: Space, start: int, end: int) -> bool:
    """Whether a range is free, and keeps its distance from the stack above."""
    above = mm.vmas.find(start)
    return above is None or end <= above.start - (mm.geometry.stack_gap if VmaFlags.GROWSDOWN in above.flags else 0)


def find_gap(mm: Space, length: int, alignment: int = 1) -> int:
    """The highest free range of a length below the mmap base.

    Raises:
        SystemCallError: ENOMEM, there is none.
    """
    top, page = mm.mmap_base, mm.geometry.page_size
    alignment = max(alignment, page)
    for vma in [*reversed(list(mm.vmas)), None]:
        start = (top - length) // alignment * alignment
        if start >= (vma.end if vma else page) and start >= page:
            return start
        if vma:
            top = min(top, vma.start - (mm.geometry.stack_gap if VmaFlags.GROWSDOWN in vma.flags else 0))
    raise SystemCallError(errno.ENOMEM, f"no gap of {length:#x} bytes")


def populate_area(mm: Space, area: Area, start: int, end: int) -> None:
    """Fault a part of an area in, as mlock and MAP_POPULATE do: privately writable memory is written.

    Raises:
        SystemCallError: EFAULT or ENOMEM.
    """
    if VmaFlags.LOCKONFAULT in area.flags or area.flags & (VmaFlags.IO | VmaFlags.PFNMAP):
        return
    write = area.flags & (VmaFlags.WRITE | VmaFlags.SHARED) == VmaFlags.WRITE
    populate(mm, start, end, "write" if write else "read")


def populate_quietly(mm: Space, start: int, end: int) -> None:
    """Fault a range in; what cannot be had is left out."""
    for vma in mm.vmas.overlapping(start, end):
        try:
            populate_area(mm, mm.as_area(vma), max(start, vma.start), min(end, vma.end))
        except SystemCallError:
            continue


def munmap(mm: Space, addr: int, length: int) -> None:
    """See ``Mm.munmap``."""
    length = mm.geometry.page_end(length)
    if addr % mm.geometry.page_size or length <= 0 or addr > mm.task_size - length:
        raise SystemCallError(errno.EINVAL, f"munmap of {length:#x} bytes at {addr:#x}")
    unmap(mm, addr, addr + length)


def unmap(mm: Space, start: int, end: int) -> None:
    """Take every area in a range out, with its pages, its markers and the tables that nobody needs any more.

    Raises:
        SystemCallError: EINVAL, a hugetlb area would be cut inside a page; nothing has gone, but a cut at the start
            may have been made.
    """
    for cut in (start, end):
        area = mm.area_at(cut)
        if area is not None and area.start < cut:
            areas.split_at(mm, area, cut)
    gone = [mm.as_area(vma) for vma in mm.vmas.overlapping(start, end)]
    if not gone:
        return
    for area in gone:
        area.start_write()
        zap(mm, area, area.start, area.end, markers=True)
        mm.remove_vma(area)
        if area.huge_page_size:
            hugetlb.gone(mm, area)
        elif isinstance(area.mapping, File):
            area.mapping.let_go()
    mm.tables.free_tables(gone[0].start, gone[-1].end, *areas.free_around(mm, start, end))
    mm.log("flush", start, end)
