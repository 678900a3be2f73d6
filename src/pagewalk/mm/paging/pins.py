"""Pages pinned for the kernel's own use: brought in, the process's own, and held until they are let go.

How it works. A pin is a reference like a mapping's: while one page of a large folio is pinned, no other page of it can
be taken over without a copy, for somebody else may have it. (``pin_user_pages_remote``, mm/gup.c, Linux 6.18.)
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.errors import MemoryFault, OutOfFrames
from pagewalk.mm.paging import hugetlb
from pagewalk.mm.paging.arrivals import Arrivals, LockList
from pagewalk.mm.paging.fault import unshare
from pagewalk.mm.paging.touch import touch
from pagewalk.mm.state.accessed import mark_accessed
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.mm.hardware.cpu import Access
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries

__all__ = ["PINNED_TOGETHER", "pinned"]

PINNED_TOGETHER: Final = 1024
"""Pages that process_vm_readv and process_vm_writev pin before they copy (``PVM_MAX_KMALLOC_PAGES``, 4 KiB pages)."""

RIGHTS: Final = {"read": VmaFlags.READ, "write": VmaFlags.WRITE}


@contextmanager
def pinned(mm: Space, start: int, end: int, access: Access) -> Iterator[Entries]:
    """The physical addresses of the pages of ``[start, end)``, as far as they can be had; held meanwhile.

    Args:
        mm: The address space, its machine's lock held.
        start, end: Whole pages.
        access: "read", or "write": then their folios are known to be dirty afterwards.
    """
    frames, paddrs, held, used = mm.machine.frames, list[int](), list[int](), list[int]()
    areas = [mm.as_area(vma) for vma in mm.vmas.overlapping(start, end)]
    arrivals = [
        Arrivals(mm, area, max(start, area.start), min(end, area.end), access)
        for area in areas
        if VmaFlags.LOCKED in area.flags
    ]
    try:
        for page in range(start, end, mm.geometry.page_size):
            paddr = _bring_in(mm, page, access)
            if paddr is None:
                break
            paddrs.append(paddr)
            if mm.tables.last_at(page) is not None:
                used.append(paddr)
            if frames.is_anonymous(paddr):
                frames.hold(paddr)
                held.append(paddr)
        waiting = LockList()
        locked = np.concatenate([np.empty(0, np.uint64), *(coming.locked(waiting) for coming in arrivals)])
        mark_accessed(mm.machine, np.array(used, np.uint64), areas=areas, locked=locked)
        yield np.array(paddrs, np.uint64)
    finally:
        for paddr in paddrs if access == "write" else ():
            frames.set_dirty(frames.folio(paddr))
        for paddr in held:
            frames.drop(paddr)


def _bring_in(mm: Space, page: int, access: Access) -> int | None:
    """Where a page is, once it can be accessed and is nobody else's; None if it cannot be had."""
    area, end = mm.area_at(page), page + mm.geometry.page_size
    if area is None or not area.flags & RIGHTS[access] or area.flags & (VmaFlags.IO | VmaFlags.PFNMAP):
        return None
    try:
        with mm.keys.unasked():
            touch(mm, page, end, access, by_kernel=True)
            if access == "read":
                (hugetlb.unshare if area.huge_page_size else unshare)(mm, page)
            return int(touch(mm, page, end, access, by_kernel=True)[0])
    except (MemoryFault, OutOfFrames):
        return None
