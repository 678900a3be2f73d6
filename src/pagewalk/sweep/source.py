"""Many tables read at once: in place in a flat memory; from others by one ``read_many`` a batch or ``read`` a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.memory import fill_each, read_each
from pagewalk.sweep.inplace import InPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat
    from pagewalk.memory import Memory

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Source"]

_BATCH = 1024
"""Tables fetched before they are handed on: as many as a chunk of a memory that has to be asked has."""


class Source:
    """Reads tables of a memory.

    Args:
        memory: Where they are.
        form: Says what an entry is as it lies in memory.

    Attributes:
        here: The part of the memory that can be used in place.
    """

    def __init__(self, memory: Memory, form: PagingFormat) -> None:
        self.memory = memory
        self.here = InPlace(memory, form.word)
        self._word = form.word
        self._fills = hasattr(memory, "fill") and np.dtype(form.word.dtype) == np.uint64  # words there are as here
        self._alone: tuple[int, int, tuple[Words, Mask]] | None = None

    def has(self, paddrs: Words, level: Level) -> bool:
        """Whether tables of a level can all be used in place."""
        return self.here.places(paddrs, level.table_bytes)[1] is None

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
        at, outside = self.here.places(paddrs, level.table_bytes)
        if outside is None:
            return self.here.rows(at, level.entries, out), None
        values, found = out[: len(paddrs)], ~outside
        if self._fills and outside.all() and values.flags.c_contiguous and len(np.unique(paddrs)) == len(paddrs):
            return self._filled(paddrs, level, values)
        values[outside] = 0
        if found.any():
            inside = at[found]
            values[found] = self.here.rows(inside, level.entries, np.empty((len(inside), level.entries), np.uint64))
        for where, tables, row in self._fetched(paddrs, np.flatnonzero(outside), level):
            values[where] = tables[row]
            found[where] = True
        return values, None if found.all() else found

    def _filled(self, paddrs: Words, level: Level, out: Words) -> tuple[Words, Mask | None]:
        """Distinct tables, put right where they are wanted."""
        memory: Any = self.memory
        there = fill_each(memory, paddrs.tolist(), level.table_bytes, out.reshape(-1).view(np.uint8).data)
        if all(there):
            return out, None
        found = np.array(there, np.bool_)
        out[~found] = 0
        return out, found

    def slots(self, paddrs: Words, index: Words, level: Level) -> tuple[Words, Mask]:
        """One entry of each table.

        Args:
            paddrs: The tables' physical addresses in bytes. Shape (n,), uint64.
            index: Which entry. Shape (n,), uint64.
            level: The tables' level.

        Returns:
            Raw entries, shape (n,), uint64, and whether the whole table is in the memory, shape (n,), bool.
        """
        at, outside = self.here.places(paddrs, level.table_bytes)
        if outside is None:
            found = np.ones(len(paddrs), np.bool_)
            return self.here.words.take(at + index.view(np.int64), mode="clip").astype(np.uint64, copy=False), found
        values, found = np.zeros(len(paddrs), np.uint64), ~outside
        if found.any():
            values[found] = self.here.words.take(at[found] + index[found].view(np.int64), mode="clip")
        for where, tables, row in self._fetched(paddrs, np.flatnonzero(outside), level):
            values[where] = tables[row, index[where]]
            found[where] = True
        return values, found

    def _fetched(self, paddrs: Words, places: Places, level: Level) -> Iterator[tuple[Places, Words, Places]]:
        """The tables that are in the memory of those at ``places``, each distinct one read once.

        They come as ``(where, tables, row)``: those at ``where`` are ``tables[row]``.
        """
        distinct, row = np.unique(paddrs[places], return_inverse=True)
        order = np.argsort(row, kind="stable")
        cuts = row[order].searchsorted(np.arange(0, len(distinct) + _BATCH, _BATCH))
        for batch, first in enumerate(range(0, len(distinct), _BATCH)):
            tables, there = self._read(distinct[first : first + _BATCH].tolist(), level)
            mine = order[cuts[batch] : cuts[batch + 1]]
            mine = mine[there[row[mine] - first]]
            yield places[mine], tables, row[mine] - first

    def _read(self, paddrs: list[int], level: Level) -> tuple[Words, Mask]:
        """Read tables: their entries, and which are in the memory. A root that two windows have is read once."""
        if len(paddrs) == 1 and self._alone is not None and self._alone[:2] == (paddrs[0], level.entries):
            return self._alone[2]
        answers = read_each(self.memory, paddrs, level.table_bytes)
        held = [data for data in answers if data is not None]
        tables, there = self._words(b"".join(held), level), np.ones(len(paddrs), np.bool_)
        if len(held) < len(answers):
            there[:] = [data is not None for data in answers]
            tables, some = np.zeros((len(paddrs), level.entries), np.uint64), tables
            tables[there] = some
        if len(paddrs) == 1 and level.above == level.depth == 0:
            self._alone = paddrs[0], level.entries, (tables, there)
        return tables, there

    def _words(self, data: bytes, level: Level) -> Words:
        """Tables that lie side by side. Shape (n, entries), uint64."""
        return np.frombuffer(data, self._word.dtype).astype(np.uint64, copy=False).reshape(-1, level.entries)
