"""mmap and munmap: which areas there are."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pagewalk import abi
from pagewalk.abi.limits import F_SEAL_FUTURE_WRITE, F_SEAL_WRITE
from pagewalk.errors import SystemCallError
from pagewalk.mm.geometry import ADDRESSES, LOWEST
from pagewalk.mm.hardware.cpu import flags_of_key
from pagewalk.mm.paging import hugetlb
from pagewalk.mm.paging.touch import populate
from pagewalk.mm.paging.zap import zap
from pagewalk.mm.state import areas
from pagewalk.mm.state.allowance import check_areas, check_lock, check_may_lock, check_size
from pagewalk.mm.state.area import Area
from pagewalk.mm.state.files import FILE_END, File
from pagewalk.mm.state.huge_files import HugeFile
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
    "take_out",
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
    (abi.MAP_SYNC, VmaFlags.SYNC),
)
DROPPABLE: Final = VmaFlags.DROPPABLE | VmaFlags.NORESERVE | VmaFlags.WIPEONFORK | VmaFlags.DONTDUMP
FIXED: Final = abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE
WRITE_SEALS: Final = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE
KNOWN: Final = 0x7C07_F9F3
"""All that MAP_SHARED_VALIDATE lets pass (LEGACY_MAP_MASK, with the sizes of huge pages)."""


def flags_of_prot(prot: int) -> VmaFlags:
    """The rights of a protection."""
    flags = VmaFlags(0)
    for bit, flag in PROT_FLAGS:
        flags |= flag if prot & bit else VmaFlags(0)
    return flags


def mmap(mm: Space, length: int, prot: int, flags: int, addr: int, file: File | None, offset: int) -> int:
    """See ``Mm.mmap``. The order of the checks is the kernel's (``ksys_mmap_pgoff``, ``do_mmap``, 6.18)."""
    file, size = _what(mm, flags, file, offset)
    length = _length(mm, length, size)
    check_areas(mm, -1)
    key = flags_of_key(mm.keys.of_prot(prot))
    start = _place(mm, length, flags, addr, size)
    if flags & abi.MAP_FIXED_NOREPLACE and mm.vmas.overlapping(start, start + length):
        raise SystemCallError(errno.EEXIST, f"[{start:#x}, {start + length:#x}) is in use")
    if flags & abi.MAP_LOCKED:
        check_may_lock(mm)
    check_lock(mm, mm.default_flags | (VmaFlags.LOCKED if flags & abi.MAP_LOCKED else VmaFlags(0)), length)
    if (file is not None or size) and offset + length >= FILE_END:  # file_mmap_ok
        raise SystemCallError(errno.EOVERFLOW, f"{length:#x} bytes from {offset:#x} go beyond every file")
    vma_flags = _vma_flags(prot, flags, file, size) | key | mm.default_flags
    with hugetlb.keeping(mm, start, start + length):
        gone = _cut_off(mm, start, start + length) if flags & FIXED else []
        check_size(mm, vma_flags, length, sum(area.size for area in gone))
        take_out(mm, gone, start, start + length)
        _insert(mm, start, length, vma_flags, file, size, offset)
        if VmaFlags.LOCKED in vma_flags or flags & (abi.MAP_POPULATE | abi.MAP_NONBLOCK) == abi.MAP_POPULATE:
            populate_quietly(mm, start, start + length)
    return start


def _insert(mm: Space, start: int, length: int, flags: VmaFlags, file: File | None, huge: int, offset: int) -> None:
    """Put a new area in, with a file of its own if it is shared or hugetlb and has none.

    Raises:
        SystemCallError: EINVAL, ENOMEM: hugetlb memory is not to be had so.
    """
    if file is None and huge:
        file = HugeFile(mm.machine, "/anon_hugepage (deleted)", length, huge, unlinked=True)
    elif file is None and VmaFlags.SHARED in flags:
        file, offset = File(mm.machine, "/dev/zero (deleted)", length, unlinked=True), 0
    if VmaFlags.DROPPABLE in flags:
        flags &= ~(VmaFlags.LOCKED | VmaFlags.LOCKONFAULT)  # MCL_FUTURE brings it in, but does not lock it
    area = Area(start, start + length, flags, start if file is None else offset, file, lock=mm.new_vma_lock())
    if file is not None:
        area.name = file.name
    if huge:
        hugetlb.reserve(mm, area)
    inserted = areas.insert(mm, area)
    if mm.machine.soft_dirty:  # and so is, as a whole, what it was merged with (``__mmap_complete``)
        inserted.flags |= VmaFlags.SOFTDIRTY


def _what(mm: Space, flags: int, file: File | None, offset: int) -> tuple[File | None, int]:
    """The file that is mapped, None for anonymous memory, whoever's file was given beside it; the huge page's size.

    Raises:
        SystemCallError: EINVAL, EBADF.
    """
    if offset % mm.geometry.page_size:
        raise SystemCallError(errno.EINVAL, f"offset {offset:#x} is not page-aligned")
    if flags & abi.MAP_ANONYMOUS:
        return None, hugetlb.page_size_of(mm, flags) if flags & abi.MAP_HUGETLB else 0
    if file is None:
        raise SystemCallError(errno.EBADF, "neither a file nor MAP_ANONYMOUS")
    if isinstance(file, HugeFile):
        return file, file.page_size
    if flags & abi.MAP_HUGETLB:
        raise SystemCallError(errno.EINVAL, f"{file.name} is no file of huge pages")
    return file, 0


def _length(mm: Space, length: int, huge: int) -> int:
    """A length in whole pages, of hugetlb memory in whole huge pages.

    Raises:
        SystemCallError: EINVAL, there is none; ENOMEM, it wraps.
    """
    wanted = -(-length // huge) * huge % ADDRESSES if huge else length
    if not wanted:
        raise SystemCallError(errno.EINVAL, f"mmap of {length:#x} bytes")
    found = mm.geometry.length(wanted)
    if not found or found > mm.task_size:
        raise SystemCallError(errno.ENOMEM, f"{length:#x} bytes do not fit below {mm.task_size:#x}")
    return found


def _vma_flags(prot: int, flags: int, file: File | None, huge: int) -> VmaFlags:
    """The flags of a new area.

    Raises:
        SystemCallError: EINVAL, EACCES, EOPNOTSUPP.
    """
    result = flags_of_prot(prot) | MAY
    for bit, flag in MAP_FLAGS:
        result |= flag if flags & bit else VmaFlags(0)
    backed, kind = file is not None or huge > 0, flags & abi.MAP_TYPE
    if kind == abi.MAP_SHARED or (kind == abi.MAP_SHARED_VALIDATE and backed):
        if kind == abi.MAP_SHARED_VALIDATE and flags & ~KNOWN:
            raise SystemCallError(errno.EOPNOTSUPP, f"mmap flags {flags & ~KNOWN:#x} are not supported")
        result |= VmaFlags.SHARED | VmaFlags.MAYSHARE
        if file is not None and not file.writable:
            if prot & abi.PROT_WRITE:
                raise SystemCallError(errno.EACCES, f"{file.name} is not open for writing")
            result &= ~(VmaFlags.SHARED | VmaFlags.MAYWRITE)
    elif kind == abi.MAP_DROPPABLE and not backed:
        result |= DROPPABLE
    elif kind != abi.MAP_PRIVATE:
        raise SystemCallError(errno.EINVAL, f"no mapping is of type {kind:#x}{'' if backed else ' without a file'}")
    if file is not None and result & VmaFlags.SHARED and file.seals & WRITE_SEALS:
        if prot & abi.PROT_WRITE:
            raise SystemCallError(errno.EPERM, f"{file.name} is sealed against writing")
        result &= ~VmaFlags.MAYWRITE
    if file is not None and not file.readable:
        raise SystemCallError(errno.EACCES, f"{file.name} is not open for reading")
    if result & VmaFlags.GROWSDOWN and (backed or kind != abi.MAP_PRIVATE):
        raise SystemCallError(errno.EINVAL, "only private anonymous memory grows down")
    if result & VmaFlags.DROPPABLE and result & VmaFlags.LOCKED:
        raise SystemCallError(errno.EINVAL, "what may be dropped cannot be locked")
    return result | accounted(result)


def accounted(flags: VmaFlags) -> VmaFlags:
    """VM_ACCOUNT for private writable memory (``accountable_mapping``)."""
    bits = flags & (VmaFlags.NORESERVE | VmaFlags.SHARED | VmaFlags.WRITE | VmaFlags.HUGETLB)
    return VmaFlags.ACCOUNT if bits == VmaFlags.WRITE else VmaFlags(0)


def _place(mm: Space, length: int, flags: int, addr: int, huge: int) -> int:
    """Where a new area goes.

    Raises:
        SystemCallError: ENOMEM, EINVAL; what an address stands for that is an error's number.
    """
    page = mm.geometry.page_size
    if not flags & FIXED:
        hint = mm.geometry.page_start(addr)
        return find_place(mm, length, max(hint, LOWEST) if hint else 0, huge or page)
    if huge and addr % huge:
        raise SystemCallError(errno.EINVAL, f"{addr:#x} is not aligned to {huge:#x}")
    if addr > ADDRESSES - page:
        raise SystemCallError(ADDRESSES - addr, f"{addr:#x} is taken for an error's number")
    if addr > mm.task_size - length:
        raise SystemCallError(errno.ENOMEM, f"{length:#x} bytes at {addr:#x} do not fit below {mm.task_size:#x}")
    if addr % page:
        raise SystemCallError(errno.EINVAL, f"{addr:#x} is not page-aligned")
    return addr


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
        SystemCallError: EINVAL, a hugetlb area would be cut inside a page; EPERM, one is sealed; ENOMEM, a hole would
            make more areas than there may be. Nothing has gone, but a cut at the start may have been made.
    """
    take_out(mm, _cut_off(mm, start, end), start, end)


def take_out(mm: Space, gone: list[Area], start: int, end: int) -> None:
    """Take areas out: all those of a range."""
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


def _cut_off(mm: Space, start: int, end: int) -> list[Area]:
    """The areas of a range, cut off from what lies beside it (``vms_gather_munmap_vmas``)."""
    found = [mm.as_area(vma) for vma in mm.vmas.overlapping(start, end)]
    for area in found:
        if area.start < start and end < area.end:
            check_areas(mm)
        area.refuse_sealed()
        if area.start < start:
            area = areas.split_at(mm, area, start)[1]
        if end < area.end:
            areas.split_at(mm, area, end)
    return [mm.as_area(vma) for vma in mm.vmas.overlapping(start, end)]
