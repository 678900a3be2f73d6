"""Memories that lie in a file as pieces, each of which has to be unpacked before it can be read.

What was unpacked last is kept, up to so many bytes. Where a piece lies and how it is unpacked, a subclass says.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.doors import integer
from pagewalk.errors import MemoryReadError
from pagewalk.memory.files.mapped import OfFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from pagewalk.memory.files.mapped import MappedFile

__all__ = ["KEPT", "Gone", "Piece", "PiecewiseMemory"]

KEPT: Final = 32 << 20
"""Bytes of unpacked pieces that are kept."""
_PASSED: Final = 1024
"""Pieces that are unpacked before the files' own pages are let go of: each may have brought 64 KiB of them in."""
_TOLD: Final = 3
"""Runs of memory that a message names."""


class Piece(NamedTuple):
    """A piece of memory: where it begins, and its bytes."""

    start: int
    data: bytes


class Gone(NamedTuple):
    """Why there is no piece: the error to raise, and its reason."""

    error: type[MemoryReadError]
    why: str


class PiecewiseMemory(OfFiles, ABC):
    """Physical memory in pieces.

    Args:
        files: What it lies in.

    Attributes:
        closed: Whether ``close`` was called.
    """

    def __init__(self, files: Sequence[MappedFile]) -> None:
        self._files = tuple(files)
        self._kept: OrderedDict[int, Piece] = OrderedDict()
        self._bytes = self._passed = 0
        self._lock = threading.Lock()
        self.closed = False

    @abstractmethod
    def _number(self, paddr: int) -> int | Gone:
        """The number of the piece that holds an address."""

    @abstractmethod
    def _unpacked(self, number: int) -> Piece | Gone:
        """A piece by its number."""

    def _at_once(self, paddrs: list[int], size: int) -> dict[int, bytes]:
        """Bytes at some of many addresses, where a subclass knows a quicker way than one after the other."""
        return {}

    def _filled(self, paddrs: list[int], size: int, buffer: memoryview) -> list[bool]:
        """The same, put into a buffer side by side; which were."""
        return [False] * len(paddrs)

    @property
    @abstractmethod
    def extents(self) -> npt.NDArray[np.uint64]:
        """Where there is memory: ``[start, end)`` of each run, ascending and apart. Shape (runs, 2), uint64."""

    @property
    def extent(self) -> str:
        """Where there is memory, for messages."""
        runs = self.extents.tolist()
        told = [f"[{start:#x}, {end:#x})" for start, end in (runs if len(runs) <= _TOLD else runs[: _TOLD - 1])]
        if len(runs) <= _TOLD:
            return ", ".join(told) or "nothing"
        return f"{', '.join(told)} and {len(runs) - _TOLD + 1:,} more up to {runs[-1][1]:#x}"

    def read(self, paddr: int, size: int) -> bytes:
        """Read ``size`` bytes at ``paddr``.

        Raises:
            PageNotInDump: The machine had some of them, and the dump leaves them out.
            MemoryReadError: It had not.
            BadAnswer: The file was closed, or cut off.
        """
        paddr, size = integer(paddr, "paddr"), integer(size, "size")
        self._check(paddr, size)
        found = self._joined(paddr, size)
        if isinstance(found, Gone):
            raise found.error(paddr, size, found.why)
        return found

    def read_many(self, paddrs: Sequence[int], size: int) -> list[bytes | None]:
        """Read ``size`` bytes at each address. None: not all there."""
        asked, size = [integer(paddr, "paddr") for paddr in paddrs], integer(size, "size")
        if not asked:
            return []
        self._check(asked[0], size)
        found = self._at_once(asked, size)
        return [found[paddr] if paddr in found else self._answer(paddr, size) for paddr in asked]

    def fill(self, paddrs: Sequence[int], size: int, buffer: memoryview) -> list[bool]:
        """Read ``size`` bytes at each address into a buffer, one after the other; which are there.

        Whole pieces that are asked for together are not kept: whoever asks so goes through all of them once.
        """
        asked, size = [integer(paddr, "paddr") for paddr in paddrs], integer(size, "size")
        if not asked:
            return []
        self._check(asked[0], size)
        there = self._filled(asked, size, buffer)
        if not all(there):
            for at in sorted((at for at, done in enumerate(there) if not done), key=asked.__getitem__):
                data = self._answer(asked[at], size)
                if data is not None:
                    buffer[at * size : (at + 1) * size] = data
                    there[at] = True
        return there

    def read_into(self, paddr: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from ``paddr`` on.

        Raises:
            MemoryReadError: Not all of them are there.
        """
        self._check(paddr, len(buffer))
        at = 0
        for part in self._parts(paddr, len(buffer)):
            if isinstance(part, Gone):
                raise part.error(paddr, len(buffer), part.why)
            buffer[at : at + len(part)] = part
            at += len(part)

    def close(self) -> None:
        """Let go of the files, and of what was unpacked."""
        self.closed = True
        with self._lock:
            self._kept.clear()
            self._bytes = 0
        for file in self._files:
            file.close()

    def _check(self, paddr: int, size: int) -> None:
        """Refuse where a file was closed or cut off, or bytes that no memory has."""
        for file in self._files:
            file.check(paddr, size)
        if size < 0 or paddr < 0:
            raise MemoryReadError(paddr, size, f"outside the memory, which has {self.extent}")

    def _answer(self, paddr: int, size: int) -> bytes | None:
        """Bytes, None if they are gone; mostly they are one piece, or in one."""
        piece = self._piece(paddr)
        if size > 0 and isinstance(piece, Piece):
            start, data = piece
            if start == paddr and len(data) == size:
                return data
            if paddr + size <= start + len(data):
                return data[paddr - start : paddr - start + size]
        found = self._joined(paddr, size)
        return None if isinstance(found, Gone) else found

    def _joined(self, paddr: int, size: int) -> bytes | Gone:
        """Bytes out of one piece or several."""
        parts = []
        for part in self._parts(paddr, size):
            if isinstance(part, Gone):
                return part
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _parts(self, paddr: int, size: int) -> Iterator[bytes | Gone]:
        """Bytes, piece by piece, up to the first that is gone."""
        end = paddr + size
        while paddr < end:
            piece = self._piece(paddr)
            if isinstance(piece, Gone):
                yield piece
                return
            start, data = piece
            whole = start == paddr and len(data) <= end - paddr
            yield data if whole else data[paddr - start : end - start]
            paddr = start + len(data)

    def _piece(self, paddr: int) -> Piece | Gone:
        """The piece that holds an address, from those kept or unpacked now."""
        number = self._number(paddr) if paddr >= 0 else Gone(MemoryReadError, "no address is negative")
        if isinstance(number, Gone):
            return number
        with self._lock:
            kept = self._kept.get(number)
            if kept is not None:
                self._kept.move_to_end(number)
                return kept
        piece = self._unpacked(number)
        if isinstance(piece, Piece):
            self._keep({number: piece})
        return piece

    def _kept_of(self, numbers: Iterable[int]) -> dict[int, Piece]:
        """Those of some pieces that are kept."""
        with self._lock:
            return {number: self._kept[number] for number in numbers if number in self._kept}

    def _keep(self, pieces: Mapping[int, Piece]) -> None:
        """Keep pieces, and let those go that were not asked for longest."""
        with self._lock:
            if self.closed:
                return
            new = {number: piece for number, piece in pieces.items() if number not in self._kept}
            self._kept.update(new)
            self._bytes += sum(len(piece.data) for piece in new.values())
            while self._bytes > KEPT:
                _, old = self._kept.popitem(last=False)
                self._bytes -= len(old.data)
        self._pass(len(new))

    def _pass(self, pieces: int) -> None:
        """Note that pieces were unpacked: now and then the files' own pages are let go of."""
        with self._lock:
            self._passed += pieces
            if self._passed >= _PASSED and not self.closed:
                self._passed = 0
                for file in self._files:
                    file.forget(0, file.stored)
