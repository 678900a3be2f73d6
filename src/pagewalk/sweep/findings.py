"""What is wrong with the tables, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pagewalk.errors import Malformed, TranslationError
from pagewalk.tables import Entry, Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pagewalk.formats import Level, Window
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]

__all__ = ["MAX_FINDINGS", "Findings"]

MAX_FINDINGS: Final = 1 << 16
"""The most malformed entries that are collected one by one; the rest are counted."""


class Findings:
    """What is wrong: collected and passed over, or the first by address raised once everything below it is done.

    A sweep meets entries level by level, not by address. So that it raises what the scalar walk would have raised,
    nothing is raised at once: the first error so far cuts the sweep short at its address.

    Args:
        tables: The page tables, which word the errors.
        collected: Where to collect; None to raise the first.
        first: The range's first address: what is found before it, is found there.

    Attributes:
        stop: Nothing from this address on counts any more.
        error: What is to be raised there.
    """

    def __init__(self, tables: PageTables, collected: list[TranslationError] | None, first: int = 0) -> None:
        self.tables = tables
        self.collected = collected
        self.first = first
        self.stop = 1 << 64
        self.error: TranslationError | None = None
        self._fresh: list[TranslationError] = []
        self._more = 0
        self._rootless: set[int] = set()

    @property
    def collects(self) -> bool:
        """Whether errors are collected."""
        return self.collected is not None

    def fork(self) -> Findings:
        """Findings for a part of the range, to be joined by ``absorb``."""
        return Findings(self.tables, None if self.collected is None else [], self.first)

    def absorb(self, part: Findings) -> None:
        """Take over what was found in a part; parts come by address."""
        for error in [*part._fresh, *([part.error] if part.error else [])]:
            self.add(error)
        self._more += part._more

    def add(self, error: TranslationError) -> None:
        """Note an error."""
        if self.collected is None:
            if error.vaddr < self.stop:
                self.stop, self.error = error.vaddr, error
            return
        if len(self._fresh) < MAX_FINDINGS:
            self._fresh.append(error)
        else:
            self._more += 1

    def close(self) -> None:
        """Hand the findings over, by address, or raise the one that ended it all."""
        if self.error is not None:
            raise self.error
        if self.collected is not None:
            self._fresh.sort(key=lambda error: (error.vaddr, error.depth))
            self.collected += self._fresh
            if self._more:
                self.collected.append(self._too_many())
            self._fresh, self._more = [], 0

    def _too_many(self) -> TranslationError:
        """Says how many were not collected."""
        last = self._fresh[-1]
        why = (
            f"{self._more:,} more entries are malformed, here or elsewhere: these are no page tables of this "
            "format, or the root is wrong"
        )
        return Malformed(last.vaddr, last.depth, last.entry, why)

    def reserved(self, level: Level, entries: Words, vaddrs: Words) -> None:
        """Entries, by address, that set reserved bits.

        The scalar walk meets a folded level at the lowest level that shows it.
        """
        while level.folds and level.below is not None:
            level = level.below
        for value, vaddr in self._worth_wording(entries, vaddrs):
            try:
                self.tables.check(value, level, vaddr)
            except TranslationError as error:
                self.add(error)

    def missing(self, above: Level, entries: Words, vaddrs: Words) -> None:
        """Entries of a level, by address, that point to a table outside the memory."""
        while above.folds and above.below is not None:
            above = above.below
        for value, vaddr in self._worth_wording(entries, vaddrs):
            try:
                self.tables.child(Entry(Table(self.tables, 0, above, [value]), 0), vaddr)
            except TranslationError as error:
                self.add(error)

    def rootless(self, window: Window) -> None:
        """A window whose top table is outside the memory; of several with one root, the first is told."""
        if window.root in self._rootless:
            return
        self._rootless.add(window.root)
        try:
            self.tables.top(window)
        except TranslationError as error:
            self.add(error)

    def _worth_wording(self, entries: Words, vaddrs: Words) -> Any:
        """The entries that can still matter: as many as are collected, or the first. The others are counted."""
        most = MAX_FINDINGS - len(self._fresh) if self.collects else 1
        self._more += max(len(entries) - most, 0) if self.collects else 0
        values, places = entries[:most].tolist(), vaddrs[:most].tolist()
        return zip(values, [max(place, self.first) for place in places], strict=True)
