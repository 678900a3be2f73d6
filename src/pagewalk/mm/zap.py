"""Zapping: taking pages out of page tables, and giving back what they held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.formats import Flag, Kind
from pagewalk.mm.frames import BLOCK
from pagewalk.walk import WalkOps, walk_page_range_novma

if TYPE_CHECKING:
    from pagewalk.mm.areas import Area
    from pagewalk.mm.mm import Mm
    from pagewalk.mm.tables import Entries
    from pagewalk.tables import Entry

__all__ = ["clear_huge", "release", "zap"]


def zap(mm: Mm, area: Area, start: int, end: int, *, markers: bool = False, reclaim: bool = False) -> None:
    """Empty the entries of ``[start, end)``, whatever pages or swap they hold.

    Args:
        mm: The address space.
        area: The area that holds the range.
        start, end: Virtual addresses, page-aligned.
        markers: Take guard markers too (munmap); otherwise they stay (``ZAP_FLAG_DROP_MARKER``).
        reclaim: Free the tables that are wholly in the range and empty now (CONFIG_PT_RECLAIM, 6.14).
    """
    if area.huge_page_size:
        mm.hugetlb.zap(area, start, end)
        return

    def at_pmd(pmd: Entry, addr: int, next_: int, walk: Any) -> None:
        with mm.tables.lock(pmd.table):
            if pmd.is_leaf:
                if next_ - addr == BLOCK:
                    clear_huge(mm, pmd)
                    return
                mm.tables.split(pmd, addr)
            if not pmd.is_table:
                return
        table = mm.tables.child(pmd, addr)
        with mm.tables.lock(table):
            entries = mm.tables.slice(pmd, addr, next_).entries
            _zap_entries(mm, entries, markers=markers)
            if reclaim and next_ - addr == BLOCK and not entries.any():
                mm.tables.free_tables(addr, next_, addr, next_)

    walk_page_range_novma(mm.tables, start, end, WalkOps(pmd_entry=at_pmd))


def _zap_entries(mm: Mm, entries: Entries, *, markers: bool) -> None:
    """Empty entries in place."""
    first = int(entries[0])
    kind = mm.format.kind(first)
    if kind in (Kind.NONE, Kind.GUARD) and (entries == first).all():  # nothing there, or a large guard region
        if kind == Kind.GUARD and markers:
            entries[:] = 0
        return
    kinds = mm.format.kind(entries)
    release(mm, entries, kinds)
    kept = (kinds == Kind.GUARD) if not markers else np.zeros(len(entries), bool)
    entries[~kept] = 0


def release(mm: Mm, entries: Entries, kinds: Entries) -> None:
    """Give back what entries hold: frames and swap slots. The entries stay as they are."""
    pages = entries[(kinds == Kind.PRESENT) | (kinds == Kind.PROT_NONE)]
    if pages.size:
        flags = mm.format.flags(pages)
        own = flags & int(Flag.SPECIAL) == 0
        paddrs = mm.format.leaf_paddr(pages, mm.format.levels[4])
        cached = ~mm.machine.frames.anonymous(paddrs)  # an anonymous page's dirty bit goes with its entry
        mm.machine.frames.set_dirty(paddrs[own & cached & (flags & int(Flag.DIRTY) != 0)])
        mm.machine.frames.drop(paddrs[own])
    for entry in entries[kinds == Kind.SWAP]:
        mm.machine.swap.drop(int(mm.format.software.swap_slot(entry)[1]))


def clear_huge(mm: Mm, pmd: Entry) -> None:
    """Empty a PMD entry that maps a huge page."""
    paddr = pmd.target
    assert paddr is not None
    pmd.value = 0
    mm.tables.withdraw()
    if paddr == mm.machine.huge_zero:
        mm.machine.drop_huge_zero()
    else:
        mm.machine.frames.drop(mm.machine.frames.run(paddr, BLOCK))
