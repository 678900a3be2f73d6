"""Memories whose bytes lie in this process: simulated RAM, and image files mapped with ``mmap``."""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pagewalk.errors import ImageFormatError, MemoryReadError, MemoryWriteError
from pagewalk.memory.protocol import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FlatMemory", "Ram", "RawImage"]


class FlatMemory:
    """Segments of bytes at physical addresses, with holes between them.

    Args:
        segments: Runs of memory that do not overlap, in any order. Touching ones read as one.

    Raises:
        ImageFormatError: Two segments overlap.

    Attributes:
        holds_frames: Whether the frames that page tables name should be here too: a page whose frame is not is odd
            (``Flag.OUTSIDE``). A file's are; of page tables alone, as a capture's, it cannot be said.
    """

    holds_frames: bool = False

    def __init__(self, segments: Iterable[Segment]) -> None:
        self.segments = tuple(sorted((s for s in segments if len(s.data)), key=lambda segment: segment.start))
        self._starts = [segment.start for segment in self.segments]
        for low, high in pairwise(self.segments):
            if low.end > high.start:
                raise ImageFormatError(f"memory segments overlap: {_span(low)} and {_span(high)}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.extent}>"

    @property
    def extent(self) -> str:
        """Where there is memory, for messages."""
        return ", ".join(map(_span, self.segments)) or "nothing"

    def _locate(self, paddr: int) -> Segment | None:
        """The segment that holds ``paddr``."""
        at = bisect_right(self._starts, paddr) - 1
        return self.segments[at] if at >= 0 and paddr < self.segments[at].end else None

    def view(self, paddr: int, size: int) -> memoryview | None:
        """The bytes at ``paddr`` in place, or None if they are not all in one segment."""
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
        pieces = self._pieces(paddr, size)
        if pieces is None or size < 0:
            raise MemoryReadError(paddr, size, f"outside the memory, which has {self.extent}")
        return pieces[0].tobytes() if len(pieces) == 1 else b"".join(pieces)

    def write(self, paddr: int, data: bytes) -> None:
        """Write ``data`` at ``paddr``, all of it or nothing.

        Raises:
            MemoryWriteError: Not all of it is inside the segments, or the memory is read-only.
        """
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
        if size <= 0 or base < 0 or (size | base) % 4096:
            raise ValueError(f"RAM needs a positive size and a base in whole pages, not {size:#x} at {base:#x}")
        super().__init__([Segment(base, memoryview(mmap.mmap(-1, size)))])


class RawImage(FlatMemory):
    """A file that holds physical memory as it is, mapped with ``mmap``.

    Args:
        path: The file.
        base: Physical address of its first byte.
        segments: Where the file's parts lie, as ``(paddr, offset, size)``, if it is not one run from ``base``.
        writable: Map it shared and writable: what is written is in the file at once.

    Raises:
        OSError: The file cannot be opened or mapped.
        ImageFormatError: It is empty, or ends before a segment does.

    It claims to hold the frames that its page tables name. The file must keep its size while it is mapped: an image
    truncated by somebody else ends the process with SIGBUS.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        base: int = 0,
        segments: Iterable[tuple[int, int, int]] | None = None,
        writable: bool = False,
    ) -> None:
        self.path = Path(path)
        self.holds_frames = True
        with self.path.open("r+b" if writable else "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                raise ImageFormatError(f"{path}: the file is empty")
            access: Any = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            data = memoryview(mmap.mmap(file.fileno(), size, access=access))
        super().__init__(self._cut(data, paddr, *part) for paddr, *part in segments or [(base, 0, size)])

    def _cut(self, data: memoryview, paddr: int, offset: int, size: int) -> Segment:
        """One segment of the file."""
        if paddr < 0 or offset < 0 or size <= 0 or offset + size > len(data):
            raise ImageFormatError(
                f"{self.path}: truncated: a segment of {size:#x} bytes at offset {offset:#x} "
                f"does not fit in {len(data):#x} bytes"
            )
        return Segment(paddr, data[offset : offset + size])


def _span(segment: Segment) -> str:
    """A segment's range, for messages."""
    return f"[{segment.start:#x}, {segment.end:#x})"
