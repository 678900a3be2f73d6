"""The memory file of a Firecracker snapshot, and those of differential ones over it.

The file holds the guest's memory one slot after the other, without the holes between them, so that above the first hole
an offset is no address. Nothing in it says what it is. The file of a differential snapshot is as long, and sparse: it
has the pages that were written since the one before, and holes for all others.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.abi.snapshots import FIRECRACKER, FIRECRACKER_OLD
from pagewalk.doors import integer
from pagewalk.errors import ImageFormatError
from pagewalk.memory.files.layered import MappedFiles
from pagewalk.memory.files.mapped import MappedFile
from pagewalk.memory.protocol import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

__all__ = ["FirecrackerMemory"]

_PAGE: Final = 4096
_MOST: Final = 255
"""Files that can lie over each other."""


class FirecrackerMemory(MappedFiles):
    """The memory of a Firecracker snapshot, in place.

    Args:
        paths: Its memory file; or a full snapshot's, and over it those of differential ones, the oldest first.
        base: The physical address of the first byte: 0, or 0x80000000 on arm64. It says where the holes are.

    Raises:
        OSError: A file cannot be opened.
        ImageFormatError: The files are not of one machine, or of no whole pages.
        ValueError: No machine begins at such an address.

    Attributes:
        missing: What it does not have, in a sentence each.
    """

    def __init__(self, paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, base: int = 0) -> None:
        listed = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str) else [paths]
        self._base = integer(base, "base")
        if self._base not in FIRECRACKER:
            bases = ", ".join(map(hex, FIRECRACKER))
            raise ValueError(f"Firecracker's memory begins at one of {bases}, not at {self._base:#x}")
        if not 0 < len(listed) <= _MOST:
            raise ImageFormatError(f"a snapshot of {len(listed)} files: there are 1 to {_MOST}")
        files = [MappedFile(path) for path in listed]
        for file in files:
            if file.size != files[0].size or file.size % _PAGE:
                raise ImageFormatError(f"{file.path}: {file.size:#x} bytes: not of the pages of {files[0].path}")
        self.missing = ("it has no registers: give --root or --registers", *_doubtful(self._base, files[0].size))
        super().__init__(files, self._segments(files))

    def _options(self) -> dict[str, Any]:
        return {"base": self._base}

    def _segments(self, files: list[MappedFile]) -> Iterator[Segment]:
        """The memory, each page out of the last file that has it."""
        for start, end, file in _runs(files):
            for paddr, offset, size in _slots(self._base, start, end):
                yield Segment(paddr, files[file].read(offset, size))


def _doubtful(base: int, size: int) -> Iterator[str]:
    """What is not known for sure of where a file's parts lie."""
    if (first := FIRECRACKER[base][0][1]) < size and first < FIRECRACKER_OLD:
        low, rest = FIRECRACKER_OLD, size - FIRECRACKER_OLD
        other = f"--segment 0:0:{low:#x} --segment {1 << 32:#x}:{low:#x}:{rest:#x}"
        yield f"its first hole is taken to begin at {first:#x}; if the monitor is one of before 2025, give {other}"


def _slots(base: int, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Where a part of the file lies in memory: physical address, offset and size of each piece.

    Raises:
        ImageFormatError: The machine has no addresses for all of it.
    """
    at = 0
    for low, high in FIRECRACKER[base]:
        first, last = max(start, at), min(end, at + high - low)
        if first < last:
            yield low + first - at, first, last - first
        at += high - low
    if end > at:
        raise ImageFormatError(f"a snapshot of {end:#x} bytes: Firecracker has addresses for {at:#x}")


def _runs(files: list[MappedFile]) -> Iterator[tuple[int, int, int]]:
    """The runs of pages that are one file's: start, end, and which file's."""
    owner: npt.NDArray[np.uint8] = np.zeros(files[0].size // _PAGE, np.uint8)
    for number, file in enumerate(files[1:], 1):
        for start, end in _written(file):
            owner[start // _PAGE : -(-end // _PAGE)] = number
    edges = [0, *(np.flatnonzero(owner[1:] != owner[:-1]) + 1).tolist(), len(owner)]
    for first, last in pairwise(edges):
        yield first * _PAGE, last * _PAGE, int(owner[first])


def _written(file: MappedFile) -> Iterator[tuple[int, int]]:
    """The parts of a sparse file that are no holes, ``(start, end)``."""
    fd = os.open(file.path, os.O_RDONLY)
    try:
        end = 0
        while end < file.size:
            try:
                start = os.lseek(fd, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    return
                raise
            end = os.lseek(fd, start, os.SEEK_HOLE)
            yield start, min(end, file.size)
    finally:
        os.close(fd)
