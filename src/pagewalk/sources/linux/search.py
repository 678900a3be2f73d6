"""The root of a kernel by what it must translate: every page may be a top table, and all are gone down from at once.

How it works. A pass over memory takes from each page the one word in the place that the address has in a top table.
Those that point to a table inside the memory go on: a level further down, the word in that level's place, and so on.
What arrives at the right frame is a root. The kernel's own lies in its image, beside what it translates: there it is
looked for first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.formats import Kind
from pagewalk.memory import blocks_of, extents_of, is_flat, read_each

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.formats.registers import Paging
    from pagewalk.memory import Memory

    Words = npt.NDArray[np.uint64]

__all__ = ["IMAGE", "roots_anywhere", "roots_near"]

IMAGE: Final = 96 << 20
"""Bytes from the beginning of a kernel's image on, or before and behind what is in it, that hold all of it."""
_MOST: Final = 1 << 14
"""Roots that are given."""


def roots_near(memory: Memory, paging: Paging, vaddr: int, paddr: int) -> list[int]:
    """Roots that translate an address to a physical one and lie near that; the fullest tables first.

    Raises:
        MemoryReadError: What the memory says it has cannot be read.
    """
    return _search(memory, paging, vaddr, paddr, max(paddr - IMAGE, 0), paddr + IMAGE)


def roots_anywhere(memory: Memory, paging: Paging, vaddr: int, paddr: int) -> list[int]:
    """As ``roots_near``, in all of the memory."""
    return _search(memory, paging, vaddr, paddr, 0, 1 << 64)


def _search(memory: Memory, paging: Paging, vaddr: int, paddr: int, first: int, end: int) -> list[int]:
    """Those between two physical addresses."""
    window = next((window for window in paging.windows if window.holds(vaddr)), None)
    if window is None:
        return []
    levels = [level for level in paging.format.levels_of(window) if not level.folded]
    runs = extents_of(memory)
    roots, words = _column(memory, first, end, paging.format.page_size, levels[0].index(vaddr))
    found: list[Words] = []
    for level in levels:
        found.append(roots[_leads(level, words, paddr)])
        if level.is_last or not len(words):
            break
        tables = np.flatnonzero(level.is_table(words))
        below = level.frame(words[tables])
        inside = _inside(runs, below)
        roots, below = roots[tables[inside]], below[inside]
        level_below = level.beneath
        assert level_below is not None
        roots, words = _words(memory, roots, below + np.uint64(8 * level_below.index(vaddr)))
    ends = np.unique(np.concatenate(found))[:_MOST].tolist()
    return sorted(ends, key=lambda root: -_fullness(memory, root, levels[0]))


def _leads(level: Level, words: Words, paddr: int) -> npt.NDArray[np.bool_]:
    """Which entries are pages that hold a physical address."""
    if not level.may_be_leaf:
        return np.zeros(len(words), bool)
    return (level.kind(words) == int(Kind.PRESENT)) & (
        np.uint64(paddr) - level.frame(words) < np.uint64(max(level.page_sizes))
    )


def _inside(runs: Words, paddrs: Words) -> npt.NDArray[np.intp]:
    """Which physical addresses a memory has."""
    at = np.searchsorted(runs[:, 0], paddrs, "right").astype(np.intp) - 1
    return np.flatnonzero((at >= 0) & (paddrs < runs[at, 1]))


def _column(memory: Memory, first: int, end: int, page: int, slot: int) -> tuple[Words, Words]:
    """The word in a place of each page, but for those where it is 0: the pages' addresses, and the words."""
    pages, columns = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for paddr, block in blocks_of(memory, first=first, end=end):
        skipped = -paddr % page
        many = max(len(block) - skipped, 0) // page
        if not many:
            continue
        words = np.frombuffer(block, "<u8", many * page // 8, skipped)[slot :: page // 8]
        at = np.flatnonzero(words)
        pages.append(np.uint64(paddr + skipped) + at.astype(np.uint64) * np.uint64(page))
        columns.append(words[at].astype(np.uint64))
    return np.concatenate(pages), np.concatenate(columns)


def _words(memory: Memory, roots: Words, paddrs: Words) -> tuple[Words, Words]:
    """The words at some physical addresses that the memory has, each with its root."""
    if is_flat(memory):
        words = np.zeros(len(paddrs), np.uint64)
        for segment in memory.segments:
            size = len(segment.data) & ~7
            here = np.flatnonzero((paddrs >= segment.start) & (paddrs - np.uint64(segment.start) < np.uint64(size)))
            offset = (paddrs[here] - np.uint64(segment.start)) >> np.uint64(3)
            words[here] = np.frombuffer(segment.data, "<u8", size // 8)[offset.astype(np.intp)]
        return roots, words
    read = read_each(memory, paddrs.tolist(), 8)
    there = [at for at, data in enumerate(read) if data is not None]
    return roots[there], np.frombuffer(b"".join(data for data in read if data is not None), "<u8").astype(np.uint64)


def _fullness(memory: Memory, root: int, top: Level) -> int:
    """How many entries of a top table are not empty."""
    (data,) = read_each(memory, [root], top.table_bytes)
    return 0 if data is None else int(np.count_nonzero(np.frombuffer(data, "<u8")))
