"""Page faults: what happens when the simulated CPU cannot go on.

How it works. A fault finds its area and checks the area's rights; then the entry decides, by one table: an empty one is
filled (zero page, new page, page of the file), a swapped one read back, a write-protected one copied or reused, a guard
refused. (``mm/memory.c``, Linux 6.18.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk import abi
from pagewalk.abi.limits import RLIMIT_MEMLOCK
from pagewalk.errors import BusError, SegmentationFault
from pagewalk.formats import Flag, Kind
from pagewalk.mm.hardware.cpu import allows
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.paging import huge, hugetlb
from pagewalk.mm.paging.around import map_around, maps_around
from pagewalk.mm.paging.file_folios import bring_in, is_writable_at_once, map_block, map_folio
from pagewalk.mm.paging.marks import protected
from pagewalk.mm.paging.soft_dirty import of_dirty_pages
from pagewalk.mm.state.accessed import are_locked
from pagewalk.mm.state.allowance import fits, mapped, may_lock
from pagewalk.mm.state.area import RIGHTS
from pagewalk.mm.state.areas import prepare_anon
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.hardware.cpu import Access
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.files import File
    from pagewalk.mm.state.space import Space
    from pagewalk.tables import Entry

__all__ = ["find_area", "handle", "swap_in", "unshare"]

STACK_LIMIT: Final = 8 << 20
NOTHING: Final = Flag(0)


def find_area(mm: Space, vaddr: int, access: Access) -> Area:
    """The area that an access belongs to; a stack grows to it.

    Raises:
        SegmentationFault: There is none, or it does not allow this.
    """
    area = mm.area_at(vaddr) or _grow_stack(mm, vaddr)
    if area is None:
        form = mm.machine.format
        blind = not form.tells_outside and form.window_of(vaddr) is None
        raise SegmentationFault(vaddr, access, "nothing is mapped there", abi.SI_KERNEL if blind else abi.SEGV_MAPERR)
    if not mm.keys.permits(area, access):
        only = " makes the mapping execute-only" if area.protection_key == mm.keys.execute_only else " refuses it"
        why = f"protection key {area.protection_key}{only}"
        raise SegmentationFault(vaddr, access, why, abi.SEGV_PKUERR)
    if not allows(area, access):
        raise SegmentationFault(vaddr, access, f"the mapping is {area.rights}", abi.SEGV_ACCERR)
    return area


def _grow_stack(mm: Space, vaddr: int) -> Area | None:
    """Let the stack above an address grow down to it, if it may (``expand_stack``)."""
    above = mm.vmas.find(vaddr)
    if above is None or VmaFlags.GROWSDOWN not in above.flags:
        return None
    start = mm.geometry.page_start(vaddr)
    below = mm.vmas.before(start)
    crowded = below is not None and below.flags & RIGHTS and VmaFlags.GROWSDOWN not in below.flags
    gap = mm.geometry.stack_gap
    if above.end - start > STACK_LIMIT or (crowded and below is not None and start - below.end < gap):
        return None
    area, more = mm.as_area(above), above.start - start
    locked = VmaFlags.LOCKED in area.flags and not may_lock(mm, mapped(mm, RLIMIT_MEMLOCK) + more)
    if locked or not fits(mm, area.flags, more):
        return None
    mm.vmas.grow_down(area, start)
    prepare_anon(mm, area)
    return area


def handle(mm: Space, vaddr: int, access: Access) -> None:
    """Resolve one fault, ``mmap_lock`` held.

    Raises:
        SegmentationFault, BusError: The access is refused.
        OutOfFrames: No frame is left; nothing has changed but tables that were added.
    """
    area = find_area(mm, vaddr, access)
    write = access == "write"
    page = mm.geometry.page_start(vaddr)
    if area.huge_page_size:
        hugetlb.fault(mm, area, vaddr, access)
        return
    upper = mm.tables.upper_at(page, grow=True)
    assert upper is not None
    with mm.tables.lock(upper.table):
        if upper.is_none and huge.fault(mm, area, upper, page, write=write):
            return
        if upper.is_leaf and write and Flag.WRITE not in upper.flags:
            if not _refuse_protected(mm, area, upper, page):
                huge.write_fault(mm, area, upper, page)
            else:
                mm.tables.split(upper, page)
            if upper.is_leaf:
                return
        if upper.is_leaf:
            return
        if upper.is_none and not area.is_anonymous and _block(mm, area, upper, page, access):
            return
    entry = mm.tables.last_at(page, grow=True)
    if entry is None:
        return  # another thread has just mapped a huge page: look again
    with mm.tables.lock(entry.table):
        _resolve(mm, area, entry, page, access)


def _block(mm: Space, area: Area, upper: Entry, page: int, access: Access) -> bool:
    """Fill an empty entry above the last level with a huge page of a file; whether that could be done."""
    if not maps_around(mm, area, page, access):
        _prepare_copy(mm, area, access)
        _refuse_beyond(area, page, access)  # before there is a table
        bring_in(mm, area, page)
    copies = access == "write" and VmaFlags.SHARED not in area.flags
    return not copies and map_block(mm, area, upper, page, write=access == "write")


def _resolve(mm: Space, area: Area, entry: Entry, page: int, access: Access) -> None:
    """Resolve a fault at an entry of the last level."""
    write = access == "write"
    match entry.kind:
        case Kind.NONE if area.is_anonymous:
            _anonymous(mm, area, entry, page, write=write)
        case Kind.NONE:
            _file(mm, area, entry, page, access)
        case Kind.PRESENT:
            if write and Flag.WRITE not in entry.flags:
                _write_protected(mm, area, entry, page)
        case Kind.SWAP:
            swap_in(mm, area, entry, page, write=write)
        case Kind.UFFD_WP:
            _populate_protected(mm, area, entry, page, access)
        case Kind.HWPOISON:
            raise BusError(page, access, "the page is poisoned", abi.BUS_MCEERR_AR)
        case Kind.GUARD:
            raise SegmentationFault(page, access, "a guard stands there")
        case kind:
            raise SegmentationFault(page, access, f"the entry is {kind.label}")


def _populate_protected(mm: Space, area: Area, entry: Entry, page: int, access: Access) -> None:
    """Bring a page in where userfaultfd's marker stands, as protected. The marker stays where there is none to be had.

    A write gets a page of its own, and is refused the next time. What nobody is told of any more is empty.
    """
    marker, entry.value = entry.value, mm.geometry.last.none
    if VmaFlags.UFFD_WP not in area.flags:
        return
    try:
        _resolve(mm, area, entry, page, access)
    except BaseException:
        entry.value = marker
        raise
    _protect(mm, entry)


def _protect(mm: Space, entry: Entry) -> None:
    """Give a page that has just come the write protection that its place had."""
    entry.value = int(protected(mm.geometry.last, np.array([entry.value], np.uint64))[0])


def _refuse_protected(mm: Space, area: Area, entry: Entry, page: int) -> bool:
    """A write to a page that userfaultfd has write-protected, and is told of: nobody is there to resolve it.

    Returns:
        Whether it is, and need not be resolved (UFFD_FEATURE_WP_ASYNC): the write takes the mark off.

    Raises:
        BusError: As with UFFD_FEATURE_SIGBUS.
    """
    protected_here = Flag.UFFD_WP in entry.flags and VmaFlags.UFFD_WP in area.flags
    if protected_here and not mm.protects_later(area):
        why = "write-protected by userfaultfd: resolve it with writeprotect(..., protect=False)"
        raise BusError(page, "write", why)
    return protected_here


def _map(
    mm: Space,
    area: Area,
    entry: Entry,
    page: int,
    frame: int,
    *,
    writable: bool,
    dirty: bool = False,
    old: Flag = NOTHING,
) -> None:
    """Set an entry to a page, accessed just now; ``old``: flags of the entry that was there, of which it keeps one."""
    flags = mm.page_flags(area, writable=writable) | Flag.ACCESSED
    if old:
        flags |= old & Flag.SOFT_DIRTY
    entry.value = mm.page_entry(area, frame, int(flags | mm.machine.dirtied if dirty else flags))
    mm.update_mmu_cache(area, page, entry)


def _anonymous(mm: Space, area: Area, entry: Entry, page: int, *, write: bool) -> None:
    """Demand zero: the shared zero page for a read, a page of its own for a write."""
    if not write:
        entry.value = mm.zero_entry_for(area)
        return
    prepare_anon(mm, area)
    frame = mm.take_frame(Usage.ANON, page)
    _map(mm, area, entry, page, frame, writable=True, dirty=True)


def _file(mm: Space, area: Area, entry: Entry, page: int, access: Access) -> None:
    """A page of a file: shared, or read only, or copied at once for a private write."""
    file: File = area.mapping  # type: ignore[assignment]
    offset = area.offset_at(page)
    if maps_around(mm, area, page, access):
        map_around(mm, area, page)
        if not entry.is_none:
            return
    shared = VmaFlags.SHARED in area.flags
    _prepare_copy(mm, area, access)
    _refuse_beyond(area, page, access)
    bring_in(mm, area, page)
    if file.is_poisoned(offset // file.page_size):
        raise BusError(page, access, f"a page of {file.name} is poisoned", abi.BUS_MCEERR_AR)
    cached = file.hold(offset // file.page_size)
    if access == "write" and not shared:
        try:
            frame = mm.take_frame(Usage.ANON, page)
            mm.machine.frames.copy(cached, frame)
        finally:
            mm.machine.frames.drop(cached)
        _map(mm, area, entry, page, frame, writable=True, dirty=True)
    elif map_folio(mm, area, page, write=access == "write"):
        mm.machine.frames.drop(cached)
    else:
        writable = access == "write" or is_writable_at_once(mm, area)
        _map(mm, area, entry, page, cached, writable=writable, dirty=access == "write")
        if mm.machine.soft_dirty:
            entry.value = int(of_dirty_pages(mm, np.array([entry.value], np.uint64))[0])


def _prepare_copy(mm: Space, area: Area, access: Access) -> None:
    """A private write makes a copy: the area needs a history, whether or not there is something to copy."""
    if access == "write" and VmaFlags.SHARED not in area.flags:
        prepare_anon(mm, area)


def _refuse_beyond(area: Area, page: int, access: Access) -> None:
    """Refuse an access behind the last page of a file.

    Raises:
        BusError: It is one.
    """
    file: File = area.mapping  # type: ignore[assignment]
    if not file.has(area.offset_at(page)):
        raise BusError(page, access, f"beyond the end of {file.name}, which has {file.size:#x} bytes")


def _write_protected(mm: Space, area: Area, entry: Entry, page: int) -> None:
    """A write to a page that is there and not writable: reuse it if nobody else has it, else copy it."""
    _refuse_protected(mm, area, entry, page)
    frame = entry.target
    assert frame is not None
    frames = mm.machine.frames
    if VmaFlags.SHARED in area.flags:
        _map(mm, area, entry, page, frame, writable=True, dirty=True)
        return
    special = Flag.SPECIAL in entry.flags
    prepare_anon(mm, area)
    if not special and frames.is_anonymous(frame) and huge.may_reuse(mm, frame):
        frames.set_exclusive(frame, exclusive=True)
        _map(mm, area, entry, page, frame, writable=True, dirty=True)
        return
    fresh = mm.take_frame(Usage.ANON, page)
    frames.copy(frame, fresh)
    _map(mm, area, entry, page, fresh, writable=True, dirty=True)
    if not special:
        frames.drop(frame)
        mm.machine.swap.unmapped([frame])


def unshare(mm: Space, vaddr: int) -> None:
    """Give a process its own copy of an anonymous page before the kernel reads it (``FAULT_FLAG_UNSHARE``, 5.19).

    A page that a fork left shared must not be pinned for reading: the other side could still change it.
    """
    area, page = mm.area_at(vaddr), mm.geometry.page_start(vaddr)
    upper = mm.tables.upper_at(page)
    if area is None or area.huge_page_size or upper is None:
        return
    frames = mm.machine.frames
    with mm.tables.lock(upper.table):
        target = upper.target if upper.is_leaf else None
        if target not in (None, mm.machine.huge_zero) and frames.is_anonymous(target):
            if huge.may_reuse(mm, target):
                frames.set_exclusive(frames.run(target, mm.geometry.block_size), exclusive=True)
            else:
                mm.tables.split(upper, page)
    entry = mm.tables.last_at(page)
    if entry is None or entry.kind is not Kind.PRESENT or Flag.SPECIAL in entry.flags:
        return
    frame = entry.target
    assert frame is not None
    if not frames.is_anonymous(frame):
        return
    if huge.may_reuse(mm, frame):
        frames.set_exclusive(frame, exclusive=True)
        return
    fresh = mm.take_frame(Usage.ANON, page)
    frames.copy(frame, fresh)
    prepare_anon(mm, area)
    old = entry.flags
    _map(mm, area, entry, page, fresh, writable=False, old=old)
    if Flag.UFFD_WP in old:
        _protect(mm, entry)
    frames.drop(frame)
    mm.machine.swap.unmapped([frame])


def swap_in(mm: Space, area: Area, entry: Entry, page: int, *, write: bool) -> None:
    """Read a page back from swap, or find it in the swap cache (``do_swap_page``).

    It is this process's own if it was before, and no fork came between, or if nobody else has it in any way.
    """
    slot, flags = int(mm.geometry.last.swap_slot(entry.value)[1]), entry.flags
    swap, frames = mm.machine.swap, mm.machine.frames
    frame = mm.fetch_swapped(slot, page)
    alone, last_user = frames.holders(frame) == 1, swap.users(slot) == 1
    leaves = last_user and ((write and alone) or VmaFlags.LOCKED in area.flags or _is_locked(mm, frame, alone=alone))
    own, marked = Flag.EXCLUSIVE in flags or (alone and leaves), Flag.UFFD_WP in flags
    writable = own and not marked and not (mm.tracks(area) and Flag.SOFT_DIRTY not in flags)
    frames.hold(frame)
    frames.set_exclusive(frame, exclusive=own)
    _map(mm, area, entry, page, frame, writable=writable, dirty=writable and write, old=flags)
    swap.drop(slot)
    if leaves:
        swap.let_go(frame)
    if marked:
        _protect(mm, entry)
    elif write and not writable:
        _write_protected(mm, area, entry, page)


def _is_locked(mm: Space, frame: int, *, alone: bool) -> bool:
    """Whether somebody who maps a frame has it locked in memory."""
    frames = mm.machine.frames
    return frames.is_mlocked(frame) if alone else bool(are_locked(mm.machine, frames.run(frame, frames.page_size))[0])
