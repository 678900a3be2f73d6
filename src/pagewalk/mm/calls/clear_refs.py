"""What a number written to ``/proc/PID/clear_refs`` does (``clear_refs_write``, ``fs/proc/task_mmu.c``, Linux 6.18)."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.abi.pagemap import (
    CLEAR_REFS_ALL,
    CLEAR_REFS_ANON,
    CLEAR_REFS_MAPPED,
    CLEAR_REFS_MM_HIWATER_RSS,
    CLEAR_REFS_SOFT_DIRTY,
)
from pagewalk.errors import SystemCallError
from pagewalk.formats import Flag
from pagewalk.mm.entries import is_page
from pagewalk.mm.paging.soft_dirty import cleared
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.hardware.frames import FrameBooks
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries
    from pagewalk.space import Vma
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

    Change = Callable[[LevelEntries, Entries], Entries]

__all__ = ["clear_refs"]

INT_END: Final = 1 << 31


def clear_refs(mm: Space, number: int) -> None:
    """See ``Observed.clear_refs``."""
    if not -INT_END <= number < INT_END:
        raise SystemCallError(errno.ERANGE, f"{number} is no int")
    if not CLEAR_REFS_ALL <= number <= CLEAR_REFS_MM_HIWATER_RSS:
        raise SystemCallError(errno.EINVAL, f"clear_refs takes 1 to 5, not {number}")
    if number == CLEAR_REFS_SOFT_DIRTY:
        _clear_soft_dirty(mm)
    elif number != CLEAR_REFS_MM_HIWATER_RSS:
        for vma in mm.vmas:
            if _is_meant(vma, number):
                _change(mm, vma, partial(_untouched, mm.machine.frames))


def _clear_soft_dirty(mm: Space) -> None:
    """Have areas and pages be soft-dirty no more, where the machine tells that; hugetlb pages stay what they are."""
    for vma in mm.vmas if mm.machine.soft_dirty else ():
        vma.flags &= ~VmaFlags.SOFTDIRTY
        _change(mm, vma, cleared)
    mm.log("flush", 0, mm.task_size)


def _is_meant(vma: Vma, number: int) -> bool:
    """Whether pages of an area are to be called not accessed; shared memory counts as a file's."""
    return number == CLEAR_REFS_ALL or number == (CLEAR_REFS_ANON if vma.mapping is None else CLEAR_REFS_MAPPED)


def _untouched(frames: FrameBooks, level: LevelEntries, entries: Entries) -> Entries:
    """Entries of pages that were not accessed, so far as they have a life of their own."""
    result = entries.copy()
    pages = is_page(level.kind(entries)) & (level.flags(entries) & int(Flag.SPECIAL) == 0)
    frames.recency.forget_references(level.frame(result[pages]))
    result[pages] = level.without(result[pages], Flag.ACCESSED)
    return result


def _change(mm: Space, vma: Vma, change: Change) -> None:
    """Rewrite the entries of an area."""
    if vma.huge_page_size or vma.flags & VmaFlags.PFNMAP:
        return
    geometry = mm.geometry

    def at_upper(upper: Entry, addr: int, next_: int, walk: Walk) -> None:
        with mm.tables.lock(upper.table):
            if upper.is_leaf:
                upper.value = int(change(geometry.upper, np.array([upper.value], np.uint64))[0])
            elif upper.is_table:
                entries = mm.tables.slice(upper, addr, next_).entries
                entries[:] = change(geometry.last, entries)

    mm.tables.each_upper(vma.start, vma.end, at_upper)
