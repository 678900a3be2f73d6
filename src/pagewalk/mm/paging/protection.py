"""Giving pages the rights of their area anew (``change_protection``, Linux 6.18): mprotect does it, and userfaultfd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import Flag
from pagewalk.mm.paging.file_folios import is_writable_at_once
from pagewalk.mm.state.area import RIGHTS
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries

__all__ = ["with_rights"]

STATE: Final = sum(Flag) - int(Flag.rights())
SEEN: Final = int(Flag.ACCESSED | Flag.DIRTY)


def with_rights(mm: Space, area: Area, entries: Entries, level: LevelEntries) -> Entries:
    """Entries with the area's rights; what is no page stays as it is."""
    pages, old = level.is_page(entries), level.flags(entries)
    state = old & STATE
    large = pages.copy()
    large[pages] = mm.machine.frames.large(level.frame(entries[pages]))
    if len(entries) > 1 and large.any():
        state = state | _of_folios(mm, entries, large, old, level)
    if level is mm.geometry.upper and not (area.huge_page_size or mm.machine.keeps_dirty):
        lost = old & int(Flag.WRITE) != 0  # what may not be written notes it in another bit (_PAGE_SAVED_DIRTY)
        state = np.where(lost, state & ~np.uint64(Flag.DIRTY), state)
    rights = np.uint64(int(mm.page_flags(area, writable=True) & ~Flag.WRITE))
    if VmaFlags.WRITE in area.flags:
        rights = rights | np.uint64(int(Flag.WRITE)) * _writable(mm, area, entries, pages, old | state, level)
    result = entries.copy()
    made = mm.page_entry(area, level.frame(entries[pages]), (state | rights)[pages], level)
    result[pages] = made if area.flags & RIGHTS else level.without_rights(made)
    return result


def _of_folios(mm: Space, entries: Entries, large: Any, flags: Any, level: LevelEntries) -> Any:
    """What entries get from their neighbours: pages of one large folio that lie side by side are rewritten together.

    Each of them is as accessed and as dirty then as any of them was (``modify_prot_start_ptes``, 6.17).
    """
    numbers = level.frame(entries) // np.uint64(level.span)
    what = np.stack([level.kind(entries), flags & (sum(Flag) - SEEN)])
    alike = large[1:] & large[:-1] & (what[:, 1:] == what[:, :-1]).all(axis=0)
    block = np.uint64(mm.geometry.block_size // level.span)
    begins = np.ones(len(entries), np.bool_)
    begins[1:] = ~alike | (numbers[1:] != numbers[:-1] + np.uint64(1)) | (numbers[1:] % block == 0)
    seen = np.bitwise_or.reduceat(flags & SEEN, np.flatnonzero(begins))
    return np.where(large, seen[np.cumsum(begins) - 1], 0)


def _writable(mm: Space, area: Area, entries: Entries, pages: Any, flags: Any, level: LevelEntries) -> Any:
    """Which pages with these flags may be written at once, without a fault: bools (``can_change_pte_writable``).

    Of private memory those that are the process's own; of shared memory all, or, where it is told who writes, those
    that are dirty already, and none where userfaultfd is to be told (``vma_wants_manual_pte_write_upgrade``).
    """
    shared, watched = VmaFlags.SHARED in area.flags, VmaFlags.UFFD_WP in area.flags
    if area.huge_page_size:
        return shared | (flags & int(Flag.WRITE) != 0)
    if not shared:
        writable = np.zeros(len(entries), np.bool_)
        writable[pages] = mm.machine.frames.exclusive(level.frame(entries[pages]))
    elif is_writable_at_once(mm, area):
        return np.ones(len(entries), np.bool_)
    elif watched:
        return np.zeros(len(entries), np.bool_)
    else:
        writable = flags & int(Flag.DIRTY) != 0
    if watched:
        writable &= flags & int(Flag.UFFD_WP) == 0
    if mm.tracks(area):  # what is not soft-dirty has to fault (``pte_needs_soft_dirty_wp``)
        writable &= flags & int(Flag.SOFT_DIRTY) != 0
    return writable
