"""The one pass: every page, or slot, of a memory that could be a top table by a word or a few of it.

How it works. Memory comes a block at a time. Of each probe one or a few *columns* are looked at: the words of one slot
in all tables that could lie in the block. They lie far apart, which is what costs time, so each column is taken out
once for all probes that look at it. Hardly any word is one that a system's table would have there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.memory import blocks_of, is_flat
from pagewalk.memory.extents import BLOCK
from pagewalk.sources.finding.step import any_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from pagewalk.memory import Memory
    from pagewalk.sources.finding.reading import Probe

    Words = npt.NDArray[np.uint64]

__all__ = ["Hits", "scan"]

_TABLES: Final = 1 << 13
"""Tables that a block should have at least: fewer take longer to ask for than to look at."""


_APART: Final = 4096
"""Bytes between words from which on a column is taken out: nearer ones are of one probe only."""


class Hits(NamedTuple):
    """Where top tables could be.

    Attributes:
        paddrs: Their addresses, ascending. Shape (n,), uint64.
        entries: An entry of each that would point to a table. Shape (n,), uint64.
    """

    paddrs: Words
    entries: Words

    def only(self, which: Any) -> Hits:
        """Some of them."""
        return Hits(self.paddrs[which], self.entries[which])


def scan(memory: Memory, probes: Iterable[Probe]) -> Iterator[tuple[int, dict[Probe, Hits]]]:
    """What some probes hit, block by block.

    Args:
        memory: One that says where it has bytes.
        probes: What to look for.

    Yields:
        How many bytes a block has, and what is hit in it by the probes that hit anything.

    Raises:
        UnsupportedError, MemoryReadError: As ``blocks_of``.
    """
    asked = list(dict.fromkeys(probes))
    most = min((probe.size for probe in asked), default=1) * _TABLES if is_flat(memory) else BLOCK
    for paddr, data in blocks_of(memory, max(most, BLOCK)):
        block = _Block(paddr, data)
        found = ((probe, block.hits(probe)) for probe in asked)
        yield len(data), {probe: some for probe, some in found if some is not None}


class _Block:
    """A block of memory as columns of tables.

    Args:
        paddr: Where it begins.
        data: Its bytes.
    """

    def __init__(self, paddr: int, data: memoryview) -> None:
        self._paddr = paddr
        self._data = data
        self._columns: dict[tuple[str, int, int], Any] = {}

    def hits(self, probe: Probe) -> Hits | None:
        """Where tables of a probe could be; None: nowhere."""
        hit: Any = None
        for slot in probe.columns:
            found = any_of(probe.tables, self._column(probe, slot))
            hit = found if hit is None else np.logical_or(hit, found, out=hit)
        places = np.flatnonzero(hit)
        if not len(places):
            return None
        entries = self._column(probe, probe.columns[0])[places]
        for slot in probe.columns[1:]:
            entries = np.where(any_of(probe.tables, entries), entries, self._column(probe, slot)[places])
        lead = -self._paddr % probe.size
        paddrs = places.astype(np.uint64) * np.uint64(probe.size) + np.uint64(self._paddr + lead)
        return Hits(paddrs, entries.astype(np.uint64))

    def _column(self, probe: Probe, slot: int) -> Any:
        """The words of one slot in all tables that could lie here."""
        key = probe.word.dtype, probe.size, slot
        if key not in self._columns:
            lead = -self._paddr % probe.size
            count = max(len(self._data) - lead, 0) // probe.size
            words = np.frombuffer(self._data, probe.word.dtype, count * probe.entries, lead if count else 0)
            column = words[slot :: probe.entries]
            self._columns[key] = column.copy() if probe.size >= _APART else column
        return self._columns[key]
