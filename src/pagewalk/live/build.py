"""Page tables out of their leaves: all at once, bottom-up, a level at a time.

How it works. Two leaves lie in the same table if their addresses agree above the table's span: that quotient is the
table's *key*. The tables of a level are the distinct keys of its leaves and of the tables below it, so the whole tree
is known, and exactly counted, before the first byte is written; writing it is one scatter a level.
"""

from __future__ import annotations

import contextlib
import mmap
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk import abi
from pagewalk.frames import RangeAllocator
from pagewalk.live.madvise import madvise
from pagewalk.memory import FlatMemory, Ram
from pagewalk.memory.protocol import Segment
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat

    Words = npt.NDArray[np.uint64]

__all__ = ["CaptureRam", "Leaves", "build"]

_LARGE: Final = 1 << 21


class Leaves(NamedTuple):
    """Leaf entries of one level: addresses, ascending and distinct, and raw values. Shape (n,), uint64."""

    vaddrs: Words
    entries: Words


class CaptureRam(Ram):
    """RAM of this process alone, unlike ``Ram``, which children share: the kernel can give it in huge pages.

    Args:
        size, base: As ``Ram``.
    """

    def __init__(self, size: int, base: int = 0) -> None:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        FlatMemory.__init__(self, [Segment(base, memoryview(mmap.mmap(-1, size, flags=private)))])


class _Part(NamedTuple):
    """Entries of one level, and the tables they go into: their distinct keys, and how many of the entries each gets."""

    level: Level
    items: Leaves
    keys: Words
    counts: npt.NDArray[np.intp]


def build(form: PagingFormat, leaves: Mapping[int, Sequence[Leaves]], *, base: int, spare: int = 0) -> PageTables:
    """Build page tables from leaf entries.

    Args:
        form: The paging format.
        leaves: By depth (2 PUD, 3 PMD, 4 PTE), in parts, the parts ascending too. No two may cover the same address.
        base: Physical address of the first table, which is the root.
        spare: Frames to keep free behind the tables, for them to grow and split into.

    Returns:
        Tables in RAM of their own.
    """
    levels = form.real_levels
    parts = [
        _part(some, level, levels[0]) for level in levels for some in leaves.get(level.depth, ()) if len(some.vaddrs)
    ]
    keys = _keys(form, parts)
    first = np.cumsum([0, *(len(keys[level.depth]) for level in levels)]).tolist()
    ram = CaptureRam((first[-1] + spare) * form.page_size, base)
    slots = np.frombuffer(ram.segments[0].data, "<u8")
    _in_large_pages(slots[: first[-1] * form.page_size // 8])
    starts = {level.depth: row for level, row in zip(levels, first, strict=False)}
    for above, level in pairwise(levels):
        rows = np.arange(starts[level.depth], starts[level.depth] + len(keys[level.depth]), dtype=np.uint64)
        vaddrs = keys[level.depth] << np.uint64(above.shift)
        tables = Leaves(vaddrs, above.table(rows * np.uint64(form.page_size) + np.uint64(base)))
        parts.append(_part(tables, above, levels[0]))
    for part in parts:
        _put(slots, starts[part.level.depth], keys[part.level.depth], part)
    free = (base + first[-1] * form.page_size, base + (first[-1] + spare) * form.page_size)
    return PageTables(ram, base, form, allocator=RangeAllocator(free) if spare else None)


def _part(items: Leaves, level: Level, top: Level) -> _Part:
    """Entries with the keys of their tables, below one table of the top level."""
    keys = (items.vaddrs & np.uint64((1 << top.shift + top.index_bits) - 1)) >> np.uint64(
        level.shift + level.index_bits
    )
    new = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    first = np.append(0, new)[: len(keys)]
    return _Part(level, items, keys[first], np.diff(first, append=len(keys)))


def _keys(form: PagingFormat, parts: Sequence[_Part]) -> dict[int, Words]:
    """The keys of every table, ascending, by depth."""
    keys: dict[int, Words] = {}
    below = np.empty(0, np.uint64)
    for level in reversed(form.real_levels):
        own = [part.keys for part in parts if part.level is level]
        below = np.sort(np.concatenate([*own, below]))
        below = keys[level.depth] = below[np.append(True, below[1:] != below[:-1])[: len(below)]]
        below = below >> np.uint64(_bits_above(level, form))
    keys[form.real_levels[0].depth] = np.zeros(1, np.uint64)
    return keys


def _bits_above(level: Level, form: PagingFormat) -> int:
    """What takes the key of a table to that of the table above it."""
    above = [other for other in form.real_levels if other.depth < level.depth]
    return above[-1].index_bits if above else 0


def _put(slots: Words, first: int, keys: Words, part: _Part) -> None:
    """Scatter entries into the tables of a level, whose first one is row ``first``."""
    level, items = part.level, part.items
    rows = np.searchsorted(keys, part.keys).astype(np.uint64) + np.uint64(first)
    place = items.vaddrs >> np.uint64(level.shift) & np.uint64(level.entries - 1)
    place += np.repeat(rows << np.uint64(level.index_bits), part.counts)
    slots[place.view(np.intp)] = items.entries


def _in_large_pages(slots: Words) -> None:
    """Ask for huge pages under tables that are about to be filled: their page faults cost more than the filling."""
    start = -(-slots.ctypes.data // _LARGE) * _LARGE
    size = (slots.ctypes.data + slots.nbytes - start) // _LARGE * _LARGE
    if size > 0:
        with contextlib.suppress(OSError):
            madvise(start, size, abi.MADV_HUGEPAGE)
