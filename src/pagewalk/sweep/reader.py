"""Reads tables of a level, chunk by chunk, within a range.

Addresses are compared by their last byte, because the end of the upper half, 2**64, is no ``uint64``.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.doors import integer, shown
from pagewalk.errors import NonCanonical, WalkError
from pagewalk.space import AddressSpace
from pagewalk.sweep.bits import codec_of
from pagewalk.sweep.chunk import Chunk, Tables, open_chunk
from pagewalk.sweep.source import Source
from pagewalk.sweep.task import chunks_of
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat
    from pagewalk.sweep.findings import Findings
    from pagewalk.sweep.outside import Outside
    from pagewalk.sweep.progress import Progress

    Words = npt.NDArray[np.uint64]

__all__ = ["CHUNK", "Reader", "bounds", "pieces", "tables_of"]

CHUNK: Final = 1 << 17
"""Entries looked at at a time: 1 MiB of them, so that they stay in the cache."""

_MORE: Final = 1 << 18
"""Rows that room is set aside for in any case: then there is room for the next block, and memory in huge pages."""

_SAMPLE: Final = 16
"""Tables that are looked at to see how full they are."""


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


def bounds(form: PagingFormat, start: int | None, end: int | None) -> tuple[int, int]:
    """The first and the last byte of a range; both canonical halves if it is not said.

    Raises:
        WalkError: EINVAL: an empty range, or not whole pages.
        NonCanonical: A bound lies between the halves.
    """
    start = 0 if start is None else integer(start, "start")
    end = 1 << 64 if end is None else integer(end, "end")
    if start >= end:
        raise WalkError(errno.EINVAL, f"empty range: start {start:#x} is not below end {end:#x}")
    if (start | end) % form.page_size:
        raise WalkError(errno.EINVAL, f"[{start:#x}, {end:#x}) is not aligned to pages of {form.page_size:#x} bytes")
    for vaddr in (start, end - 1):
        if not 0 <= vaddr < 1 << 64 or not form.is_canonical(vaddr):
            (_, low), (high, _) = form.halves
            why = f"not canonical: {form.name} has addresses below {low:#x} and from {high:#x} on"
            raise NonCanonical(vaddr, -1, 0, why)
    return start, end - 1


def pieces(count: int, entries: int) -> Iterator[slice]:
    """``count`` tables in chunks of nearly equal size."""
    many = chunks_of(count, entries, CHUNK)
    for at in range(many):
        yield slice(count * at // many, count * (at + 1) // many)


class Reader:
    """Reads chunks of tables; one for each thread, since it has a buffer.

    Args:
        tables: The page tables.
        span: The range's first and last byte.
        findings: Takes what is wrong.
        source: Where they are read from; made if there is none yet.

    Attributes:
        progress: Told of tables of the last level that are done; not right away if ``quiet``.
        only_valid: What is not valid counts as empty.
        outside: Marks rows of frames that the memory does not have; None: nothing does.
    """

    def __init__(
        self, tables: PageTables, span: tuple[int, int], findings: Findings, source: Source | None = None
    ) -> None:
        self.tables = tables
        self.codec = codec_of(tables.format)
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
        reader = Reader(self.tables, span, findings, self.source)
        reader.only_valid = self.only_valid
        return reader

    def chunk_size(self, some: Tables) -> int:
        """Entries to look at at a time: more, where most are empty and soon left out."""
        return CHUNK if self.likely_rows(some) == len(some) * self.tables.format.real_levels[-1].entries else 4 * CHUNK

    def likely_rows(self, some: Tables) -> int:
        """How many rows tables of the last level may give, by a sample; all there can be, if that is much of it."""
        level = self.tables.format.real_levels[-1]
        sample = self.paddrs(level, some[:: len(some) // _SAMPLE + 1])
        if not len(sample):
            return 0
        entries, _ = self.source.rows(sample, level, np.empty((len(sample), level.entries), np.uint64))
        held, most = int(np.count_nonzero(entries)), len(some) * level.entries
        return most if 16 * held >= entries.size else min(most, most * held // entries.size * 5 // 4 + _MORE)

    def advance(self, tables: int) -> None:
        """So many tables of the last level are done."""
        if self.progress is not None:
            self.progress.advance(tables, quietly=self.quiet)

    def paddrs(self, level: Level, some: Tables) -> Words:
        """Where tables are."""
        return some.entry if level.depth == 0 else self.codec.tables(some.entry)

    def read(self, level: Level, some: Tables) -> tuple[Tables, Words]:
        """The raw entries of tables, without the tables that are not in the memory."""
        buffer = self._buffers.get(level.entries)
        if buffer is None or len(buffer) < len(some):
            buffer = self._buffers[level.entries] = np.empty((len(some), level.entries), np.uint64)
        entries, found = self.source.rows(self.paddrs(level, some), level, buffer)
        if found is None:
            return some, entries
        gone = some[~found]
        self.findings.missing(level, gone.entry, gone.vaddr)
        return some[found], entries[found]

    def chunk(self, level: Level, some: Tables) -> tuple[Chunk, Tables | None] | None:
        """Read and look at tables; None if none of them are in the memory."""
        some, entries = self.read(level, some)
        if not len(some):
            return None
        return open_chunk(self.codec, level, some, entries, self.span, self.findings, only_valid=self.only_valid)
