"""Many tables read at once: in place from a flat memory, by one ``read`` a table from any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pagewalk.errors import MemoryReadError
from pagewalk.memory import BadAnswer, Flat, read_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat
    from pagewalk.memory import Memory

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Grid", "Source"]

_BATCH = 512
"""Tables fetched before they are handed on."""


class Grid(NamedTuple):
    """The tables of one size that lie in one segment, in place.

    Attributes:
        first: Physical address of the first, in bytes.
        shift: log2 of a table's bytes.
        tables: Raw entries, shape (n, entries), uint64.
    """

    first: int
    shift: int
    tables: Words

    def rows(self, paddrs: Words) -> tuple[Places, Mask | None]:
        """Which table each address is, and which are none of them (None: all are)."""
        offset: Any = paddrs - np.uint64(self.first)
        row = offset >> np.uint64(self.shift)
        if len(row) and int(row.max()) >= len(self.tables):
            return row.view(np.intp), row >= len(self.tables)
        return row.view(np.intp), None


class Source:
    """Reads tables of a memory.

    Args:
        memory: Where they are.
        form: Says how large a table of a level is.
    """

    def __init__(self, memory: Memory, form: PagingFormat) -> None:
        self.memory = memory
        self.form = form
        self._segments = [s for s in memory.segments if not s.start % 8] if isinstance(memory, Flat) else []
        self._starts = np.array([segment.start for segment in self._segments], np.uint64)
        self._grids: dict[int, list[Grid]] = {}

    def grids(self, level: Level) -> list[Grid]:
        """The tables of a level that can be used in place, one grid a segment."""
        size = self.form.table_bytes(level)
        if size not in self._grids:
            self._grids[size] = [self._grid(start, data, size) for start, data in self._segments]
        return self._grids[size]

    @staticmethod
    def _grid(start: int, data: memoryview, size: int) -> Grid:
        """The whole tables of a segment, aligned to their size."""
        lead = -start % size
        count = max(len(data) - lead, 0) // size
        words = np.frombuffer(data, "<u8", count * size // 8, lead if count else 0)
        return Grid(start + lead, size.bit_length() - 1, words.reshape(count, size // 8))

    def one_grid(self, level: Level) -> Grid | None:
        """The only grid, where the memory is one segment and addresses are aligned by their format."""
        fits = len(self._segments) == 1 and self.form.page_size % self.form.table_bytes(level) == 0
        return self.grids(level)[0] if fits else None

    def rows(self, paddrs: Words, level: Level, out: Words) -> tuple[Words, Mask | None]:
        """Whole tables.

        Args:
            paddrs: Their physical addresses in bytes. Shape (n,), uint64.
            level: Their level.
            out: Room for them, shape (n, entries) at least; they may be shown in place instead.

        Returns:
            Raw entries, shape (n, entries), uint64, and which tables are in the memory, shape (n,); None if all are.
            The entries of one that is not are 0.
        """
        grid = self.one_grid(level)
        if grid is not None:
            row, outside = grid.rows(paddrs)
            if outside is None and not _misaligned(paddrs, grid):
                return _taken(grid.tables, row, out), None
        values, found = out[: len(paddrs)], np.zeros(len(paddrs), np.bool_)
        values[:] = 0
        for where, tables, at in self.pieces(paddrs, level):
            values[where] = tables[at]
            found[where] = True
        return values, None if found.all() else found

    def slots(self, paddrs: Words, index: Words, level: Level) -> tuple[Words, Mask]:
        """One entry of each table.

        Args:
            paddrs: The tables' physical addresses in bytes. Shape (n,), uint64.
            index: Which entry. Shape (n,), uint64.
            level: The tables' level.

        Returns:
            Raw entries, shape (n,), uint64, and whether the whole table is in the memory, shape (n,), bool.
        """
        grid = self.one_grid(level)
        if grid is not None:
            row, outside = grid.rows(paddrs)
            if outside is None and not _misaligned(paddrs, grid):
                place = (row << level.index_bits) + index.view(np.int64)
                return grid.tables.reshape(-1).take(place, mode="clip"), np.ones(len(paddrs), np.bool_)
        found = np.zeros(len(paddrs), np.bool_)
        values = np.zeros(len(paddrs), np.uint64)
        for where, tables, at in self.pieces(paddrs, level):
            values[where] = tables[at, index[where]]
            found[where] = True
        return values, found

    def pieces(self, paddrs: Words, level: Level) -> Iterator[tuple[Places, Words, Places]]:
        """The tables that are in the memory, as ``(where, tables, row)``: those at ``where`` are ``tables[row]``."""
        size = self.form.table_bytes(level)
        left = np.ones(len(paddrs), np.bool_)
        held = np.searchsorted(self._starts, paddrs, side="right") - 1
        for at in np.unique(held[held >= 0]).tolist():
            grid = self.grids(level)[at]
            where = np.flatnonzero((held == at) & (paddrs >= grid.first) & (paddrs % size == grid.first % size))
            row, outside = grid.rows(paddrs[where])
            if outside is not None:
                where, row = where[~outside], row[~outside]
            left[where] = False
            yield where, grid.tables, row
        if left.any():
            yield from self._fetched(paddrs, np.flatnonzero(left), size)

    def _fetched(self, paddrs: Words, places: Places, size: int) -> Iterator[tuple[Places, Words, Places]]:
        """The rest, each distinct table read once."""
        distinct, row = np.unique(paddrs[places], return_inverse=True)
        order = np.argsort(row, kind="stable")
        cuts = np.searchsorted(row[order], np.arange(0, len(distinct) + _BATCH, _BATCH))
        for batch, first in enumerate(range(0, len(distinct), _BATCH)):
            wanted = distinct[first : first + _BATCH]
            tables = np.zeros((len(wanted), size // 8), np.uint64)
            there = np.array([self._fetch(paddr, out) for paddr, out in zip(wanted.tolist(), tables, strict=True)])
            mine = order[cuts[batch] : cuts[batch + 1]]
            mine = mine[there[row[mine] - first]]
            yield places[mine], tables, row[mine] - first

    def _fetch(self, paddr: int, out: Words) -> bool:
        """Read one table into ``out``; whether it is in the memory."""
        try:
            out[:] = np.frombuffer(read_exactly(self.memory, paddr, out.nbytes), "<u8")
        except BadAnswer:
            raise
        except MemoryReadError:
            return False
        return True


def _misaligned(paddrs: Words, grid: Grid) -> bool:
    """Whether an address is not that of a table of the grid."""
    return bool(np.bitwise_or.reduce(paddrs - np.uint64(grid.first)) & np.uint64((1 << grid.shift) - 1))


def _taken(tables: Words, row: Places, out: Words) -> Words:
    """Rows of ``tables``: in place where they follow each other, else copied."""
    first, count = int(row[0]), len(row)
    if int(row[-1]) - first == count - 1 and (count == 1 or bool((row[1:] - row[:-1] == 1).all())):
        return tables[first : first + count]
    return tables.take(row, axis=0, out=out[:count], mode="clip")
