"""What the page tables of a process cost, and how much of it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk.formats import Kind
from pagewalk.memory import read_each
from pagewalk.sweep import Filter, count

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.errors import TranslationError
    from pagewalk.formats import Level, Window
    from pagewalk.memory import Memory
    from pagewalk.tables import PageTables

__all__ = ["Cost", "cost_of"]

_CHUNK: Final = 512
"""Tables that are read at a time."""


class Cost(NamedTuple):
    """Bytes.

    Attributes:
        resident: In pages that are there.
        tables: In page tables, the top one among them.
    """

    resident: int
    tables: int


def cost_of(tables: PageTables, window: Window) -> Cost:
    """What a window of page tables costs, and maps; what is malformed is passed over.

    Raises:
        MemoryReadError: The memory cannot be read any more.
    """
    form = tables.format
    passed: list[TranslationError] = []
    wanted = Filter(kinds=(Kind.PRESENT, Kind.PROT_NONE))
    rows = count(tables, window.start, window.end, where=wanted, findings=passed)
    spans = {size: level.span for level in form.hardware for size in level.page_sizes}
    resident = sum(entries * spans[size] for _, size, entries in rows.tolist())
    return Cost(resident, _bytes_in_tables(tables, window))


def _bytes_in_tables(tables: PageTables, window: Window) -> int:
    """Bytes in the tables that translate a window."""
    form = tables.format
    first, *others = (level for level in form.levels_of(window) if not level.folded)
    size = first.table_bytes
    below = _below(tables.memory, form.head_of(window), np.array([window.root], np.uint64))
    for level in others:
        size += len(below) * level.table_bytes
        if not level.is_last:
            below = _below(tables.memory, level, below)
    return size


def _below(memory: Memory, level: Level, tables: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The tables below some tables, each once, so far as the memory has those."""
    found = [tables[:0]]
    for at in range(0, len(tables), _CHUNK):
        read = read_each(memory, tables[at : at + _CHUNK].tolist(), level.table_bytes)
        words = np.frombuffer(b"".join(data for data in read if data is not None), level.word.dtype)
        found.append(np.unique(level.frame(words[level.is_table(words)].astype(np.uint64))))
    return np.unique(np.concatenate(found))
