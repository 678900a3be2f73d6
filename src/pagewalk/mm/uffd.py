"""userfaultfd write protection, as far as page tables show it (``mm/userfaultfd.c``, ``mm/mprotect.c``, Linux 6.18).

Who registers a range is told of writes to it. A page that is there is marked in its entry and loses its write right;
a place where none is gets a marker, in files and shared memory always, in anonymous memory only if asked to. Guards
stay what they are. A write to a marked page waits for the handler; nobody handles faults here, so it is a SIGBUS, as
with UFFD_FEATURE_SIGBUS: catch it, call ``writeprotect`` with ``protect=False``, write again.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.errors import OutOfFrames, SystemCallError, UnsupportedError
from pagewalk.formats import Flag, Kind
from pagewalk.formats.software import Marker
from pagewalk.mm import areas
from pagewalk.mm.areas import SPECIAL
from pagewalk.mm.frames import BLOCK, PAGE
from pagewalk.space import VmaFlags
from pagewalk.walk import WalkOps, walk_page_range_novma

if TYPE_CHECKING:
    from pagewalk.mm.areas import Area
    from pagewalk.mm.mm import Mm
    from pagewalk.mm.tables import Entries
    from pagewalk.tables import Entry

__all__ = ["forget", "protected", "register_wp", "swap_bits", "unprotected", "writeprotect"]

PTE: Final = 4


def register_wp(mm: Mm, start: int, length: int) -> None:
    """Have writes to a range told of (UFFDIO_REGISTER with UFFDIO_REGISTER_MODE_WP).

    Args:
        mm: The address space.
        start, length: The range, page-aligned, in bytes. Gaps in it are passed over.

    Raises:
        SystemCallError: EINVAL, misaligned, nothing mapped, or special memory; EPERM, never to be writable.
        UnsupportedError: hugetlb memory.
    """
    end = _end(start, length)
    found = _areas(mm, start, end)
    if not found:
        raise SystemCallError(errno.EINVAL, f"nothing is mapped in [{start:#x}, {end:#x})")
    for area in found:
        _check_area(area)
    for area in found:
        low, high = max(start, area.start), min(end, area.end)
        areas.modify(mm, area, low, high, area.flags | VmaFlags.UFFD_WP)


def writeprotect(mm: Mm, start: int, length: int, *, protect: bool, unpopulated: bool = False) -> None:
    """Write-protect the pages of a registered range, or let them be written again (UFFDIO_WRITEPROTECT).

    Args:
        mm: The address space.
        start, length: The range, page-aligned, in bytes.
        protect: False takes the protection away; the write right comes back with the next write.
        unpopulated: Also where anonymous memory has no page yet (UFFD_FEATURE_WP_UNPOPULATED, 6.4).

    Raises:
        SystemCallError: EINVAL, misaligned; ENOENT, not all registered; ENOMEM, no frame for a table.
    """
    end = _end(start, length)
    found = _areas(mm, start, end)
    covered = sum(min(end, area.end) - max(start, area.start) for area in found)
    if covered != end - start or any(VmaFlags.UFFD_WP not in area.flags for area in found):
        raise SystemCallError(errno.ENOENT, f"[{start:#x}, {end:#x}) is not all registered: register_wp() first")
    for area in found:
        low, high = max(start, area.start), min(end, area.end)
        markers = protect and (unpopulated or not area.is_anonymous)
        if markers:
            _make_tables(mm, low, high)
        _change(mm, low, high, protect=protect, markers=markers)


def forget(mm: Mm, start: int, end: int) -> None:
    """Take the marks off what has moved away from a registered range (without UFFD_FEATURE_EVENT_REMAP)."""
    _change(mm, start, end, protect=False, markers=False)


def _end(start: int, length: int) -> int:
    """The end of a range.

    Raises:
        SystemCallError: EINVAL, it is none.
    """
    if start % PAGE or length % PAGE or length <= 0:
        raise SystemCallError(errno.EINVAL, f"not a range of whole pages: {length:#x} bytes at {start:#x}")
    return start + length


def _areas(mm: Mm, start: int, end: int) -> list[Area]:
    """The areas of a range."""
    return [mm.as_area(vma) for vma in mm.vmas.overlapping(start, end)]


def _check_area(area: Area) -> None:
    """Refuse what cannot be registered (``vma_can_userfault``)."""
    if area.huge_page_size:
        raise UnsupportedError(f"write protection of hugetlb memory, at {area.start:#x}, is not simulated")
    if area.flags & SPECIAL:
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} is special")
    if VmaFlags.MAYWRITE not in area.flags:
        raise SystemCallError(errno.EPERM, f"the mapping at {area.start:#x} can never be written")


def _make_tables(mm: Mm, start: int, end: int) -> None:
    """Make the tables that markers need.

    Raises:
        SystemCallError: ENOMEM.
    """
    try:
        for addr in range(start // BLOCK * BLOCK, end, BLOCK):
            mm.tables.entry_at(max(addr, start), PTE, grow=True)
    except OutOfFrames as error:
        raise SystemCallError(errno.ENOMEM, str(error)) from error


def _change(mm: Mm, start: int, end: int, *, protect: bool, markers: bool) -> None:
    """Rewrite the entries of a range; a huge page that lies only partly in it is split."""

    def change(entries: Entries) -> Entries:
        return protected(mm, entries, markers=markers) if protect else unprotected(mm, entries)

    def at_pmd(pmd: Entry, addr: int, next_: int, walk: Any) -> None:
        with mm.tables.lock(pmd.table):
            if pmd.is_leaf and next_ - addr == BLOCK:
                pmd.value = int(change(np.array([pmd.value], np.uint64))[0])
                return
            if pmd.is_leaf:
                mm.tables.split(pmd, addr)
            if not pmd.is_table:
                return
        with mm.tables.lock(mm.tables.child(pmd, addr)):
            entries = mm.tables.slice(pmd, addr, next_).entries
            entries[:] = change(entries)

    walk_page_range_novma(mm.tables, start, end, WalkOps(pmd_entry=at_pmd))
    mm.log("flush", start, end)


def protected(mm: Mm, entries: Entries, *, markers: bool = False) -> Entries:
    """Entries marked as write-protected; markers where nothing is, if wanted."""
    form, result = mm.format, entries.copy()
    kinds = form.kind(entries)
    pages = (kinds == Kind.PRESENT) | (kinds == Kind.PROT_NONE)
    (write,) = [row for row in form.rights if row.flag is Flag.WRITE]
    bit = np.uint64(1 << write.bit)
    stripped = result[pages] | bit
    result[pages] = (stripped if write.clear else stripped ^ bit) | np.uint64(form.state_bits(int(Flag.UFFD_WP)))
    result[kinds == Kind.SWAP] |= np.uint64(swap_bits(mm, Flag.UFFD_WP))
    if markers:
        result[kinds == Kind.NONE] = form.software.marker_entry(Marker.UFFD_WP)
    return result


def unprotected(mm: Mm, entries: Entries) -> Entries:
    """Entries without userfaultfd's marks; a fork's child gets them so. Guards stay."""
    form, result = mm.format, entries.copy()
    kinds = form.kind(entries)
    pages = (kinds == Kind.PRESENT) | (kinds == Kind.PROT_NONE)
    result[pages] &= np.uint64((1 << 64) - 1 - form.state_bits(int(Flag.UFFD_WP)))
    result[kinds == Kind.SWAP] &= np.uint64((1 << 64) - 1 - swap_bits(mm, Flag.UFFD_WP))
    result[kinds == Kind.UFFD_WP] = 0
    return result


def swap_bits(mm: Mm, flags: Flag) -> int:
    """The bits that hold flags in a swap entry."""
    return sum(1 << row.bit for row in mm.format.software.swap_state if row.flag in flags)
