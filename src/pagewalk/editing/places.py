"""Where the tables of a range are, before a change and after it: what a word that changes is the entry of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pagewalk.editing.ways import ways

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    Numbers = npt.NDArray[np.intp]

__all__ = ["Places", "TableAt", "level_of"]


class TableAt(NamedTuple):
    """A table that comes or goes.

    Attributes:
        paddr: Its physical address.
        vaddr: The first address that it translates.
        level: Its level's name in the manual.
        size: Its bytes.
    """

    paddr: int
    vaddr: int
    level: str
    size: int


class Places(NamedTuple):
    """Tables, by physical address, each once.

    Attributes:
        levels: Every level that one of them is of.
        paddrs: Where they are. Shape (n,), uint64.
        vaddrs: The first address that each translates. Shape (n,), uint64.
        which: Their levels, as places in ``levels``. Shape (n,).
    """

    levels: tuple[Level, ...]
    paddrs: Words
    vaddrs: Words
    which: Numbers

    @classmethod
    def of(cls, tables: PageTables, spans: Iterable[tuple[int, int]]) -> Places:
        """The tables that translate some ranges."""
        levels: dict[int, Level] = {}
        found = [(way, levels.setdefault(way.level.depth, way.level)) for span in spans for way in ways(tables, *span)]
        order = list(levels.values())
        depths = [level.depth for level in order]
        paddrs = np.concatenate([way.paddrs for way, _ in found] or [np.empty(0, np.uint64)])
        vaddrs = np.concatenate([way.vaddrs for way, _ in found] or [np.empty(0, np.uint64)])
        which = [np.full(len(way.paddrs), depths.index(level.depth)) for way, level in found]
        _, first = np.unique(paddrs, return_index=True)
        return cls(tuple(order), paddrs[first], vaddrs[first], np.concatenate(which or [first])[first])

    def without(self, others: Places) -> Places:
        """Those that are not among others."""
        kept = ~np.isin(self.paddrs, others.paddrs)
        return Places(self.levels, self.paddrs[kept], self.vaddrs[kept], self.which[kept])

    def find_in(self, blocks: Words, counts: Numbers, words: Words) -> Numbers:
        """The table that holds each of some words; -1 where none does. Shape (n,).

        Args:
            blocks: The blocks of memory that the words are in, ascending.
            counts: How many are in each.
            words: Their addresses, block by block.
        """
        if not len(self.paddrs):
            return np.full(len(words), -1)
        sizes = np.array([level.table_bytes for level in self.levels], np.uint64)[self.which]
        if int(sizes.min()) == int(sizes.max()) and not (self.paddrs % sizes[0]).any():
            at = self._holding(blocks, sizes)  # a block is a table, or of one
            return np.repeat(at, counts)
        return self._holding(words, sizes)

    def _holding(self, paddrs: Words, sizes: Words) -> Numbers:
        """The table at each of some addresses."""
        at = self.paddrs.searchsorted(paddrs, side="right") - 1
        return np.where((at >= 0) & (paddrs - self.paddrs[at] < sizes[at]), at, -1)

    def tables(self) -> tuple[TableAt, ...]:
        """Each of them, for whoever looks at them."""
        levels = [self.levels[which] for which in self.which.tolist()]
        rows = zip(self.paddrs.tolist(), self.vaddrs.tolist(), levels, strict=True)
        return tuple(TableAt(paddr, vaddr, level.manual, level.table_bytes) for paddr, vaddr, level in rows)


def level_of(tables: PageTables, depth: int, vaddr: int) -> Level:
    """The level of an entry for an address, by its depth."""
    return tables.format.levels_of(tables.window_of(vaddr))[depth]
