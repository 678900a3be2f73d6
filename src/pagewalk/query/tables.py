"""Every table of page tables, level by level: where they are, and how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.memory import read_each
from pagewalk.space import AddressSpace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level, Window
    from pagewalk.memory import Memory
    from pagewalk.tables import PageTables

    Paddrs = npt.NDArray[np.uint64]

__all__ = ["count_tables", "linked_tables"]

_CHUNK: Final = 512
"""Tables that are read at a time."""


def count_tables(tables: PageTables | AddressSpace, *, windows: Iterable[Window] | None = None) -> dict[str, int]:
    """How many tables there are of each level, by the level's name.

    The top one is among them, and one that is pointed to twice is one. One that lies outside the memory counts; what
    would be below it does not.

    Args:
        tables: Page tables, or an address space for its tables.
        windows: Those of its windows that count; None: all.

    Raises:
        MemoryReadError: The memory cannot be read any more.
    """
    tables = tables.tables if isinstance(tables, AddressSpace) else tables
    found: dict[str, list[Paddrs]] = {}
    for window in tables.windows if windows is None else windows:
        for level, some in linked_tables(tables, window):
            found.setdefault(level.name, []).append(some)
    return {name: len(np.unique(np.concatenate(some))) for name, some in found.items()}


def linked_tables(tables: PageTables, window: Window) -> Iterator[tuple[Level, Paddrs]]:
    """The addresses of a window's tables, level by level, the root's first.

    One that several entries point to is there as often, and is looked into once; one outside the memory is not.
    """
    top, *others = (level for level in tables.format.levels_of(window) if not level.folded)
    at = np.array([window.root], np.uint64)
    yield top, at
    slots = slice(top.index(window.start), top.index(window.end - 1) + 1)
    for level in others:
        at = _below(tables.memory, top, np.unique(at), slots)
        yield level, at
        top, slots = level, slice(None)


def _below(memory: Memory, level: Level, tables: Paddrs, slots: slice) -> Paddrs:
    """The tables below some tables, by some of the slots of each, as often as these point to them."""
    found = [tables[:0]]
    for at in range(0, len(tables), _CHUNK):
        read = read_each(memory, tables[at : at + _CHUNK].tolist(), level.table_bytes)
        words = np.frombuffer(b"".join(data for data in read if data is not None), level.word.dtype)
        words = words.reshape(-1, level.entries)[:, slots].reshape(-1).astype(np.uint64, copy=False)
        found.append(level.frame(words[level.is_table(words)]))
    return np.concatenate(found)
