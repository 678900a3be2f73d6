"""The first look at candidates: a few words of the tables that they point to, which hardly any fake survives.

Hostile memory has as many candidates as it has room for. They are looked at while the pass goes on, a batch at a time,
so that there are never many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import Kind
from pagewalk.sources.finding.reading import any_of
from pagewalk.sources.finding.scan import Candidates

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.sources.finding.reader import Reader
    from pagewalk.sources.finding.reading import Reading

    Mask = npt.NDArray[np.bool_]

__all__ = ["Sieve"]

_BATCH: Final = 1 << 15
"""Candidates that are looked at together."""
_TABLES: Final = 1 << 11
"""Tables that are read together."""
_WORDS: Final = 16
"""Words of a table that are looked at."""


class Sieve:
    """The candidates of one reading.

    Args:
        reader: Reads tables.
        reading: What they are taken for.
    """

    def __init__(self, reader: Reader, reading: Reading) -> None:
        self.reading = reading
        self._reader = reader
        self._waiting: list[Candidates] = []
        self._kept: list[Candidates] = []
        level = reading.user.steps[1].level
        rows = (*level.rows, *reading.kernel.steps[1].level.rows)
        known = dict.fromkeys(one for row in rows if row.kind in (Kind.NONE, Kind.PRESENT) for one in row.when)
        self._fitting = (*reading.user.steps[1].tables, *known)
        self._slots = np.unique(np.linspace(0, level.entries - 1, _WORDS).astype(np.uint64))

    def add(self, some: Candidates) -> None:
        """Take some more."""
        self._waiting.append(some)
        if sum(len(one.paddrs) for one in self._waiting) >= _BATCH:
            self._look()

    def found(self) -> Candidates:
        """Those that are left."""
        self._look()
        empty = Candidates(np.empty(0, np.uint64), np.empty((0, self.reading.probe.entries), np.uint64))
        return _joined(self._kept) if self._kept else empty

    def _look(self) -> None:
        """Look at those that wait."""
        if not self._waiting:
            return
        some = _joined(self._waiting)
        self._waiting = []
        tables = any_of(self.reading.head.tables, some.rows)
        checks = [(_first, self._are_tables), (_last, self._are_tables)]
        if not self.reading.page.made_empty:
            checks.append((_first, self._hold_something))
        for pick, check in checks:
            good = check(some.rows[np.arange(len(tables)), pick(tables)])
            some, tables = some.only(good), tables[good]
        if len(some.paddrs):
            self._kept.append(some)

    def _hold_something(self, entries: Any) -> Mask:
        """Which entries point to a table that has an entry, or is missing: a fake's is a page of zeros mostly."""
        level, form = self.reading.user.steps[1].level, self.reading.form
        paddrs = self.reading.head.tables_of(entries)
        held = np.zeros(len(paddrs), np.bool_)
        for at in range(0, len(paddrs), _TABLES):
            rows, there = self._reader.rows(paddrs[at : at + _TABLES], level, form)
            held[at : at + _TABLES] = rows.any(axis=1) | ~there
        return held

    def _are_tables(self, entries: Any) -> Mask:
        """Which entries point to what may be a table, by a few words of it; what is missing may be one."""
        level, form = self.reading.user.steps[1].level, self.reading.form
        paddrs = self.reading.head.tables_of(entries)
        good: Mask = self._reader.inside(paddrs, level.table_bytes)
        for slot in self._slots:
            at = np.flatnonzero(good)
            if not len(at):
                break
            words, there = self._reader.slots(paddrs[at], slot, level, form)
            good[at] = any_of(self._fitting, words) | ~there
        return good


def _first(tables: Mask) -> npt.NDArray[np.intp]:
    """The first slot of each row that holds a table."""
    return tables.argmax(axis=1)


def _last(tables: Mask) -> npt.NDArray[np.intp]:
    """The last one."""
    return tables.shape[1] - 1 - tables[:, ::-1].argmax(axis=1)


def _joined(parts: list[Candidates]) -> Candidates:
    """Some lots as one."""
    return Candidates(np.concatenate([one.paddrs for one in parts]), np.concatenate([one.rows for one in parts]))
