"""How much tables look like those of a format, and of which other one they look more.

How it works. From a root down a few tables of each level are looked at, entry by entry. What a format takes for a table
in the memory, or for a page that has been accessed, speaks for it; against it speak reserved encodings, tables outside
the memory, and pages that nobody has accessed: read by another architecture's bits, pages hardly ever are. What is not
present says nothing. Tables of one's own format are good ones by far; only those that are not are read by the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pagewalk.formats import FORMATS, Flag, Kind, find_format

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pagewalk.formats import Level, PagingFormat, Window
    from pagewalk.memory import Flat

__all__ = ["Likeness", "likeness", "more_like"]

_TABLES, _ENTRIES = 4, 512
"""So many tables of a level are looked at, and so many entries of each."""
_POOR, _FLAT = 0.75, 64
"""Too few are good to be believed, or too few of these are pages: one in so many."""
_CLEAR, _ENOUGH = 0.9, 8
"""The share of good ones that another format must have, and how many pages."""


class Likeness(NamedTuple):
    """What entries say for a format, and against it.

    Attributes:
        good: Entries that point to tables in the memory, or to accessed pages.
        odd: Those that should not be.
        deep: Accessed pages in the memory, among the good ones.
    """

    good: int = 0
    odd: int = 0
    deep: int = 0

    @property
    def share(self) -> float:
        """The good ones among all."""
        return self.good / max(1, self.good + self.odd)

    @property
    def is_doubtful(self) -> bool:
        """Whether tables are hardly of the format; of empty ones nothing can be said."""
        return bool(self.good + self.odd) and (self.share < _POOR or self.deep * _FLAT < self.good)

    @property
    def is_clear(self) -> bool:
        """Whether they are of it, by many entries."""
        return self.share >= _CLEAR and self.deep >= _ENOUGH

    def __str__(self) -> str:
        return f"{self.good} of {self.good + self.odd} entries"


def likeness(memory: Flat, form: PagingFormat, window: Window) -> Likeness:
    """How much the tables of a window look like those of a format."""
    found, tables = Likeness(), [window.root]
    for level in form.levels_of(window):
        if level.folded:
            continue
        below: dict[int, None] = {}
        for table in tables:
            data = memory.view(table, level.table_bytes)
            if data is not None:
                here = _of_entries(memory, level, level.word.unpack(bytes(data)), below)
                found = Likeness(*map(sum, zip(found, here, strict=True)))
        tables = _some(list(below))
    return found


def more_like(memory: Flat, form: PagingFormat, window: Window) -> str:
    """Of which other format a window's tables look more, in words; nothing if they look like those of this one."""
    own = likeness(memory, form, window)
    if not own.is_doubtful:
        return ""
    clear = [(name, one) for name, one in _others(memory, form, window.root) if one.is_clear]
    if not clear:
        return ""
    name, best = max(clear, key=lambda one: one[1].deep)
    return f"as {form.name}, {own} that were looked at are sound, as {name}, {best}: is the format {name}?"


def _others(memory: Flat, form: PagingFormat, root: int) -> Iterator[tuple[str, Likeness]]:
    """How much they look like those of each other format."""
    for name in FORMATS:
        other = find_format(name, "none")
        first = other.windows[0]
        if name != form.name and not root % other.levels_of(first)[0].table_bytes:
            yield name, likeness(memory, other, first._replace(root=root))


def _of_entries(memory: Flat, level: Level, entries: Sequence[int], below: dict[int, None]) -> Likeness:
    """What one table's entries say; the tables that they point to are added to ``below``."""
    held = [entry for entry in entries if entry != level.none]
    good = odd = deep = 0
    for entry in held[:: max(1, len(held) // _ENTRIES)]:
        kind = level.kind(entry)
        if kind is Kind.RESERVED or (kind in (Kind.TABLE, Kind.PRESENT) and level.wrong(entry)):
            odd += 1
        elif kind is Kind.TABLE:
            inside = _holds(memory, level, paddr := int(level.frame(entry)))
            good, odd = good + inside, odd + (not inside)
            if inside:
                below[paddr] = None
        elif kind is Kind.PRESENT:
            accessed = Flag.ACCESSED in level.flags(entry)
            deep += accessed and memory.view(int(level.frame(entry)), level.word.size) is not None
            good, odd = good + accessed, odd + (not accessed)
    return Likeness(good, odd, deep)


def _holds(memory: Flat, level: Level, paddr: int) -> bool:
    """Whether the memory has the table below an entry."""
    beneath = level.beneath
    return beneath is not None and memory.view(paddr, beneath.table_bytes) is not None


def _some(tables: list[int]) -> list[int]:
    """Some of many, from the first to the last."""
    step = max(1, len(tables) / _TABLES)
    return [tables[int(at * step)] for at in range(min(len(tables), _TABLES))]
