"""AVML images, version 2: memory as it was taken from a running Linux, in blocks that Snappy has packed.

How it works: when an image is opened, the headers of its blocks and of the chunks of their streams are skimmed, and
where each chunk lies is kept: 20 bytes for 64 KiB of memory. A read then unpacks the chunks that it needs, and no more.

AVML leaves out a block that is all zeros. A gap between two blocks is one of zeros if it could be made of such blocks:
it begins where a block of full length ends, and is a multiple of that length long. Others are holes.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Final

from pagewalk.abi.avml import CHUNK, STREAM
from pagewalk.doors import printable
from pagewalk.errors import ImageFormatError, MemoryReadError, PageNotInDump
from pagewalk.memory.dumps.avml_index import WORD, Index
from pagewalk.memory.files.mapped import MappedFile
from pagewalk.memory.files.pieces import Gone, Piece, PiecewiseMemory
from pagewalk.memory.files.unpackers import library

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

__all__ = ["AvmlImage"]

_ZEROS: Final = bytes(CHUNK)
_BEYOND: Final = 1 << 64
_NO_MEMORY: Final = Gone(MemoryReadError, "the image has no block there, nor one of zeros that it could have left out")
_LOST: Final = Gone(PageNotInDump, "the image is cut off before it")


class AvmlImage(PiecewiseMemory):
    """An AVML image of version 2, read a chunk of 64 KiB at a time. Version 1 is a LiME image.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened.
        ImageFormatError: It is not what it claims to be.
        UnsupportedError: The library that unpacks Snappy is not here.

    Attributes:
        missing: What it does not have, in a sentence each.

    It claims to know where the machine had memory, if it is whole (``holds_frames``, ``frames``).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = MappedFile(path)
        super().__init__([self._file])
        self._unpack = library("cramjam", "Snappy", "snappy").snappy.decompress
        try:
            self._index = Index(self._file)
        except ImageFormatError as error:
            raise ImageFormatError(f"{path}: {error}") from None
        self.missing = tuple(self._missing())
        self.holds_frames = self._index.lost is None

    @property
    def extents(self) -> npt.NDArray[np.uint64]:
        """Where there is memory, zeros that were left out too. Shape (runs, 2), uint64."""
        self._check(0, 0)
        return self._extents

    @cached_property
    def frames(self) -> npt.NDArray[np.uint64]:
        """Where the machine may have had memory: what could have been left out counts. Shape (runs, 2), uint64."""
        return self._index.frames()

    @cached_property
    def _extents(self) -> npt.NDArray[np.uint64]:
        return self._index.runs()

    def _missing(self) -> Iterator[str]:
        """What is not in the image."""
        if self._index.lost is not None:
            yield f"it is cut off, at {self._file.size:#x} bytes"
        yield "it has no registers: give --root or --registers"
        yield "it has no VMCOREINFO of its own"

    def _number(self, paddr: int) -> int | Gone:
        index = self._index
        at = bisect_right(index.starts, min(paddr, _BEYOND - 1)) - 1
        if at >= 0 and paddr < index.starts[at] + index.sizes[at]:
            return at
        if self._zeros(paddr, paddr + 1):
            return -1 - paddr // CHUNK
        lost = index.lost
        return _LOST if lost and lost[0] <= paddr < lost[1] else _NO_MEMORY

    def _zeros(self, start: int, end: int) -> tuple[int, int] | None:
        """What is zeros of a range; None: nothing is. A range of one chunk meets one gap at most."""
        gaps = self._index.gaps
        at = bisect_right(gaps, (end - 1, _BEYOND)) - 1
        if at < 0 or gaps[at][1] <= start:
            return None
        return max(gaps[at][0], start), min(gaps[at][1], end)

    def _unpacked(self, number: int) -> Piece | Gone:
        index = self._index
        if number < 0:
            start = (-1 - number) * CHUNK
            zeros = self._zeros(start, start + CHUNK)
            return _NO_MEMORY if zeros is None else Piece(zeros[0], _ZEROS[: zeros[1] - zeros[0]])
        offset = index.offsets[number]
        (word,) = WORD.unpack(self._file.read(offset, WORD.size))
        try:
            data = bytes(self._unpack(STREAM + bytes(self._file.read(offset, WORD.size + (word >> 8)))))
        except Exception as error:  # the library's own
            return Gone(MemoryReadError, f"it is damaged in the image: {printable(str(error))}")
        if len(data) != index.sizes[number]:
            return Gone(MemoryReadError, f"it is damaged in the image: a chunk unpacks to {len(data):#x} bytes")
        return Piece(index.starts[number], data)
