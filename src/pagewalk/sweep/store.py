"""Tables to be written: in place in a flat memory, by ``write`` in any other."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.errors import MemoryWriteError
from pagewalk.memory import Flat, WritableMemory, read_exactly
from pagewalk.sweep.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Store"]


class Store:
    """Writes tables.

    Args:
        tables: The page tables.
    """

    def __init__(self, tables: PageTables) -> None:
        self._memory = tables.memory
        self._flat = isinstance(tables.memory, Flat)
        self._last = tables.format.levels[-1]
        grid = Source(tables.memory, tables.format).one_grid(self._last)
        self._grid = grid if grid is not None and grid.tables.flags.writeable else None

    @property
    def in_bulk(self) -> bool:
        """Whether many tables can be written at once."""
        return self._grid is not None

    def has(self, paddrs: Words) -> Mask:
        """Which tables of the last level lie where many can be written at once."""
        assert self._grid is not None
        offset: Any = paddrs - np.uint64(self._grid.first)
        whole = offset & np.uint64((1 << self._grid.shift) - 1) == 0
        held: Mask = whole & (offset >> np.uint64(self._grid.shift) < len(self._grid.tables))
        return held

    @contextmanager
    def open(self, paddrs: list[int], level: Level) -> Iterator[Words]:
        """The slots of tables, one after the other, shape (tables * entries,), uint64.

        What is written to them is in the memory at the end.
        """
        if len(paddrs) > 1:
            yield from self._many(paddrs)
            return
        size = 8 << level.index_bits
        view = self._memory.view(paddrs[0], size) if self._flat else None  # type: ignore[attr-defined]
        if view is not None and not view.readonly:
            yield np.frombuffer(view, "<u8")
            return
        before = np.frombuffer(read_exactly(self._memory, paddrs[0], size), "<u8")
        row = before.copy()
        try:
            yield row
        finally:
            changed = np.flatnonzero(before != row)
            if len(changed):
                self.put(changed.astype(np.uint64) * np.uint64(8) + np.uint64(paddrs[0]), row[changed])

    def _many(self, paddrs: list[int]) -> Iterator[Words]:
        """Tables of the last level, all of them in the grid: in place if they follow each other."""
        assert self._grid is not None
        tables, (rows, _) = self._grid.tables, self._grid.rows(np.array(paddrs, np.uint64))
        if int(rows[-1]) - int(rows[0]) == len(rows) - 1 and bool((rows[1:] - rows[:-1] == 1).all()):
            yield tables[int(rows[0]) : int(rows[-1]) + 1].reshape(-1)
            return
        slots = tables[rows]
        try:
            yield slots.reshape(-1)
        finally:
            tables[rows] = slots

    def fill_empty(self, compiled: Any, paddrs: list[int], places: tuple[int, int], filling: tuple[Any, Any]) -> int:
        """Put one value into the empty slots of tables of the last level, by a compiled kernel.

        Args:
            compiled: The module of kernels.
            paddrs: The tables, in the grid.
            places: The first slot, counted from the first table's first, and the end.
            filling: The bits that make a slot not empty, and the value.

        Returns:
            How many slots that were.
        """
        assert self._grid is not None
        rows, _ = self._grid.rows(np.array(paddrs, np.uint64))
        limits = np.int64(places[0]), np.int64(places[1])
        return int(compiled.fill_empty(self._grid.tables, rows, limits, *map(np.uint64, filling)))

    def put(self, slots: Words, values: Words) -> None:
        """Write slots: ``values[i]`` at physical address ``slots[i]``, neighbours next to each other."""
        if self._grid is not None:
            place: Any = slots - np.uint64(self._grid.first) >> np.uint64(3)
            flat = self._grid.tables.reshape(-1)
            if int(place.max()) < len(flat):
                flat[place.view(np.intp)] = values
                return
        cuts = np.flatnonzero(slots[1:] - slots[:-1] != np.uint64(8)) + 1
        for some, run in zip(np.split(slots, cuts), np.split(values, cuts), strict=True):
            self._writable(int(some[0])).write(int(some[0]), run.astype("<u8").tobytes())

    def _writable(self, paddr: int) -> WritableMemory:
        """The memory, if it can be written."""
        if isinstance(self._memory, WritableMemory):
            return self._memory
        raise MemoryWriteError(paddr, 8, f"{type(self._memory).__name__} has no write method")

    def fill(self, frames: Words, first: int, count: int, good: tuple[Any, Mask | None]) -> Any:
        """Fill new tables: ``count`` slots from slot ``first`` of the first one on; the others are empty.

        Args:
            frames: Where the tables are. Shape (n,), uint64.
            first: The slot that the first value is for.
            count: How many slots.
            good: A value for all or one each, and which to leave empty.

        Returns:
            How many were filled, or which, counted from ``first``.
        """
        values, skip = good
        if self._grid is not None:
            row, outside = self._grid.rows(frames)
            if outside is None and np.ndim(values) == 0 and skip is None:
                return self._fill_alike(row, first, count, values)
        contents = np.zeros(len(frames) << self._last.index_bits, np.uint64)
        slots = contents[first : first + count]
        slots[:] = values if np.ndim(values) == 0 else values[:count]
        if skip is not None:
            slots[skip[:count]] = 0
        tables = contents.reshape(len(frames), -1)
        if self._grid is not None and outside is None:
            self._grid.tables[row] = tables
        else:
            for frame, table in zip(frames.tolist(), tables, strict=True):
                self._writable(frame).write(frame, table.astype("<u8").tobytes())
        return count if skip is None else np.flatnonzero(~skip[:count])

    def _fill_alike(self, row: npt.NDArray[np.intp], first: int, count: int, value: Any) -> int:
        """Fill tables with one value."""
        assert self._grid is not None
        tables, per = self._grid.tables, 1 << self._last.index_bits
        cuts = [0, *(np.flatnonzero(row[1:] - row[:-1] != 1) + 1).tolist(), len(row)]
        for low, high in pairwise(cuts):
            tables[int(row[low]) : int(row[high - 1]) + 1] = value
        tables[row[0], :first] = 0
        tables[row[-1], per - (len(row) * per - first - count) :] = 0
        return count
