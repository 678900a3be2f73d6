"""From the root to the pages of a range, a level at a time, in the order of addresses.

How it works. ``Descent`` reads the tables of a level in chunks, tells tables from what ends there, and goes one level
down with all the tables it found: that keeps the chunks full however thinly they are spread. What ends above the last
level waits, by address, until the pages beside it are there. ``tasks`` thus hands out tables of the last level and
the rows that belong between them; ``answer`` turns a task into blocks by address.

A level of more than ``BUDGET`` tables is not held at once: it is gone down from in groups, so memory stays bounded.
Then there may be absurdly many pages as well, and they are counted before anything else is done.

Addresses are compared by their last byte, because the end of the upper half, 2**64, is no ``uint64``.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk.doors import integer, shown
from pagewalk.errors import NonCanonical, WalkError
from pagewalk.formats import Flag
from pagewalk.space import AddressSpace
from pagewalk.sweep.bits import codec_of
from pagewalk.sweep.chunk import Chunk, Tables, open_chunk
from pagewalk.sweep.columns import merged, part
from pagewalk.sweep.fast import Fast, fast_for
from pagewalk.sweep.joiner import woven
from pagewalk.sweep.questions import no_room
from pagewalk.sweep.source import Source
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat
    from pagewalk.sweep.columns import Block
    from pagewalk.sweep.findings import Findings
    from pagewalk.sweep.questions import Question, Room
    from pagewalk.sweep.threads import Progress

    Words = npt.NDArray[np.uint64]

__all__ = ["BUDGET", "Descent", "Reader", "Task", "answer", "bounds", "pieces", "tables_of"]

BUDGET: Final = 1 << 20
"""The most tables of one level that are held at once."""

CHUNK: Final = 1 << 17
"""Entries looked at at a time: 1 MiB of them, so that they stay in the cache."""

COMPILED: Final = 8 * CHUNK
"""Entries that compiled kernels are given at a time: they go through them once, so no cache has to hold them."""

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


def _parts(count: int, entries: int, chunk: int) -> int:
    """How many chunks of about so many entries ``count`` tables make."""
    return -(-count // max(chunk // entries * 3 // 2, 1))


def pieces(count: int, entries: int) -> Iterator[slice]:
    """``count`` tables in chunks of nearly equal size."""
    parts = _parts(count, entries, CHUNK)
    for at in range(parts):
        yield slice(count * at // parts, count * (at + 1) // parts)


class Task(NamedTuple):
    """A part of the range: tables of the last level, and rows of the levels above. Each by address."""

    tables: Tables
    rows: Block

    def after(self, tables: int) -> Task:
        """The task without some of its first tables, and what lies before the next."""
        row = (
            len(self.rows[0])
            if tables == len(self.tables)
            else np.searchsorted(self.rows[0], self.tables.vaddr[tables])
        )
        return Task(self.tables[tables:], part(self.rows, slice(int(row), None)))

    def split(self, parts: int) -> Iterator[Task]:
        """The task in parts of equal work; one, if it has no tables."""
        count = len(self.tables)
        cuts = [count * at // parts for at in range(1, parts)]
        borders = np.searchsorted(self.rows[0], self.tables.vaddr[cuts]).tolist()
        ends = zip([0, *cuts], [*cuts, count], [0, *borders], [*borders, len(self.rows[0])], strict=True)
        for first, end, low, high in ends:
            yield Task(self.tables[first:end], part(self.rows, slice(low, high)))

    def chunks(self, entries: int, chunk: int) -> Iterator[Task]:
        """The task in parts of about ``chunk`` entries; ``entries`` are in a table."""
        return self.split(_parts(len(self.tables), entries, chunk))


class Reader:
    """Reads chunks of tables; one for each thread, since it has a buffer.

    Args:
        tables: The page tables.
        span: The range's first and last byte.
        findings: Takes what is wrong.

    Attributes:
        progress: Told of tables of the last level that are done; not right away if ``quiet``.
        only_valid: What is not valid counts as empty.
    """

    def __init__(self, tables: PageTables, span: tuple[int, int], findings: Findings) -> None:
        self.tables = tables
        self.codec = codec_of(tables.format)
        self.source = Source(tables.memory, tables.format)
        self.span = span
        self.findings = findings
        self.progress: Progress | None = None
        self.quiet = False
        self.only_valid = False
        self._buffers: dict[int, Words] = {}

    def fork(self) -> Reader:
        """A reader for another thread."""
        reader = Reader(self.tables, self.span, self.findings.fork())
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

    def fast_for(self, question: Question) -> Fast | None:
        """The compiled way to answer a question; None where NumPy does."""
        wanted = getattr(question, "wanted", None)
        return None if wanted is None else fast_for(self, wanted)

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


class Descent:
    """The way down.

    Args:
        reader: Reads the tables.
        question: What is asked of each chunk.
        on_many: Called once before more than ``BUDGET`` tables are gone into.
    """

    def __init__(self, reader: Reader, question: Question, on_many: Callable[[], None] | None = None) -> None:
        self.reader = reader
        self.question = question
        self._on_many = on_many
        self._levels = reader.tables.format.real_levels

    def root(self) -> Tables:
        """The top table."""
        one = np.zeros(1, np.uint64)
        root = one + np.uint64(self.reader.tables.root)
        rights = np.full(1, int(Flag.rights()), np.uint8)
        return Tables(root, one, rights, np.zeros((0, 1), np.uint64) if self.reader.findings.collects else None)

    def tasks(self) -> Iterator[Task]:
        """The range, by address."""
        yield from self._down(0, self.root(), self.question.schema.empty())

    def _down(self, at: int, tables: Tables, waiting: Block) -> Iterator[Task]:
        """From tables of a level to those of the last; ``waiting`` are rows of the levels above that lie among them."""
        level = self._levels[at]
        if at == len(self._levels) - 1:
            yield Task(tables, waiting)
            return
        found: list[Tables] = []
        rows: list[Block] = []
        for some in pieces(len(tables), level.entries):
            if int(tables.vaddr[some.start]) >= self.reader.findings.stop:
                break
            if sum(map(len, found)) > BUDGET:
                cut = int(np.searchsorted(waiting[0], tables.vaddr[some.start]))
                yield from self._group(at, found, [part(waiting, slice(0, cut)), *rows], many=True)
                found, rows, waiting = [], [], part(waiting, slice(cut, None))
            opened = self.reader.chunk(level, tables[some])
            if opened is not None and opened[1] is not None:
                found.append(opened[1])
                rows.append(self.question.rows(opened[0], no_room))
        yield from self._group(at, found, [waiting, *rows], many=sum(map(len, found)) > BUDGET)

    def _group(self, at: int, found: list[Tables], rows: list[Block], *, many: bool) -> Iterator[Task]:
        """Go on with some tables of a level."""
        if many and self._on_many is not None:
            on_many, self._on_many = self._on_many, None
            on_many()
        below = tuple(np.concatenate(column) for column in zip(self.question.schema.empty(), *rows[1:], strict=True))
        waiting = self.question.joined(merged(rows[0], below))
        tables = Tables.join(found) if found else self.root()[:0]
        if len(tables) or len(waiting[0]):
            yield from self._down(at + 1, tables, waiting) if len(tables) else iter([Task(tables, waiting)])


def answer(reader: Reader, question: Question, task: Task, room: Room) -> Iterator[Block]:
    """The rows of a task, by address, in blocks; nothing from the first error on."""
    entries = reader.tables.format.real_levels[-1].entries
    fast = reader.fast_for(question) if len(task.tables) else None
    for many in task.chunks(entries, COMPILED):
        if len(many.tables) and int(many.tables.vaddr[0]) >= reader.findings.stop:
            yield from _sound(reader, many.rows)
            return
        left, done = many, 0
        for block, now in () if fast is None else fast.blocks(question, many, room):
            reader.advance(now - done)
            done, left = now, many.after(now)
            yield from _sound(reader, block)
        for some in left.chunks(entries, reader.chunk_size(left.tables)) if len(left.tables) or not done else ():
            block = _rows(reader, question, *some, room)
            reader.advance(len(some.tables))
            yield from _sound(reader, block)


def _rows(reader: Reader, question: Question, some: Tables, between: Block, room: Room) -> Block:
    """The rows of a chunk of the last level, and those that belong between them."""
    opened = reader.chunk(reader.tables.format.real_levels[-1], some) if len(some) else None
    if opened is None:
        return between
    if not len(between[0]):
        return question.rows(opened[0], room)
    return woven(question, question.rows(opened[0], no_room), between, room)


def _sound(reader: Reader, block: Block) -> Iterator[Block]:
    """A block, without what lies behind the first error; nothing if there are no rows."""
    stop = reader.findings.stop
    if len(block[0]) and int(block[0][-1]) >= stop:
        block = part(block, slice(0, int(np.searchsorted(block[0], np.uint64(stop)))))
    if len(block[0]):
        yield block
