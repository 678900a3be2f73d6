"""What is mapped in a range and what is not, as columns: at once, or in blocks."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import not_negative
from pagewalk.errors import UnsupportedError
from pagewalk.formats import Kind
from pagewalk.sweep.census import Census
from pagewalk.sweep.columns import Columns, Sink
from pagewalk.sweep.descent import Descent, answer
from pagewalk.sweep.filters import Filter
from pagewalk.sweep.findings import Findings
from pagewalk.sweep.joiner import Joiner
from pagewalk.sweep.outside import outside_of
from pagewalk.sweep.progress import Progress
from pagewalk.sweep.questions import Holes, Pages, Question, no_room
from pagewalk.sweep.reader import Reader, bounds, parts_of, tables_of
from pagewalk.sweep.runs import Runs
from pagewalk.sweep.source import Source
from pagewalk.sweep.threads import in_parallel, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pagewalk.errors import TranslationError
    from pagewalk.space import AddressSpace
    from pagewalk.sweep.columns import Block
    from pagewalk.sweep.task import Task
    from pagewalk.tables import PageTables

__all__ = ["MAX_ROWS", "Listing", "holes", "iterate", "mapping_listing", "mappings"]

MAX_ROWS: Final = 1 << 30
"""Entries that are listed without being asked twice: 4 TiB in pages of 4096 bytes."""


class Listing:
    """One sweep over a range.

    Args:
        tables: Page tables, or an address space for its tables.
        start, end: The range; None for both canonical halves.
        question: Makes the question, given the reader.
        where: Only the entries that pass.
        findings: Collects what is malformed.
        limit: Entries that may be gone through; None: any number.
        progress: Told how many tables of the last level are done, and how many are known.
        threads: How many; None: as many as pay.
    """

    def __init__(
        self,
        tables: PageTables | AddressSpace,
        start: int | None,
        end: int | None,
        question: Callable[[Reader], Question],
        *,
        where: Filter | None = None,
        findings: list[TranslationError] | None = None,
        limit: int | None = MAX_ROWS,
        progress: Callable[[int, int], None] | None = None,
        threads: int | None = None,
    ) -> None:
        self.tables = tables_of(tables)
        self.span = bounds(self.tables, start, end)
        self.findings = Findings(self.tables, findings, self.span[0])
        self._where = where or Filter()
        self._ask = question
        source = Source(self.tables.memory, self.tables.format)
        self._parts = [
            self._asked(Reader(self.tables, windows, part, self.findings, source))
            for windows, part in parts_of(self.tables, self.span)
        ]
        self.schema = self._parts[0][1].schema
        self._limit = None if limit is None else not_negative(limit, "limit")
        self._checked = limit is None
        self._progress = Progress(progress)
        self._threads = threads
        self._bound = 0

    def columns(self, block: Block) -> Columns:
        """Rows as a user gets them."""
        return Columns(self.schema, block, self.tables, self.span[1])

    def _asked(self, reader: Reader) -> tuple[Reader, Question]:
        """What is asked of what lies below one root."""
        question = self._ask(reader)
        reader.outside = outside_of(self.tables.memory, reader.levels, question.schema)
        reader.only_valid = self._where.only_present
        return reader, question

    def _descents(self) -> list[Descent]:
        """The ways down, which know of this listing: it must not keep them, or their buffers would wait for ``gc``."""
        return [Descent(reader, question, self._check, ask=self._ask) for reader, question in self._parts]

    # -- all at once -------------------------------------------------------------------------------------------------

    def collect(self, sink: Sink, *, reserve: bool = False) -> None:
        """Put all rows into a sink.

        Args:
            sink: Where they go.
            reserve: Set room aside for as many rows as there may be.
        """
        joiner = Joiner(self._parts[0][1])
        begun = [(descent, descent.tasks()) for descent in self._descents()]
        firsts = [next(tasks, None) if reserve else None for _, tasks in begun]  # all at once: nothing is copied then
        sink.reserve(sum(self._likely(part, task) for (part, _), task in zip(begun, firsts, strict=True) if task))
        for (descent, tasks), first in zip(begun, firsts, strict=True):
            for task in tasks if first is None else chain([first], tasks):
                self._take(descent, task, sink, joiner, reserve=reserve)
        joiner.close(sink.add)
        self.findings.close()

    def _take(self, descent: Descent, task: Task, sink: Sink, joiner: Joiner, *, reserve: bool) -> None:
        """Put the rows of a task into a sink."""
        reader, most = descent.reader, len(task.tables) * descent.reader.last.entries
        self._expect(most + len(task.rows[0]))
        self._progress.expect(len(task.tables))
        threads = workers(self._threads, most)
        if self._threads is None and self._would_copy(reader, task, sink):
            threads = 1
        if reserve:
            sink.reserve(self._likely(descent, task))
        if threads > 1:
            in_parallel(threads, reader, descent.question, task, sink, joiner, self._progress)
            return
        reader.progress = self._progress
        for block in answer(reader, descent.question, task, joiner.room(sink)):
            joiner.push(block, sink.add)

    @staticmethod
    def _likely(descent: Descent, task: Task) -> int:
        """How many rows a task may give."""
        return descent.reader.likely_rows(task.tables) + len(task.rows[0])

    @staticmethod
    def _would_copy(reader: Reader, task: Task, sink: Sink) -> bool:
        """Whether threads could not write where their rows go, though there are many: then one thread is faster."""
        most = len(task.tables) * reader.last.entries
        in_place = not sink.fixed or sink.room(most + len(task.rows[0])) is not None
        return not in_place and reader.likely_rows(task.tables) == most

    # -- bit by bit --------------------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[Block]:
        """The rows in blocks, by address."""
        joiner = Joiner(self._parts[0][1])
        ready: list[Block] = []
        for descent in self._descents():
            descent.reader.progress = self._progress
            for task in descent.tasks():
                self._expect(len(task.tables) * descent.reader.last.entries + len(task.rows[0]))
                self._progress.expect(len(task.tables))
                for block in answer(descent.reader, descent.question, task, no_room):
                    joiner.push(block, ready.append)
                    yield from ready
                    ready.clear()
        joiner.close(ready.append)
        yield from ready
        self.findings.close()

    # -- how much it may be ------------------------------------------------------------------------------------------

    def _expect(self, rows: int) -> None:
        """So many more rows may come."""
        self._bound += rows
        if self._limit is not None and self._bound > self._limit:
            self._check()

    def _check(self) -> None:
        """Count, and refuse what is absurd."""
        if self._checked:
            return
        self._checked = True
        census, found = Census(self._where), Findings(self.tables, [], self.span[0])
        for windows, part in parts_of(self.tables, self.span):
            census.add(Reader(self.tables, windows, part, found))
        if self._limit is not None and census.total > self._limit:
            raise UnsupportedError(
                f"[{self.span[0]:#x}, {self.span[1] + 1:#x}) holds {census.total:,} entries, and no more than "
                f"{self._limit:,} are listed unasked: count them, ask for a smaller range, or say limit=None "
                "and take them from iterate(), which needs little memory"
            )


def mappings(
    tables: PageTables | AddressSpace,
    start: int | None = None,
    end: int | None = None,
    *,
    coalesce: bool = True,
    hardware: bool = False,
    entries: bool = False,
    where: Filter | None = None,
    findings: list[TranslationError] | None = None,
    out: Columns | None = None,
    limit: int | None = MAX_ROWS,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Columns:
    """Everything that page tables hold in ``[start, end)``, as columns.

    Args:
        tables: Page tables, or an address space for its tables.
        start, end: Virtual addresses in bytes, whole pages; None for both canonical halves. What reaches out of the
            range is cut off, huge pages too.
        coalesce: Join neighbours of equal page size, flags and kind whose frames follow each other, or are one and the
            same (such a row has ``Flag.REPEATED``), or which have none.
        hardware: Only what the MMU would translate: present pages.
        entries: With the raw entries, as the column ``entry``; not of joined runs.
        where: Only the entries that pass; tested before they are joined.
        findings: Collects what is malformed, which is then passed over, instead of raising the first. Beyond 65,536
            they are counted, in one more finding; in a table that many entries point to, each is told once.
        out: Columns to fill instead of new ones (``Columns.allocate``); the result shows the part that was filled.
        limit: Entries that may be gone through; None: any number.
        threads: How many; None: as many as pay.
        progress: Told, now and then, how many tables of the last level are done and how many are known.

    Returns:
        Columns vaddr, paddr, flags, kind, depth, and size or entry, by ascending vaddr.

    Raises:
        WalkError: EINVAL: the range is empty, or not whole pages.
        NonCanonical: The range begins or ends between the halves.
        ReservedBits, Malformed: An entry is not one (carries vaddr, depth, entry), and ``findings`` is None.
        UnsupportedError: More entries than ``limit``, the message says how many.
        ValueError: ``out`` is too small, or has other columns.
    Source: Intel SDM vol. 3A, 5.5.4 and 5.6.1 (rights).
    """
    listing = mapping_listing(
        tables,
        start,
        end,
        coalesce=coalesce,
        hardware=hardware,
        entries=entries,
        where=where,
        findings=findings,
        limit=limit,
        threads=threads,
        progress=progress,
    )
    sink = _sink(listing, out)
    listing.collect(sink, reserve=not coalesce and out is None)
    return listing.columns(sink.result())


def iterate(
    tables: PageTables | AddressSpace,
    start: int | None = None,
    end: int | None = None,
    *,
    coalesce: bool = True,
    hardware: bool = False,
    entries: bool = False,
    where: Filter | None = None,
    findings: list[TranslationError] | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Columns]:
    """``mappings`` in blocks of at most some hundred thousand rows, in bounded memory however many there are.

    Args:
        tables, start, end, coalesce, hardware, entries, where, findings, progress: As ``mappings``.
        limit: As ``mappings``; by default there is none.

    Yields:
        Columns, by address. An error is raised when all rows below its address have been yielded.

    Raises:
        As ``mappings``.
    """
    listing = mapping_listing(
        tables,
        start,
        end,
        coalesce=coalesce,
        hardware=hardware,
        entries=entries,
        where=where,
        findings=findings,
        limit=limit,
        progress=progress,
    )
    return (listing.columns(block) for block in listing.blocks() if len(block[0]))


def holes(
    tables: PageTables | AddressSpace,
    start: int | None = None,
    end: int | None = None,
    *,
    findings: list[TranslationError] | None = None,
    limit: int | None = MAX_ROWS,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Columns:
    """Where page tables hold nothing in ``[start, end)``, as columns.

    Together with ``mappings`` they cover the range exactly, but for what is malformed.

    Args:
        tables, start, end, findings, limit, threads, progress: As ``mappings``.

    Returns:
        Columns vaddr, depth (of the empty entries, as the kernel's ``pte_hole`` counts: 0 PGD .. 3 PMD, a folded level
        as the one it repeats; 4 for an empty PTE) and size. Neighbours of equal depth are one.

    Raises:
        WalkError, NonCanonical, ReservedBits, Malformed, UnsupportedError: As ``mappings``.
    """
    listing = Listing(
        tables,
        start,
        end,
        lambda reader: Holes(reader.span),
        findings=findings,
        limit=limit,
        threads=threads,
        progress=progress,
    )
    sink = Sink(listing.schema)
    listing.collect(sink)
    return listing.columns(sink.result())


def mapping_listing(
    tables: PageTables | AddressSpace,
    start: int | None,
    end: int | None,
    *,
    coalesce: bool,
    hardware: bool,
    entries: bool,
    where: Filter | None,
    **options: Any,
) -> Listing:
    """The sweep that ``mappings`` makes: its arguments, but for ``out``."""
    wanted = _wanted(where, hardware)

    def question(reader: Reader) -> Question:
        return _question(reader, wanted, coalesce=coalesce, entries=entries)

    return Listing(tables, start, end, question, where=wanted, **options)


def _wanted(where: Filter | None, hardware: bool) -> Filter:
    """A filter, and what ``hardware`` adds to it."""
    where = where or Filter()
    if not hardware:
        return where
    kinds = {Kind.PRESENT} if where.kinds is None else {Kind.PRESENT} & {Kind(kind) for kind in where.kinds}
    return Filter(
        having=where.having, lacking=where.lacking, kinds=kinds, page_sizes=where.page_sizes, frames=where.frames
    )


def _question(reader: Reader, wanted: Filter, *, coalesce: bool, entries: bool) -> Question:
    """What ``mappings`` asks."""
    if coalesce:
        if entries:
            raise ValueError("a run of pages has no one entry: entries=True needs coalesce=False")
        return Runs(reader.levels, reader.span, wanted)
    return Pages(reader.span, wanted, raw=entries)


def _sink(listing: Listing, out: Columns | None) -> Sink:
    """Where the rows go."""
    schema = listing.schema
    if out is None:
        return Sink(schema)
    if out.names != schema.shown:
        raise ValueError(f"out= has columns {', '.join(out.names)}: {', '.join(schema.shown)} are needed")
    return Sink(schema, out.block)
