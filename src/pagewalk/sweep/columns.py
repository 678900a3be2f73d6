"""Answers as columns: what the kernels write, what users get, and where it is gathered.

A *block* is a tuple of arrays of one length, one a column: the form in which rows go from a kernel to a ``Sink``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.formats import PagingFormat

    Words = npt.NDArray[np.uint64]
    Block: TypeAlias = tuple[npt.NDArray[Any], ...]

__all__ = ["HOLES", "PAGES", "PAGES_RAW", "RUNS", "Columns", "Schema", "Sink", "allocate", "merged", "part"]

_TYPES: Final = {"vaddr": "u8", "paddr": "u8", "flags": "u4", "kind": "u1", "depth": "u1", "size": "u8", "entry": "u8"}
_PAD: Final = 64 * 17
"""Between columns: addresses that differ by a multiple of 4096 would hinder each other in the cache."""
_LARGE: Final = 1 << 16
_MOVE: Final = 1 << 18
_BLOCK: Final = 1 << 21
"""Rows of a block at most: so large that its memory goes back to the operating system at once when it is given up."""


class Schema(NamedTuple):
    """Which columns an answer has, in order."""

    names: tuple[str, ...]

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        """The columns' types."""
        return tuple(np.dtype(_TYPES[name]) for name in self.names)

    def empty(self) -> Block:
        """No rows."""
        return tuple(np.empty(0, dtype) for dtype in self.dtypes)


PAGES: Final = Schema(("vaddr", "paddr", "flags", "kind", "depth"))
PAGES_RAW: Final = Schema((*PAGES.names, "entry"))
RUNS: Final = Schema((*PAGES.names, "size"))
HOLES: Final = Schema(("vaddr", "depth", "size"))


def allocate(schema: Schema, rows: int) -> Block:
    """Columns carved from one piece of memory, which the operating system gives out only as it is touched."""
    offsets, at = [], 0
    for dtype in schema.dtypes:
        offsets.append(at)
        at += -(-rows * dtype.itemsize // 64) * 64 + _PAD
    data = np.empty(at + 64, np.uint8)
    data = data[-data.ctypes.data % 64 :]
    return tuple(
        data[first : first + rows * dtype.itemsize].view(dtype)
        for first, dtype in zip(offsets, schema.dtypes, strict=True)
    )


def part(block: Block, rows: Any) -> Block:
    """Some rows of a block: a slice, a mask or places."""
    return tuple(column[rows] for column in block)


def merged(low: Block, high: Block) -> Block:
    """Two blocks, each by address, as one by address."""
    if not len(low[0]) or not len(high[0]):
        return high if len(high[0]) else low
    joined = tuple(np.concatenate(pair) for pair in zip(low, high, strict=True))
    if low[0][-1] < high[0][0]:
        return joined
    return part(joined, np.argsort(joined[0], kind="stable"))


class Sink:
    """Gathers blocks.

    Args:
        schema: Their columns.
        out: Columns of the caller's, to be filled; they cannot grow.
        bound: Rows to expect at most: room for them is set aside, untouched.
    """

    def __init__(self, schema: Schema, out: Block | None = None, bound: int = 0) -> None:
        self.schema = schema
        self.fixed = out is not None
        self._blocks: list[tuple[Block, int]] = [] if out is None else [(out, 0)]
        if out is None and bound:
            self.reserve(bound)

    def __len__(self) -> int:
        return sum(used for _, used in self._blocks)

    def reserve(self, rows: int) -> None:
        """Set room aside for that many more rows, if there is so much memory."""
        if self.fixed or self._free() >= rows:
            return
        try:
            self._blocks.append((allocate(self.schema, rows), 0))
        except MemoryError:
            self._blocks.append((allocate(self.schema, _LARGE), 0))

    def _free(self) -> int:
        """Rows that the last block still holds."""
        if not self._blocks:
            return 0
        block, used = self._blocks[-1]
        return len(block[0]) - used

    def room(self, rows: int) -> Block | None:
        """Where the next ``rows`` rows go, to be filled in place; None if there is no such place."""
        if not rows or self._free() < rows:
            return None
        block, used = self._blocks[-1]
        return part(block, slice(used, used + rows))

    def add(self, block: Block) -> None:
        """Take rows in, those that were filled in place too.

        Raises:
            ValueError: The caller's columns are full.
        """
        rows = len(block[0])
        if not rows:
            return
        if self._free() < rows:
            if self.fixed:
                raise ValueError(
                    f"out= holds {len(self._blocks[0][0][0]):,} rows, and there are more: give it more rows"
                )
            self._blocks.append((allocate(self.schema, max(rows, min(max(len(self), 1024), _BLOCK))), 0))
        target, used = self._blocks[-1]
        for to, column in zip(target, block, strict=True):
            place = to[used : used + rows]
            if column.ctypes.data != place.ctypes.data:
                place[:] = column
        self._blocks[-1] = (target, used + rows)

    def take_over(self, parts: Sequence[Sink]) -> None:
        """Take the rows of sinks that have filled the room of this one, each from its own place on."""
        target, used = self._blocks[-1]
        for sink in parts:
            for block, rows in sink._blocks:
                for to, column in zip(target, block, strict=True):
                    _move(column[:rows], to[used : used + rows])
                used += rows
        self._blocks[-1] = (target, used)

    def share(self, first: int, rows: int) -> Sink:
        """A sink for the room of ``rows`` rows that begins ``first`` rows from here."""
        target, used = self._blocks[-1]
        return Sink(self.schema, part(target, slice(used + first, used + first + rows)))

    def drain(self) -> Iterator[Block]:
        """The rows, each block given up as it is handed out."""
        self._blocks.reverse()
        while self._blocks:
            yield part(*self._last_block())

    def _last_block(self) -> tuple[Block, slice]:
        """The last block and its rows, which the sink forgets."""
        block, used = self._blocks.pop()
        return block, slice(0, used)

    def result(self) -> Block:
        """All rows."""
        if len(self._blocks) <= 1:
            return next(self.drain(), self.schema.empty())
        whole = allocate(self.schema, len(self))
        done = 0
        for block in self.drain():
            for to, column in zip(whole, block, strict=True):
                to[done : done + len(column)] = column
            done += len(block[0])
        return whole


def _move(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    """Copy down, in pieces: the two may overlap, and NumPy would copy all of it aside."""
    if source.ctypes.data == target.ctypes.data:
        return
    for at in range(0, len(source), _MOVE):
        target[at : at + _MOVE] = source[at : at + _MOVE]


class Columns:
    """Rows by ascending address, one array a column. Iterating or indexing goes by column: ``columns.vaddr[3]``.

    Attributes:
        names: The columns there are.
        vaddr: First address, bytes, uint64.
        paddr: Its physical address, bytes, uint64; ``NO_PADDR`` where no frame is known. Not of holes.
        flags: ``Flag`` bits, uint32: rights are what every level grants. Not of holes.
        kind: ``Kind``, uint8. Not of holes.
        depth: The entry's level, as the kernel counts (0 PGD .. 4 PTE), uint8.
        entry: The raw entry, uint64, where it was asked for.
    """

    __slots__ = ("_form", "_last", "block", "names")

    def __init__(self, schema: Schema, block: Block, form: PagingFormat, last: int) -> None:
        self.names = schema.names
        self.block = block
        self._form = form
        self._last = last

    @classmethod
    def allocate(cls, rows: int, form: PagingFormat, *, coalesce: bool = False, entries: bool = False) -> Columns:
        """Columns to be used as ``out=``: room for ``rows`` rows.

        Args:
            rows: How many.
            form: The format of the tables.
            coalesce, entries: As they will be asked for.
        """
        schema = RUNS if coalesce else PAGES_RAW if entries else PAGES
        return cls(schema, allocate(schema, rows), form, (1 << 64) - 1)

    def __len__(self) -> int:
        return len(self.block[0])

    def __repr__(self) -> str:
        return f"<Columns {', '.join(self.names)}: {len(self):,} rows>"

    def __getattr__(self, name: str) -> npt.NDArray[Any]:
        if name in Columns.__slots__:  # not set yet: pickle and copy look before they do
            raise AttributeError(name)
        try:
            return self.block[self.names.index(name)]
        except ValueError:
            raise AttributeError(f"these columns have no {name}: they are {', '.join(self.names)}") from None

    @property
    def page_size(self) -> Words:
        """Bytes that one entry of the row's level covers, shape (n,), uint64."""
        return np.array([level.span for level in self._form.levels], np.uint64).take(self.depth)

    @property
    def size(self) -> Words:
        """Bytes of the row, cut off at the range's end, shape (n,), uint64."""
        if "size" in self.names:
            return self.block[self.names.index("size")]
        return np.minimum(self.vaddr | (self.page_size - 1), np.uint64(self._last)) - self.vaddr + 1

    def records(self, dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
        """The columns that ``dtype`` names, as a structured array."""
        rows = np.empty(len(self), dtype)
        for name in dtype.names or ():
            rows[name] = getattr(self, name)
        return rows
