"""One level on the way down: what its entries are, where they point, and what they grant, many at once.

A system's tables are stricter than the hardware asks: the bits of a table's entry that mean nothing are zero in all of
them, and so are those of addresses above the memory's end.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.formats import RIGHTS, Kind, Pattern, Rights, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Field, Level, Row

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Sorted", "Step", "any_of"]

_ALL: Final = (1 << 64) - 1
"""All bits."""


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


class _Meanings:
    """What a field of few bits means, for many words.

    Args:
        field: Its meanings are flags of 8 bits.
    """

    def __init__(self, field: Field) -> None:
        self._bits = [place for place in range(64) if field.mask >> place & 1]
        words = (
            sum(1 << bit for at, bit in enumerate(self._bits) if number >> at & 1)
            for number in range(1 << len(self._bits))
        )
        self._known = np.array([int(field.known.get(word, 0)) for word in words], np.uint8)

    def of(self, words: Words) -> npt.NDArray[np.uint8]:
        """The meaning of each word."""
        number = np.zeros(len(words), np.uint8)
        for at, bit in enumerate(self._bits):
            number |= (words >> np.uint64(bit)).astype(np.uint8) << np.uint8(at) & np.uint8(1 << at)
        return self._known[number]


class Step:
    """One level on the way down. Its rows are compared as they stand: no table can learn all that noise says.

    Args:
        level: The level.
        top: A power of two that no address in the memory reaches.

    Attributes:
        level: The level.
    """

    def __init__(self, level: Level, top: int) -> None:
        self.level = level
        self._rows = [row for row in level.rows if row.kind in (Kind.TABLE, Kind.PRESENT, Kind.RESERVED)]
        self._top = top

    @cached_property
    def tables(self) -> tuple[Pattern, ...]:
        """What entries match that point to tables, of those that a system makes."""
        return tuple(one for row in self._table_rows() for one in _strict(row, self.level, self._top, row.claimed))

    @cached_property
    def near(self) -> tuple[Pattern, ...]:
        """The same, of those that hardware takes, if they point into the memory."""
        return tuple(one for row in self._table_rows() for one in _strict(row, self.level, self._top, _ALL))

    def _table_rows(self) -> Iterator[Row]:
        """The rows of entries that point to tables."""
        return (row for row in self._rows if row.kind is Kind.TABLE)

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

    @cached_property
    def _rights(self) -> list[_Meanings | None]:
        """What the rows' rights mean; None: of one that has none."""
        fields = (row.field(RIGHTS) for row in self._rows)
        return [None if field is None else _Meanings(field) for field in fields]

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
            granted = self._rights[number - 1]
            if granted is not None:
                rights[at] = granted.of(words[at])
        return frames, rights


def _strict(row: Row, level: Level, top: int, claimed: int) -> list[Pattern]:
    """What the entries of tables match that point into the memory, and have no bit set that is not claimed."""
    beyond = 0
    for part in row.address:
        places = (1 << place for place in range(64) if part.mask >> place & 1)
        beyond |= sum(place for place in places if place << part.up >> part.down >= top)
    still = (row.must.mask | ~claimed | beyond) & level.word.mask
    return [Pattern(mask | still, value | row.must.value) for mask, value in row.when]


def any_of(patterns: tuple[Pattern, ...], words: Any) -> Any:
    """Which words match any of the patterns: an array of bool of their shape."""
    kind, found = words.dtype.type, None
    for mask, value in patterns:
        hit = (words & kind(mask)) == kind(value)
        found = hit if found is None else np.logical_or(found, hit, out=found)
    return np.zeros(words.shape, np.bool_) if found is None else found
