"""Answers as columns: what the kernels write, what users get, and where it is gathered.

A *block* is a tuple of arrays of one length, one a column: the form in which rows go from a kernel to a ``Sink``.
``Columns`` shows one to users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.formats.arrays import attributes_of, kinds_of, shapes_of
from pagewalk.formats.codec import ATTRIBUTES, ATTRIBUTES_SHIFT, FLAGS, KEY_SHIFT, KIND_SHIFT, KINDS, SHAPE_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat, Window
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]
    Block: TypeAlias = tuple[npt.NDArray[Any], ...]

__all__ = [
    "DEPTH_SHIFT",
    "HOLES",
    "NO_DEPTH",
    "PAGES",
    "PAGES_RAW",
    "RUNS",
    "Columns",
    "Said",
    "Schema",
    "Sink",
    "allocate",
    "depths_of",
    "merged",
    "part",
    "said_by",
]

_TYPES: Final = {
    name: np.dtype(code)
    for name, code in (
        ("vaddr", "u8"), ("place", "u8"), ("state", "u4"), ("depth", "u1"), ("size", "u8"), ("entry", "u8"),
    )
}  # fmt: skip
_NO_ROWS: Final = {name: np.empty(0, dtype) for name, dtype in _TYPES.items()}
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
        return tuple(map(_TYPES.__getitem__, self.names))

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns as users know them."""
        return tuple(shown for name in self.names for shown in _SHOWN.get(name, (name,)))

    def empty(self) -> Block:
        """No rows."""
        return tuple(map(_NO_ROWS.__getitem__, self.names))


_SHOWN: Final = {"place": ("paddr",), "state": ("flags", "kind", "depth")}

PAGES: Final = Schema(("vaddr", "place", "state"))
"""``place`` is a physical address; of swap, bytes from the beginning of its device. ``state`` is that of ``formats``,
with the depth in place of the shape: what is the same in neighbours is one number, and is written at once."""
PAGES_RAW: Final = Schema((*PAGES.names, "entry"))
RUNS: Final = Schema((*PAGES.names, "size"))
HOLES: Final = Schema(("vaddr", "depth", "size"))


DEPTH_SHIFT: Final = SHAPE_SHIFT
NO_DEPTH: Final = 0xFFFF_FFFF ^ 7 << DEPTH_SHIFT
"""The bits of a row's state that an entry's state has too."""


class Said(NamedTuple):
    """What the state of a row says."""

    flags: int
    kind: int
    attributes: int
    depth: int

    @property
    def state(self) -> int:
        """The state that says it."""
        return self.flags | self.attributes << ATTRIBUTES_SHIFT | self.kind << KIND_SHIFT | self.depth << DEPTH_SHIFT


def said_by(state: int) -> Said:
    """A row's state, taken apart."""
    kind, attributes = state >> KIND_SHIFT & KINDS, state >> ATTRIBUTES_SHIFT & ATTRIBUTES
    return Said(state & FLAGS, kind, attributes, state >> DEPTH_SHIFT & 7)


def depths_of(states: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """The depths in rows' states, shape (n,), uint8."""
    depths: npt.NDArray[np.uint8] = shapes_of(states)
    return depths


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
            if not np.may_share_memory(column, place):
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


class Shape(NamedTuple):
    """Which levels translate which addresses: a format, and windows."""

    format: PagingFormat
    windows: tuple[Window, ...]


class Columns:
    """Rows by ascending address, one array a column: take a column once, then index it; most are worked out when asked.

    Attributes:
        names: The columns there are.
        schema, block: The columns as the engine has them.
        vaddr: First address, bytes, uint64.
        state: Flags, kind, attributes and depth in one number, as the engine has them, uint32. Not of holes.
        entry: The raw entry, uint64, where it was asked for.
    """

    __slots__ = ("_end", "_tables", "block", "names", "schema")

    def __init__(self, schema: Schema, block: Block, tables: PageTables | Shape, last: int) -> None:
        self.names = schema.shown
        self.block = block
        self.schema = schema
        self._tables = Shape(tables.format, tables.windows)
        self._end = last

    @classmethod
    def allocate(cls, rows: int, form: PagingFormat, *, coalesce: bool = False, entries: bool = False) -> Columns:
        """Columns to be used as ``out=``: room for ``rows`` rows.

        Args:
            rows: How many.
            form: The format of the tables.
            coalesce, entries: As they will be asked for.
        """
        schema = RUNS if coalesce else PAGES_RAW if entries else PAGES
        return cls(schema, allocate(schema, rows), Shape(form, form.windows), (1 << 64) - 1)

    def __len__(self) -> int:
        return len(self.block[0])

    def __repr__(self) -> str:
        return f"<Columns {', '.join(self.names)}: {len(self):,} rows>"

    def __getattr__(self, name: str) -> npt.NDArray[Any]:
        if name in Columns.__slots__:  # not set yet: pickle and copy look before they do
            raise AttributeError(name)
        try:
            return self.block[self.schema.names.index(name)]
        except ValueError:
            raise AttributeError(f"these columns have no {name}: they are {', '.join(self.names)}") from None

    @property
    def flags(self) -> npt.NDArray[np.uint32]:
        """``Flag`` bits, shape (n,), uint32: rights are what every level grants. Not of holes."""
        return self.state & np.uint32(FLAGS)

    @property
    def kind(self) -> npt.NDArray[np.uint8]:
        """``Kind``, shape (n,), uint8. Not of holes."""
        return kinds_of(self.state)

    @property
    def depth(self) -> npt.NDArray[np.uint8]:
        """The entry's level, as the kernel counts (0 PGD .. 4 PTE), shape (n,), uint8."""
        if "depth" in self.schema.names:
            return self.block[self.schema.names.index("depth")]
        return depths_of(self.state)

    @property
    def paddr(self) -> Words:
        """Physical address, bytes, shape (n,), uint64; ``NO_PADDR`` where no frame is known. Not of holes."""
        place, swap = self.place, self._swapped
        return place if swap is None else np.where(swap, np.uint64(NO_PADDR), place)

    @property
    def _swapped(self) -> Mask | None:
        """Which rows are swap; None: none are."""
        swap: Mask = self.kind == Kind.SWAP
        return swap if swap.any() else None

    @property
    def memory(self) -> npt.NDArray[np.uint8]:
        """The number of the memory type that the entries select, shape (n,), uint8. Not of holes."""
        return self._attribute(attributes_of(self.state) & np.uint8((1 << KEY_SHIFT) - 1))

    @property
    def pkey(self) -> npt.NDArray[np.uint8]:
        """The number of the protection key, shape (n,), uint8. Not of holes."""
        return self._attribute(attributes_of(self.state) >> np.uint8(KEY_SHIFT))

    def _attribute(self, numbers: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Numbers, 0 where the row is swap."""
        swap = self._swapped
        return numbers if swap is None else np.where(swap, np.uint8(0), numbers)

    @property
    def swap_type(self) -> npt.NDArray[np.uint8]:
        """Which swap device, shape (n,), uint8; 0 where the row is no swap. Not of holes."""
        swap = self._swapped
        if swap is None:
            return np.zeros(len(self), np.uint8)
        return np.where(swap, attributes_of(self.state), np.uint8(0))

    @property
    def swap_offset(self) -> Words:
        """The first slot in it, counted in pages, shape (n,), uint64; 0 where the row is no swap. Not of holes."""
        swap, shift = self._swapped, np.uint64(self._tables.format.last.shift)
        return np.zeros(len(self), np.uint64) if swap is None else np.where(swap, self.place >> shift, np.uint64(0))

    @property
    def page_size(self) -> Words:
        """Bytes that one page of the row spans, that of a group as a whole, shape (n,), uint64."""
        sizes = self._by_level(lambda level: level.span)
        if "state" in self.schema.names:
            grouped = self.state & np.uint32(Flag.GROUPED) != 0
            if grouped.any():
                sizes[grouped] = self._by_level(lambda level: level.page_sizes[-1] if level.may_be_leaf else 0)[grouped]
        return sizes

    @property
    def size(self) -> Words:
        """Bytes of the row, cut off at the range's end, shape (n,), uint64."""
        if "size" in self.names:
            return self.block[self.schema.names.index("size")]
        spans = self._by_level(lambda level: level.span)
        last: Words = np.minimum(self.vaddr | (spans - np.uint64(1)), np.uint64(self._end))
        return last - self.vaddr + np.uint64(1)

    def _by_level(self, number: Callable[[Level], int]) -> Words:
        """A number of each row's level, as the row's window has it."""
        numbers = np.empty(len(self), np.uint64)
        first = 0
        for window in self._tables.windows:
            end = int(self.vaddr.searchsorted(np.uint64(window.end - 1), side="right"))
            own = np.array([number(level) for level in self._tables.format.levels_of(window)], np.uint64)
            numbers[first:end] = own.take(self.depth[first:end])
            first = end
        return numbers

    def records(self, dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
        """The columns that ``dtype`` names, as a structured array."""
        rows = np.empty(len(self), dtype)
        for name in dtype.names or ():
            rows[name] = getattr(self, name)
        return rows
