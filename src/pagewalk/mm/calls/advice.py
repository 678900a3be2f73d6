"""madvise: one row an advice, and the loop over areas that they share (``mm/madvise.c``, 6.18)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from pagewalk import abi
from pagewalk.errors import BusError, OutOfFrames, SystemCallError, WalkError
from pagewalk.formats import Kind
from pagewalk.mm.calls.files import punch_hole
from pagewalk.mm.calls.guard import install_guards, remove_guards
from pagewalk.mm.geometry import ADDRESSES
from pagewalk.mm.paging import file_folios, huge, poison, reclaim
from pagewalk.mm.paging.fault import swap_in
from pagewalk.mm.paging.touch import populate
from pagewalk.mm.paging.zap import READ_ONCE, zap
from pagewalk.mm.state import areas
from pagewalk.mm.state.area import SPECIAL
from pagewalk.mm.state.areas import prepare_anon
from pagewalk.mm.state.files import File
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space

    Handler = Callable[[Space, Area, int, int], None]

__all__ = ["check_remote", "imported", "madvise", "process_madvise"]


def madvise(mm: Space, addr: int, length: int, advice: int) -> None:
    """See ``Mm.madvise``."""
    end = _check(mm, addr, length, advice)
    if end == addr:
        return
    if advice in POPULATE:
        _populate(mm, addr, end, advice)
        return
    if advice in POISONS:
        poison.inject(mm, addr, addr + length, soft=advice == abi.MADV_SOFT_OFFLINE)
        return
    handler, gap = HANDLERS[advice], False
    while addr < end:
        vma = mm.vmas.find(addr)
        if vma is None or vma.start >= end:
            gap = True
            break
        gap = gap or addr < vma.start
        area = mm.as_area(vma)
        if advice in DISCARDS:
            _refuse_sealed(mm, area)
        start, stop = max(addr, area.start), min(end, area.end)
        try:
            handler(mm, area, start, stop)
        except (OutOfFrames, WalkError) as error:
            raise SystemCallError(error.errno or errno.EINVAL, str(error)) from error
        addr = stop
    if gap:
        raise SystemCallError(errno.ENOMEM, "part of the range is not mapped; the rest has been done")


def _check(mm: Space, addr: int, length: int, advice: int) -> int:
    """Refuse arguments that madvise(2) refuses; returns the end of the range.

    Raises:
        SystemCallError: EINVAL.
    """
    poisons = mm.geometry.last.can_be_poisoned and advice in POISONS
    if advice not in HANDLERS and advice not in POPULATE and not poisons:
        raise SystemCallError(errno.EINVAL, f"unknown advice {advice}")
    size = mm.geometry.length(length)
    if addr % mm.geometry.page_size or (length and not size) or addr + size >= ADDRESSES:
        raise SystemCallError(errno.EINVAL, f"madvise of {length:#x} bytes at {addr:#x}")
    return addr + size


def _refuse_sealed(mm: Space, area: Area) -> None:
    """Refuse to throw sealed memory away that the process could not overwrite (``can_madvise_modify``).

    Raises:
        SystemCallError: EPERM.
    """
    if area.is_anonymous and not (VmaFlags.WRITE in area.flags and mm.keys.permits(area, "write")):
        area.refuse_sealed()


def check_remote(advice: int) -> None:
    """Refuse advice that is not for another process (``process_madvise_remote_valid``).

    Raises:
        SystemCallError: EINVAL.
    """
    if advice not in REMOTE:
        raise SystemCallError(errno.EINVAL, f"advice {advice} is not for other processes")


def process_madvise(mm: Space, vector: Sequence[tuple[int, int]], advice: int) -> int:
    """See ``Mm.process_madvise`` (``vector_madvise``, 6.18)."""
    total, done, told = sum(length for _, length in vector), 0, None
    for number, (addr, length) in enumerate(vector if total else ()):
        if number and not length:
            continue  # empty ones are passed over, but for the first
        try:
            madvise(mm, addr, length, advice)
        except BusError as error:  # a signal waits until the call is over
            told = told or error
            if error.__cause__ is not None:
                break
        except SystemCallError:
            if done or told:
                break
            raise
        done += length
        if done == total:
            break
    if told is not None:
        raise told
    return done


def imported(mm: Space, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges as the kernel takes them over: no more bytes than a call may move (``import_iovec``).

    Raises:
        SystemCallError: EINVAL, there are too many, or a length is negative; EFAULT, one reaches out of user memory.
    """
    if len(ranges) > MOST_RANGES or any(length >> 63 for _, length in ranges):
        raise SystemCallError(errno.EINVAL, f"{len(ranges):,} ranges, or one is of a negative length")
    found, room = [], MOST_BYTES
    for addr, length in ranges:
        size = min(length, room) if len(ranges) == 1 else length
        if addr + size > mm.task_size:
            raise SystemCallError(errno.EFAULT, f"{length:#x} bytes at {addr:#x} reach out of user memory")
        found.append((addr, min(length, room)))
        room -= found[-1][1]
    return found


# -- flags -----------------------------------------------------------------------------------------------------------


def _flags(
    add: VmaFlags = VmaFlags(0),  # noqa: B008 - frozen
    drop: VmaFlags = VmaFlags(0),  # noqa: B008
    refuse: Callable[[Area], object] = lambda area: False,
) -> Handler:
    """An advice that only changes an area's flags."""

    def handler(mm: Space, area: Area, start: int, end: int) -> None:
        if refuse(area):
            raise SystemCallError(errno.EINVAL, f"not for the mapping at {area.start:#x}")
        try:
            areas.modify(mm, area, start, end, area.flags & ~drop | add)
        except SystemCallError as error:
            code = errno.EAGAIN if error.errno == errno.ENOMEM else error.errno
            raise SystemCallError(code or errno.EINVAL, str(error)) from error

    return handler


# -- pages -----------------------------------------------------------------------------------------------------------


def _dontneed(mm: Space, area: Area, start: int, end: int) -> None:
    """Zap the range, if nothing keeps it in."""
    if area.flags & (VmaFlags.LOCKED | VmaFlags.PFNMAP):
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} is locked or special")
    _dontneed_locked(mm, area, start, end)


def _dontneed_locked(mm: Space, area: Area, start: int, end: int) -> None:
    """Zap the range."""
    if VmaFlags.PFNMAP in area.flags:
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} is special")
    if area.huge_page_size:
        mm.check_cut(area, start)
        end = end // area.huge_page_size * area.huge_page_size
    if start < end:
        zap(mm, area, start, end, reclaim=True)
        mm.log("flush", start, end)


def _willneed(mm: Space, area: Area, start: int, stop: int) -> None:
    """Read pages ahead: those in swap come into the swap cache, which mincore tells."""
    swap, last, page = mm.machine.swap, mm.geometry.last, mm.geometry.page_size
    if not swap.used or area.huge_page_size:
        return
    if isinstance(area.mapping, File):
        first, end = area.offset_at(start) // page, area.offset_at(stop) // page
        slots = [slot for index, slot in area.mapping.swapped.items() if first <= index < end]
    else:
        swapped = [entries[last.kind(entries) == Kind.SWAP] for _, entries in mm.tables.slices(start, stop)]
        slots = [int(last.swap_slot(entry)[1]) for entries in swapped for entry in entries]
    for slot in slots:
        swap.fetch(slot)


def _remove(mm: Space, area: Area, start: int, end: int) -> None:
    """Punch a hole into the file behind the range."""
    file = area.mapping
    if VmaFlags.LOCKED in area.flags or not isinstance(file, File):
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} has no file, or is locked")
    if area.flags & (VmaFlags.SHARED | VmaFlags.MAYWRITE) != VmaFlags.SHARED | VmaFlags.MAYWRITE:
        raise SystemCallError(errno.EACCES, f"the mapping at {area.start:#x} may not be shared and written")
    punch_hole(mm.machine, file, area.offset_at(start), end - start)


def _collapse(mm: Space, area: Area, start: int, end: int) -> None:
    """Make the whole blocks huge."""
    geometry, size = mm.geometry, mm.geometry.block_size
    first, last = geometry.block_end(start), geometry.block_start(end)
    may = first <= last and huge.fits(mm, area, geometry.block_end(area.start))
    if not may or area.flags & (VmaFlags.NOHUGEPAGE | VmaFlags.HUGETLB | SPECIAL) or not _has_huge_pages(mm, area):
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} cannot have huge pages there")
    refused = None
    for at in range(first, last, size):
        anonymous = area.is_anonymous
        refusal = huge.collapse(mm, area, at, swap_in) if anonymous else file_folios.collapse(mm, area, at)
        if refusal is not None:
            refused = SystemCallError(refusal.code, f"[{at:#x}, {at + size:#x}) cannot be collapsed: {refusal.why}")
            if not refusal.goes_on:
                break
    if refused is not None:
        raise refused


def _has_huge_pages(mm: Space, area: Area) -> bool:
    """Whether what an area maps can be in huge pages: pages with a history, or a file's at borders of blocks."""
    if area.is_anonymous:
        return area.anon is not None
    return file_folios.is_aligned(mm, area) and mm.machine.shmem_thp != "deny"


def _guard_install(mm: Space, area: Area, start: int, end: int) -> None:
    """Fill the range with guard markers."""
    if area.flags & (SPECIAL | VmaFlags.HUGETLB | VmaFlags.LOCKED):
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} is locked, hugetlb or special")
    area.guarded = True
    if area.is_anonymous:
        prepare_anon(mm, area)

    def clear(start: int, end: int) -> None:
        zap(mm, area, start, end)
        mm.log("flush", start, end)

    install_guards(mm, start, end, clear)


def _guard_remove(mm: Space, area: Area, start: int, end: int) -> None:
    """Take the guard markers of the range away."""
    if area.flags & (SPECIAL | VmaFlags.HUGETLB):
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} is hugetlb or special")
    remove_guards(area, start, end)


def _populate(mm: Space, start: int, end: int, advice: int) -> None:
    """Fault the range in, and say where that fails."""
    access: Any = "write" if advice == abi.MADV_POPULATE_WRITE else "read"
    right = VmaFlags.WRITE if advice == abi.MADV_POPULATE_WRITE else VmaFlags.READ
    while start < end:
        area = mm.area_at(start)
        if area is None:
            raise SystemCallError(errno.ENOMEM, f"nothing is mapped at {start:#x}")
        refused = not area.flags & right or not mm.keys.permits(area, access)
        if refused or area.flags & (VmaFlags.IO | VmaFlags.PFNMAP):
            raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} does not allow it")
        stop = min(end, area.end)
        populate(mm, start, stop, access)
        start = stop


def _is_shared_or_file(area: Area) -> bool:
    return area.mapping is not None or VmaFlags.SHARED in area.flags


def _is_never_dumped(area: Area) -> bool:
    return bool(area.flags & VmaFlags.DROPPABLE or (area.flags & SPECIAL and not area.huge_page_size))


def _mergeable(mm: Space, area: Area, start: int, end: int) -> None:
    """Let ksmd look for equal pages, where it may. It never does here: it is off unless somebody switches it on."""
    if not area.flags & (VmaFlags.SHARED | VmaFlags.MAYSHARE | SPECIAL | VmaFlags.HUGETLB | VmaFlags.DROPPABLE):
        areas.modify(mm, area, start, end, area.flags | VmaFlags.MERGEABLE)


DISCARDS: Final = frozenset({
    abi.MADV_FREE, abi.MADV_DONTNEED, abi.MADV_DONTNEED_LOCKED, abi.MADV_REMOVE, abi.MADV_DONTFORK,
    abi.MADV_WIPEONFORK, abi.MADV_GUARD_INSTALL,
})  # fmt: skip
"""Advice that throws away what memory holds, now or for a child: not for what is sealed."""
REMOTE: Final = frozenset({abi.MADV_COLD, abi.MADV_PAGEOUT, abi.MADV_WILLNEED, abi.MADV_COLLAPSE})
"""Advice that a process may give another."""
POISONS: Final = frozenset({abi.MADV_HWPOISON, abi.MADV_SOFT_OFFLINE})
"""Advice that breaks memory, or says that it is about to."""
MOST_RANGES: Final = 1024
"""UIO_MAXIOV."""
MOST_BYTES: Final = 0x7FFF_F000
"""MAX_RW_COUNT."""

POPULATE: Final = frozenset({abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE})

LEAVES_AREAS: Final = POPULATE | POISONS | {abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE}
"""Advice that changes neither areas nor upper tables: ``mmap_lock`` held for reading is enough."""

HANDLERS: Final[dict[int, Handler]] = {
    abi.MADV_NORMAL: _flags(drop=READ_ONCE),
    abi.MADV_RANDOM: _flags(VmaFlags.RAND_READ, VmaFlags.SEQ_READ),
    abi.MADV_SEQUENTIAL: _flags(VmaFlags.SEQ_READ, VmaFlags.RAND_READ),
    abi.MADV_WILLNEED: _willneed,
    abi.MADV_DONTNEED: _dontneed,
    abi.MADV_FREE: reclaim.free,
    abi.MADV_REMOVE: _remove,
    abi.MADV_DONTFORK: _flags(VmaFlags.DONTCOPY),
    abi.MADV_DOFORK: _flags(drop=VmaFlags.DONTCOPY, refuse=lambda area: VmaFlags.IO in area.flags),
    abi.MADV_HUGEPAGE: _flags(VmaFlags.HUGEPAGE, VmaFlags.NOHUGEPAGE),
    abi.MADV_NOHUGEPAGE: _flags(VmaFlags.NOHUGEPAGE, VmaFlags.HUGEPAGE),
    abi.MADV_DONTDUMP: _flags(VmaFlags.DONTDUMP),
    abi.MADV_DODUMP: _flags(drop=VmaFlags.DONTDUMP, refuse=_is_never_dumped),
    abi.MADV_WIPEONFORK: _flags(VmaFlags.WIPEONFORK, refuse=_is_shared_or_file),
    abi.MADV_KEEPONFORK: _flags(drop=VmaFlags.WIPEONFORK, refuse=lambda area: VmaFlags.DROPPABLE in area.flags),
    abi.MADV_MERGEABLE: _mergeable,
    abi.MADV_UNMERGEABLE: _flags(drop=VmaFlags.MERGEABLE),
    abi.MADV_COLD: reclaim.cold,
    abi.MADV_PAGEOUT: reclaim.pageout,
    abi.MADV_DONTNEED_LOCKED: _dontneed_locked,
    abi.MADV_COLLAPSE: _collapse,
    abi.MADV_GUARD_INSTALL: _guard_install,
    abi.MADV_GUARD_REMOVE: _guard_remove,
}
"""What each advice does to a part of one area."""
