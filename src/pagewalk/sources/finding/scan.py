"""The one pass: every page, or slot, of a memory that looks like a top table.

How it works. Memory comes a block at a time, which stays in the CPU's cache. Of each probe one or a few *columns* are
looked at: the words of one slot in all tables that could lie in the block, which is one strided array.
Hardly any word is one that a system's table would have there; only where it is, all of the table is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pagewalk.memory import blocks_of
from pagewalk.sources.finding.reading import any_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from pagewalk.memory import Memory
    from pagewalk.sources.finding.reading import Probe

    Words = npt.NDArray[np.uint64]

__all__ = ["Candidates", "scan"]


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


def scan(memory: Memory, probes: Iterable[Probe]) -> Iterator[tuple[int, dict[Probe, Candidates]]]:
    """The candidates of some probes, block by block.

    Args:
        memory: One that says where it has bytes.
        probes: What to look for.

    Yields:
        How many bytes a block has, and its candidates by the probes that have any.

    Raises:
        UnsupportedError, MemoryReadError: As ``blocks_of``.
    """
    lookers = [_Looker(probe) for probe in dict.fromkeys(probes)]
    for paddr, block in blocks_of(memory):
        found = ((looker.probe, looker.look(paddr, block)) for looker in lookers)
        yield len(block), {probe: some for probe, some in found if some is not None}


class _Looker:
    """One probe over blocks of memory.

    Args:
        probe: What to look for.
    """

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        kind = np.dtype(probe.word.dtype).type
        self._tables = [(kind(mask), kind(value)) for mask, value in probe.tables]

    def look(self, paddr: int, block: memoryview) -> Candidates | None:
        """The candidates of a block; None: there are none."""
        size = self.probe.size
        lead = -paddr % size
        tables, columns = self._views(block, lead)
        if not len(tables):
            return None
        hit: Any = None
        for column in columns:
            for mask, value in self._tables:
                found = (column & mask) == value
                hit = found if hit is None else np.logical_or(hit, found, out=hit)
        if not hit.any():
            return None
        places = np.flatnonzero(hit)
        rows = tables[places]
        fit = any_of(self.probe.tables, rows) | any_of(self.probe.others, rows)
        good = np.flatnonzero(fit.all(axis=1))
        if not len(good):
            return None
        paddrs = places[good].astype(np.uint64) * np.uint64(size) + np.uint64(paddr + lead)
        return Candidates(paddrs, rows[good].astype(np.uint64))

    def _views(self, block: memoryview, lead: int) -> tuple[Any, list[Any]]:
        """A block as tables, and the columns of them."""
        count = max(len(block) - lead, 0) // self.probe.size
        words = np.frombuffer(block, self.probe.word.dtype, count * self.probe.entries, lead) if count else np.empty(0)
        tables = words.reshape(count, self.probe.entries)
        return tables, [tables[:, column] for column in self.probe.columns]
