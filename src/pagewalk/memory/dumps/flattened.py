"""Flattened files: what ``makedumpfile -F`` and QEMU send through a pipe, in blocks that say where they belong.

A header of 4096 bytes, ``makedumpfile`` in front; then a block each: its offset in the file that is meant and its size,
64 bits big-endian each, and its bytes; in the end an offset of -1. The blocks come in any order, and where two overlap
the later one counts, as if all had been written to a file. Bytes that no block has are zeros.

Source: makedumpfile 1.7, ``makedumpfile.h`` (``makedumpfile_header``, ``makedumpfile_data_header``) and its option -R.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from heapq import heappop, heappush
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, Final

from pagewalk.abi.kdump import FLATTENED_FIRST
from pagewalk.errors import ImageFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.memory.files.mapped import MappedFile

__all__ = ["FlattenedFile"]

_HEADER: Final = Struct(">16sqq")
_BLOCK: Final = Struct(">qq")
_END: Final = -1
_MOST: Final = 1 << 62
"""No file is that long."""


class FlattenedFile:
    """A flattened file, read as the file that it stands for. As ``MappedFile`` otherwise.

    Args:
        file: It as it is.

    Raises:
        ImageFormatError: A block lies nowhere, or the header is of a kind that is not known.

    Attributes:
        size: Bytes of the file that it stands for.
        cut_off: Whether its end is missing.
    """

    def __init__(self, file: MappedFile) -> None:
        self.path, self.version = file.path, file.version
        self.stored = file.stored
        self.cut_off = True
        self._file = file
        self.check, self.close = file.check, file.close
        _, kind, version = _HEADER.unpack(_whole(file, 0, _HEADER.size))
        if (kind, version) != (1, 1):
            raise ImageFormatError(f"{file.path}: a flattened file of type {kind}, version {version}, not of 1 and 1")
        starts, ends, places = array("q"), array("q"), array("q")
        for start, size, place in self._blocks():
            starts.append(start)
            ends.append(start + size)
            places.append(place)
        self.size = max(ends, default=0)
        self._starts, self._ends, self._places = _apart(starts, ends, places)

    def forget(self, offset: int, size: int) -> None:
        """See ``MappedFile``: of all of it, since blocks lie anywhere."""
        self._file.forget(0, self._file.size)

    def _blocks(self) -> Iterator[tuple[int, int, int]]:
        """Each block that has bytes: where it belongs, its size, and where it lies."""
        at, end, file = FLATTENED_FIRST, self._file.size, self._file
        while at + _BLOCK.size <= end:
            start, size = _BLOCK.unpack(file.read(at, _BLOCK.size))
            if start == _END:
                self.cut_off = False
                return
            if start < 0 or size < 0 or start + size > _MOST:
                raise ImageFormatError(f"{file.path}: a block at {at:#x} is of {size:#x} bytes for offset {start:#x}")
            at += _BLOCK.size
            if there := min(size, end - at):
                yield start, there, at
            at += size

    def read(self, offset: int, size: int) -> memoryview | bytes:
        """The bytes at an offset: in place where one block has them; fewer where the file ends."""
        at = bisect_right(self._starts, offset) - 1
        if at >= 0 and offset + size <= self._ends[at]:
            return self._file.read(self._places[at] + offset - self._starts[at], size)
        end = min(offset + size, self.size)
        parts, at = [], max(at, 0)
        while offset < end:
            while at < len(self._ends) and self._ends[at] <= offset:
                at += 1
            start, stop = max(self._starts[at], offset), min(self._ends[at], end)
            parts.append(bytes(min(start, end) - offset))
            if start < stop:
                parts.append(bytes(self._file.read(self._places[at] + start - self._starts[at], stop - start)))
            offset = max(min(start, end), stop)
        return b"".join(parts)


def _whole(file: MappedFile, offset: int, size: int) -> memoryview:
    """Bytes that must be there.

    Raises:
        ImageFormatError: They are not.
    """
    data = file.read(offset, size)
    if len(data) < size:
        raise ImageFormatError(f"{file.path}: truncated: {size:#x} bytes at offset {offset:#x} are not there")
    return data


def _apart(starts: array[int], ends: array[int], places: array[int]) -> tuple[array[int], array[int], array[int]]:
    """Blocks in order, cut where a later one hides them."""
    order = sorted(range(len(starts)), key=starts.__getitem__)
    cut = array("q"), array("q"), array("q")
    if all(ends[low] <= starts[high] for low, high in pairwise(order)):
        for column, some in zip((starts, ends, places), cut, strict=True):
            some.extend(column[at] for at in order)
        return cut
    borders = sorted({*starts, *ends})
    active: list[int] = []  # the latest first
    upcoming = iter([*order, None])
    coming = next(upcoming)
    for border, after in pairwise(borders):
        while coming is not None and starts[coming] <= border:
            heappush(active, -coming)
            coming = next(upcoming)
        while active and ends[-active[0]] <= border:
            heappop(active)
        if active:
            latest = -active[0]
            for column, value in zip(cut, (border, after, places[latest] + border - starts[latest]), strict=True):
                column.append(value)
    return cut
