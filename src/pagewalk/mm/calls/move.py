"""mremap: shrinking, growing and moving areas, with their pages and markers."""

from __future__ import annotations

import errno
from copy import copy
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk import abi, sweep
from pagewalk.errors import OutOfFrames, SystemCallError
from pagewalk.mm.calls import uffd
from pagewalk.mm.calls.mapping import find_gap, find_place, munmap, populate_quietly, unmap
from pagewalk.mm.entries import is_page
from pagewalk.mm.geometry import ADDRESSES
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.paging import hugetlb
from pagewalk.mm.paging.soft_dirty import moved
from pagewalk.mm.state import areas
from pagewalk.mm.state.accessed import whole_folios
from pagewalk.mm.state.allowance import check_areas, check_lock, check_size
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.tables import Entry

__all__ = ["mremap"]

KNOWN: Final = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP
LOCKED: Final = VmaFlags.LOCKED | VmaFlags.LOCKONFAULT
REGISTERED: Final = VmaFlags.UFFD_WP | VmaFlags.UFFD_MISSING


def mremap(mm: Space, addr: int, old_length: int, new_length: int, flags: int, new_addr: int) -> int:
    """See ``Mm.mremap``."""
    old, new = mm.geometry.length(old_length), mm.geometry.length(new_length)
    _check(mm, addr, old, new, flags, new_addr)
    if flags & abi.MREMAP_FIXED and old == new:
        return _move_all(mm, addr, old, flags, new_addr)
    area = mm.area_at(addr)
    if area is None:
        raise SystemCallError(errno.EFAULT, f"nothing is mapped at {addr:#x}")
    area.refuse_sealed()
    if area.huge_page_size:
        old, new = _huge_lengths(area, addr, old, new, new_addr)
    if flags & (abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP):
        return _move_to(mm, area, addr, old, new, flags, new_addr)
    if new <= old:
        if new < old:
            munmap(mm, addr + new, old - new)
        return addr
    _check_area(mm, area, addr, old, new, flags)
    return _grow(mm, area, addr, old, new, flags)


def _check(mm: Space, addr: int, old: int, new: int, flags: int, new_addr: int) -> None:
    """Refuse what mremap(2) refuses before it looks at any area.

    Raises:
        SystemCallError: EINVAL; ENOMEM, there are almost as many areas as there may be.
    """
    places = flags & (abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP)
    to = new_addr if places else 0
    page = mm.geometry.page_size
    overlap = places and addr + old & ADDRESSES - 1 > to and to + new > addr
    wrong = (
        flags & ~KNOWN
        or addr % page
        or not new
        or new > mm.task_size
        or (places and not flags & abi.MREMAP_MAYMOVE)
        or (flags & abi.MREMAP_DONTUNMAP and old != new)
        or to % page
        or to > mm.task_size - new
        or overlap
    )
    if wrong:
        raise SystemCallError(errno.EINVAL, f"mremap of {old:#x} bytes at {addr:#x} to {new:#x} at {new_addr:#x}")
    if places:
        check_areas(mm, 5)


def _huge_lengths(area: Area, addr: int, old: int, new: int, new_addr: int) -> tuple[int, int]:
    """The lengths in whole pages of a hugetlb area, which cannot grow.

    Raises:
        SystemCallError: EINVAL.
    """
    size = area.huge_page_size
    old, new = -(-old // size) * size, -(-new // size) * size
    if addr % size or new_addr % size or new > old:
        raise SystemCallError(errno.EINVAL, f"hugetlb memory moves in pages of {size:#x} bytes, and never grows")
    return old, new


def _check_area(mm: Space, area: Area, addr: int, old: int, new: int, flags: int) -> None:
    """Refuse an area that cannot be moved or grown so (``check_prep_vma``).

    Raises:
        SystemCallError: EINVAL or EFAULT; EAGAIN or ENOMEM, a limit does not let it grow.
    """
    fixed_size = area.flags & (VmaFlags.DONTEXPAND | VmaFlags.PFNMAP)
    if new > old == 0 and not area.flags & (VmaFlags.SHARED | VmaFlags.MAYSHARE):
        raise SystemCallError(errno.EINVAL, "only a shared mapping can be doubled")
    if flags & abi.MREMAP_DONTUNMAP and fixed_size:
        raise SystemCallError(errno.EINVAL, "a special mapping cannot be left behind")
    if old > area.end - addr:
        raise SystemCallError(
            errno.EFAULT, f"[{addr:#x}, {addr + old:#x}) leaves the mapping, which ends at {area.end:#x}"
        )
    if new > old and fixed_size:
        raise SystemCallError(errno.EFAULT, f"the mapping at {area.start:#x} cannot grow")
    if new > old:
        check_lock(mm, area.flags, new - old)
        check_size(mm, area.flags, new - old)


def _grow(mm: Space, area: Area, addr: int, old: int, new: int, flags: int) -> int:
    """Grow in place if there is room, else elsewhere if that is allowed."""
    room = mm.vmas.find(area.end)
    limit = mm.task_size if room is None else room.start
    if old and addr + old == area.end and addr + new <= limit:
        tail = copy(area)
        tail.start, tail.end, tail.offset = area.end, addr + new, area.offset_at(area.end)
        tail.mm, tail.lock = None, mm.new_vma_lock()
        areas.insert(mm, tail)
        if VmaFlags.LOCKED in tail.flags:
            populate_quietly(mm, addr + old, addr + new)
        return addr
    if not flags & abi.MREMAP_MAYMOVE:
        raise SystemCallError(errno.ENOMEM, f"no room to grow at {addr + old:#x}: allow MREMAP_MAYMOVE")
    return _move(mm, area, addr, old, new, find_gap(mm, new), flags)


def _move_all(mm: Space, addr: int, length: int, flags: int, new_addr: int) -> int:
    """Move every area of a range to a fixed place; the gaps between them stay (since 6.17 there may be several)."""
    if mm.area_at(addr) is None:
        raise SystemCallError(errno.EFAULT, f"nothing is mapped at {addr:#x}")
    end, shift = addr + length, new_addr - addr
    for area in [mm.as_area(vma) for vma in mm.vmas.overlapping(addr, end)]:
        start = max(addr, area.start)
        size = min(end, area.end) - start
        if area.flags & REGISTERED and (start > addr or end > area.end):
            raise SystemCallError(errno.EFAULT, f"what userfaultfd is told of moves alone: {area.start:#x}")
        area.refuse_sealed()
        if area.huge_page_size:
            size, _ = _huge_lengths(area, start, size, size, start + shift)
        _move_to(mm, area, start, size, size, flags, start + shift)
    return new_addr


def _move_to(mm: Space, area: Area, addr: int, old: int, new: int, flags: int, new_addr: int) -> int:
    """Move to a place that the caller chose, or, for DONTUNMAP, may have left to us (``mremap_to``)."""
    _check_area(mm, area, addr, min(old, new), new, flags)
    if flags & abi.MREMAP_FIXED:
        unmap(mm, new_addr, new_addr + new)
        if mm.area_at(addr) is None:  # a length that wraps let the two overlap
            raise SystemCallError(errno.EFAULT, f"nothing is mapped at {addr:#x} any more")
    if flags & abi.MREMAP_DONTUNMAP:
        check_size(mm, area.flags, old)
    if not flags & abi.MREMAP_FIXED:
        new_addr = find_place(mm, new, new_addr)
    if old > new:
        munmap(mm, addr + new, old - new)
        old = new
    moved = mm.area_at(addr)
    assert moved is not None
    return _move(mm, moved, addr, old, new, new_addr, flags)


def _move(mm: Space, area: Area, addr: int, old: int, new: int, new_addr: int, flags: int) -> int:
    """Move a part of an area, its pages and its markers (``move_vma``)."""
    check_areas(mm, 3)
    area.start_write()
    if area.huge_page_size:
        area = areas.cut_out(mm, area, addr, addr + old)
    pieces = [] if area.huge_page_size else _pieces(mm, area, addr, old, new_addr)
    try:
        _make_tables(mm, pieces)
        if area.huge_page_size:
            hugetlb.move(mm, area, new_addr)
    except OutOfFrames as error:
        _free_empty(mm, new_addr, new_addr + new)
        raise SystemCallError(errno.ENOMEM, str(error)) from error
    twin = copy(area)
    unfaulted = area.is_anonymous and area.anon is None
    twin.offset = new_addr if unfaulted else area.offset_at(addr)
    twin.start, twin.end, twin.mm, twin.lock = new_addr, new_addr + new, None, mm.new_vma_lock()
    target = areas.insert(mm, twin)
    _move_entries(mm, pieces)
    if area.flags & REGISTERED:
        target.flags &= ~REGISTERED
        uffd.forget(mm, new_addr, new_addr + old)
    if area.huge_page_size:
        area.promised = None
    if flags & abi.MREMAP_DONTUNMAP:
        _leave_behind(mm, area, target, addr, addr + old)
    elif old:
        unmap(mm, addr, addr + old)
    if VmaFlags.LOCKED in target.flags and new > old:
        populate_quietly(mm, new_addr + old, new_addr + new)
    return new_addr


def _leave_behind(mm: Space, area: Area, target: Area, start: int, end: int) -> None:
    """What MREMAP_DONTUNMAP does to the old area: unlocked, and without a history if all of it moved."""
    if area.mm is None:
        area = target  # the kernel, too, unlocks what the old area was merged into
    if VmaFlags.LOCKED in area.flags:
        _strand(mm, area)
        area.flags &= ~LOCKED
    if area is not target and (area.start, area.end) == (start, end):
        area.anon, area.chain = None, 0


def _strand(mm: Space, area: Area) -> None:
    """An area loses VM_LOCKED without a munlock: the pages it still maps stay mlocked, until they are free.

    Not so those of an anonymous huge page that was split before: that was a munlock.
    """
    rows = sweep.mappings(mm.tables, area.start, area.end, coalesce=False, threads=1)
    pages, frames = is_page(rows.kind), mm.machine.frames
    paddrs, huge = rows.paddr[pages], rows.page_size[pages] == mm.geometry.block_size
    anonymous = frames.anonymous(paddrs)
    frames.set_mlocked(paddrs[anonymous & ~frames.large(paddrs)])
    folios = whole_folios(mm.machine, mm, area.start, area.end)
    of_files = folios[frames.used_as(folios, Usage.FILE)]
    frames.set_mlocked(paddrs[np.isin(frames.recency.folios(paddrs), of_files)])
    for paddr in paddrs[anonymous & huge].tolist():
        frames.set_mlocked(frames.run(paddr, mm.geometry.block_size))


class Piece(NamedTuple):
    """A part of a move that lies in one table on both sides.

    Attributes:
        source, target: Virtual addresses.
        size: Bytes.
        whole: It covers a whole table, which can be moved itself.
    """

    source: int
    target: int
    size: int
    whole: bool


def _pieces(mm: Space, area: Area, start: int, length: int, new_start: int) -> list[Piece]:
    """The move in pieces.

    The first is stretched down to a whole table if nothing else lies in it on either side (``try_realign_addr``, 6.7).
    """
    block = mm.geometry.block_size
    lead = start % block
    if (
        lead
        and lead == new_start % block
        and length >= block - lead
        and area.start == start
        and not mm.vmas.overlapping(start - lead, start)
        and not mm.vmas.overlapping(new_start - lead, new_start)
    ):
        start, new_start, length = start - lead, new_start - lead, length + lead
    pieces, at = [], 0
    while at < length:
        source, target = start + at, new_start + at
        size = min(length - at, block - source % block, block - target % block)
        pieces.append(Piece(source, target, size, size == block and _moves_whole(mm, area, source)))
        at += size
    return pieces


def _moves_whole(mm: Space, area: Area, source: int) -> bool:
    """Whether a whole table moves itself: it stays where userfaultfd is told of its pages, who lose their marks (6.13).

    A huge page moves anyway. (``vma_has_uffd_without_event_remap``.)
    """
    upper = mm.tables.upper_at(source)
    return not area.flags & REGISTERED or upper is None or not upper.is_table


def _make_tables(mm: Space, pieces: list[Piece]) -> None:
    """Make every table that the move needs before anything moves.

    Raises:
        OutOfFrames: There is none; the tables made so far are empty.
    """
    for piece in pieces:
        upper = mm.tables.upper_at(piece.source)
        if upper is None or upper.is_none:
            continue
        if upper.is_leaf and not piece.whole:
            mm.tables.split(upper, piece.source)
        whole = piece.whole or upper.is_none
        mm.tables.entry_at(piece.target, mm.geometry.upper if whole else mm.geometry.last, grow=True)


def _move_entries(mm: Space, pieces: list[Piece]) -> None:
    """Move what the page tables hold: whole tables and huge pages, and runs of entries."""
    for source, target, size, whole in pieces:
        upper = mm.tables.upper_at(source)
        if upper is None or upper.is_none:
            continue
        there = mm.tables.upper_at(target)
        assert there is not None
        if whole:
            mm.tables.free_tables(target, target + size, target, target + size)
            there.value, upper.value = _moved_whole(mm, upper), mm.geometry.upper.none
            continue
        entries = mm.tables.slice(upper, source, source + size).entries
        mm.tables.slice(there, target, target + size).entries[:] = moved(mm, mm.geometry.last, entries)
        entries[:] = mm.geometry.last.none
    if pieces:
        mm.log("flush", pieces[0].source, pieces[-1].source + pieces[-1].size)


def _moved_whole(mm: Space, upper: Entry) -> int:
    """A whole table, whose pages do not notice, or a huge page, as it is elsewhere."""
    if upper.is_table:
        return upper.value
    return int(moved(mm, mm.geometry.upper, np.array([upper.value], np.uint64))[0])


def _free_empty(mm: Space, start: int, end: int) -> None:
    """Free the tables made for a move that did not happen."""
    mm.tables.free_tables(start, end, *areas.free_around(mm, start, end))
