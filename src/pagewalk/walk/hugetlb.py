"""hugetlb VMAs: one size of page, found at one level, with a callback of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.errors import TranslationError
from pagewalk.tables import Entry

if TYPE_CHECKING:
    from pagewalk.space import Vma
    from pagewalk.tables import PageTables
    from pagewalk.walk.walker import Walker

__all__ = ["hugetlb_slot", "walk_hugetlb"]


def hugetlb_slot(tables: PageTables, vaddr: int, size: int) -> Entry | None:
    """The slot for a huge page of ``size`` bytes at ``vaddr``, empty or not; None where a table above is missing.

    Source: ``huge_pte_offset``, Linux 6.18.
    """
    table = tables.top(tables.window_of(vaddr))
    while True:
        level = table.level
        entry = Entry(table, level.index(vaddr))
        if level.span <= size:
            return entry
        if not level.folds:
            tables.check(entry.value, level, vaddr)
            if not entry.is_table:
                return None
        table = tables.child(entry, vaddr)


def walk_hugetlb(walker: Walker, vma: Vma, start: int, end: int) -> int:
    """Walk a hugetlb VMA: ``hugetlb_entry`` for each slot, ``pte_hole`` of depth -1 where there is no table."""
    walk, callback = walker.walk, walker.ops.hugetlb_entry
    if callback is None:
        return 0
    size = vma.huge_page_size
    mask = (1 << 64) - size
    addr = start
    while addr < end:
        next_ = min((addr & mask) + size, end)
        walk.addr = addr
        try:
            entry = hugetlb_slot(walk.tables, addr & mask, size)
        except TranslationError as error:
            walker.found(error)
        else:
            if entry is None:
                result = walker.hole(addr, next_, -1)
            else:
                result = walker.verdict(callback(entry, mask, addr, next_, walk))
            if result:
                return result
        walk.addr = addr = next_
    return 0
