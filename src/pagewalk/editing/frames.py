"""Frames for new tables, and whether a frame is in use."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from pagewalk.editing.ways import ways
from pagewalk.errors import EditError
from pagewalk.formats import NO_PADDR, Kind
from pagewalk.frames import RangeAllocator, give_back
from pagewalk.sweep import mappings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pagewalk.frames import FrameAllocator
    from pagewalk.tables import PageTables

__all__ = ["Frames"]


class Frames:
    """Where a change takes frames from.

    Args:
        tables: The page tables that are changed.
        ranges: Physical memory that may be taken, ``(start, end)``; without any, the tables' own allocator is asked.
        check: Refuse frames that are in use.

    Raises:
        ValueError: They are no ranges of whole frames.
        EditError: One is in use, and that is checked.

    Attributes:
        allocator: What gives them out; None: there are none.
    """

    def __init__(self, tables: PageTables, ranges: Iterable[tuple[int, int]], *, check: bool) -> None:
        self._tables, self._check = tables, check
        given = tuple(ranges)
        size = max(level.table_bytes for level in tables.format.hardware)
        self.allocator: FrameAllocator | None = RangeAllocator(*given, frame_size=size) if given else tables.allocator
        self._taken: list[int] = []
        if self.allocator is not None:
            self.allocator = Noting(self.allocator, self._taken)
        for start, end in given:
            self.refuse_used(start, end)

    def refuse_used(self, start: int, end: int) -> None:
        """Refuse physical memory that is in use, where that is checked.

        It is where the page tables have a table there, or the first window maps it. What the kernel's window maps says
        nothing: its linear map has all memory.

        Raises:
            EditError: It is.
        """
        if not self._check:
            return
        for window in self._tables.windows:
            for way in ways(self._tables, window.start, window.end):
                inside = (way.paddrs < np.uint64(end)) & (
                    way.paddrs + np.uint64(way.level.table_bytes) > np.uint64(start)
                )
                if inside.any():
                    paddr = int(way.paddrs[inside][0])
                    raise EditError(f"[{start:#x}, {end:#x}) is in use: a {way.level.manual} table lies at {paddr:#x}")
        window = self._tables.windows[0]
        rows = mappings(self._tables, window.start, window.end)
        pages = np.isin(rows.kind, [int(Kind.PRESENT), int(Kind.PROT_NONE)]) & (rows.paddr != np.uint64(NO_PADDR))
        met = pages & (rows.paddr < np.uint64(end)) & (rows.paddr + rows.size > np.uint64(start))
        if met.any():
            vaddr = int(rows.vaddr[met][0])
            raise EditError(f"[{start:#x}, {end:#x}) is in use: it is mapped in the row that begins at {vaddr:#x}")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Frames that are taken in here are given back if it fails."""
        before = len(self._taken)
        try:
            yield
        except BaseException:
            if isinstance(self.allocator, Noting):
                give_back(self.allocator.inner, self._taken[before:])
            del self._taken[before:]
            raise


class Noting:
    """Passes on to an allocator, and notes which frames are out.

    Args:
        inner: The allocator.
        taken: Where they are noted.
    """

    def __init__(self, inner: FrameAllocator, taken: list[int]) -> None:
        self.inner = inner
        self._taken = taken

    def allocate(self) -> int:
        """See ``FrameAllocator``."""
        return self.allocate_many(1)[0]

    def allocate_many(self, count: int) -> list[int]:
        """See ``RangeAllocator``."""
        many = getattr(self.inner, "allocate_many", None)
        frames = many(count) if many is not None else [self.inner.allocate() for _ in range(count)]
        self._taken += frames
        return list(frames)

    def free(self, paddr: int) -> None:
        """See ``FrameAllocator``."""
        self.inner.free(paddr)
        self._taken.remove(paddr)
