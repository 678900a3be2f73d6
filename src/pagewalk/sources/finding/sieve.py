"""The first look at what could be top tables: at the tables that they point to, which hardly any fake survives.

Hostile memory has as many candidates as it has room for. They are looked at while the pass goes on, a batch at a time,
so that there are never many; first, of each, the one table that the entry leads to which was hit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.formats import Kind
from pagewalk.sources.finding.scan import Hits
from pagewalk.sources.finding.step import any_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.formats import Pattern
    from pagewalk.sources.finding.reader import Reader
    from pagewalk.sources.finding.reading import Reading

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Candidates", "Sieve"]

_BATCH: Final = 1 << 15
"""Hits that are looked at together."""
_BYTES: Final = 1 << 20
"""Bytes of tables that are read together: they stay in the CPU's cache."""
_WORDS: Final = 6
"""Words of a table that are looked at first, to save reading all of it."""
_STRANGE: Final = 2
"""So many of them that are no entries tell that it is none; one may be an entry of a page that is not there."""


class Candidates(NamedTuple):
    """Top tables, perhaps.

    Attributes:
        paddrs: Where they are, ascending. Shape (n,), uint64.
        rows: Their entries. Shape (n, entries), uint64.
    """

    paddrs: Words
    rows: Words

    def only(self, which: Any) -> Candidates:
        """Some of them."""
        return Candidates(self.paddrs[which], self.rows[which])

    @classmethod
    def joined(cls, parts: Iterable[Candidates], entries: int) -> Candidates:
        """Some lots as one."""
        nothing = cls(np.empty(0, np.uint64), np.empty((0, entries), np.uint64))
        return cls(*(np.concatenate(columns) for columns in zip(nothing, *parts, strict=True)))


class Sieve:
    """The candidates of readings that have their probe in common.

    Args:
        reader: Reads tables.
        readings: What they are taken for.
        known: Addresses of tables; a candidate must point to one of them, or begin a page. None: none is known.

    Attributes:
        probe: What is looked for.
    """

    def __init__(self, reader: Reader, readings: Sequence[Reading], known: Words | None = None) -> None:
        self.probe = readings[0].probe
        self._reader = reader
        self._reading = readings[0]
        self._known = known
        self._waiting: list[Hits] = []
        self._kept: list[Candidates] = []
        self._fitting = tuple(dict.fromkeys(one for reading in readings for one in _entries_of(reading)))
        self._made_empty = any(reading.page.made_empty for reading in readings)

    def add(self, some: Hits) -> None:
        """Take some more."""
        if self._known is not None:
            named = np.isin(self._reading.head.tables_of(some.entries), self._known)
            some = some.only(named | self._begins_page(some.paddrs))
        self._waiting.append(some)
        if sum(len(one.paddrs) for one in self._waiting) >= _BATCH:
            self._look()

    def found(self) -> Candidates:
        """Those that are left."""
        if self._waiting:
            self._look()
        return Candidates.joined(self._kept, self.probe.entries)

    @property
    def _below(self) -> Any:
        """The level below the top one."""
        return self._reading.user.steps[1].level

    def _look(self) -> None:
        """Look at those that wait."""
        hits = Hits(*(np.concatenate(parts) for parts in zip(*self._waiting, strict=True)))
        self._waiting = []
        if not self._reading.is_slot:
            hits = hits.only(self._lead(hits.entries))
        some = self._rows(hits)
        for pick, empty in ((_first, self._made_empty), (_last, not self._made_empty)):
            entries = some.rows[np.arange(len(some.rows)), pick(any_of(self._reading.head.tables, some.rows))]
            some = some.only(self._lead(entries, empty=empty))
        if len(some.paddrs):
            self._kept.append(some)

    def _rows(self, hits: Hits) -> Candidates:
        """The tables that were hit, whose entries are all such as can stand in a top table.

        In a slot it is a program's, which has a table; a kernel's own begins a page.
        """
        reading, found = self._reading, []
        step = max(_BYTES // self.probe.size, 1)
        for at in range(0, len(hits.paddrs), step):
            paddrs = hits.paddrs[at : at + step]
            rows, good = self._reader.rows(paddrs, reading.head.level, reading.form)
            tables = any_of(self.probe.tables, rows)
            good &= (tables | any_of(self.probe.others, rows)).all(axis=1)
            if reading.is_slot:
                good &= self._begins_page(paddrs) | reading.user.of(tables).any(axis=1)
            found.append(Candidates(paddrs, rows).only(good))
        return Candidates.joined(found, self.probe.entries)

    def _begins_page(self, paddrs: Words) -> Mask:
        """Which addresses are multiples of a table's size below the top one."""
        found: Mask = paddrs % np.uint64(self._below.table_bytes) == 0
        return found

    def _lead(self, entries: Words, *, empty: bool = False) -> Mask:
        """Which entries lead to what may be a table, or is missing: to words that are entries, and not to nothing.

        Args:
            entries: They. Shape (n,), uint64.
            empty: Whether the table may be.
        """
        paddrs, back = np.unique(self._reading.head.tables_of(entries), return_inverse=True)
        size = self._below.table_bytes
        good: Mask = self._reader.inside(paddrs, size) & (paddrs % np.uint64(size) == 0)
        if self._reader.in_place:
            good[good] = self._looks_like_one(paddrs[good])
        good[good] = self._is_one(paddrs[good], empty)
        return good[back]

    def _looks_like_one(self, paddrs: Words) -> Mask:
        """Which addresses may be those of tables, by a few words."""
        strange = np.zeros(len(paddrs), np.uint8)
        for slot in np.linspace(0, self._below.entries - 1, _WORDS).astype(np.uint64):
            at = np.flatnonzero(strange < _STRANGE)
            words, there = self._reader.slots(paddrs[at], slot, self._below, self._reading.form)
            strange[at] += ~any_of(self._fitting, words) & there
        found: Mask = strange < _STRANGE
        return found

    def _is_one(self, paddrs: Words, empty: bool) -> Mask:
        """Which addresses are those of tables, by all words."""
        found = np.empty(len(paddrs), np.bool_)
        step = _BYTES // self._below.table_bytes
        for at in range(0, len(paddrs), step):
            rows, there = self._reader.rows(paddrs[at : at + step], self._below, self._reading.form)
            held: Any = np.bitwise_or.reduce(rows, axis=1) != 0
            good = held | ~there | empty
            rows = rows[held]
            fit = np.count_nonzero(any_of(self._fitting, rows), axis=1)
            good[held] = 2 * (rows.shape[1] - fit) <= np.count_nonzero(rows, axis=1)
            found[at : at + step] = good
        return found


def _entries_of(reading: Reading) -> Iterator[Pattern]:
    """What the entries of the tables below the top ones match."""
    yield from reading.user.steps[1].near
    for part in (reading.user, reading.kernel):
        for row in part.steps[1].level.rows:
            if row.kind in (Kind.NONE, Kind.PRESENT):
                yield from row.when


def _first(tables: Mask) -> npt.NDArray[np.intp]:
    """The first slot of each row that holds a table."""
    return tables.argmax(axis=1)


def _last(tables: Mask) -> npt.NDArray[np.intp]:
    """The last one."""
    return tables.shape[1] - 1 - tables[:, ::-1].argmax(axis=1)
