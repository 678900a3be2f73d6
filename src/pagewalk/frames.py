"""Frame allocators: where the frames for new page tables come from."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from pagewalk.errors import OutOfFrames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CountingAllocator", "FrameAllocator", "RangeAllocator"]

FRAME_SIZE = 4096


class FrameAllocator(Protocol):
    """Gives out frames of one size."""

    def allocate(self) -> int:
        """The physical address of a frame that nobody else has. Its contents are undefined.

        Raises:
            OutOfFrames: There is none left.
        """

    def free(self, paddr: int) -> None:
        """Take a frame back.

        Raises:
            ValueError: It was not given out.
        """


class RangeAllocator:
    """Frames from ranges of physical memory, lowest first, a freed one next.

    Args:
        ranges: ``(start, end)`` in bytes, half-open, whole frames, apart from each other.
        frame_size: Bytes in a frame.

    Raises:
        ValueError: A range is empty, or not whole frames, or overlaps another.
    """

    def __init__(self, *ranges: tuple[int, int], frame_size: int = FRAME_SIZE) -> None:
        for start, end in ranges:
            if start < 0 or start >= end or (start | end) % frame_size:
                raise ValueError(f"not a range of whole frames: [{start:#x}, {end:#x})")
        for (_, low), (high, _) in pairwise(sorted(ranges)):
            if low > high:
                raise ValueError(f"the ranges overlap at {high:#x}")
        self.ranges = ranges
        self._fresh: Iterator[int] = (frame for start, end in ranges for frame in range(start, end, frame_size))
        self._freed: list[int] = []
        self.in_use: set[int] = set()

    def allocate(self) -> int:
        """See ``FrameAllocator``."""
        frame = self._freed.pop() if self._freed else next(self._fresh, None)
        if frame is None:
            raise OutOfFrames(f"all {len(self.in_use)} frames are in use")
        self.in_use.add(frame)
        return frame

    def free(self, paddr: int) -> None:
        """See ``FrameAllocator``."""
        if paddr not in self.in_use:
            raise ValueError(f"frame {paddr:#x} is not in use: freed twice, or never given out")
        self.in_use.remove(paddr)
        self._freed.append(paddr)


class CountingAllocator:
    """Counts what passes through to another allocator, and fails when told to.

    Args:
        inner: Where the frames come from.
        fail_at: Which allocations fail, counted from 1 over the allocator's life.
    """

    def __init__(self, inner: FrameAllocator, fail_at: Iterable[int] = ()) -> None:
        self.inner = inner
        self.fail_at = frozenset(fail_at)
        self.calls = 0
        self.allocated: list[int] = []
        self.freed: list[int] = []

    @property
    def outstanding(self) -> set[int]:
        """Frames given out and not yet back."""
        balance = Counter(self.allocated)
        balance.subtract(self.freed)
        return {frame for frame, count in balance.items() if count}

    def allocate(self) -> int:
        """See ``FrameAllocator``."""
        self.calls += 1
        if self.calls in self.fail_at:
            raise OutOfFrames(f"allocation {self.calls} was told to fail")
        frame = self.inner.allocate()
        self.allocated.append(frame)
        return frame

    def free(self, paddr: int) -> None:
        """See ``FrameAllocator``."""
        self.inner.free(paddr)
        self.freed.append(paddr)
