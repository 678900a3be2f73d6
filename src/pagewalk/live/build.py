"""Page tables out of their leaves: all at once, bottom-up, a level at a time.

How it works. Two leaves lie in the same table if their addresses agree above the table's span: that quotient is the
table's *key*. The tables of a level are the distinct keys of its leaves and of the tables below it, so the whole tree
is known, and exactly counted, before the first byte is written; writing it is one scatter a level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pagewalk.frames import RangeAllocator
from pagewalk.memory import Ram
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat

    Words = npt.NDArray[np.uint64]

__all__ = ["Leaves", "build"]


class Leaves(NamedTuple):
    """Leaf entries of one level: addresses, ascending and distinct, and raw values. Shape (n,), uint64."""

    vaddrs: Words
    entries: Words


def build(form: PagingFormat, leaves: Mapping[int, Leaves], *, base: int, spare: int = 0) -> PageTables:
    """Build page tables from leaf entries.

    Args:
        form: The paging format.
        leaves: By depth (2 PUD, 3 PMD, 4 PTE). No two may cover the same address.
        base: Physical address of the first table, which is the root.
        spare: Frames to keep free behind the tables, for them to grow and split into.

    Returns:
        Tables in a ``Ram`` of their own.
    """
    levels = form.real_levels
    keys = _keys(form, leaves)
    first = np.cumsum([0, *(len(keys[level.depth]) for level in levels)]).tolist()
    ram = Ram((first[-1] + spare) * form.page_size, base)
    slots = np.frombuffer(ram.segments[0].data, "<u8").reshape(-1, form.page_size // 8)
    for at, level in enumerate(levels):
        if level.depth in leaves:
            _put(slots, first[at], keys[level.depth], level, form, leaves[level.depth])
        if at:
            above = levels[at - 1]
            rows = np.arange(first[at], first[at + 1], dtype=np.uint64)
            vaddrs = keys[level.depth] << np.uint64(above.shift)
            tables = Leaves(vaddrs, form.table_entry(rows * np.uint64(form.page_size) + np.uint64(base)))
            _put(slots, first[at - 1], keys[above.depth], above, form, tables)
    free = (base + first[-1] * form.page_size, base + (first[-1] + spare) * form.page_size)
    return PageTables(ram, base, form, allocator=RangeAllocator(free) if spare else None)


def _keys(form: PagingFormat, leaves: Mapping[int, Leaves]) -> dict[int, Words]:
    """The keys of every table, ascending, by depth."""
    keys: dict[int, Words] = {}
    below = np.empty(0, np.uint64)
    for level in reversed(form.real_levels):
        own = _key(leaves[level.depth].vaddrs, level, form) if level.depth in leaves else below[:0]
        below = np.union1d(_distinct(own), below)
        keys[level.depth] = below
        below = below >> np.uint64(_bits_above(level, form))
    keys[form.real_levels[0].depth] = np.zeros(1, np.uint64)
    return keys


def _bits_above(level: Level, form: PagingFormat) -> int:
    """What takes the key of a table to that of the table above it."""
    above = [other for other in form.real_levels if other.depth < level.depth]
    return above[-1].index_bits if above else 0


def _key(vaddrs: Any, level: Level, form: PagingFormat) -> Any:
    """The keys of the tables that hold these addresses' entries."""
    return (vaddrs & np.uint64((1 << form.vaddr_bits) - 1)) >> np.uint64(level.shift + level.index_bits)


def _distinct(ascending: Words) -> Words:
    """The distinct values of an ascending array."""
    return ascending[np.append(True, ascending[1:] != ascending[:-1])] if len(ascending) else ascending


def _put(slots: Any, first: int, keys: Words, level: Level, form: PagingFormat, items: Leaves) -> None:
    """Scatter entries into the tables of a level, whose first one is row ``first``."""
    row = np.searchsorted(keys, _key(items.vaddrs, level, form)) + first
    column = (items.vaddrs >> np.uint64(level.shift)) & np.uint64(level.entries - 1)
    slots[row, column.astype(np.intp)] = items.entries
