"""A memory over another, which keeps what is written: nothing reaches the memory below.

How it works. Memory is taken in *blocks*, as large as the largest table. What is written goes to a copy of its block; a
second copy stays as it was when the block was first needed, so that what has changed is known whatever happens below
meanwhile. Copies stand one after the other in one array, in the order they were first needed, so that NumPy works on
tables of an overlay as on those of a flat memory.
"""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk import abi
from pagewalk.doors import integer, plain, shortened
from pagewalk.errors import MemoryReadError, MemoryWriteError, UnsupportedError
from pagewalk.memory.exact import read_each, read_exactly
from pagewalk.memory.extents import extents_of, frames_of
from pagewalk.memory.protocol import is_flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.memory.protocol import Memory

    Words = npt.NDArray[np.uint64]
    Bytes = npt.NDArray[np.uint8]

__all__ = ["Changed", "Original", "Overlay"]

_ROOM: Final = 1 << 30
"""Bytes of blocks that are kept at most: tables of half a terabyte of small pages."""
_LEAST: Final = 1 << 22
_LARGE: Final = 1 << 20
"""Bytes from which on copies are worth huge pages, where there are any: page faults cost more than copying."""


class Changed(NamedTuple):
    """Blocks that differ from what they were.

    Attributes:
        paddrs: Their physical addresses, ascending. Shape (n,), uint64.
        was, now: Their bytes. Shape (n, block), uint8.
    """

    paddrs: Words
    was: Bytes
    now: Bytes


class Overlay:
    """A memory over another.

    Args:
        memory: The one below; it is read only.
        block: Bytes that are copied at a time, a power of two.

    Attributes:
        memory: The one below.
        block: Bytes of a block.
        arena: The copies, one after the other. Shape (bytes,), uint8. ``hold`` says where which is.
    """

    def __init__(self, memory: Memory, block: int = 4096) -> None:
        self.memory = memory
        self.block = block
        self._areas = _reserved(block)
        self.arena, self._was = (np.frombuffer(area, np.uint8) for area in self._areas)
        self._rows: dict[int, int] = {}
        self._sorted: Words = np.empty(0, np.uint64)
        self._order: npt.NDArray[np.intp] = np.empty(0, np.intp)
        self._saved: dict[int, Bytes] | None = None
        self._kept = 0
        for name in ("extent", "holds_frames", "check_extent"):
            if hasattr(memory, name):
                setattr(self, name, getattr(memory, name))

    def __repr__(self) -> str:
        return f"<Overlay of {len(self._rows)} blocks over {shortened(repr(self.memory), 64)}>"

    @property
    def extents(self) -> Words:
        """Where there is memory: as below."""
        return extents_of(self.memory)

    @property
    def frames(self) -> Words | None:
        """Where the machine had memory: as below."""
        return frames_of(self.memory)

    # -- a memory ----------------------------------------------------------------------------------------------------

    def read(self, paddr: int, size: int) -> bytes:
        """Read ``size`` bytes at ``paddr``.

        Raises:
            MemoryReadError: Not all of them are there.
        """
        paddr, size = integer(paddr, "paddr"), integer(size, "size")
        return self._asked(paddr, size, self.arena)

    def _asked(self, paddr: int, size: int, copies: Bytes) -> bytes:
        """The bytes at an address, out of one of the two copies of each block that is kept."""
        data = self._mixed(paddr, size, copies)
        return read_exactly(self.memory, paddr, size) if data is None else data

    def read_many(self, paddrs: Sequence[int], size: int) -> list[bytes | None]:
        """Read ``size`` bytes at each address; what is not kept here is asked for together."""
        return self._asked_many(paddrs, size, self.arena)

    def _asked_many(self, paddrs: Sequence[int], size: int, copies: Bytes) -> list[bytes | None]:
        """The same at many."""
        found = [self._mixed(integer(paddr, "paddr"), size, copies) for paddr in paddrs]
        missing = [at for at, data in enumerate(found) if data is None]
        for at, data in zip(missing, read_each(self.memory, [paddrs[at] for at in missing], size), strict=True):
            found[at] = data
        return found

    def _mixed(self, paddr: int, size: int, copies: Bytes) -> bytes | None:
        """Bytes out of kept blocks, and of the memory below between them; None: no block is kept."""
        first, last = paddr // self.block, (paddr + max(size, 1) - 1) // self.block
        if first == last:
            row = self._rows.get(first)
            return None if row is None else self._part(copies, row, paddr % self.block, size)
        kept = [number for number in range(first, last + 1) if number in self._rows]
        if not kept:
            return None
        data = bytearray(read_exactly(self.memory, paddr, size))
        for number in kept:
            low, high = max(paddr, number * self.block), min(paddr + size, (number + 1) * self.block)
            data[low - paddr : high - paddr] = self._part(copies, self._rows[number], low % self.block, high - low)
        return bytes(data)

    def _part(self, copies: Bytes, row: int, at: int, size: int) -> bytes:
        """Bytes of a copy."""
        start = row * self.block + at
        return copies[start : start + size].tobytes()

    def write(self, paddr: int, data: bytes) -> None:
        """Keep ``data`` as what is at ``paddr``, all of it or nothing.

        Raises:
            MemoryWriteError: Not all of it has a place in the memory below.
        """
        paddr, data = integer(paddr, "paddr"), plain(data)
        if paddr < 0 or paddr + len(data) > 1 << 64:
            raise MemoryWriteError(paddr, len(data), "no physical memory lies outside 64 bits")
        if not len(data):
            return
        numbers = range(paddr // self.block, (paddr + len(data) - 1) // self.block + 1)
        try:
            self.hold(np.array([number * self.block for number in numbers], np.uint64))
        except MemoryReadError as error:
            raise MemoryWriteError(paddr, len(data), f"outside the memory below ({error})") from None
        for number in numbers:
            low, high = max(paddr, number * self.block), min(paddr + len(data), (number + 1) * self.block)
            start = self._rows[number] * self.block + low % self.block
            self.arena[start : start + high - low] = np.frombuffer(data[low - paddr : high - paddr], np.uint8)

    # -- blocks in place ---------------------------------------------------------------------------------------------

    def hold(self, paddrs: Words, *, fresh: bool = False) -> Words:
        """Where in ``arena`` the bytes at some addresses are; their blocks are copied first where they are not yet.

        Args:
            paddrs: Physical addresses, shape (n,), uint64: what is to be changed, inside the block of each.
            fresh: All of their blocks is to be written: what is there now need not be.

        Raises:
            MemoryReadError: One is not in the memory below.
            UnsupportedError: There is no more room for copies.
        """
        blocks = np.asarray(paddrs, np.uint64) // np.uint64(self.block)
        at = self._sorted.searchsorted(blocks)
        known = self._sorted[at.clip(max=max(len(self._sorted) - 1, 0))] == blocks if len(self._sorted) else blocks < 0
        if not known.all():
            self._take(np.unique(blocks[~known]), fresh=fresh)
            at = self._sorted.searchsorted(blocks)
        rows = self._order[at]
        if self._saved is not None:
            self._save(rows)
        return rows.astype(np.uint64) * np.uint64(self.block) + np.asarray(paddrs, np.uint64) % np.uint64(self.block)

    def _take(self, blocks: Words, *, fresh: bool) -> None:
        """Copy blocks that are not kept yet."""
        first, count = len(self._rows), len(blocks)
        if (first + count) * self.block > len(self.arena):
            room = f"{len(self.arena):#x} bytes of tables"
            raise UnsupportedError(f"a change keeps {room} at most: commit it in parts")
        new = slice(first * self.block, (first + count) * self.block)
        for area in self._areas if count * self.block >= _LARGE else ():
            area.madvise(mmap.MADV_HUGEPAGE, *_whole_pages(new))
        self._copy(blocks.tolist(), self._was[new])
        if not fresh:
            self.arena[new] = self._was[new]
        self._rows.update(zip(blocks.tolist(), range(first, first + count), strict=True))
        self._index()

    def _copy(self, blocks: list[int], to: Bytes) -> None:
        """Copy blocks of the memory below, by number: a far machine is asked once, neighbours of a near one are one.

        Raises:
            MemoryReadError: One is not there.
        """
        memory, size = self.memory, self.block
        if not is_flat(memory):
            for at, data in enumerate(read_each(memory, [number * size for number in blocks], size)):
                if data is None:
                    raise _outside(memory, blocks[at] * size, size)
                to[at * size : (at + 1) * size] = np.frombuffer(data, np.uint8)
            return
        for first, count in _runs(blocks):
            view = memory.view(blocks[first] * size, count * size)
            found = read_exactly(memory, blocks[first] * size, count * size) if view is None else view
            _fill(to[first * size : (first + count) * size], np.frombuffer(found, np.uint8))

    def _index(self) -> None:
        """Sort the numbers of the blocks that are kept."""
        numbers = np.fromiter(self._rows, np.uint64, len(self._rows))
        self._order = numbers.argsort(kind="stable")
        self._sorted = numbers[self._order]

    # -- taking back, and telling ------------------------------------------------------------------------------------

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Whatever is written in here is taken back if it fails."""
        kept = self._kept = len(self._rows)
        self._saved = {}
        try:
            yield
        except BaseException:
            for row, data in self._saved.items():
                self.arena[row * self.block : (row + 1) * self.block] = data
            self._rows = dict(list(self._rows.items())[:kept])
            self._index()
            raise
        finally:
            self._saved = None

    def _save(self, rows: npt.NDArray[np.intp]) -> None:
        """Keep copies of blocks as they are before an attempt."""
        assert self._saved is not None
        for row in rows[rows < self._kept].tolist():  # what is new goes as a whole
            if row not in self._saved:
                self._saved[row] = self.arena[row * self.block : (row + 1) * self.block].copy()

    def as_it_was(self) -> Original:
        """The memory below as it was: what is kept, as it was when it was first needed, whatever happens meanwhile."""
        return Original(self)

    def changed(self) -> Changed:
        """The blocks that differ from what they were, by address."""
        count, size = len(self._rows), len(self._rows) * self.block
        now, was = (array[:size].reshape(count, self.block) for array in (self.arena, self._was))
        differ = (now.view(np.uint64) != was.view(np.uint64)).any(axis=1) if count else np.empty(0, np.bool_)
        rows = self._order[differ[self._order]]
        paddrs = self._sorted[differ[self._order]] * np.uint64(self.block)
        return Changed(paddrs, was[rows], now[rows])


class Original:
    """The memory below an overlay, with each block that is kept as it was when it was first needed.

    Args:
        overlay: The overlay.
    """

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay

    def __repr__(self) -> str:
        return f"<Original of {self._overlay!r}>"

    def read(self, paddr: int, size: int) -> bytes:
        """See ``Memory``."""
        return self._overlay._asked(integer(paddr, "paddr"), integer(size, "size"), self._overlay._was)

    def read_many(self, paddrs: Sequence[int], size: int) -> list[bytes | None]:
        """See ``ReadsMany``."""
        return self._overlay._asked_many(paddrs, size, self._overlay._was)


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Numbers, ascending, as runs of neighbours: the place of the first of each, and how many there are."""
    first = 0
    for at in range(1, len(numbers) + 1):
        if at == len(numbers) or numbers[at] != numbers[at - 1] + 1:
            yield first, at - first
            first = at


def _fill(to: Bytes, data: Bytes) -> None:
    """Copy bytes; zeros onto zeros cost no memory."""
    if any(np.count_nonzero(some.view(np.uint64)) for some in (data, to)):
        to[:] = data


def _outside(memory: Memory, paddr: int, size: int) -> MemoryReadError:
    """The error for a block that is not there."""
    return MemoryReadError(paddr, size, f"outside the memory below, {shortened(repr(memory), 64)}")


def _reserved(block: int) -> tuple[mmap.mmap, mmap.mmap]:
    """Twice zeros, of which the operating system gives out what is touched; as many as it lets them be."""
    size = _ROOM
    while True:
        try:
            return _anonymous(size), _anonymous(size)
        except OSError:
            if size <= max(_LEAST, block):
                raise
            size //= 2


def _anonymous(size: int) -> mmap.mmap:
    """Zeros that nobody has set memory aside for.

    Raises:
        OSError: There is not that much.
    """
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | abi.MAP_NORESERVE)


def _whole_pages(part: slice) -> tuple[int, int]:
    """Where the pages of a part begin, and their bytes."""
    first = part.start // mmap.PAGESIZE * mmap.PAGESIZE
    return first, part.stop - first
