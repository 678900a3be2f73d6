"""The proof: what is below candidates, level by level, all of them at once.

A root is proved by what only page tables have: entries that say what entries can say, tables that lie in memory, and at
the end pages that programs may use, most of them in memory. Of each candidate some tables a level are looked at, spread
over all that it has: few at first, which most candidates do not survive, then more.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.formats import Rights

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from pagewalk.sources.finding.reader import Reader
    from pagewalk.sources.finding.reading import Part, Reading
    from pagewalk.sources.finding.step import Step

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]
    Counts = npt.NDArray[np.int64]
    Places = npt.NDArray[np.intp]

__all__ = ["Below", "Seen", "for_the_user", "look_below"]

TOLERANCE: Final = 50
"""One entry in so many may be wrong: a running machine's tables change while they are read."""
_ROOM: Final = 32 << 20
"""Bytes of tables of a level that are looked at together."""
_USER = Rights.USER_READ
_ALONE = Rights.USER_EXEC, Rights.KERNEL_EXEC


class Below(NamedTuple):
    """Tables below candidates: a row for each that a candidate leads to.

    Attributes:
        paddrs: Where they are. Shape (m,), uint64.
        owners: Which candidate leads there. Shape (m,).
        last: Whether they are of the last level. Shape (m,), bool.
        looked: Whether they were looked at. Shape (m,), bool.
    """

    paddrs: Words
    owners: Places
    last: Mask
    looked: Mask

    @classmethod
    def nothing(cls) -> Below:
        """No tables."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.intp), np.empty(0, np.bool_), np.empty(0, np.bool_))

    @classmethod
    def joined(cls, parts: Iterable[Below]) -> Below:
        """Some lots as one."""
        return cls(*(np.concatenate(columns) for columns in zip(cls.nothing(), *parts, strict=True)))

    def of(self, candidates: Places, count: int) -> Below:
        """Those of some candidates of so many, which are counted anew."""
        number = np.full(count, -1, np.intp)
        number[candidates] = np.arange(len(candidates))
        return self._replace(owners=number[self.owners]).only(number[self.owners] >= 0)

    def only(self, kept: Mask) -> Below:
        """Some of them."""
        return Below(self.paddrs[kept], self.owners[kept], self.last[kept], self.looked[kept])


@dataclass
class Seen:
    """What was seen below candidates. Each is an array, one number a candidate, shape (n,), int64.

    Attributes:
        words: Entries that are not empty.
        bad: Those that no system leaves there: reserved encodings, tables outside the memory.
        void: Directories without an entry: those of programs go with the last one.
        leaves: Pages.
        inside: Those in memory.
        user: Those in memory that programs may use.
        last: Pages of the last level.
        missing: Tables that the memory does not have, though the machine may have had them.
        below: Not one a candidate: the tables of those that can be the root of a program.
    """

    words: Counts
    bad: Counts
    void: Counts
    leaves: Counts
    inside: Counts
    user: Counts
    last: Counts
    missing: Counts
    below: Below

    @classmethod
    def nothing(cls, count: int) -> Seen:
        """Nothing yet."""
        counts = {name: np.zeros(count, np.int64) for name in cls.counts()}
        return cls(**counts, below=Below.nothing())

    @classmethod
    def counts(cls) -> list[str]:
        """What is counted of each candidate."""
        return [one.name for one in fields(cls) if one.name != "below"]

    @property
    def sound(self) -> Mask:
        """Which candidates have hardly a bad entry."""
        found: Mask = self.bad * TOLERANCE <= self.words
        return found

    @property
    def full(self) -> Mask:
        """Which of them have hardly an empty directory either."""
        found: Mask = (self.bad + self.void) * TOLERANCE <= self.words
        return found

    @property
    def alive(self) -> Mask:
        """Which of them lead somewhere, as far as was looked."""
        found: Mask = self.sound & ((self.leaves + self.missing > 0) | (self.void == 0))
        return found

    @property
    def proved(self) -> Mask:
        """Which can be the root of a program, but for empty directories, which some systems leave."""
        found: Mask = self.sound & (self.user > 0) & (self.last > 0) & (self.inside * 2 >= self.leaves)
        return found

    def add(self, name: str, owners: Places) -> None:
        """Count one more for each owner."""
        if len(owners):
            counts: Counts = getattr(self, name)
            counts += np.bincount(owners, minlength=len(counts))

    def put(self, which: Places, more: Seen) -> None:
        """Put what was seen of some candidates in place of what is known of them."""
        for name in self.counts():
            getattr(self, name)[which] = getattr(more, name)
        others = self.below.only(~np.isin(self.below.owners, which))
        self.below = Below.joined((others, more.below._replace(owners=which[more.below.owners])))

    def only(self, which: Any) -> Seen:
        """That of some candidates."""
        counts = {name: getattr(self, name)[which] for name in self.counts()}
        count = len(self.words)
        return Seen(**counts, below=self.below.of(np.arange(count)[which], count))


def for_the_user(rights: npt.NDArray[np.uint8]) -> Mask:
    """Which pages are a program's: it may read them, or it may execute them and the kernel may not."""
    user, kernel = _ALONE
    found: Mask = (rights & _USER != 0) | ((rights & user != 0) & (rights & kernel == 0))
    return found


def look_below(reader: Reader, reading: Reading, part: Part, rows: Words, most: int) -> Seen:
    """Look below candidates.

    Args:
        reader: Reads tables.
        reading: What they are taken for.
        part: Which slots, and the levels.
        rows: The candidates' entries. Shape (n, entries), uint64.
        most: Tables of each level that are looked at, for each candidate.
    """
    size = most * part.steps[-1].level.table_bytes
    step = max(_ROOM // size, 1)
    found = [_below(reader, reading, part, rows[at : at + step], most) for at in range(0, len(rows), step)]
    if not found:
        return Seen.nothing(0)
    counts = {name: np.concatenate([getattr(one, name) for one in found]) for name in Seen.counts()}
    parts = (one.below._replace(owners=one.below.owners + at * step) for at, one in enumerate(found))
    return Seen(**counts, below=Below.joined(parts))


def _below(reader: Reader, reading: Reading, part: Part, rows: Words, most: int) -> Seen:
    """The same, of candidates whose tables are held together."""
    seen, owners, entries = Seen.nothing(len(rows)), np.arange(len(rows)), part.of(rows)
    parts = []
    for step, below in zip(part.steps, (*part.steps[1:], None), strict=True):
        paddrs, theirs = _entries(reader, step, below, seen, entries, owners)
        if below is None or not len(paddrs):
            break
        is_last, looked = below is part.steps[-1], _some(theirs, len(rows), most, seen)
        parts.append(Below(paddrs, theirs, np.full(len(paddrs), is_last), looked))
        paddrs, theirs = paddrs[looked], theirs[looked]
        entries, there = reader.rows(paddrs, below.level, reading.form)
        seen.add("missing", theirs[~there])
        entries, owners = entries[there], theirs[there]
        if not is_last:
            seen.add("void", owners[~entries.any(axis=1)])
    proved = seen.proved
    if proved.any():
        seen.below = Below.joined(part.only(proved[part.owners]) for part in parts)
    return seen


def _entries(
    reader: Reader, step: Step, below: Step | None, seen: Seen, entries: Words, owners: Places
) -> tuple[Words, Places]:
    """Count what the entries of a level are; the tables in memory that they point to, and whose they are."""
    flat = entries.reshape(-1)
    places = step.level.arrays.places(flat)
    words, whose = flat[places], owners[places // entries.shape[1]]
    sorted_ = step.sort(words)
    table, leaf = sorted_.table, sorted_.leaf
    seen.add("words", whose)
    seen.add("bad", whose[sorted_.bad])
    _pages(reader, step, seen, step.pages_of(words[leaf], sorted_.leaf_rows), whose[leaf])
    if below is None:
        return np.empty(0, np.uint64), np.empty(0, np.intp)
    paddrs, whose = step.tables_of(words[table]), whose[table]
    good = reader.inside(paddrs, below.level.table_bytes) & (paddrs % np.uint64(below.level.table_bytes) == 0)
    seen.add("bad", whose[~good])
    return paddrs[good], whose[good]


def _pages(reader: Reader, step: Step, seen: Seen, pages: tuple[Words, npt.NDArray[np.uint8]], whose: Places) -> None:
    """Count pages, given where they are, and their rights."""
    inside = reader.inside(pages[0])
    seen.add("leaves", whose)
    seen.add("inside", whose[inside])
    seen.add("user", whose[inside & for_the_user(pages[1])])
    if step.level.is_last:
        seen.add("last", whose)


def _some(whose: Places, count: int, most: int, seen: Seen) -> Mask:
    """Which of each candidate's tables to look at, spread evenly; none of those that have failed already."""
    have = np.bincount(whose, minlength=count)
    first = np.cumsum(have) - have
    rank = np.arange(len(whose)) - first[whose]
    stride = np.maximum(1, -(-have // most))
    kept: Mask = (rank % stride[whose] == 0) & seen.sound[whose]
    return kept
