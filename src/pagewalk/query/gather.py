"""Many tables read at once: in place from a flat memory, by one ``read`` a table from any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pagewalk.errors import MemoryReadError
from pagewalk.memory import Flat

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat
    from pagewalk.memory import Memory

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]

__all__ = ["BATCH", "Gather"]

BATCH = 512
"""Tables worked on at a time: 2 MiB of entries, so that they stay in the cache."""


class _Piece(NamedTuple):
    """Some of the tables asked for: ``tables[row]`` are those at ``where`` in the question."""

    where: Places
    tables: Words
    row: Places


class Gather:
    """Reads tables of a memory.

    Args:
        memory: Where they are.
        format: Says how large a table of a level is.
    """

    def __init__(self, memory: Memory, format: PagingFormat) -> None:  # noqa: A002 - as everywhere
        self.memory = memory
        self.format = format
        self._segments = [s for s in memory.segments if not s.start % 8] if isinstance(memory, Flat) else []
        self._starts = np.array([segment.start for segment in self._segments], np.uint64)

    def rows(self, paddrs: Words, level: Level) -> tuple[Words, npt.NDArray[np.bool_]]:
        """Whole tables.

        Args:
            paddrs: Their physical addresses in bytes. Shape (n,), uint64.
            level: Their level.

        Returns:
            Raw entries, shape (n, entries), uint64, and whether a table is in the memory, shape (n,), bool. The
            entries of one that is not are 0.
        """
        found = np.zeros(len(paddrs), np.bool_)
        values = np.zeros((len(paddrs), level.entries), np.uint64)
        for where, tables, row in self._pieces(paddrs, level):
            values[where] = tables[row]
            found[where] = True
        return values, found

    def slots(self, paddrs: Words, index: Words, level: Level) -> tuple[Words, npt.NDArray[np.bool_]]:
        """One entry of each table.

        Args:
            paddrs: The tables' physical addresses in bytes. Shape (n,), uint64.
            index: Which entry. Shape (n,), uint64.
            level: The tables' level.

        Returns:
            Raw entries, shape (n,), uint64, and whether the whole table is in the memory, shape (n,), bool.
        """
        found = np.zeros(len(paddrs), np.bool_)
        values = np.zeros(len(paddrs), np.uint64)
        for where, tables, row in self._pieces(paddrs, level):
            values[where] = tables[row, index[where]]
            found[where] = True
        return values, found

    def _pieces(self, paddrs: Words, level: Level) -> Iterator[_Piece]:
        """The tables that are in the memory, in place where they can be."""
        size = self.format.table_bytes(level)
        left = np.ones(len(paddrs), np.bool_)
        for piece in self._in_place(paddrs, size):
            left[piece.where] = False
            yield piece
        if left.any():
            yield from self._fetched(paddrs, np.flatnonzero(left), size)

    def _in_place(self, paddrs: Words, size: int) -> Iterator[_Piece]:
        """The tables that lie in one segment, aligned to their size."""
        held = np.searchsorted(self._starts, paddrs, side="right") - 1
        for at in np.unique(held[held >= 0]).tolist():
            start, data = self._segments[at]
            lead = -start % size
            count = max(len(data) - lead, 0) // size
            if not count:
                continue
            tables = np.frombuffer(data, "<u8", count * size // 8, lead).reshape(count, size // 8)
            first = start + lead
            fits = (held == at) & (paddrs >= first) & (paddrs < first + count * size) & (paddrs % size == 0)
            where = np.flatnonzero(fits)
            yield _Piece(where, tables, ((paddrs[where] - first) // size).astype(np.intp))

    def _fetched(self, paddrs: Words, places: Places, size: int) -> Iterator[_Piece]:
        """The rest, each distinct table read once."""
        distinct, row = np.unique(paddrs[places], return_inverse=True)
        order = np.argsort(row, kind="stable")
        cuts = np.searchsorted(row[order], np.arange(0, len(distinct) + BATCH, BATCH))
        for batch, first in enumerate(range(0, len(distinct), BATCH)):
            wanted = distinct[first : first + BATCH]
            tables = np.zeros((len(wanted), size // 8), np.uint64)
            there = np.array([self._fetch(paddr, out) for paddr, out in zip(wanted.tolist(), tables, strict=True)])
            mine = order[cuts[batch] : cuts[batch + 1]]
            mine = mine[there[row[mine] - first]]
            yield _Piece(places[mine], tables, row[mine] - first)

    def _fetch(self, paddr: int, out: Words) -> bool:
        """Read one table into ``out``; whether it is in the memory."""
        try:
            out[:] = np.frombuffer(self.memory.read(paddr, out.nbytes), "<u8")
        except MemoryReadError:
            return False
        return True
