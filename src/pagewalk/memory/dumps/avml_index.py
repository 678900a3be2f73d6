"""Where each chunk of an AVML image lies: the headers of its blocks and of their streams, skimmed."""

from __future__ import annotations

from array import array
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.abi import avml
from pagewalk.errors import ImageFormatError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.memory.files.mapped import MappedFile

__all__ = ["WORD", "Index"]

WORD: Final = Struct("<I")
"""In front of a chunk: its type in the first byte, and its size."""
_HEADER: Final = Struct(avml.HEADER)
_CRC: Final = 4
_MOST_ZEROS: Final = 1 << 40
"""Bytes of a gap that is taken for zeros; a longer one is a hole, whatever its length."""


class Index:
    """The chunks of an image.

    Args:
        file: Where it lies.

    Raises:
        ImageFormatError: Its headers contradict each other, or its blocks overlap.

    Attributes:
        starts, sizes, offsets: Of each chunk the physical address, the bytes it unpacks to, and where it lies in the
            file; ascending by address.
        gaps: What AVML left out because it is zeros, ``(start, end)``, ascending.
        lost: What the file was cut off in; empty if it was cut off between blocks; None if it is whole.
    """

    def __init__(self, file: MappedFile) -> None:
        self.starts, self.sizes, self.offsets = array("Q"), array("I"), array("Q")
        self.lost: tuple[int, int] | None = None
        self._file, self._data = file, file.read(0, file.size)
        self._blocks = blocks = self._skim()
        for (low, end), (high, _) in pairwise(sorted(blocks)):
            if high < end:
                raise ImageFormatError(f"two blocks overlap, those at {low:#x} and {high:#x}")
        if any(high < low for low, high in pairwise(blocks)):
            order = np.argsort(np.frombuffer(self.starts, np.uint64))
            self.starts, self.sizes, self.offsets = (
                array(column.typecode, np.frombuffer(column, column.typecode)[order].tobytes())
                for column in (self.starts, self.sizes, self.offsets)
            )
        self.gaps = _gaps(sorted(blocks))

    def runs(self) -> npt.NDArray[np.uint64]:
        """Where there is memory, zeros that were left out too: ``[start, end)`` each. Shape (runs, 2), uint64."""
        starts = np.frombuffer(self.starts, np.uint64)
        chunks = np.stack([starts, starts + np.frombuffer(self.sizes, np.uint32)], axis=1)
        runs = np.concatenate([chunks, np.array(self.gaps, np.uint64).reshape(-1, 2)])
        return _joined(runs[np.argsort(runs[:, 0])])

    def frames(self) -> npt.NDArray[np.uint64]:
        """Where there may have been memory: also behind a block of full length, where blocks of zeros may have been."""
        known, full = self.runs(), {end for start, end in self._blocks if end - start == avml.BLOCK}
        later = [*known[1:, 0].tolist(), (1 << 64) - 1]
        ends = [after if end in full else end for end, after in zip(known[:, 1].tolist(), later, strict=False)]
        return _joined(np.stack([known[:, 0], np.array(ends, np.uint64)], axis=1))

    def _skim(self) -> list[tuple[int, int]]:
        """The blocks, ``(start, end)`` of each."""
        data, at, blocks = self._data, 0, []
        while at + _HEADER.size <= len(data):
            magic, version, start, last, zero = _HEADER.unpack_from(data, at)
            if (magic, version, zero) != (avml.MAGIC, avml.VERSION, 0) or last < start:
                raise ImageFormatError(f"no header of AVML's version {avml.VERSION} is at {at:#x} of the file")
            blocks.append((start, last + 1))
            end = self._stream(at + _HEADER.size, start, last + 1)
            if end is None:
                return blocks
            count = int.from_bytes(data[end : end + avml.COUNT], "little")
            if end + avml.COUNT <= len(data) and count != end - at - _HEADER.size:
                raise ImageFormatError(f"the block at {at:#x} of the file is not of {count:#x} bytes, as it says")
            self._file.forget(at, end - at)
            at = end + avml.COUNT
        if at != len(data):
            self.lost = 0, 0
        return blocks

    def _stream(self, at: int, done: int, end: int) -> int | None:
        """Skim a block's stream. Where it ends; None if the file ends before."""
        data, size = self._data, len(self._data)
        while done < end:
            word = WORD.unpack_from(data, at)[0] if at + WORD.size <= size else -1
            after = at + WORD.size + (word >> 8)
            if word < 0 or after > size:
                self.lost = done, end
                return None
            kind = word & 0xFF
            if kind < avml.CHUNK_SKIPPED:
                count = _unpacked(data, at + WORD.size + _CRC) if kind == avml.CHUNK_PACKED else (word >> 8) - _CRC
                if kind > avml.CHUNK_COPIED or not 0 < count <= min(avml.CHUNK, end - done):
                    raise ImageFormatError(f"no chunk of a Snappy stream is at {at:#x} of the file")
                self.starts.append(done)
                self.sizes.append(count)
                self.offsets.append(at)
                done += count
            at = after
        return at


def _joined(runs: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Runs of which those that touch are one."""
    joined = np.flatnonzero(runs[1:, 0] == runs[:-1, 1])
    return np.stack([np.delete(runs[:, 0], joined + 1), np.delete(runs[:, 1], joined)], axis=1)


def _unpacked(data: memoryview, at: int) -> int:
    """Bytes that a packed chunk unpacks to: its first number, 7 bits a byte, the lowest first."""
    low, middle, high = bytes(data[at : at + 3]).ljust(3, b"\0")
    if low < 0x80:
        return low
    return low & 0x7F | middle << 7 if middle < 0x80 else low & 0x7F | (middle & 0x7F) << 7 | (high & 0x7F) << 14


def _gaps(blocks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The gaps between blocks that are blocks of zeros."""
    gaps = [(end, after) for (start, end), (after, _) in pairwise(blocks) if end - start == avml.BLOCK and end < after]
    return [(start, end) for start, end in gaps if (end - start) % avml.BLOCK == 0 and end - start <= _MOST_ZEROS]
