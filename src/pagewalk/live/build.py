"""The tables of a capture: RAM of their own, in huge pages where the kernel gives them, and frames to grow into."""

from __future__ import annotations

import contextlib
import mmap
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk import abi
from pagewalk.frames import RangeAllocator
from pagewalk.live.madvise import madvise
from pagewalk.memory import FlatMemory, Ram
from pagewalk.memory.protocol import Segment
from pagewalk.sweep.build import Grove, Keys, Leaves, Shape
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from pagewalk.formats import PagingFormat

    Words = npt.NDArray[np.uint64]

__all__ = ["CaptureRam", "build"]

_LARGE: Final = 1 << 21


class CaptureRam(Ram):
    """RAM of this process alone, unlike ``Ram``, which children share: the kernel can give it in huge pages.

    Args:
        size, base: As ``Ram``.
    """

    def __init__(self, size: int, base: int = 0) -> None:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        FlatMemory.__init__(self, [Segment(base, memoryview(mmap.mmap(-1, size, flags=private)))])


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
    shape = Shape(form.real_levels)
    parts = [
        shape.part(level, some) for level in shape.levels for some in leaves.get(level.depth, ()) if len(some.vaddrs)
    ]
    needed: dict[int, list[Keys]] = {level.depth: [] for level in shape.levels}
    for part in parts:
        needed[part.level.depth].append(Keys(part.keys))
    grove = Grove(shape, needed)
    count = grove.count()
    ram = CaptureRam((count + spare) * form.page_size, base)
    slots = np.frombuffer(ram.segments[0].data, "<u8")
    _in_large_pages(slots[: count * form.page_size // 8])
    first = 0
    for level in shape.levels:
        rows = np.arange(first, first + len(grove.tables[level.depth]), dtype=np.uint64)
        grove.paddrs[level.depth] = rows * np.uint64(form.page_size) + np.uint64(base)
        first += len(rows)
    for above, level in pairwise(shape.levels):
        grove.link(slots, base, above, above.table(grove.paddrs[level.depth]), of=level)
    for part in parts:
        grove.put(slots, base, part)
    free = (base + count * form.page_size, base + (count + spare) * form.page_size)
    return PageTables(ram, base, form, allocator=RangeAllocator(free) if spare else None)


def _in_large_pages(slots: Words) -> None:
    """Ask for huge pages under tables that are about to be filled: their page faults cost more than the filling."""
    start = -(-slots.ctypes.data // _LARGE) * _LARGE
    size = (slots.ctypes.data + slots.nbytes - start) // _LARGE * _LARGE
    if size > 0:
        with contextlib.suppress(OSError):
            madvise(start, size, abi.MADV_HUGEPAGE)
