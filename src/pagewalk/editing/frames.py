"""Frames for new tables, and whether a frame is in use."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pagewalk.editing.links import Links
from pagewalk.errors import EditError, OutOfFrames
from pagewalk.formats import NO_PADDR, Kind
from pagewalk.frames import RangeAllocator, give_back
from pagewalk.sweep import mappings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
        allocator: What gives them out.
    """

    def __init__(self, tables: PageTables, ranges: Iterable[tuple[int, int]], *, check: bool) -> None:
        self._tables, self._check = tables, check
        self._given = tuple(ranges)
        self._size = max(level.table_bytes for level in tables.format.hardware)
        self._taken: list[int] = []
        if self._given:
            RangeAllocator(*self._given, frame_size=self._size)  # ranges that are none are told at once
        self.allocator = Noting(self._unused if self._given else self._theirs, self._taken)
        for start, end in self._given:
            self._refuse_mapped(start, end)

    def _theirs(self) -> FrameAllocator:
        """The tables' own allocator."""
        if self._tables.allocator is None:
            raise OutOfFrames("a table is needed, and no memory was given for it: frames=[(start, end)], --frames")
        return self._tables.allocator

    def _unused(self) -> RangeAllocator:
        """What gives out the frames of the ranges that are no tables yet: an earlier change may have taken some."""
        used = Links.of(self._tables).paddrs // np.uint64(self._size)
        parts: list[tuple[int, int]] = []
        for start, end in self._given:
            frames = np.arange(start // self._size, end // self._size, dtype=np.uint64)
            free = frames[~np.isin(frames, used)]
            cuts = np.flatnonzero(free[1:] - free[:-1] != 1) + 1
            parts += [
                (int(some[0]) * self._size, (int(some[-1]) + 1) * self._size)
                for some in np.split(free, cuts)
                if len(some)
            ]
        if not parts:
            raise OutOfFrames("every frame that was given is a page table of these already: give others")
        return RangeAllocator(*parts, frame_size=self._size)

    def refuse_used(self, start: int, end: int) -> None:
        """Refuse physical memory that is in use, where that is checked.

        It is where the page tables have a table there, or the first window maps it. What the kernel's window maps says
        nothing: its linear map has all memory.

        Raises:
            EditError: It is.
        """
        if not self._check:
            return
        if len(used := Links.of(self._tables).within(start, end)):
            raise EditError(f"[{start:#x}, {end:#x}) is in use: a table of these page tables lies at {int(used[0]):#x}")
        self._refuse_mapped(start, end)

    def _refuse_mapped(self, start: int, end: int) -> None:
        """The same for what the first window maps.

        Raises:
            EditError: It does, and that is checked.
        """
        if not self._check:
            return
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
            give_back(self.allocator, self._taken[before:])
            raise


class Noting:
    """Passes on to an allocator, and notes which frames are out.

    Args:
        make: Gives the allocator, when the first frame is wanted.
        taken: Where they are noted.
    """

    def __init__(self, make: Callable[[], FrameAllocator], taken: list[int]) -> None:
        self._make = make
        self._taken = taken

    @cached_property
    def inner(self) -> FrameAllocator:
        """The allocator."""
        return self._make()

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
