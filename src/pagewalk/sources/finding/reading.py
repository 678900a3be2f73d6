"""A format as roots are looked for by it: what its top tables look like, and the levels below.

All of it is worked out from the format's rows and windows.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pagewalk.formats import Kind, Pattern
from pagewalk.sources.finding.step import Step

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pagewalk.formats import PagingFormat, RootPage, Window, Word

    Words = npt.NDArray[np.uint64]

__all__ = ["Part", "Probe", "Reading"]


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
        inner: The same without its top level, where that is known by what it leads to; else None.
    """

    _STAND: ClassVar[tuple[Kind, ...]] = (Kind.NONE, Kind.PRESENT)
    """What can stand in a top table beside tables."""

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
        self.inner = _Inner(self) if self.page.below else None

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

    @property
    def is_slot(self) -> bool:
        """Whether top tables are smaller than the others, and lie side by side in slots of a page."""
        return self.probe.size < self.user.steps[-1].level.table_bytes

    @cached_property
    def probe(self) -> Probe:
        """What to look for."""
        level = self.head.level
        columns = {slot % level.entries for slot in self.page.slots if -level.entries <= slot < level.entries}
        found = [
            Pattern(mask & level.word.mask, value & level.word.mask)
            for row in (*level.rows, *self.kernel.steps[0].level.rows)
            if row.kind in self._STAND
            for mask, value in row.when
        ]
        return Probe(level.word, level.entries, tuple(sorted(columns)), self.head.tables, tuple(dict.fromkeys(found)))


class _Inner(Reading):
    """A reading without its top level: programs' tables of the next one are roots of it.

    Args:
        outer: The whole reading.
    """

    _STAND = (Kind.NONE,)  # no program has pages of this size

    def __init__(self, outer: Reading) -> None:
        self.form = outer.form
        self.page = outer.page._replace(slots=outer.page.below, below=())
        steps = outer.user.steps[1:]
        self.user = self.kernel = Part(0, steps[0].level.entries, 0, steps)
        self.shared, self.inner = False, None
