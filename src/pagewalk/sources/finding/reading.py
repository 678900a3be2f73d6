"""A format as roots are looked for by it: what its top tables look like, and the levels below.

All of it is worked out from the format's rows and windows. A system's tables are stricter than the hardware asks: the
bits of a table's entry that mean nothing are zero in all of them, and so are those of addresses above the memory's end.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pagewalk.formats import Kind, Pattern

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat, RootPage, Row, Window, Word

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Part", "Probe", "Reading", "Step", "any_of"]


class Probe(NamedTuple):
    """What to look for in a pass over memory; formats whose top tables look alike share one.

    Attributes:
        word: An entry as it lies in memory.
        entries: Those of a top table, which is aligned to its size.
        columns: The slots of which one at least holds a table.
        tables: What such an entry matches, one of these.
        others: What other entries match: empty ones, and pages where they can stand.
    """

    word: Word
    entries: int
    columns: tuple[int, ...]
    tables: tuple[Pattern, ...]
    others: tuple[Pattern, ...]

    @property
    def size(self) -> int:
        """Bytes of a top table."""
        return self.entries * self.word.size


class Step:
    """One level on the way down.

    Args:
        level: The level.
        top: A power of two that no address in the memory reaches.
    """

    def __init__(self, level: Level, top: int) -> None:
        self.level = level
        rows = [row for row in level.rows if row.kind is Kind.TABLE]
        self.tables = tuple(pattern for row in rows for pattern in _strict(row, level.word.mask, top))

    def sort(self, words: Words) -> tuple[Mask, Mask, Mask]:
        """Which entries, none of them empty, point to tables, which map pages, and which no system leaves there."""
        arrays = self.level.arrays
        kinds = arrays.kinds(words)
        table = kinds == Kind.TABLE.value
        sound = table & any_of(self.tables, words)
        bad = (table & ~sound) | (kinds == Kind.RESERVED.value)
        if not self.level.may_be_leaf:
            bad |= ~table
        if (wrong := arrays.wrong(words)) is not None:
            bad |= wrong
        return sound & ~bad, (kinds == Kind.PRESENT.value) & ~bad, bad


class Part(NamedTuple):
    """The slots of a top table that are a window's.

    Attributes:
        first, end: The slots.
        vaddr: The first address that slot 0 would translate.
        steps: The levels, the top one first.
    """

    first: int
    end: int
    vaddr: int
    steps: tuple[Step, ...]

    @property
    def size(self) -> int:
        """Bytes of virtual addresses."""
        return (self.end - self.first) << self.steps[0].level.shift

    def of(self, rows: Words) -> Words:
        """These slots of some top tables. Shape (n, end - first)."""
        return rows[:, self.first : self.end]


class Reading:
    """A format as roots are looked for by it.

    Args:
        form: The format; it says what a root page looks like.
        top: A power of two that no address in the memory reaches.

    Attributes:
        page: What its root pages look like.
        user, kernel: The two parts of a top table.
        shared: Whether one top table has both.
    """

    def __init__(self, form: PagingFormat, top: int) -> None:
        assert form.root_page is not None
        self.form = form
        self.page: RootPage = form.root_page
        user, kernel = (self._part(window, top) for window in (form.windows[0], form.windows[-1]))
        if self.page.kernel is not None:
            cut = self.page.kernel >> user.steps[0].level.shift
            user, kernel = user._replace(end=cut), kernel._replace(first=cut)
        self.user, self.kernel = user, kernel
        self.shared = user.end <= kernel.first

    def __repr__(self) -> str:
        return f"<Reading {self.form.name}>"

    def _part(self, window: Window, top: int) -> Part:
        """The slots of a window."""
        levels = [level for level in self.form.levels_of(window) if not level.folded]
        head = levels[0]
        first, count = head.index(window.start), window.end - window.start >> head.shift
        whole = 1 << head.shift + head.index_bits
        return Part(first, first + count, window.start & ~(whole - 1), tuple(Step(level, top) for level in levels))

    @property
    def head(self) -> Step:
        """The top level."""
        return self.user.steps[0]

    @property
    def depth(self) -> int:
        """How many levels there are."""
        return len(self.user.steps)

    @cached_property
    def probe(self) -> Probe:
        """What to look for."""
        level = self.head.level
        columns = {slot % level.entries for slot in self.page.slots if -level.entries <= slot < level.entries}
        others = (Kind.NONE, Kind.PRESENT)
        found = [
            Pattern(mask & level.word.mask, value & level.word.mask)
            for row in (*level.rows, *self.kernel.steps[0].level.rows)
            if row.kind in others
            for mask, value in row.when
        ]
        return Probe(
            level.word, level.entries, tuple(sorted(columns)), self.head.tables, tuple(dict.fromkeys(found))
        )


def _strict(row: Row, word: int, top: int) -> list[Pattern]:
    """What the entries of tables match that a system makes."""
    beyond = 0
    for part in row.address:
        places = (1 << place for place in range(64) if part.mask >> place & 1)
        beyond |= sum(place for place in places if place << part.up >> part.down >= top)
    still = (row.must.mask | ~row.claimed | beyond) & word
    return [Pattern(mask | still, value | row.must.value) for mask, value in row.when]


def any_of(patterns: tuple[Pattern, ...], words: Any) -> Any:
    """Which words match any of the patterns: an array of bool of their shape."""
    found: Any = False
    for mask, value in patterns:
        kind = words.dtype.type
        found = found | ((words & kind(mask)) == kind(value))
    return found
