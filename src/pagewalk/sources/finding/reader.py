"""Tables of a memory by their addresses, and which addresses it may have memory at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.memory import extents_of, is_flat
from pagewalk.sweep.source import Source as Tables

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat, Word
    from pagewalk.memory import Memory

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Reader"]


class Reader:
    """Reads tables, and knows which addresses can be memory.

    A flat memory has all that it says. What another one leaves out, a dump without the pages of programs, the machine
    may have had: between its first byte and its last, what is missing is unknown, and not wrong.

    Args:
        memory: One that says where it has bytes.

    Attributes:
        runs: Where there may be memory: ``[start, end)``, ascending and apart. Shape (runs, 2), uint64.
        size: Bytes of them.
        top: A power of two that no address of them reaches.
        in_place: Whether its tables can be looked at where they lie, a word of them as well as all.

    Raises:
        UnsupportedError: It does not say.
    """

    def __init__(self, memory: Memory) -> None:
        runs = extents_of(memory)
        if not is_flat(memory) and len(runs):
            runs = np.array([[runs[0, 0], runs[-1, 1]]], np.uint64)
        self.memory = memory
        self.in_place = is_flat(memory)
        self.runs = runs
        self.size = int((runs[:, 1] - runs[:, 0]).sum())
        self.top = 1 << (int(runs[-1, 1]) - 1).bit_length() if len(runs) else 1
        self._tables: dict[Word, Tables] = {}

    def inside(self, paddrs: Words, size: int = 1) -> Mask:
        """Which of some addresses have so many bytes of memory."""
        at = np.searchsorted(self.runs[:, 0], paddrs, side="right") - 1
        found: Any = (at >= 0) & (paddrs < self.runs[at, 1])
        return found & (self.runs[at, 1] - paddrs >= np.uint64(size))

    def size_of_runs(self, paddrs: Words) -> int:
        """Bytes of the runs in which some addresses of memory lie."""
        at = np.unique(np.searchsorted(self.runs[:, 0], paddrs, side="right") - 1)
        return int((self.runs[at, 1] - self.runs[at, 0]).sum())

    def rows(self, paddrs: Words, level: Level, form: PagingFormat) -> tuple[Words, Mask]:
        """Whole tables: their entries, shape (n, entries), and which of them are there, shape (n,)."""
        if not len(paddrs):
            return np.empty((0, level.entries), np.uint64), np.empty(0, np.bool_)
        rows, found = self._of(form).rows(paddrs, level, np.empty((len(paddrs), level.entries), np.uint64))
        return rows, np.ones(len(paddrs), np.bool_) if found is None else found

    def slots(self, paddrs: Words, slot: Any, level: Level, form: PagingFormat) -> tuple[Words, Mask]:
        """One slot of each of some tables: the entries, and which of the tables are there. Shape (n,) each."""
        return self._of(form).slots(paddrs, np.full(len(paddrs), slot, np.uint64), level)

    def _of(self, form: PagingFormat) -> Tables:
        """What reads tables of a format's words."""
        if form.word not in self._tables:
            self._tables[form.word] = Tables(self.memory, form)
        return self._tables[form.word]
