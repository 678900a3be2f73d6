"""Reads tables of a level, chunk by chunk, within a range.

Addresses are compared by their last byte, because the end of the upper half, 2**64, is no ``uint64``.
"""

from __future__ import annotations

import errno
from copy import copy
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.doors import integer, shown
from pagewalk.errors import NonCanonical, WalkError
from pagewalk.formats import Rights
from pagewalk.formats.flags import BARE
from pagewalk.space import AddressSpace
from pagewalk.sweep.chunk import Chunk, Tables, open_chunk
from pagewalk.sweep.source import Source
from pagewalk.sweep.task import chunks_of
from pagewalk.tables import PageTables, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.formats import Level, Window
    from pagewalk.sweep.findings import Findings
    from pagewalk.sweep.outside import Outside
    from pagewalk.sweep.progress import Progress

    Words = npt.NDArray[np.uint64]

__all__ = ["CHUNK", "Reader", "bounds", "parts_of", "pieces", "tables_of"]

CHUNK: Final = 1 << 17
"""Entries looked at at a time: 1 MiB of them, so that they stay in the cache."""

_MORE: Final = 1 << 18
"""Rows that room is set aside for in any case: then there is room for the next block, and memory in huge pages."""

_SAMPLE: Final = 16
"""Tables that are looked at to see how full they are."""

_KEPT: Final = 1 << 24
np.empty(_KEPT, np.uint8)
"""Given up at once, untouched: from then on glibc keeps freed arrays of less (mallopt, M_MMAP_THRESHOLD is dynamic).

Each array that is made for a chunk would else be mapped anew: a page fault every 512 entries costs more than what is
done to them.
"""


def tables_of(space: PageTables | AddressSpace) -> PageTables:
    """The page tables of an address space; page tables are handed back as they are.

    Raises:
        TypeError: It is neither.
        MemoryReadError: The file that is their memory was cut off.
    """
    tables = space.tables if isinstance(space, AddressSpace) else space
    if not isinstance(tables, PageTables):
        raise TypeError(f"page tables or an address space are needed, not {shown(space)}")
    tables.check_memory()
    return tables


def bounds(tables: PageTables, start: int | None, end: int | None) -> tuple[int, int]:
    """The first and the last byte of a range; all windows if it is not said.

    Raises:
        WalkError: EINVAL: an empty range, or not whole pages.
        NonCanonical: A bound lies in no window.
    """
    size = tables.format.page_size
    start = tables.windows[0].start if start is None else integer(start, "start")
    end = tables.windows[-1].end if end is None else integer(end, "end")
    if start >= end:
        raise WalkError(errno.EINVAL, f"empty range: start {start:#x} is not below end {end:#x}")
    if (start | end) % size:
        raise WalkError(errno.EINVAL, f"[{start:#x}, {end:#x}) is not aligned to pages of {size:#x} bytes")
    for vaddr in (start, end - 1):
        if not any(window.start <= vaddr < window.end for window in tables.windows):
            raise NonCanonical(vaddr, -1, 0, f"not canonical: {tables.format.name} has {told(tables.windows)}")
    return start, end - 1


def parts_of(tables: PageTables, span: tuple[int, int]) -> Iterator[tuple[list[Window], tuple[int, int]]]:
    """The windows that a range meets, those together that are gone down from alike; the range's first and last byte.

    Going down from two at once halves what it costs to begin: x86's two have one root.
    """

    def way(window: Window) -> tuple[int, int | None, Level, int | None]:
        head = tables.format.head_of(_layered(window))
        alone = window.end - window.start != head.span << head.index_bits  # its table reaches out of it
        return window.level, window.bits, head, window.start if alone else None

    met = (window for window in tables.windows if window.start <= span[1] and span[0] < window.end)
    for _, alike in groupby(met, key=way):
        windows = list(alike)
        yield windows, (max(span[0], windows[0].start), min(span[1], windows[-1].end - 1))


def _layered(window: Window) -> Window:
    """A window as if the operating system's entries stood in it."""
    return window._replace(layered=True)


def pieces(count: int, entries: int) -> Iterator[slice]:
    """``count`` tables in chunks of nearly equal size."""
    many = chunks_of(count, entries, CHUNK)
    for at in range(many):
        yield slice(count * at // many, count * (at + 1) // many)


class Reader:
    """Reads chunks of tables below the roots of windows; one for each thread, since it has a buffer.

    Args:
        tables: The page tables.
        windows: The windows, gone down from alike (``parts_of``).
        span: The range's first and last byte, in these windows.
        findings: Takes what is wrong.
        source: Where they are read from; made if there is none yet.

    Attributes:
        levels: The levels that the hardware has there, root first, the first as ``PagingFormat.head_of`` has it.
        last: The last of them.
        progress: Told of tables of the last level that are done; not right away if ``quiet``.
        only_valid: What is not valid counts as empty.
        outside: Marks rows of frames that the memory does not have; None: nothing does.
    """

    def __init__(
        self,
        tables: PageTables,
        windows: Sequence[Window],
        span: tuple[int, int],
        findings: Findings,
        source: Source | None = None,
    ) -> None:
        self.tables = tables
        self.windows = windows
        first = _layered(windows[0])  # tables say by ``BARE`` where no system's entries stand
        self._top, *below = (level for level in tables.format.levels_of(first) if not level.folded)
        self.levels = tables.format.head_of(first), *below
        self.last = self.levels[-1]
        self._above = {below.depth: level for level, below in pairwise(self.levels)}
        self.source = source or Source(tables.memory, tables.format)
        self.span = span
        self.findings = findings
        self.progress: Progress | None = None
        self.quiet = False
        self.only_valid = False
        self.outside: Outside | None = None
        self._buffers: dict[int, Words] = {}

    def fork(self) -> Reader:
        """A reader for another thread."""
        reader = self._like(self.span, self.findings.fork())
        reader.outside = self.outside
        return reader

    def elsewhere(self, findings: Findings) -> Reader:
        """A reader for tables that are laid out at other addresses than their own."""
        return self._like((0, (1 << 64) - 1), findings)

    def _like(self, span: tuple[int, int], findings: Findings) -> Reader:
        """Another reader of the same tables."""
        reader = copy(self)
        reader.span, reader.findings, reader._buffers = span, findings, {}
        reader.progress, reader.quiet, reader.outside = None, False, None
        return reader

    def root(self) -> Tables:
        """Each window's part of its top table: its first entry's address may lie before the window."""
        head = self.levels[0]
        firsts = [window.start & -(head.span << head.index_bits) for window in self.windows]
        at = [window.root + self._ahead(first) for window, first in zip(self.windows, firsts, strict=True)]
        rights = np.array([Rights.all() | (0 if window.layered else BARE) for window in self.windows], np.uint8)
        return Tables(np.array(at, np.uint64), np.array(firsts, np.uint64), rights)

    def _ahead(self, vaddr: int) -> int:
        """Bytes of a top table before the entry for an address."""
        return self._top.index(vaddr) * self._top.word.size

    def chunk_size(self, some: Tables) -> int:
        """Entries to look at at a time: more, where most are empty and soon left out."""
        most = len(some) * self.last.entries
        return CHUNK if most <= CHUNK or self.likely_rows(some) == most else 4 * CHUNK

    def likely_rows(self, some: Tables) -> int:
        """How many rows tables of the last level may give, by a sample; all there can be, if that is much of it.

        A memory that has to be asked is not asked for that: a journey costs more than room that turns out too small.
        """
        level, most = self.last, len(some) * self.last.entries
        sample = self.paddrs(level, some[:: len(some) // _SAMPLE + 1])
        if not len(sample):
            return 0
        if not self.source.has(sample, level):
            return min(most, _MORE)
        entries, _ = self.source.rows(sample, level, np.empty((len(sample), level.entries), np.uint64))
        held = len(level.arrays.places(entries.reshape(-1)))
        return most if 16 * held >= entries.size else min(most, most * held // entries.size * 5 // 4 + _MORE)

    def advance(self, tables: int) -> None:
        """So many tables of the last level are done."""
        if self.progress is not None:
            self.progress.advance(tables, quietly=self.quiet)

    def paddrs(self, level: Level, some: Tables) -> Words:
        """Where tables are."""
        if level is self.levels[0]:
            return some.entry
        return self._above[level.depth].arrays.tables(some.entry)

    def read(self, level: Level, some: Tables) -> tuple[Tables, Words]:
        """The raw entries of tables, without the tables that are not in the memory."""
        if level is self.levels[0]:
            return self._read_root(some)
        entries, found = self.source.rows(self.paddrs(level, some), level, self._buffer(level, len(some)))
        if found is None:
            return some, entries
        gone = some[~found]
        self.findings.missing(self._above[level.depth], gone.entry, gone.vaddr)
        return some[found], entries[found]

    def _read_root(self, some: Tables) -> tuple[Tables, Words]:
        """The windows' parts of the top tables, which must be there as a whole."""
        top, head = self._top, self.levels[0]
        ahead = np.array([self._ahead(vaddr) for vaddr in some.vaddr.tolist()], np.uint64)
        entries, found = self.source.rows(some.entry - ahead, top, self._buffer(top, len(some)))
        if found is None:
            found = np.ones(len(some), np.bool_)
        for vaddr in some.vaddr[~found].tolist():
            self.findings.rootless(next(window for window in self.windows if window.end > vaddr))
        part = ahead.view(np.intp) // head.table_bytes
        return some[found], entries.reshape(len(some), -1, head.entries)[found, part[found]]

    def _buffer(self, level: Level, tables: int) -> Words:
        """Room for the entries of tables."""
        buffer = self._buffers.get(level.entries)
        if buffer is None or len(buffer) < tables:
            buffer = self._buffers[level.entries] = np.empty((tables, level.entries), np.uint64)
        return buffer

    def chunk(self, level: Level, some: Tables) -> tuple[Chunk, Tables | None] | None:
        """Read and look at tables; None if none of them are in the memory."""
        some, entries = self.read(level, some)
        if not len(some):
            return None
        return open_chunk(level, some, entries, self.span, self.findings, only_valid=self.only_valid)
