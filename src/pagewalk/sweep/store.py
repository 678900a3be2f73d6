"""Tables to be written: in place in a flat memory and in an overlay, by ``write`` in any other."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.memory import is_flat, read_exactly, write_to
from pagewalk.memory.overlay import Overlay
from pagewalk.sweep.inplace import Held, InPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Store"]

_FEW: Final = 8
"""Few slots are held if it is less than one in as many."""


class Store:
    """Writes tables.

    Args:
        tables: The page tables.
    """

    def __init__(self, tables: PageTables) -> None:
        self._memory = tables.memory
        self._flat = is_flat(tables.memory)
        self._last = tables.format.last
        self._size = self._last.table_bytes
        self._word = tables.format.word
        memory = tables.memory
        self._here = Held(memory, self._word) if isinstance(memory, Overlay) else InPlace(memory, self._word)

    @property
    def in_bulk(self) -> bool:
        """Whether many tables can be written at once."""
        return self._here.writable

    def has(self, paddrs: Words) -> Mask:
        """Which tables of the last level lie where many can be written at once."""
        _, outside = self._here.places(paddrs, self._size)
        return np.ones(len(paddrs), np.bool_) if outside is None else ~outside

    @contextmanager
    def open(self, paddrs: Words, level: Level) -> Iterator[Words]:
        """The slots of tables, one after the other, shape (tables * entries,), uint64.

        What is written to them is in the memory at the end.
        """
        if len(paddrs) > 1:
            yield from self._many(paddrs)
            return
        size, dtype, paddr = level.table_bytes, self._word.dtype, int(paddrs[0])
        view = self._memory.view(paddr, size) if self._flat else None  # type: ignore[attr-defined]
        if view is not None and not view.readonly and np.dtype(dtype) == np.uint64:
            yield np.frombuffer(view, dtype)
            return
        before = np.frombuffer(read_exactly(self._memory, paddr, size), dtype).astype(np.uint64)
        row = before.copy()
        try:
            yield row
        finally:
            changed = np.flatnonzero(before != row)
            if len(changed):
                slots = changed.astype(np.uint64) * np.uint64(self._word.size) + np.uint64(paddr)
                self.put(slots, row[changed])

    def _many(self, paddrs: Words) -> Iterator[Words]:
        """Tables of the last level, all of them in place: shown there if they follow each other."""
        places, per = self._here.places(paddrs, self._size)[0], self._last.entries
        slots = self._here.rows(places, per, np.empty((len(places), per), np.uint64))
        try:
            yield slots.reshape(-1)
        finally:
            if not np.may_share_memory(slots[:1], self._here.words[places[0] : places[0] + per]):
                self._here.put_rows(places, slots)

    def fill_slots(self, slots: Words, value: Any) -> int:
        """Put one value into the empty ones of slots that ``open`` gave; how many there were.

        Slots that are shown in place change in one step, whoever interrupts this. In a copy, where few are held, it is
        faster to write the value everywhere, and then what those held.
        """
        used = slots != np.uint64(self._last.none)
        if np.count_nonzero(used) * _FEW > len(slots) or np.may_share_memory(slots, self._here.words):
            empty = self._last.is_none(slots)
            np.copyto(slots, value, where=empty)
            return int(np.count_nonzero(empty))
        held = np.flatnonzero(used)
        held = held[~self._last.is_none(slots[held])]
        kept = slots[held]
        slots[:] = value
        slots[held] = kept
        return len(slots) - len(held)

    def fill_empty(self, compiled: Any, paddrs: Words, places: tuple[int, int], filling: tuple[Any, Any]) -> int:
        """Put one value into the empty slots of tables of the last level, by a compiled kernel.

        Args:
            compiled: The module of kernels.
            paddrs: The tables, which lie in place. Shape (n,), uint64.
            places: The first slot, counted from the first table's first, and the end.
            filling: The bits that make a slot not empty, and the value.

        Returns:
            How many slots that were.
        """
        first = self._here.places(paddrs, self._size)[0].view(np.uint64)
        limits = np.int64(places[0]), np.int64(places[1]), np.int64(self._last.entries)
        return int(compiled.fill_empty(self._here.words, first, limits, *map(np.uint64, filling)))

    def put(self, slots: Words, values: Words) -> None:
        """Write slots: ``values[i]`` at physical address ``slots[i]``, neighbours next to each other."""
        if self._here.writable:
            places, outside = self._here.places(slots, self._word.size)
            if outside is None:
                self._here.words[places] = values
                return
        cuts = np.flatnonzero(slots[1:] - slots[:-1] != np.uint64(self._word.size)) + 1
        for some, run in zip(np.split(slots, cuts), np.split(values, cuts), strict=True):
            write_to(self._memory, int(some[0]), run.astype(self._word.dtype).tobytes())

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
        places, outside = self._here.fresh_places(frames, self._size)
        in_place = self._here.writable and outside is None
        if in_place and np.ndim(values) == 0 and skip is None:
            return self._fill_alike(places, first, count, values)
        contents = np.full(len(frames) << self._last.index_bits, self._last.none, np.uint64)
        slots = contents[first : first + count]
        slots[:] = values if np.ndim(values) == 0 else values[:count]
        if skip is not None:
            slots[skip[:count]] = self._last.none
        tables = contents.reshape(len(frames), -1)
        if in_place:
            self._here.put_rows(places, tables)
        else:
            for frame, table in zip(frames.tolist(), tables, strict=True):
                write_to(self._memory, frame, table.astype(self._word.dtype).tobytes())
        return count if skip is None else np.flatnonzero(~skip[:count])

    def _fill_alike(self, places: npt.NDArray[np.intp], first: int, count: int, value: Any) -> int:
        """Fill tables with one value."""
        words, per = self._here.words, self._last.entries
        cuts = [0, *(np.flatnonzero(places[1:] - places[:-1] != per) + 1).tolist(), len(places)]
        for low, high in pairwise(cuts):
            words[int(places[low]) : int(places[high - 1]) + per] = value
        start, last = int(places[0]), int(places[-1])
        words[start : start + first] = self._last.none
        words[last + per - (len(places) * per - first - count) : last + per] = self._last.none
        return count
