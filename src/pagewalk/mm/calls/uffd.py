"""userfaultfd write protection, as far as page tables show it (``mm/userfaultfd.c``, ``mm/mprotect.c``, Linux 6.18).

Who registers a range is told of writes to it. A page that is there is marked in its entry and loses its write right;
a place where none is gets a marker, in files and shared memory always, in anonymous memory only if asked to. Guards
stay what they are. A write to a marked page waits for the handler; nobody handles faults here, so it is a SIGBUS, as
with UFFD_FEATURE_SIGBUS: catch it, call ``writeprotect`` with ``protect=False``, write again.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.abi.uffd import FEATURES, MODE_WP, WP_ASYNC, WP_UNPOPULATED
from pagewalk.errors import OutOfFrames, SystemCallError, UnsupportedError
from pagewalk.mm.paging.marks import protected, unprotected
from pagewalk.mm.paging.protection import with_rights
from pagewalk.mm.state import areas
from pagewalk.mm.state.area import SPECIAL
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

__all__ = ["check_mode", "forget", "not_simulated", "protect_all", "register_wp", "unregister", "writeprotect"]

MODES: Final = 7
"""Missing pages, write protection, minor faults."""


def check_mode(mode: int, features: int) -> None:
    """Refuse what is not write protection.

    Raises:
        SystemCallError: EINVAL, no mode, or none that there is.
        UnsupportedError: Another mode, or another feature than WP_UNPOPULATED and WP_ASYNC.
    """
    if not mode or mode & ~MODES:
        raise SystemCallError(errno.EINVAL, f"userfaultfd has no mode {mode:#x}")
    if mode != MODE_WP:
        raise not_simulated(f"userfaultfd's mode {mode:#x} (missing pages, or minor faults)")
    if features & ~(FEATURES | WP_UNPOPULATED | WP_ASYNC):
        raise not_simulated(f"userfaultfd's features {features:#x}")


def not_simulated(what: str) -> UnsupportedError:
    """The refusal of what only a handler of page faults could use."""
    return UnsupportedError(f"{what}: only write protection is simulated, and nobody handles faults")


def open_once(mm: Space, features: int) -> None:
    """Open the process's userfaultfd, if it has none yet (``userfaultfd_api``)."""
    if mm.uffd_features is None:
        mm.uffd_features = features | (WP_UNPOPULATED if features & WP_ASYNC else 0)


def register_wp(mm: Space, start: int, length: int, features: int = 0) -> None:
    """Have writes to a range told of (UFFDIO_REGISTER with UFFDIO_REGISTER_MODE_WP).

    Args:
        mm: The address space.
        start, length: The range, page-aligned, in bytes. Gaps in it are passed over.
        features: What the process's userfaultfd is asked for, if it has none yet.

    Raises:
        SystemCallError: EINVAL, misaligned, nothing mapped, or special memory; EPERM, never to be writable.
        UnsupportedError: hugetlb memory.
    """
    open_once(mm, features)
    end, found = _mapped(mm, start, length)
    for area in found:
        _check_area(area)
    for area in found:
        low, high = max(start, area.start), min(end, area.end)
        areas.modify(mm, area, low, high, area.flags | VmaFlags.UFFD_WP, only=True)


def unregister(mm: Space, start: int, length: int) -> None:
    """Have nobody told any more (UFFDIO_UNREGISTER): what was write-protected is as if it never had been.

    Args:
        mm, start, length: As ``register_wp``.

    Raises:
        SystemCallError: EINVAL, as ``register_wp``.
        UnsupportedError: hugetlb memory.
    """
    end, found = _mapped(mm, start, length)
    for area in found:
        _check_kind(area)
    for area in found:
        low, high = max(start, area.start), min(end, area.end)
        if VmaFlags.UFFD_WP in area.flags:
            _mark(mm, area, low, high, protect=False)
            areas.modify(mm, area, low, high, area.flags & ~VmaFlags.UFFD_WP, only=True)


def writeprotect(mm: Space, start: int, length: int, *, protect: bool, unpopulated: bool = False) -> None:
    """Write-protect the pages of a registered range, or let them be written again (UFFDIO_WRITEPROTECT).

    Args:
        mm: The address space.
        start, length: The range, page-aligned, in bytes. Gaps in it are passed over.
        protect: False takes the protection away; what is the process's own may be written at once then.
        unpopulated: Also where anonymous memory has no page yet (UFFD_FEATURE_WP_UNPOPULATED, 6.4).

    Raises:
        SystemCallError: EINVAL, misaligned; ENOENT, nothing is mapped, or at something that is not registered: what
            lies before that is done; ENOMEM, no frame for a table.
    Source: ``mwriteprotect_range``, Linux 6.18.
    """
    end = _end(mm, start, length)
    found = _areas(mm, start, end)
    if not found:
        raise SystemCallError(errno.ENOENT, f"nothing is mapped in [{start:#x}, {end:#x})")
    for area in found:
        if VmaFlags.UFFD_WP not in area.flags:
            raise SystemCallError(
                errno.ENOENT, f"the mapping at {area.start:#x} is not registered: register_wp() first"
            )
        low, high = max(start, area.start), min(end, area.end)
        asked = unpopulated or bool((mm.uffd_features or 0) & WP_UNPOPULATED)
        markers = protect and (asked or not area.is_anonymous)
        if markers:
            _make_tables(mm, low, high)
        _mark(mm, area, low, high, protect=protect, markers=markers)


def protect_all(mm: Space, start: int, end: int) -> None:
    """Write-protect a range, places without a page and guards too.

    Raises:
        SystemCallError: ENOMEM, no frame for a table.
    """
    _make_tables(mm, start, end)
    _change(mm, start, end, partial(protected, markers=True, guards=True))


def forget(mm: Space, start: int, end: int) -> None:
    """Take the marks off what has moved away from a registered range (without UFFD_FEATURE_EVENT_REMAP)."""
    _change(mm, start, end, partial(unprotected, guards=True))


def _end(mm: Space, start: int, length: int) -> int:
    """The end of a range.

    Raises:
        SystemCallError: EINVAL, it is none.
    """
    inside = 0 <= start < mm.task_size and 0 < length <= mm.task_size - start
    if start % mm.geometry.page_size or length % mm.geometry.page_size or not inside:
        raise SystemCallError(errno.EINVAL, f"not a range of whole pages: {length:#x} bytes at {start:#x}")
    return start + length


def _mapped(mm: Space, start: int, length: int) -> tuple[int, list[Area]]:
    """The end of a range, and its areas.

    Raises:
        SystemCallError: EINVAL, it is no range, or nothing is mapped there.
    """
    end = _end(mm, start, length)
    found = _areas(mm, start, end)
    if not found:
        raise SystemCallError(errno.EINVAL, f"nothing is mapped in [{start:#x}, {end:#x})")
    return end, found


def _areas(mm: Space, start: int, end: int) -> list[Area]:
    """The areas of a range."""
    return [mm.as_area(vma) for vma in mm.vmas.overlapping(start, end)]


def _check_kind(area: Area) -> None:
    """Refuse memory of kinds that are never registered (``vma_can_userfault``)."""
    if area.huge_page_size:
        raise UnsupportedError(f"write protection of hugetlb memory, at {area.start:#x}, is not simulated")
    if area.flags & (SPECIAL | VmaFlags.DROPPABLE):
        raise SystemCallError(errno.EINVAL, f"the mapping at {area.start:#x} is special, or may be dropped")


def _check_area(area: Area) -> None:
    """Refuse what cannot be registered."""
    _check_kind(area)
    if VmaFlags.MAYWRITE not in area.flags:
        raise SystemCallError(errno.EPERM, f"the mapping at {area.start:#x} can never be written")


def _make_tables(mm: Space, start: int, end: int) -> None:
    """Make the tables that markers need.

    Raises:
        SystemCallError: ENOMEM.
    """
    try:
        for addr in range(mm.geometry.block_start(start), end, mm.geometry.block_size):
            upper = mm.tables.upper_at(max(addr, start), grow=True)
            if upper is not None and upper.is_leaf and mm.tables.maps_file(upper):
                mm.tables.split(upper, addr)
            mm.tables.last_at(max(addr, start), grow=True)
    except OutOfFrames as error:
        raise SystemCallError(errno.ENOMEM, str(error)) from error


def _mark(mm: Space, area: Area, start: int, end: int, *, protect: bool, markers: bool = False) -> None:
    """Put marks in a range of an area, or take them off; its pages get their rights anew, as from mprotect."""

    def change(level: LevelEntries, entries: Entries) -> Entries:
        if protect:
            return protected(level, with_rights(mm, area, entries, level), markers=markers)
        return with_rights(mm, area, unprotected(level, entries), level)

    _change(mm, start, end, change)


def _change(mm: Space, start: int, end: int, change: Callable[[LevelEntries, Entries], Entries]) -> None:
    """Rewrite the entries of a range; a huge page that lies only partly in it is split."""
    geometry = mm.geometry

    def at_upper(upper: Entry, addr: int, next_: int, walk: Walk) -> None:
        with mm.tables.lock(upper.table):
            if upper.is_leaf and next_ - addr == geometry.block_size:
                upper.value = int(change(geometry.upper, np.array([upper.value], np.uint64))[0])
                return
            if upper.is_leaf:
                mm.tables.split(upper, addr)
            if not upper.is_table:
                return
        with mm.tables.lock(mm.tables.child(upper, addr)):
            entries = mm.tables.slice(upper, addr, next_).entries
            entries[:] = change(geometry.last, entries)

    mm.tables.each_upper(start, end, at_upper)
    mm.log("flush", start, end)
