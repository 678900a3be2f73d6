"""A file of a kdump-compressed dump: its bitmaps, and where the bytes of each of its pages lie."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk.abi.kdump import DESCRIPTOR, FLATTENED, INCOMPLETE, SIGNATURE
from pagewalk.errors import ImageFormatError, MemoryReadError, PageNotInDump, UnsupportedError
from pagewalk.memory.dumps.bitmap import Bitmap
from pagewalk.memory.dumps.flattened import FlattenedFile
from pagewalk.memory.dumps.kdump_header import read_header
from pagewalk.memory.files.mapped import MappedFile
from pagewalk.memory.files.pieces import Gone

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

__all__ = ["KdumpFile", "Packed"]

_STEP: Final = 1 << 16
"""Descriptors that are looked at at a time."""
_NOWHERE: Final = np.uint64((1 << 64) - 1)
_LOST: Final = Gone(PageNotInDump, "its bytes are not in the dump, which is incomplete or was cut off")


class Packed(NamedTuple):
    """A page as it lies in the file: where, in how many bytes, and how it is packed."""

    offset: int
    size: int
    flags: int


class KdumpFile:
    """A file of a dump.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened.
        ImageFormatError: It is not what it claims to be.
        UnsupportedError: It is flattened, and something else.

    Attributes:
        mapped: The file as it is.
        file: The file that is meant, which is another if it is flattened.
        header: What it says of itself.
        machine, dumped: The pages that the machine has; those that are in the dump.
        first, end: The pages that this file is of.
        cut_off: Whether its end is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.mapped = MappedFile(path)
        flattened = bytes(self.mapped.read(0, len(FLATTENED))) == FLATTENED
        self.file = FlattenedFile(self.mapped) if flattened else self.mapped
        if bytes(self.file.read(0, len(SIGNATURE))) != SIGNATURE:
            if flattened:
                raise UnsupportedError(f"{path}: a flattened file of no kdump: makedumpfile -R gives the file in it")
            raise ImageFormatError(f"{path}: no kdump file: it does not begin with {SIGNATURE!r}")
        self.header = header = read_header(self.file)
        self.machine, self.dumped = (Bitmap(self.file.read(at, header.bitmap)) for at in header.bitmaps)
        self.first, self.end = header.pages or (0, len(self.dumped))
        self._layout = Struct(header.order + DESCRIPTOR)
        row = (("offset", "u8"), ("size", "u4"), ("flags", "u4"), ("rest", "V8"))
        self._row = np.dtype([(name, header.order + kind) for name, kind in row])
        self._before = self.dumped.rank(self.first)
        self._count = self.dumped.rank(self.end) - self._before
        self.cut_off = self._is_cut_off()

    @property
    def shape(self) -> tuple[int, ...]:
        """What all files of a dump have alike."""
        header = self.header
        return header.block, header.level, *header.bitmaps, header.bitmap, header.descriptors

    def packed(self, page: int) -> Packed | Gone:
        """Where a page of this file lies in it."""
        at = self.header.descriptors + self._layout.size * (self.dumped.rank(page) - self._before)
        data = self.file.read(at, self._layout.size)
        if len(data) < self._layout.size:
            return _LOST
        found = Packed._make(self._layout.unpack(data))
        if found.offset == 0 or found.offset + found.size > self.file.size:
            return _LOST
        if found.size > self.header.block:
            return Gone(MemoryReadError, f"the page is damaged in the dump: {found.size:#x} bytes of a packed page")
        return found

    def sound(self, pages: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.void]]:
        """Those of many pages that this file has and that look sound, looked up together.

        Args:
            pages: Their numbers. Shape (n,), uint64.

        Returns:
            The places of some of them, and the descriptor of each: ``offset``, ``size``, ``flags``. None of a flattened
            file: ``packed`` says of any page.
        """
        if not isinstance(self.file, MappedFile):
            return np.empty(0, np.intp), np.empty(0, self._row)
        inside = (pages >= np.uint64(self.first)) & (pages < np.uint64(self.end))
        places, rows = np.flatnonzero(self.dumped.set_in(pages) & inside), self._descriptors
        at = self.dumped.ranks(pages[places]) - np.uint64(self._before)
        there = at < np.uint64(len(rows))
        places, found = places[there], rows[at[there]]
        fits = (found["offset"] <= self.file.size) & (found["size"] <= self.header.block)
        good = fits & (found["offset"] > 0) & (found["offset"] + found["size"] <= self.file.size)
        return places[good], found[good]

    @property
    def _descriptors(self) -> npt.NDArray[np.void]:
        """All that the file has of them, in place."""
        data = self.file.read(self.header.descriptors, self._row.itemsize * self._count)
        return np.frombuffer(data, self._row, len(data) // self._row.itemsize)

    def runs(self) -> npt.NDArray[np.uint64]:
        """The runs of pages that are in this file, ``[first, end)`` of each. Shape (runs, 2), uint64."""
        dumped = self.dumped
        if self.cut_off or self.header.status & INCOMPLETE:
            dumped = dumped.without(self._lost())
        runs = np.clip(dumped.runs(), np.uint64(self.first), np.uint64(self.end))
        return runs[runs[:, 0] < runs[:, 1]]

    def _ends(self, first: int, end: int) -> npt.NDArray[np.uint64]:
        """Where the bytes of pages end in the file, by the numbers of their descriptors; nowhere, if not in it."""
        size = self._row.itemsize
        data = self.file.read(self.header.descriptors + size * first, size * (end - first))
        found = np.frombuffer(data, self._row, len(data) // size)
        ends = np.full(end - first, _NOWHERE, np.uint64)
        ends[: len(found)] = np.where(found["offset"] == 0, _NOWHERE, found["offset"] + found["size"])
        self.file.forget(self.header.descriptors + size * first, size * (end - first))
        return ends

    def _is_cut_off(self) -> bool:
        """Whether the page whose bytes are the last lies beyond the end. Pages of zeros share the bytes of one."""
        if isinstance(self.file, FlattenedFile) and self.file.cut_off:
            return True
        for end in range(self._count, 0, -_STEP):
            ends = self._ends(max(end - _STEP, 0), end)
            if ends.max() > self.file.size:
                return not self.header.status & INCOMPLETE
            if ends.min() < ends.max():
                return False
        return False

    def _lost(self) -> npt.NDArray[np.intp]:
        """Pages whose bytes are not in the file: for each, how many of the dump come before it."""
        steps = range(0, self._count, _STEP)
        lost = [at + np.flatnonzero(self._ends(at, min(at + _STEP, self._count)) > self.file.size) for at in steps]
        return self._before + np.concatenate([np.empty(0, np.intp), *lost])
