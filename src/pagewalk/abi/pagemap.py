"""``/proc/PID/pagemap`` and PAGEMAP_SCAN: what a word of the one and a category of the other mean.

Source: ``fs/proc/task_mmu.c``, ``include/uapi/linux/fs.h``, ``Documentation/admin-guide/mm/pagemap.rst``, Linux 6.18.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

__all__ = [
    "CLEAR_REFS_ALL", "CLEAR_REFS_ANON", "CLEAR_REFS_MAPPED", "CLEAR_REFS_MM_HIWATER_RSS", "CLEAR_REFS_SOFT_DIRTY",
    "MAX_SWAPFILES_SHIFT", "PAGEMAP_SCAN", "PAGE_REGION", "PM_FILE", "PM_GUARD_REGION", "PM_MMAP_EXCLUSIVE",
    "PM_PFRAME_BITS", "PM_PFRAME_MASK", "PM_PRESENT", "PM_SCAN_ARG", "PM_SCAN_CHECK_WPASYNC", "PM_SCAN_WP_MATCHING",
    "PM_SOFT_DIRTY", "PM_SWAP", "PM_UFFD_WP", "PageIs",
]  # fmt: skip

PM_PFRAME_BITS: Final = 55
"""The low bits of a word: a frame's number, or a swap type and above it an offset; higher ones are what follows."""
PM_PFRAME_MASK: Final = (1 << PM_PFRAME_BITS) - 1
MAX_SWAPFILES_SHIFT: Final = 5
"""Bits of a swap type (``include/linux/swap.h``)."""

PM_SOFT_DIRTY: Final = 1 << 55
PM_MMAP_EXCLUSIVE: Final = 1 << 56
PM_UFFD_WP: Final = 1 << 57
PM_GUARD_REGION: Final = 1 << 58
"""A guard region (Linux 6.15); PM_SWAP is set with it."""
PM_FILE: Final = 1 << 61
PM_SWAP: Final = 1 << 62
PM_PRESENT: Final = 1 << 63


class PageIs(IntFlag):
    """``PAGE_IS_*``, with the kernel's values."""

    WPALLOWED = 1 << 0
    """In a VMA that userfaultfd write-protects asynchronously."""
    WRITTEN = 1 << 1
    """Not write-protected by userfaultfd."""
    FILE = 1 << 2
    PRESENT = 1 << 3
    SWAPPED = 1 << 4
    """Swap entries, and everything else that is not present and not empty."""
    PFNZERO = 1 << 5
    HUGE = 1 << 6
    """Mapped by one entry: a PMD-mapped THP, or hugetlb."""
    SOFT_DIRTY = 1 << 7
    GUARD = 1 << 8
    """A guard region (Linux 6.15)."""

    @classmethod
    def every(cls) -> PageIs:
        """All categories, of the newest kernel."""
        return cls((1 << 9) - 1)


CLEAR_REFS_ALL: Final = 1
CLEAR_REFS_ANON: Final = 2
CLEAR_REFS_MAPPED: Final = 3
CLEAR_REFS_SOFT_DIRTY: Final = 4
CLEAR_REFS_MM_HIWATER_RSS: Final = 5
"""What ``/proc/PID/clear_refs`` takes."""

PAGE_REGION: Final = ("start", "end", "categories")
"""The members of ``struct page_region``, 8 bytes each: ``[start, end)`` in bytes, and its ``PageIs`` bits."""
PM_SCAN_ARG: Final = (
    *("size", "flags", "start", "end", "walk_end", "vec", "vec_len", "max_pages"),
    *("category_inverted", "category_mask", "category_anyof_mask", "return_mask"),
)
"""The members of ``struct pm_scan_arg``, 8 bytes each."""
PM_SCAN_WP_MATCHING: Final = 1
"""Write-protect what matches."""
PM_SCAN_CHECK_WPASYNC: Final = 2
"""Fail where userfaultfd does not protect asynchronously."""
PAGEMAP_SCAN: Final = 3 << 30 | 8 * len(PM_SCAN_ARG) << 16 | ord("f") << 8 | 16
"""``_IOWR('f', 16, struct pm_scan_arg)``."""
