"""Soft-dirty pages: those that were written since somebody asked (CONFIG_MEM_SOFT_DIRTY).

How it works. An area is soft-dirty as a whole from birth. Once that is cleared, its pages are tracked: they lose their
bit and their write right, so that the next write faults, and whoever makes an entry dirty for a fault makes it
soft-dirty too (``pte_mkdirty``). The hardware does not: what may be written has its bit, or its area has.
(``fs/proc/task_mmu.c``, ``mm/memory.c``, Linux 6.18.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pagewalk.formats import Flag, Kind
from pagewalk.mm.entries import is_page

if TYPE_CHECKING:
    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries

__all__ = ["cleared", "moved", "of_dirty_pages"]


def cleared(level: LevelEntries, entries: Entries) -> Entries:
    """Entries that say so no more, nor may be written without a fault (``clear_soft_dirty``)."""
    result, kinds = entries.copy(), level.kind(entries)
    pages = is_page(kinds)
    result[pages] = level.without(level.without(result[pages], Flag.WRITE), Flag.SOFT_DIRTY)
    others = ~pages & (kinds != Kind.NONE)
    result[others] = level.swapped_without(result[others], Flag.SOFT_DIRTY)
    return result


def moved(mm: Space, level: LevelEntries, entries: Entries) -> Entries:
    """Entries that lie elsewhere now: that is told as a write is (``move_soft_dirty_pte``)."""
    if not mm.machine.soft_dirty:
        return entries
    result, kinds = entries.copy(), level.kind(entries)
    pages = is_page(kinds)
    result[pages] = level.with_flags(result[pages], Flag.SOFT_DIRTY)
    others = ~pages & (kinds != Kind.NONE)  # markers too
    result[others] = level.swapped_with(result[others], Flag.SOFT_DIRTY)
    return result


def of_dirty_pages(mm: Space, entries: Any) -> Any:
    """Entries of a file's pages, mapped to be read: what may be written, and is dirty, is so here too."""
    last = mm.geometry.last
    if mm.machine.soft_dirty:
        noted = (last.flags(entries) & int(Flag.WRITE) != 0) & mm.machine.frames.dirty(last.frame(entries))
        entries[noted] = last.with_flags(entries[noted], Flag.SOFT_DIRTY)
    return entries
