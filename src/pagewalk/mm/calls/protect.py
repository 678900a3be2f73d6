"""mprotect, mlock, munlock and mseal: changing what an area allows, and keeping its pages in."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk import abi
from pagewalk.abi.limits import RLIMIT_AS, RLIMIT_MEMLOCK
from pagewalk.errors import SystemCallError
from pagewalk.mm.calls.mapping import accounted, flags_of_prot, populate_area, populate_quietly
from pagewalk.mm.geometry import ADDRESSES
from pagewalk.mm.hardware.cpu import KEY, flags_of_key
from pagewalk.mm.paging.protection import with_rights
from pagewalk.mm.state import areas
from pagewalk.mm.state.accessed import whole_folios
from pagewalk.mm.state.allowance import check_may_lock, fits, mapped, may_lock
from pagewalk.mm.state.area import RIGHTS, SPECIAL
from pagewalk.mm.state.tables import ops_of
from pagewalk.space import VmaFlags
from pagewalk.walk import walk_page_range_novma

if TYPE_CHECKING:
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

__all__ = ["checked_mcl", "mlock", "mlockall", "mprotect", "mseal", "munlock"]

LOCKED: Final = VmaFlags.LOCKED | VmaFlags.LOCKONFAULT
UNLOCKABLE: Final = SPECIAL | VmaFlags.HUGETLB | VmaFlags.DROPPABLE
"""What mlock passes over."""
GROWS: Final = abi.PROT_GROWSDOWN | abi.PROT_GROWSUP


def mprotect(mm: Space, addr: int, length: int, prot: int, key: int = -1) -> None:
    """See ``Mm.mprotect``. The order of the checks is the kernel's (``do_mprotect_pkey``, 6.18)."""
    grows, prot = prot & GROWS, prot & ~GROWS
    if grows == GROWS or addr % mm.geometry.page_size:
        raise SystemCallError(errno.EINVAL, f"{addr:#x} is not page-aligned, or to grow both ways")
    if not length:
        return
    end = addr + mm.geometry.length(length)
    if not addr < end < ADDRESSES:
        raise SystemCallError(errno.ENOMEM, f"{length:#x} bytes at {addr:#x} are no range")
    if prot & ~(abi.PROT_READ | abi.PROT_WRITE | abi.PROT_EXEC | abi.PROT_SEM):
        raise SystemCallError(errno.EINVAL, f"unknown protection {prot:#x}")
    if key != -1 and not mm.keys.is_taken(key):
        raise SystemCallError(errno.EINVAL, f"nobody has protection key {key}: pkey_alloc() first")
    addr = _first(mm, addr, end, grows)
    wanted = flags_of_prot(prot)
    while addr < end:
        area = mm.area_at(addr)
        if area is None:
            raise SystemCallError(errno.ENOMEM, f"nothing is mapped at {addr:#x}")
        stop = min(end, area.end)
        flags = area.flags & ~(RIGHTS | KEY) | wanted | flags_of_key(_key(mm, area, prot, key))
        if flags & ~VmaFlags(int(flags) >> 4) & RIGHTS:
            raise SystemCallError(errno.EACCES, f"the file at {area.start:#x} does not allow it")
        _change(mm, area, addr, stop, flags)
        addr = stop


def _key(mm: Space, area: Area, prot: int, key: int) -> int:
    """The protection key of memory that gets other rights (``__arch_override_mprotect_pkey``)."""
    if key != -1:
        return key
    if prot == abi.PROT_EXEC and (own := mm.keys.of_prot(prot)):
        return own
    was_execute_only = area.flags & RIGHTS == VmaFlags.EXEC and area.protection_key == mm.keys.execute_only
    return 0 if was_execute_only else area.protection_key


def _first(mm: Space, addr: int, end: int, grows: int) -> int:
    """Where a change begins: a stack's start, if it is to reach down to there.

    Raises:
        SystemCallError: ENOMEM, nothing is there; EINVAL, what is there does not grow so.
    """
    area = mm.vmas.find(addr)
    if area is None or area.start >= end or (area.start > addr and not grows & abi.PROT_GROWSDOWN):
        raise SystemCallError(errno.ENOMEM, f"nothing is mapped at {addr:#x}")
    if grows and (grows & abi.PROT_GROWSUP or VmaFlags.GROWSDOWN not in area.flags):
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} does not grow that way")
    return area.start if grows else addr


def _change(mm: Space, area: Area, start: int, end: int, flags: VmaFlags) -> None:
    """Give a part of one area other rights (``mprotect_fixup``)."""
    area.refuse_sealed()
    old = area.flags
    if flags == old:
        return
    if VmaFlags.WRITE in flags and not old & (VmaFlags.ACCOUNT | VmaFlags.WRITE | VmaFlags.HUGETLB):
        flags |= accounted(flags)
    elif VmaFlags.ACCOUNT in old and VmaFlags.WRITE not in flags and area.is_anonymous and area.anon is None:
        flags &= ~VmaFlags.ACCOUNT
    if VmaFlags.WRITE in flags and not fits(mm, flags, end - start) and fits(mm, old, end - start):
        raise SystemCallError(errno.ENOMEM, f"{end - start:#x} bytes of data more go beyond RLIMIT_DATA")
    area = areas.modify(mm, area, start, end, flags)
    _change_entries(mm, area, start, end)
    if old & (VmaFlags.WRITE | VmaFlags.SHARED | VmaFlags.LOCKED) == VmaFlags.LOCKED and VmaFlags.WRITE in flags:
        try:
            populate_area(mm, area, start, end)
        except SystemCallError:
            return


def _change_entries(mm: Space, area: Area, start: int, end: int) -> None:
    """Rewrite the rights of every page of a range."""
    geometry = mm.geometry

    def at(entry: Entry, addr: int, next_: int, walk: Walk) -> None:
        with mm.tables.lock(entry.table):
            if entry.is_leaf:
                level = geometry.levels[entry.level.depth]
                entry.value = int(with_rights(mm, area, np.array([entry.value], np.uint64), level)[0])
                return
            if entry.level.depth != geometry.upper.depth or not entry.is_table:
                return
        with mm.tables.lock(mm.tables.child(entry, addr)):
            entries = mm.tables.slice(entry, addr, next_).entries
            if not geometry.last.all_none(entries):
                entries[:] = with_rights(mm, area, entries, geometry.last)

    levels = {level.depth: level for level in (geometry.upper, *geometry.huge.values())}
    walk_page_range_novma(mm.tables, start, end, ops_of(levels.values(), at))
    mm.log("flush", start, end)


def mlock(mm: Space, addr: int, length: int, flags: int) -> None:
    """See ``Mm.mlock``."""
    if flags & ~abi.MLOCK_ONFAULT:
        raise SystemCallError(errno.EINVAL, f"unknown mlock flags {flags:#x}")
    check_may_lock(mm)
    if not mm.limits.ipc_lock:
        _check_limit(mm, addr, length)
    start, end = _whole_pages(mm, addr, length)
    wanted = VmaFlags.LOCKED | (VmaFlags.LOCKONFAULT if flags else VmaFlags(0))
    _set_locked(mm, start, end, wanted)
    for vma in mm.vmas.overlapping(start, end) if end > start else ():
        area = mm.as_area(vma)
        try:
            populate_area(mm, area, max(start, area.start), min(end, area.end))
        except SystemCallError as error:
            code = errno.EAGAIN if error.errno == errno.ENOMEM else errno.ENOMEM
            raise SystemCallError(code, str(error)) from error


def _check_limit(mm: Space, addr: int, length: int) -> None:
    """Refuse to lock more than RLIMIT_MEMLOCK lets; what is locked already counts once (``do_mlock``).

    Raises:
        SystemCallError: ENOMEM.
    """
    start = mm.geometry.page_start(addr)
    size = mm.geometry.length(length + addr - start & ADDRESSES - 1)
    again = [vma for vma in mm.vmas.overlapping(start, start + size) if VmaFlags.LOCKED in vma.flags] if size else []
    twice = sum(min(vma.end, start + size) - max(vma.start, start) for vma in again)
    if not may_lock(mm, mapped(mm, RLIMIT_MEMLOCK) + size - twice):
        raise SystemCallError(errno.ENOMEM, f"{size:#x} bytes more go beyond RLIMIT_MEMLOCK: setrlimit()")


def munlock(mm: Space, addr: int, length: int) -> None:
    """See ``Mm.munlock``."""
    _set_locked(mm, *_whole_pages(mm, addr, length), VmaFlags(0))


def checked_mcl(flags: int) -> int:
    """What mlockall is asked for.

    Raises:
        SystemCallError: EINVAL, it is nothing that there is.
    """
    if not flags or flags == abi.MCL_ONFAULT or flags & ~(abi.MCL_CURRENT | abi.MCL_FUTURE | abi.MCL_ONFAULT):
        raise SystemCallError(errno.EINVAL, f"mlockall with flags {flags:#x}")
    return flags


def mlockall(mm: Space, flags: int) -> None:
    """See ``Mm.mlockall``; without flags, ``munlockall`` (``apply_mlockall_flags``, 6.18)."""
    if flags:
        check_may_lock(mm)
    if flags & abi.MCL_CURRENT and not may_lock(mm, mapped(mm, RLIMIT_AS)):
        raise SystemCallError(errno.ENOMEM, "more is mapped than RLIMIT_MEMLOCK lets be locked")
    wanted = VmaFlags.LOCKED | VmaFlags.LOCKONFAULT if flags & abi.MCL_ONFAULT else VmaFlags.LOCKED
    mm.default_flags = wanted if flags & abi.MCL_FUTURE else VmaFlags(0)
    if flags & abi.MCL_FUTURE and not flags & abi.MCL_CURRENT:
        return
    for vma in list(mm.vmas):
        area = mm.area_at(vma.start)
        if area is not None and not area.flags & UNLOCKABLE:
            added = wanted if flags & abi.MCL_CURRENT else VmaFlags(0)
            start, stop = max(vma.start, area.start), min(vma.end, area.end)
            area = areas.modify(mm, area, start, stop, area.flags & ~LOCKED | added)
            _keep_in(mm, area, start, stop)
    if flags & abi.MCL_CURRENT:
        populate_quietly(mm, 0, mm.task_size)


def _whole_pages(mm: Space, addr: int, length: int) -> tuple[int, int]:
    """The pages that a range touches; a length that wraps is short, as it is in the kernel.

    Raises:
        SystemCallError: EINVAL, the range wraps.
    """
    start = mm.geometry.page_start(addr)
    end = start + mm.geometry.length(length + addr - start & ADDRESSES - 1)
    if end >= ADDRESSES and end > start:
        raise SystemCallError(errno.EINVAL, f"{length:#x} bytes at {addr:#x} are no range")
    return start, end


def _set_locked(mm: Space, start: int, end: int, wanted: VmaFlags) -> None:
    """Set or clear the lock flags of a range, up to the first gap (``apply_vma_lock_flags``)."""
    while start < end:
        area = mm.area_at(start)
        if area is None:
            raise SystemCallError(errno.ENOMEM, f"nothing is mapped at {start:#x}")
        stop = min(end, area.end)
        if not area.flags & UNLOCKABLE:
            area = areas.modify(mm, area, start, stop, area.flags & ~LOCKED | wanted)
            _keep_in(mm, area, start, stop)
        start = stop


def _keep_in(mm: Space, area: Area, start: int, end: int) -> None:
    """Pages that are locked in memory from now on are on no list of active ones (``mlock_folio``)."""
    if VmaFlags.LOCKED in area.flags:
        mm.machine.frames.recency.deactivate(whole_folios(mm.machine, mm, start, end))


def mseal(mm: Space, addr: int, length: int, flags: int) -> None:
    """See ``Mm.mseal`` (``do_mseal``, 6.18)."""
    size = mm.geometry.length(length)
    end = addr + size
    if flags or addr % mm.geometry.page_size or (length and not size) or end >= ADDRESSES:
        raise SystemCallError(errno.EINVAL, f"mseal of {length:#x} bytes at {addr:#x}, flags {flags:#x}")
    for area in list(areas.each_mapped(mm, addr, end)):
        start, stop = max(addr, area.start), min(end, area.end)
        areas.modify(mm, area, start, stop, area.flags | VmaFlags.SEALED, only=True)
