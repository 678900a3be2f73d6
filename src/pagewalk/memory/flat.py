"""Memories whose bytes lie in this process: segments of bytes, and simulated RAM."""

from __future__ import annotations

import errno
import mmap
import sys
from bisect import bisect_right
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import integer, plain, shown
from pagewalk.errors import ImageFormatError, MemoryReadError, MemoryWriteError
from pagewalk.memory.protocol import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["FlatMemory", "Ram"]

_TOLD: Final = 3
"""Segments that a message names."""
_BLOCK: Final = 1 << 20
_PAGE: Final = 4096


class FlatMemory:
    """Segments of bytes at physical addresses, with holes between them.

    Pickled and copied with its bytes.

    Args:
        segments: Runs of memory that do not overlap, in any order. Touching ones read as one.

    Raises:
        ImageFormatError: Two segments overlap, or one lies beyond 64 bits.
        TypeError: A segment is no ``(start, bytes)``.

    Attributes:
        holds_frames: Whether the frames that page tables name should be here too: a page whose frame is not is odd
            (``Flag.OUTSIDE``). A file's are; of page tables alone, as a capture's, it cannot be said.
    """

    holds_frames: bool = False

    def __init__(self, segments: Iterable[Segment]) -> None:
        given = [_segment(segment) for segment in segments]
        self.segments = tuple(sorted((s for s in given if len(s.data)), key=lambda segment: segment.start))
        self._starts = [segment.start for segment in self.segments]
        for low, high in pairwise(self.segments):
            if low.end > high.start:
                raise ImageFormatError(f"memory segments overlap: {_span(low)} and {_span(high)}")
        if self.segments and (self._starts[0] < 0 or self.segments[-1].end > 1 << 64):
            raise ImageFormatError(f"no physical memory lies outside 64 bits: {self.extent}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.extent}>"

    @property
    def extent(self) -> str:
        """Where there is memory, for messages: the first few segments, and how many there are."""
        if len(self.segments) <= _TOLD:
            return ", ".join(map(_span, self.segments)) or "nothing"
        told = ", ".join(map(_span, self.segments[: _TOLD - 1]))
        return f"{told} and {len(self.segments) - _TOLD + 1:,} more up to {self.segments[-1].end:#x}"

    def _locate(self, paddr: int) -> Segment | None:
        """The segment that holds ``paddr``."""
        at = bisect_right(self._starts, paddr) - 1
        return self.segments[at] if at >= 0 and paddr < self.segments[at].end else None

    def view(self, paddr: int, size: int) -> memoryview | None:
        """The bytes at ``paddr`` in place, or None if they are not all in one segment."""
        if type(paddr) is not int or type(size) is not int:  # asked for each table on the way of a translation
            paddr, size = integer(paddr, "paddr"), integer(size, "size")
        segment = self._locate(paddr)
        if size < 0 or segment is None or paddr + size > segment.end:
            return None
        offset = paddr - segment.start
        return segment.data[offset : offset + size]

    def _pieces(self, paddr: int, size: int) -> list[memoryview] | None:
        """The bytes at ``paddr`` as views, or None if some are missing."""
        pieces, at, end = [], paddr, paddr + size
        while at < end:
            segment = self._locate(at)
            if segment is None:
                return None
            pieces.append(segment.data[at - segment.start : min(end, segment.end) - segment.start])
            at = min(end, segment.end)
        return pieces

    def read(self, paddr: int, size: int) -> bytes:
        """Read ``size`` bytes at ``paddr``.

        Raises:
            MemoryReadError: Not all of them are inside the segments.
        """
        paddr, size = integer(paddr, "paddr"), integer(size, "size")
        pieces = self._pieces(paddr, size)
        if pieces is None or size < 0:
            raise MemoryReadError(paddr, size, f"outside the memory, which has {self.extent}")
        return pieces[0].tobytes() if len(pieces) == 1 else b"".join(pieces)

    def write(self, paddr: int, data: bytes) -> None:
        """Write ``data`` at ``paddr``, all of it or nothing.

        Raises:
            MemoryWriteError: Not all of it is inside the segments, or the memory is read-only.
            TypeError: What is to be written is no bytes.
        """
        paddr, data = integer(paddr, "paddr"), plain(data)
        pieces = self._pieces(paddr, len(data))
        if pieces is None:
            raise MemoryWriteError(paddr, len(data), f"outside the memory, which has {self.extent}")
        if any(piece.readonly for piece in pieces):
            raise MemoryWriteError(paddr, len(data), "opened read-only: open it with writable=True")
        at = 0
        for piece in pieces:
            piece[:] = data[at : at + len(piece)]
            at += len(piece)


class Ram(FlatMemory):
    """Simulated RAM: zeroed, and given out by the operating system only as it is touched.

    Args:
        size: Bytes, a positive multiple of 4096.
        base: Physical address of the first byte.

    Raises:
        ValueError: The size or the base is not a multiple of 4096.
        OSError: The operating system does not have that much.
    """

    def __init__(self, size: int, base: int = 0) -> None:
        size, base = integer(size, "size"), integer(base, "base")
        if size <= 0 or base < 0 or (size | base) % _PAGE:
            raise ValueError(f"RAM needs a positive size and a base in whole pages, not {size:#x} at {base:#x}")
        self._mapping = _anonymous(size)
        super().__init__([Segment(base, memoryview(self._mapping))])

    def clear(self, paddr: int, size: int) -> None:
        """Zero bytes; if they are whole pages, the operating system has those back until they are touched.

        Raises:
            MemoryWriteError: They are not all RAM.
        """
        (segment,) = self.segments
        start = integer(paddr, "paddr") - segment.start
        if not 0 <= start <= start + size <= len(segment.data):
            raise MemoryWriteError(paddr, size, f"outside the memory, which has {self.extent}")
        if sys.platform == "linux" and not (start | size) % mmap.PAGESIZE:
            self._mapping.madvise(mmap.MADV_DONTNEED, start, size)
        else:
            segment.data[start : start + size] = bytes(size)

    def __reduce__(self) -> tuple[Any, ...]:
        """Only what is not zero."""
        (segment,) = self.segments
        return _ram, (type(self), len(segment.data), segment.start, list(_not_zero(segment.data)))


def _ram(kind: type[Ram], size: int, base: int, contents: list[tuple[int, bytes]]) -> Ram:
    """RAM that was pickled."""
    ram = kind(size, base)
    for at, data in contents:
        ram.segments[0].data[at : at + len(data)] = data
    return ram


def _not_zero(data: memoryview) -> Iterator[tuple[int, bytes]]:
    """The pages that hold anything, with where they begin."""
    nothing = bytes(_BLOCK)
    for block in range(0, len(data), _BLOCK):
        some = data[block : block + _BLOCK].tobytes()
        if some == nothing[: len(some)]:
            continue
        for at in range(0, len(some), _PAGE):
            page = some[at : at + _PAGE]
            if page != nothing[:_PAGE]:
                yield block + at, page


def _anonymous(size: int) -> mmap.mmap:
    """Zeroed memory, given out in small pages, and not before it is written where the system has private mappings.

    Raises:
        OSError: The operating system does not have that much.
    """
    options = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    try:
        memory = mmap.mmap(-1, size, **options)
    except OverflowError:
        raise OSError(errno.ENOMEM, f"no machine has {size:#x} bytes of RAM") from None
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages does not know the advice
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory


def _segment(given: Any) -> Segment:
    """A segment, with a start that is an int and bytes one by one."""
    try:
        start, data = given
    except (TypeError, ValueError):
        raise TypeError(f"a segment is (start, bytes), not {shown(given)}") from None
    return Segment(integer(start, "a segment's start"), memoryview(plain(data)))


def _span(segment: Segment) -> str:
    """A segment's range, for messages."""
    return f"[{segment.start:#x}, {segment.end:#x})"
