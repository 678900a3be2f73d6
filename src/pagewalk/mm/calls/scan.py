"""PAGEMAP_SCAN, the ioctl with all its arguments (``do_pagemap_scan``, ``fs/proc/task_mmu.c``, Linux 6.18).

How it works. Each page of an area is of some categories. Those that match are written down as regions of equal
categories, less what nobody asked to be told, until there is no more room or enough pages were found. The scan ends
at the first page for which it is too late, or at the end of the range.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.abi.pagemap import PM_SCAN_CHECK_WPASYNC, PM_SCAN_WP_MATCHING, PageIs
from pagewalk.errors import SystemCallError
from pagewalk.mm.calls.observe import categories_of, look, runs_of
from pagewalk.mm.calls.uffd import protect_all
from pagewalk.mm.geometry import ADDRESSES

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.mm.state.space import Space

    Row = tuple[int, int, int]
    Categories = npt.NDArray[np.uint64]

__all__ = ["Request", "pagemap_scan"]

KNOWN: Final = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC
ALL: Final = int(PageIs.every())
NOTHING: Final = np.uint64(ADDRESSES - 1)
"""Of a page that does not match."""


class Request(NamedTuple):
    """What is asked.

    Attributes:
        flags: PM_SCAN_WP_MATCHING: protect what matches, where userfaultfd does so asynchronously;
            PM_SCAN_CHECK_WPASYNC: that must be everywhere.
        max_pages: How many pages are enough; 0: there is no limit.
        inverted: Categories that count where they are not.
        mask: Those that a page must be of.
        anyof: Those of which a page must be of one; 0: of none in particular.
        returns: Those that are told.
        vector: How many regions there is room for; 0: nothing is to be told.
    """

    flags: int
    max_pages: int
    inverted: int
    mask: int
    anyof: int
    returns: int
    vector: int

    def matching(self, categories: Categories) -> npt.NDArray[np.bool_]:
        """Which pages match."""
        seen = categories ^ np.uint64(self.inverted)
        found: Any = seen & np.uint64(self.mask) == np.uint64(self.mask)
        return found & (seen & np.uint64(self.anyof) != 0) if self.anyof else found

    def may_match(self, *, later: bool) -> bool:
        """Whether an area is worth a look: whether it may be of the categories of areas that are required."""
        required = self.mask & PageIs.WPALLOWED
        return (self.inverted ^ (PageIs.WPALLOWED if later else 0)) & required == required


def pagemap_scan(mm: Space, start: int, end: int, request: Request) -> tuple[int, list[Row]]:
    """See ``Mm.pagemap_scan``."""
    _check(mm, start, end, request)
    end = mm.geometry.length(end)
    found = _Found(request, mm.geometry.page_size)
    for vma in mm.vmas.overlapping(start, end) if start < end else ():
        later = mm.protects_later(vma)
        if request.flags & PM_SCAN_CHECK_WPASYNC and not later:
            raise SystemCallError(errno.EPERM, f"userfaultfd does not protect {vma.start:#x} asynchronously")
        if not (later or not request.flags & PM_SCAN_WP_MATCHING) or not request.may_match(later=later):
            continue
        low, high = max(start, vma.start), min(end, vma.end)
        if request.flags & PM_SCAN_WP_MATCHING:
            _scan_and_protect(mm, low, high, request, found)
        else:
            _scan(mm, low, high, request, found)
        if found.ended is not None:
            break
    return end if found.told is None else found.told, found.rows


class _Found:
    """What was found so far (``pagemap_scan_output``).

    Attributes:
        rows: The regions.
        ended: Where there was no more room, or enough.
        told: What is told of that: also where it was so before a huge page was split, and looked at anew.
    """

    def __init__(self, request: Request, page: int) -> None:
        self._room, self._page = request.vector, page
        self._left = request.max_pages or ADDRESSES
        self.rows: list[Row] = []
        self.ended: int | None = None
        self.told: int | None = None

    def copy(self) -> tuple[list[Row], int]:
        """What to go back to."""
        return list(self.rows), self._left

    def restore(self, before: tuple[list[Row], int]) -> None:
        """Forget what was found since."""
        self.rows, self._left = before
        self.ended = None

    def add(self, first: int, last: int, categories: int) -> int:
        """Note a region, and tell how far: up to where there was no more room, or enough."""
        if not self._room:
            return last
        stop = min(last, first + self._left * self._page)
        if stop > first and self.rows and self.rows[-1][1] == first and self.rows[-1][2] == categories:
            self.rows[-1] = (self.rows[-1][0], stop, categories)
        elif stop > first and len(self.rows) < self._room:
            self.rows.append((first, stop, categories))
        else:
            stop = first
        self._left -= (stop - first) // self._page
        if stop < last:
            self.ended = self.told = stop
        return stop


def _scan(mm: Space, low: int, high: int, request: Request, found: _Found) -> None:
    """Note what matches in a part of an area."""
    seen = look(mm, low, high)
    categories = categories_of(mm, seen)
    told = np.where(request.matching(categories), categories & np.uint64(request.returns), NOTHING)
    for first, last, category in runs_of(low, seen.page_size, told):
        if category != NOTHING and found.ended is None:
            found.add(first, last, category)


def _scan_and_protect(mm: Space, low: int, high: int, request: Request, found: _Found) -> None:
    """Note what matches in a part of an area, block by block, and write-protect what was noted.

    A huge page that is to be protected in part is split first, and told as small ones. Where nothing is told, all pages
    of a table are protected, whatever they are.
    """
    for start in range(mm.geometry.block_start(low), high, mm.geometry.block_size):
        first, last = max(start, low), min(start + mm.geometry.block_size, high)
        if found.ended is None:
            _protect_block(mm, first, last, request, found)


def _protect_block(mm: Space, first: int, last: int, request: Request, found: _Found) -> None:
    """The same of one block."""
    upper = mm.tables.upper_at(first)
    table = upper is not None and upper.is_table
    if table and not request.vector:
        protect_all(mm, first, last)
        return
    before = found.copy()
    seen = look(mm, first, last)
    categories = categories_of(mm, seen)
    told = np.where(request.matching(categories), categories, NOTHING)
    for start, end, category in runs_of(first, seen.page_size, told):
        if category == NOTHING or found.ended is not None:
            continue
        stop = found.add(start, end, category & request.returns)
        if stop == start or (upper is not None and not category & PageIs.WRITTEN):
            continue
        if upper is not None and upper.is_leaf and stop - start < mm.geometry.block_size:
            mm.tables.split(upper, start)
            found.restore(before)
            _protect_block(mm, first, last, request, found)
            return
        protect_all(mm, start, stop)


def _check(mm: Space, start: int, end: int, request: Request) -> None:
    """Refuse what the kernel refuses before it looks.

    Raises:
        SystemCallError: EINVAL, EFAULT.
    """
    masks = request.inverted | request.mask | request.anyof | request.returns
    if request.flags & ~KNOWN or masks & ~ALL or start % mm.geometry.page_size:
        raise SystemCallError(errno.EINVAL, f"PAGEMAP_SCAN from {start:#x}: {request}")
    if start + (end - start) % ADDRESSES > mm.task_size:
        raise SystemCallError(errno.EFAULT, f"[{start:#x}, {end:#x}) reaches out of user memory")
