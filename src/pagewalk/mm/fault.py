"""Page faults: what happens when the simulated CPU cannot go on.

How it works. A fault finds its area and checks the area's rights; then the entry decides, by one table: an empty one is
filled (zero page, new page, page of the file), a swapped one read back, a write-protected one copied or reused, a guard
refused. (``mm/memory.c``, Linux 6.18.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from pagewalk import abi
from pagewalk.errors import BusError, SegmentationFault
from pagewalk.formats import Flag, Kind
from pagewalk.mm import huge
from pagewalk.mm.areas import prepare_anon
from pagewalk.mm.frames import BLOCK, PAGE, Usage
from pagewalk.mm.pkeys import permits
from pagewalk.mm.uffd import protected
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.areas import Area
    from pagewalk.mm.files import File
    from pagewalk.mm.mm import Mm
    from pagewalk.tables import Entry

    Access = Literal["read", "write", "execute"]

__all__ = ["allowed", "find_area", "handle", "unshare"]

PMD: Final = 3
PTE: Final = 4
FAULT_AROUND: Final = 16
"""Pages around a read fault of a file that are mapped with it, if they are in the page cache."""

WANTED: Final = {
    "read": VmaFlags.READ | VmaFlags.WRITE | VmaFlags.EXEC,  # x86 cannot refuse reading what it lets do more
    "write": VmaFlags.WRITE,
    "execute": VmaFlags.READ | VmaFlags.WRITE | VmaFlags.EXEC,  # the page comes first, then its right is looked at
}


def allowed(area: Area, access: Access) -> bool:
    """Whether an area's rights allow an access on x86."""
    return bool(area.flags & WANTED[access])


def find_area(mm: Mm, vaddr: int, access: Access) -> Area:
    """The area that an access belongs to; a stack grows to it.

    Raises:
        SegmentationFault: There is none, or it does not allow this.
    """
    area = mm.area_at(vaddr) or mm.grow_stack(vaddr)
    if area is None:
        raise SegmentationFault(vaddr, access, "nothing is mapped there")
    if not permits(area, access):
        why = f"protection key {area.protection_key} makes the mapping execute-only"
        raise SegmentationFault(vaddr, access, why, abi.SEGV_PKUERR)
    if not allowed(area, access):
        raise SegmentationFault(vaddr, access, f"the mapping is {area.rights}", abi.SEGV_ACCERR)
    return area


def handle(mm: Mm, vaddr: int, access: Access) -> None:
    """Resolve one fault, ``mmap_lock`` held.

    Raises:
        SegmentationFault, BusError: The access is refused.
        OutOfFrames: No frame is left; nothing has changed but tables that were added.
    """
    area = find_area(mm, vaddr, access)
    write = access == "write"
    page = vaddr // PAGE * PAGE
    if area.huge_page_size:
        mm.hugetlb.fault(area, vaddr, access)
        return
    pmd = mm.tables.entry_at(page, PMD, grow=True)
    assert pmd is not None
    with mm.tables.lock(pmd.table):
        if pmd.is_none and huge.fault(mm, area, pmd, page, write=write):
            return
        if pmd.is_leaf and write and Flag.WRITE not in pmd.flags:
            _refuse_protected(pmd, page)
            huge.write_fault(mm, area, pmd, page)
            if pmd.is_leaf:
                return
        if pmd.is_leaf:
            return
    pte = mm.tables.entry_at(page, PTE, grow=True)
    if pte is None:
        return  # another thread has just mapped a huge page: look again
    with mm.tables.lock(pte.table):
        _resolve(mm, area, pte, page, access)


def _resolve(mm: Mm, area: Area, pte: Entry, page: int, access: Access) -> None:
    """Resolve a fault at an entry of the last level."""
    write = access == "write"
    match pte.kind:
        case Kind.NONE if area.is_anonymous:
            _anonymous(mm, area, pte, page, write=write)
        case Kind.NONE:
            _file(mm, area, pte, page, access)
        case Kind.PRESENT:
            if write and Flag.WRITE not in pte.flags:
                _write_protected(mm, area, pte, page)
        case Kind.SWAP:
            _swap_in(mm, area, pte, page, write=write)
        case Kind.UFFD_WP:
            _populate_protected(mm, area, pte, page)
        case Kind.HWPOISON:
            raise BusError(page, access, "the page is poisoned", abi.BUS_MCEERR_AR)
        case Kind.GUARD:
            raise SegmentationFault(page, access, "a guard stands there")
        case kind:
            raise SegmentationFault(page, access, f"the entry is {kind.label}")


def _populate_protected(mm: Mm, area: Area, pte: Entry, page: int) -> None:
    """Bring a page in where userfaultfd's marker stands. The marker stays where there is none to be had."""
    marker, pte.value = pte.value, 0
    try:
        _resolve(mm, area, pte, page, "read")
    except BaseException:
        pte.value = marker
        raise
    _protect(mm, pte)


def _protect(mm: Mm, pte: Entry) -> None:
    """Give a page that has just come the write protection that its place had."""
    pte.value = int(protected(mm, np.array([pte.value], np.uint64))[0])


def _refuse_protected(entry: Entry, page: int) -> None:
    """A write to a page that userfaultfd has write-protected: nobody is there to resolve it.

    Raises:
        BusError: As with UFFD_FEATURE_SIGBUS.
    """
    if Flag.UFFD_WP in entry.flags:
        why = "write-protected by userfaultfd: resolve it with writeprotect(..., protect=False)"
        raise BusError(page, "write", why)


def _map(mm: Mm, area: Area, pte: Entry, page: int, frame: int, *, writable: bool, dirty: bool = False) -> None:
    """Set an entry to a page, accessed just now."""
    flags = mm.page_flags(area, writable=writable) | Flag.ACCESSED
    pte.value = mm.page_entry(area, frame, int(flags | Flag.DIRTY if dirty else flags))
    mm.update_mmu_cache(area, page, pte)


def _anonymous(mm: Mm, area: Area, pte: Entry, page: int, *, write: bool) -> None:
    """Demand zero: the shared zero page for a read, a page of its own for a write."""
    if not write:
        pte.value = mm.zero_entry_for(area)
        return
    prepare_anon(mm, area)
    frame = mm.take_frame(Usage.ANON, page)
    _map(mm, area, pte, page, frame, writable=True, dirty=True)


def _file(mm: Mm, area: Area, pte: Entry, page: int, access: Access) -> None:
    """A page of a file: shared, or read only, or copied at once for a private write."""
    file: File = area.mapping  # type: ignore[assignment]
    offset = area.offset_at(page)
    if access != "write":
        _fault_around(mm, area, file, page)
        if not pte.is_none:
            return
    shared = VmaFlags.SHARED in area.flags
    if access == "write" and not shared:
        prepare_anon(mm, area)
    if not file.has(offset):
        raise BusError(page, access, f"beyond the end of {file.name}, which has {file.size:#x} bytes")
    cached = file.hold(offset // PAGE)
    if access == "write" and not shared:
        try:
            frame = mm.take_frame(Usage.ANON, page)
            mm.machine.frames.copy(cached, frame)
        finally:
            mm.machine.frames.drop(cached)
        _map(mm, area, pte, page, frame, writable=True, dirty=True)
    else:
        _map(mm, area, pte, page, cached, writable=shared, dirty=access == "write")


def _fault_around(mm: Mm, area: Area, file: File, page: int) -> None:
    """Map the pages of the file that are in the page cache around a read fault, within one table."""
    window = FAULT_AROUND * PAGE
    start = max(page // window * window, area.start)
    end = min(start + window, area.end, page // BLOCK * BLOCK + BLOCK)
    shared = VmaFlags.SHARED in area.flags
    pmd = mm.tables.entry_at(page, PMD)
    assert pmd is not None
    entries = mm.tables.slice(pmd, start, end).entries
    flags = int(mm.page_flags(area, writable=shared) | Flag.ACCESSED)
    for at in range(len(entries)):
        offset = area.offset_at(start + at * PAGE)
        if file.has(offset) and not entries[at] and (frame := file.hold_cached(offset // PAGE)) is not None:
            entries[at] = mm.page_entry(area, frame, flags)


def _write_protected(mm: Mm, area: Area, pte: Entry, page: int) -> None:
    """A write to a page that is there and not writable: reuse it if nobody else has it, else copy it."""
    _refuse_protected(pte, page)
    frame = pte.target
    assert frame is not None
    frames = mm.machine.frames
    if VmaFlags.SHARED in area.flags:
        _map(mm, area, pte, page, frame, writable=True, dirty=True)
        return
    special = Flag.SPECIAL in pte.flags
    prepare_anon(mm, area)
    if not special and frames.is_anonymous(frame) and huge.may_reuse(mm, frame):
        frames.set_exclusive(frame, exclusive=True)
        _map(mm, area, pte, page, frame, writable=True, dirty=True)
        return
    fresh = mm.take_frame(Usage.ANON, page)
    frames.copy(frame, fresh)
    _map(mm, area, pte, page, fresh, writable=True, dirty=True)
    if not special:
        frames.drop(frame)


def unshare(mm: Mm, vaddr: int) -> None:
    """Give a process its own copy of an anonymous page before the kernel reads it (``FAULT_FLAG_UNSHARE``, 5.19).

    A page that a fork left shared must not be pinned for reading: the other side could still change it.
    """
    area, page = mm.area_at(vaddr), vaddr // PAGE * PAGE
    pmd = mm.tables.entry_at(page, PMD)
    if area is None or area.huge_page_size or pmd is None:
        return
    frames = mm.machine.frames
    with mm.tables.lock(pmd.table):
        target = pmd.target if pmd.is_leaf else None
        if target not in (None, mm.machine.huge_zero) and not huge.may_reuse(mm, target):
            mm.tables.split(pmd, page)
    pte = mm.tables.entry_at(page, PTE)
    if pte is None or pte.kind is not Kind.PRESENT or Flag.SPECIAL in pte.flags:
        return
    frame = pte.target
    assert frame is not None
    if frames.is_anonymous(frame) and not huge.may_reuse(mm, frame):
        fresh = mm.take_frame(Usage.ANON, page)
        frames.copy(frame, fresh)
        prepare_anon(mm, area)
        _map(mm, area, pte, page, fresh, writable=False)
        frames.drop(frame)


def _swap_in(mm: Mm, area: Area, pte: Entry, page: int, *, write: bool) -> None:
    """Read a page back from swap."""
    slot = int(mm.format.software.swap_slot(pte.value)[1])
    swap = mm.machine.swap
    frame = mm.take_frame(Usage.ANON, page)
    mm.memory.write(frame, swap.get(slot))
    writable = write or (VmaFlags.WRITE in area.flags and not swap.shared(slot))
    marked = Flag.UFFD_WP in pte.flags
    _map(mm, area, pte, page, frame, writable=writable, dirty=True)
    if marked:
        _protect(mm, pte)
    swap.drop(slot)
