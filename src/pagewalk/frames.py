"""Frame allocators: where the frames for new page tables come from."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from pagewalk.doors import integer, not_negative
from pagewalk.errors import OutOfFrames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["CountingAllocator", "FrameAllocator", "RangeAllocator", "allocate_some", "give_back"]

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
        frame_size = integer(frame_size, "frame_size")
        if frame_size < 1:
            raise ValueError(f"a frame has {frame_size} bytes: it needs one at least")
        ranges = tuple(_plain(*given) for given in ranges)
        for start, end in ranges:
            if start < 0 or start >= end or (start | end) % frame_size:
                raise ValueError(f"not a range of whole frames: [{start:#x}, {end:#x})")
        for (_, low), (high, _) in pairwise(sorted(ranges)):
            if low > high:
                raise ValueError(f"the ranges overlap at {high:#x}")
        self.ranges = ranges
        self._all = [range(start, end, frame_size) for start, end in ranges]
        self._left = self._all[::-1]
        self._freed: dict[int, None] = {}

    @property
    def in_use(self) -> set[int]:
        """The frames given out and not yet back."""
        return {frame for frames in self._all for frame in frames if self._is_in_use(frame)}

    def _is_in_use(self, paddr: int) -> bool:
        known = any(paddr in frames for frames in self._all)
        return known and paddr not in self._freed and not any(paddr in frames for frames in self._left)

    def allocate(self) -> int:
        """See ``FrameAllocator``."""
        return self.allocate_many(1)[0]

    def allocate_many(self, count: int) -> list[int]:
        """The frames that ``count`` calls of ``allocate`` would give, at once: all or none.

        Raises:
            OutOfFrames: There are not that many left.
        """
        count = not_negative(count, "count")
        free = len(self._freed) + sum(map(len, self._left))
        if free < count:
            total = sum(map(len, self._all))
            raise OutOfFrames(
                f"{count} frames wanted, {free} of {total} free" if free else f"all {total} frames are in use"
            )
        frames = [self._freed.popitem()[0] for _ in range(min(count, len(self._freed)))]
        while len(frames) < count:
            fresh = self._left.pop()
            wanted = count - len(frames)
            frames += fresh[:wanted]
            if fresh := fresh[wanted:]:
                self._left.append(fresh)
        return frames

    def free(self, paddr: int) -> None:
        """See ``FrameAllocator``."""
        paddr = integer(paddr, "paddr")
        if not self._is_in_use(paddr):
            raise ValueError(f"frame {paddr:#x} is not in use: freed twice, or never given out")
        self._freed[paddr] = None


def allocate_some(allocator: FrameAllocator, count: int) -> tuple[Sequence[int], OutOfFrames | None]:
    """Frames: as many as there are, and why there are no more.

    Args:
        allocator: Where they come from, all at once where it has ``allocate_many``.
        count: How many at most.
    """
    many = getattr(allocator, "allocate_many", None)
    if many is not None and count > 1:
        try:
            return many(count), None
        except OutOfFrames:
            pass  # not so many: take what there is
    frames: list[int] = []
    try:
        frames.extend(allocator.allocate() for _ in range(count))
    except OutOfFrames as error:
        return frames, error
    except BaseException:
        give_back(allocator, frames)
        raise
    return frames, None


def give_back(allocator: FrameAllocator, frames: Sequence[int]) -> None:
    """Frames that were not needed after all, the last first."""
    for frame in reversed(frames):
        allocator.free(int(frame))


def _plain(start: int, end: int) -> tuple[int, int]:
    """A range, in plain numbers."""
    return integer(start, "start"), integer(end, "end")


class CountingAllocator:
    """Counts what passes through to another allocator, and fails when told to.

    Args:
        inner: Where the frames come from.
        fail_at: Which allocations fail, counted from 1 over the allocator's life.
    """

    def __init__(self, inner: FrameAllocator, fail_at: Iterable[int] = ()) -> None:
        self.inner = inner
        self.fail_at = frozenset(integer(call, "fail_at") for call in fail_at)
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
