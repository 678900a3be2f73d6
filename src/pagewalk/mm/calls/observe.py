"""What the kernel would tell about an address space: maps, pagemap words, PAGEMAP_SCAN regions, smaps totals.

Formats: ``Documentation/admin-guide/mm/pagemap.rst`` and ``fs/proc/task_mmu.c``, Linux 6.18.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.abi.pagemap import (
    MAX_SWAPFILES_SHIFT,
    PAGE_REGION,
    PM_FILE,
    PM_GUARD_REGION,
    PM_MMAP_EXCLUSIVE,
    PM_PFRAME_MASK,
    PM_PRESENT,
    PM_SOFT_DIRTY,
    PM_SWAP,
    PM_UFFD_WP,
    PageIs,
)
from pagewalk.formats import Flag, Kind
from pagewalk.mm.entries import is_page
from pagewalk.mm.hardware.frames import HOLDERS, Usage
from pagewalk.mm.paging import hugetlb
from pagewalk.mm.state.areas import each_mapped
from pagewalk.mm.state.files import File
from pagewalk.mm.state.tables import ops_of
from pagewalk.space import VmaFlags
from pagewalk.walk import Action, walk_page_range

if TYPE_CHECKING:
    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

__all__ = ["REGION", "Look", "categories_of", "look", "maps", "mincore", "pagemap", "regions", "runs_of", "scan"]

_CATEGORIES: Final = (
    (PM_PRESENT, PageIs.PRESENT),
    (PM_FILE, PageIs.FILE),
    (PM_SWAP, PageIs.SWAPPED),
    (PM_GUARD_REGION, PageIs.GUARD),
    (PM_SOFT_DIRTY, PageIs.SOFT_DIRTY),
)

_IS_FILE: Final = np.isin(np.arange(len(Usage)), [Usage.FILE, Usage.HUGETLB_FILE])

REGION: Final = np.dtype([(name, "<u8") for name in PAGE_REGION])


def mincore(mm: Space, start: int, end: int) -> bytes:
    """A byte a page: 1 where it is in memory.

    Raises:
        SystemCallError: ENOMEM, there are gaps.
    """
    for _ in each_mapped(mm, start, end):
        pass  # it is the gaps that are looked for
    return bytes(_in_core(mm, page) for page in range(start, end, mm.geometry.page_size))


def _in_core(mm: Space, page: int) -> bool:
    """Whether a page is in memory: mapped, or of a file and in the page cache."""
    area = mm.area_at(page)
    assert area is not None
    entry = hugetlb.slot(mm, area, page) if area.huge_page_size else mm.tables.upper_at(page)
    if entry is not None and area.huge_page_size:  # where there is a table, nobody asks the file (``mincore_hugetlb``)
        return entry.is_present or entry.kind is Kind.HWPOISON
    if entry is not None and entry.is_table:
        entry = mm.tables.last_at(page)
    if entry is not None and (entry.is_present or entry.kind is Kind.HWPOISON):
        return True
    if entry is not None and entry.kind is Kind.SWAP:
        return int(mm.geometry.last.swap_slot(entry.value)[1]) in mm.machine.swap.cached
    index = area.offset_at(page) // (area.huge_page_size or mm.geometry.page_size)
    pages: Any = getattr(area.mapping, "pages", {})
    return index in pages or (
        isinstance(area.mapping, File) and area.mapping.swapped.get(index) in mm.machine.swap.cached
    )


def maps(mm: Space) -> str:
    """The text of ``/proc/PID/maps``; a file's device and inode are its own, made-up numbers."""
    lines = []
    for vma in mm.vmas:
        offset = vma.offset if vma.mapping is not None else 0
        inode = 0 if vma.mapping is None else id(vma.mapping) % 1_000_000 + 1
        head = f"{vma.start:08x}-{vma.end:08x} {vma.rights} {offset:08x} 00:00 {inode} "
        lines.append(f"{head:<73}{vma.name}" if vma.name else head)
    return "".join(line + "\n" for line in lines)


def pagemap(mm: Space, start: int, end: int) -> Entries:
    """The words of ``/proc/PID/pagemap`` for ``[start, end)``, as root sees them: shape (pages,), uint64."""
    return look(mm, start, end).words


class Look(NamedTuple):
    """What a range holds.

    Attributes:
        start: Its first address.
        words: As in pagemap. Shape (pages,), uint64.
        page_size: Bytes that a word stands for.
        huge: Where huge pages are mapped: first address and end.
        tables: Where tables of the last level are, likewise.
        poisoned: Where poisoned hugetlb pages were, likewise: they are in ``huge`` too.
        soft: Where hugetlb pages are soft-dirty, likewise: PAGEMAP_SCAN tells it, pagemap's words do not.
    """

    start: int
    words: Entries
    page_size: int
    huge: list[tuple[int, int]]
    tables: list[tuple[int, int]]
    poisoned: list[tuple[int, int]]
    soft: list[tuple[int, int]]


def look(mm: Space, start: int, end: int) -> Look:
    """Look at ``[start, end)``."""
    geometry, size = mm.geometry, mm.geometry.page_size
    small = np.zeros((end - start) // size, np.uint64)
    huge: list[tuple[int, int, Entries]] = []
    tables: list[tuple[int, int]] = []
    poisoned: list[tuple[int, int]] = []
    soft: list[tuple[int, int]] = []

    def at_upper(entry: Entry, addr: int, next_: int, walk: Walk) -> None:
        if entry.is_leaf:
            level = geometry.levels[entry.level.depth]
            word = _words(mm, np.array([entry.value], np.uint64), level)
            first = (addr & level.span - 1) // size
            huge.append((addr, next_, word + np.arange(first, first + (next_ - addr) // size, dtype=np.uint64)))
            walk.action = Action.CONTINUE
        elif entry.level.depth == geometry.upper.depth and entry.is_table:
            tables.append((addr, next_))
            small[(addr - start) // size : (next_ - start) // size] = mm.tables.slice(entry, addr, next_).entries

    def at_hugetlb(entry: Entry, hmask: int, addr: int, next_: int, walk: Walk) -> None:
        if entry.is_none or entry.kind is Kind.HWPOISON:  # PAGEMAP_SCAN calls an empty one huge, and not written
            huge.append((addr, next_, np.zeros((next_ - addr) // size, np.uint64)))
            poisoned.extend([(addr, next_)] * (not entry.is_none))
            return
        at_upper(entry, addr, next_, walk)
        if Flag.SOFT_DIRTY in entry.flags:
            soft.append((addr, next_))
            huge[-1][2][:] &= ~np.uint64(PM_SOFT_DIRTY)

    levels = {level.depth: level for level in (geometry.upper, *geometry.huge.values())}
    walk_page_range(mm, start, end, ops_of(levels.values(), at_upper, hugetlb_entry=at_hugetlb))
    there = geometry.last.held(small)
    words = np.zeros_like(small)
    words[there] = _words(mm, small[there], geometry.last)
    for first, last, values in huge:
        words[(first - start) // size : (last - start) // size] = values
    for vma in mm.vmas.overlapping(start, end) if mm.machine.soft_dirty else ():
        if VmaFlags.SOFTDIRTY in vma.flags:
            low, high = max(start, vma.start), min(end, vma.end)
            words[(low - start) // size : (high - start) // size] |= np.uint64(PM_SOFT_DIRTY)
    return Look(start, words, size, [(first, last) for first, last, _ in huge], tables, poisoned, soft)


def _words(mm: Space, entries: Entries, level: LevelEntries) -> Any:
    """Words of pagemap for raw entries, none of them empty."""
    frames = mm.machine.frames
    kinds, flags = level.kind(entries), level.flags(entries)
    pages = is_page(kinds)
    words = np.zeros(len(entries), np.uint64)
    paddrs = level.frame(entries[pages])
    numbers = paddrs // np.uint64(mm.geometry.page_size)
    usage, references = frames.usage[numbers], frames.references[numbers]
    others = HOLDERS[usage]
    word = numbers | np.uint64(PM_PRESENT)
    not_anonymous = _IS_FILE[usage] | (
        (usage == Usage.ZERO) & (level.span == mm.geometry.block_size)
    )  # the huge zero page
    word |= np.where(not_anonymous, np.uint64(PM_FILE), np.uint64(0))
    alone = (references - others == 1) & (usage != Usage.ZERO)
    words[pages] = word | np.where(alone, np.uint64(PM_MMAP_EXCLUSIVE), np.uint64(0))
    other = ~pages
    type_, offset = level.swap_slot(entries[other])
    words[other] = np.uint64(PM_SWAP) | type_ | offset << np.uint64(MAX_SWAPFILES_SHIFT)
    words[kinds == Kind.GUARD] |= np.uint64(PM_GUARD_REGION)
    if frames.lost:
        words[_poisoned_file(mm, entries, kinds, level)] |= np.uint64(PM_FILE)
    words[(flags & int(Flag.UFFD_WP) != 0) | (kinds == Kind.UFFD_WP)] |= np.uint64(PM_UFFD_WP)
    words[flags & int(Flag.SOFT_DIRTY) != 0] |= np.uint64(PM_SOFT_DIRTY)
    return words


def _poisoned_file(mm: Space, entries: Entries, kinds: Any, level: LevelEntries) -> Any:
    """Which entries stand for poisoned pages that were files'."""
    found = kinds == Kind.HWPOISON
    paddrs = level.frame(entries[found])
    found[found] = mm.machine.frames.used_as(np.where(paddrs < mm.machine.frames.size, paddrs, 0), Usage.POISONED_FILE)
    return found


def scan(mm: Space, start: int, end: int) -> Any:
    """PAGEMAP_SCAN's regions over ``[start, end)``, with every category asked for; what is empty is left out.

    Returns:
        A structured array of start, end, categories.
    """
    return regions(mm, look(mm, start, end))


def regions(mm: Space, look: Look) -> Any:
    """What ``scan`` gives, from a look."""
    found = [row for row in runs_of(look.start, look.page_size, categories_of(mm, look)) if row[2]]
    return np.array(found, np.uint64).reshape(-1, len(PAGE_REGION)).view(REGION).reshape(-1)


def categories_of(mm: Space, look: Look) -> Any:
    """The categories of each page that was looked at. Shape (pages,), uint64."""
    start, words, size, huge, tables, poisoned, soft = look
    categories = np.zeros(len(words), np.uint64)
    for bit, category in _CATEGORIES:
        categories[words & np.uint64(bit) != 0] |= np.uint64(category)
    present = words & np.uint64(PM_PRESENT) != 0
    numbers = (words & np.uint64(PM_PFRAME_MASK))[present]
    zero = mm.machine.frames.usage[numbers] == Usage.ZERO
    zeros = np.flatnonzero(present)[zero]
    categories[zeros] = categories[zeros] & np.uint64(PageIs.PRESENT | PageIs.SOFT_DIRTY) | np.uint64(PageIs.PFNZERO)
    held = words & ~np.uint64(PM_SOFT_DIRTY) != 0
    end = start + len(words) * size
    told = [vma for vma in mm.vmas.overlapping(start, end) if VmaFlags.UFFD_WP in vma.flags]
    # an empty entry is not known to be unwritten, nor is where userfaultfd would be told and no table is
    for first, last in (*tables, *((max(start, vma.start), min(end, vma.end)) for vma in told)):
        held[(first - start) // size : (last - start) // size] = True
    categories[held & (words & np.uint64(PM_UFFD_WP) == 0)] |= np.uint64(PageIs.WRITTEN)
    for vma in told:
        if mm.protects_later(vma):
            here = slice((max(start, vma.start) - start) // size, (min(end, vma.end) - start) // size)
            categories[here] |= np.uint64(PageIs.WPALLOWED)
    broken = PageIs.SWAPPED | PageIs.WRITTEN
    for places, category in ((huge, PageIs.HUGE), (poisoned, broken), (soft, PageIs.SOFT_DIRTY)):
        for first, last in places:
            categories[(first - start) // size : (last - start) // size] |= np.uint64(category)
    return categories


def runs_of(start: int, size: int, values: Any) -> list[tuple[int, int, int]]:
    """Runs of equal values, one a page: first address, end, value."""
    edges = (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()
    firsts = [0, *edges] if len(values) else []
    ends = [*edges, len(values)]
    numbers = values[firsts].tolist() if firsts else []
    return [(start + a * size, start + b * size, value) for a, b, value in zip(firsts, ends, numbers, strict=False)]
