"""Which bytes of a file are which memory, where its headers overlap, promise too much, or leave something out."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.errors import ImageFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["MOST", "Claim", "Layout", "Ranges", "joined", "laid_out"]

MOST: Final = 1 << 18
"""Headers of a file at most: they are looked at one by one."""
_ADDRESSES: Final = 1 << 64


class Claim(NamedTuple):
    """What a header says of a run of memory: bytes, all of them.

    Attributes:
        paddr: Where it begins.
        offset: Where its bytes are in the file.
        stored: How many of them are there.
        size: How much memory it is; what is not stored was left out.
    """

    paddr: int
    offset: int
    stored: int
    size: int


class Ranges:
    """Ranges of physical addresses, ascending and apart.

    Args:
        ranges: ``(start, end)``, in that order.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self.ranges = tuple(ranges)
        self._starts = [start for start, _ in self.ranges]

    def __bool__(self) -> bool:
        return bool(self.ranges)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(end - start for start, end in self.ranges)

    def touches(self, start: int, end: int) -> bool:
        """Whether one of them has an address of ``[start, end)``."""
        at = bisect_right(self._starts, end - 1) - 1
        return at >= 0 and self.ranges[at][1] > start


class Layout(NamedTuple):
    """What lies where.

    Attributes:
        parts: Runs of memory that are in the file: ``(paddr, offset, size)``, ascending and apart.
        left_out: Memory that the headers name, and have no bytes of.
        cut_off: Memory whose bytes would lie beyond the end of the file.
        doubled: Memory that is in the file at several places; the first header counts.
    """

    parts: list[tuple[int, int, int]]
    left_out: Ranges
    cut_off: Ranges
    doubled: Ranges


class _Span(NamedTuple):
    """A run of memory in the file, as it sorts.

    Attributes:
        start, end: Its addresses.
        rank: The number of its header.
        shift: From an address to its place in the file.
    """

    start: int
    rank: int
    end: int
    shift: int


def laid_out(claims: Sequence[Claim], length: int) -> Layout:
    """What of a file of ``length`` bytes is which memory.

    Raises:
        ImageFormatError: A header names memory outside 64 bits, or there are too many.
    """
    if len(claims) > MOST:
        raise ImageFormatError(f"{len(claims):,} runs of memory: more than {MOST:,} are not looked at")
    spans, promised, whole = [], [], []
    for rank, (paddr, offset, stored, size) in enumerate(claims):
        end = paddr + max(stored, size)
        if end > _ADDRESSES:
            raise ImageFormatError(f"{max(stored, size):#x} bytes at {paddr:#x} are no memory: they end beyond 64 bits")
        here = max(0, min(stored, length - offset))
        if here:
            spans.append(_Span(paddr, rank, paddr + here, offset - paddr))
        if stored:
            promised.append((paddr, paddr + stored))
        if end > paddr:
            whole.append((paddr, end))
    runs, doubled = _first_wins(spans)
    promised, whole = joined(promised), joined(whole)
    return Layout(
        [(start, start + shift, end - start) for start, end, shift in runs],
        Ranges(_without(whole, joined([*promised, *((start, end) for start, end, _ in runs)]))),
        Ranges(_without(promised, [(start, end) for start, end, _ in runs])),
        Ranges(joined(doubled)),
    )


def _first_wins(spans: list[_Span]) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
    """Spans without their overlaps: each address is that of the lowest rank which has it.

    From left to right; ``active`` holds the spans that have begun, the lowest rank on top.

    Returns:
        ``(start, end, shift)`` of each run, ascending; and where spans of different shifts overlap, the most of it.
    """
    todo = sorted(spans, reverse=True)
    active: list[tuple[int, int, int]] = []
    runs: list[tuple[int, int, int]] = []
    doubled: list[tuple[int, int]] = []
    at = 0
    while todo or active:
        if not active:
            at = max(at, todo[-1].start)
        while todo and todo[-1].start <= at:
            begun = todo.pop()
            heapq.heappush(active, (begun.rank, begun.end, begun.shift))
        rank, end, shift = active[0]
        if end <= at:
            heapq.heappop(active)
            continue
        stop = end
        while todo and todo[-1].start < stop:
            other = todo[-1]
            if other.shift != shift:
                doubled.append((other.start, min(end, other.end)))
            if other.rank < rank:
                stop = other.start
            else:
                todo.pop()
                heapq.heappush(active, (other.rank, other.end, other.shift))
        if runs and runs[-1][1:] == (at, shift):
            runs[-1] = (runs[-1][0], stop, shift)
        else:
            runs.append((at, stop, shift))
        at = stop
    return runs, doubled


def joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in any order as ascending ones that are apart."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _without(ranges: list[tuple[int, int]], taken: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What of some ranges others do not have; both ascending and apart."""
    at = 0
    for start, end in ranges:
        while at < len(taken) and taken[at][1] <= start:
            at += 1
        here = at
        while here < len(taken) and taken[here][0] < end:
            if start < taken[here][0]:
                yield start, taken[here][0]
            start = max(start, taken[here][1])
            here += 1
        if start < end:
            yield start, end
