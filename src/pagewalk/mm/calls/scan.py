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
from pagewalk.mm.geometry import ADDRESSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.mm.state.space import Space

    Row = tuple[int, int, int]
    Categories = npt.NDArray[np.uint64]

__all__ = ["Request", "pagemap_scan"]

KNOWN: Final = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC
ALL: Final = int(PageIs.every())


class Request(NamedTuple):
    """What is asked.

    Attributes:
        flags: PM_SCAN_WP_MATCHING: only what userfaultfd protects asynchronously; PM_SCAN_CHECK_WPASYNC: all must be.
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


def pagemap_scan(mm: Space, start: int, end: int, request: Request) -> tuple[int, list[Row]]:
    """See ``Mm.pagemap_scan``."""
    _check(mm, start, end, request)
    end = mm.geometry.length(end)
    rows: list[Row] = []
    left, page = request.max_pages or ADDRESSES, mm.geometry.page_size
    for first, last, categories in _matching(mm, start, end, request):
        if not request.vector:
            continue
        if not left:
            return first, rows
        stop = min(last, first + left * page)
        if rows and rows[-1][1] == first and rows[-1][2] == categories:
            rows[-1] = (rows[-1][0], stop, categories)
        elif len(rows) == request.vector:
            return first, rows
        else:
            rows.append((first, stop, categories))
        left -= (stop - first) // page
        if stop < last:
            return stop, rows
    return end, rows


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


def _matching(mm: Space, start: int, end: int, request: Request) -> Iterator[Row]:
    """Regions of pages that match, with what is told of them.

    Raises:
        SystemCallError: EPERM, an area is not protected asynchronously where that was to be checked.
    """
    for vma in mm.vmas.overlapping(start, end) if start < end else ():
        if request.flags & PM_SCAN_CHECK_WPASYNC:
            raise SystemCallError(errno.EPERM, f"userfaultfd does not protect {vma.start:#x} asynchronously")
        if request.flags & PM_SCAN_WP_MATCHING or not _may_match(request):
            continue
        low, high = max(start, vma.start), min(end, vma.end)
        seen = look(mm, low, high)
        categories = categories_of(mm, seen)
        told = np.where(request.matching(categories), categories & np.uint64(request.returns), np.uint64(ADDRESSES - 1))
        for first, last, category in runs_of(low, seen.page_size, told):
            if category != ADDRESSES - 1:
                yield first, last, category


def _may_match(request: Request) -> bool:
    """Whether any area is worth a look, since none is protected asynchronously."""
    required = request.mask & PageIs.WPALLOWED
    return request.inverted & required == required
