"""A format as roots are looked for by it: what its top tables look like, and the levels below.

All of it is worked out from the format's rows and windows. A system's tables are stricter than the hardware asks: the
bits of a table's entry that mean nothing are zero in all of them, and so are those of addresses above the memory's end.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pagewalk.formats import RIGHTS, Kind, Pattern, Rights, joined

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat, RootPage, Row, Window, Word

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Part", "Probe", "Reading", "Sorted", "Step", "any_of"]


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


class Sorted(NamedTuple):
    """What some entries are. Shape (n,) each.

    Attributes:
        table: They point to tables.
        leaf: They map pages.
        bad: No system leaves them there.
        row: Which of the step's rows they are of: one number a row, from 1 on; 0: the MMU does not take them.
    """

    table: Mask
    leaf: Mask
    bad: Mask
    row: npt.NDArray[np.uint8]

    @property
    def leaf_rows(self) -> npt.NDArray[np.uint8]:
        """The rows of those that map pages."""
        return self.row[self.leaf]


class Step:
    """One level on the way down. Its rows are compared as they stand: no table can learn all that noise says.

    Args:
        level: The level.
        top: A power of two that no address in the memory reaches.
    """

    def __init__(self, level: Level, top: int) -> None:
        self.level = level
        self._rows = [row for row in level.rows if row.kind in (Kind.TABLE, Kind.PRESENT, Kind.RESERVED)]
        tables = [row for row in self._rows if row.kind is Kind.TABLE]
        self.tables = tuple(pattern for row in tables for pattern in _strict(row, level.word.mask, top))

    def sort(self, words: Words) -> Sorted:
        """What entries are, none of which is empty."""
        which = np.zeros(len(words), np.uint8)
        for number, row in reversed([*enumerate(self._rows, 1)]):  # an entry is of the first that it matches
            which[any_of(row.when, words)] = number
        table, leaf = self._are(which, Kind.TABLE), self._are(which, Kind.PRESENT)
        bad = self._are(which, Kind.RESERVED) | (table & ~any_of(self.tables, words))
        for number, row in enumerate(self._rows, 1):
            if row.kind is Kind.PRESENT and row.must.mask:
                bad |= (which == number) & ~any_of((row.must,), words)
        if not self.level.may_be_leaf:
            bad |= ~table
        return Sorted(table & ~bad, leaf & ~bad, bad, which)

    def _are(self, which: npt.NDArray[np.uint8], kind: Kind) -> Mask:
        """Which entries are of rows of a kind."""
        found = np.zeros(len(which), np.bool_)
        for number, row in enumerate(self._rows, 1):
            if row.kind is kind:
                found |= which == number
        return found

    def tables_of(self, words: Words) -> Words:
        """The addresses of the tables that entries point to."""
        return self.level.arrays.tables(words)

    def pages_of(self, words: Words, which: npt.NDArray[np.uint8]) -> tuple[Words, npt.NDArray[np.uint8]]:
        """The addresses of pages, and the rights that their entries grant.

        Args:
            words: Entries that map pages. Shape (n,), uint64.
            which: Their rows, as ``sort`` gives them.
        """
        frames, rights = np.zeros(len(words), np.uint64), np.full(len(words), int(Rights.all()), np.uint8)
        for number, row in enumerate(self._rows, 1):
            at = np.flatnonzero(which == number)
            if not len(at):
                continue
            frames[at] = joined(row.address, words[at])
            field = row.field(RIGHTS)
            if field is not None:
                values, back = np.unique(words[at] & np.uint64(field.mask), return_inverse=True)
                rights[at] = np.array([int(field.known.get(value, 0)) for value in values.tolist()], np.uint8)[back]
        return frames, rights


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
        return Probe(level.word, level.entries, tuple(sorted(columns)), self.head.tables, tuple(dict.fromkeys(found)))


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
    kind, found = words.dtype.type, None
    for mask, value in patterns:
        hit = (words & kind(mask)) == kind(value)
        found = hit if found is None else np.logical_or(found, hit, out=found)
    return np.zeros(words.shape, np.bool_) if found is None else found
