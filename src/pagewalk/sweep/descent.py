"""From the root to the pages of a range, a level at a time, in the order of addresses.

How it works. ``Descent`` reads the tables of a level in chunks, tells tables from what ends there, and goes one level
down with all the tables it found: that keeps the chunks full however thinly they are spread. What ends above the last
level waits, by address, until the pages beside it are there. ``tasks`` thus hands out tables of the last level and
the rows that belong between them; ``answer`` turns a task into blocks by address.

A level of more than ``BUDGET`` tables is not held at once: it is gone down from in groups, so memory stays bounded.
Then there may be absurdly many pages as well, and they are counted before anything else is done.

Tables that many entries point to are gone into once, by a descent of their own (``copies``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.sweep.chunk import Tables
from pagewalk.sweep.columns import Sink, merged, part
from pagewalk.sweep.copies import MOST, Copied, Elsewhere, Shared, shared_tables
from pagewalk.sweep.fast import fast_for
from pagewalk.sweep.joiner import Joiner, woven
from pagewalk.sweep.questions import no_room
from pagewalk.sweep.reader import CHUNK, pieces
from pagewalk.sweep.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from pagewalk.sweep.columns import Block
    from pagewalk.sweep.questions import Question, Room
    from pagewalk.sweep.reader import Reader

    Words = npt.NDArray[np.uint64]

__all__ = ["BUDGET", "Descent", "answer"]

BUDGET: Final = 1 << 20
"""The most tables of one level that are held at once."""

COMPILED: Final = 8 * CHUNK
"""Entries that compiled kernels are given at a time: they go through them once, so no cache has to hold them."""


class Descent:
    """The way down.

    Args:
        reader: Reads the tables.
        question: What is asked of each chunk.
        on_many: Called once before more than ``BUDGET`` tables are gone into.
        ask: Asks the same of another reader. With it, tables that many entries point to are gone into once; without,
            each time.
    """

    def __init__(
        self,
        reader: Reader,
        question: Question,
        on_many: Callable[[], None] | None = None,
        *,
        ask: Callable[[Reader], Question] | None = None,
    ) -> None:
        self.reader = reader
        self.question = question
        self._on_many = on_many
        self._ask = ask
        self._levels = reader.levels

    def tasks(self) -> Iterator[Task]:
        """The range, by address."""
        yield from self._down(0, self.reader.root(), self.question.schema.empty())

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
                cut = int(waiting[0].searchsorted(tables.vaddr[some.start]))
                yield from self._group(at, found, [part(waiting, slice(0, cut)), *rows], many=True)
                found, rows, waiting = [], [], part(waiting, slice(cut, None))
            opened = self.reader.chunk(level, tables[some])
            if opened is not None and opened[1] is not None:
                found.append(opened[1])
                rows.append(self.question.rows(opened[0], no_room))
        yield from self._group(at, found, [waiting, *rows], many=sum(map(len, found)) > BUDGET)

    def _group(self, at: int, found: list[Tables], rows: list[Block], *, many: bool) -> Iterator[Task]:
        """Go on with some tables of a level."""
        if many:
            self._tell_many()
        below = tuple(np.concatenate(column) for column in zip(self.question.schema.empty(), *rows[1:], strict=True))
        waiting = self.question.joined(merged(rows[0], below))
        tables = Tables.join(found) if found else self.reader.root()[:0]
        for some, among in self._without_shared(at + 1, tables, waiting):
            if len(some):
                yield from self._down(at + 1, some, among)
            elif len(among[0]):
                yield Task(some, among)

    def _tell_many(self) -> None:
        """There is much to do: say so once."""
        on_many, self._on_many = self._on_many, None
        if on_many is not None:
            on_many()

    def _without_shared(self, at: int, tables: Tables, waiting: Block) -> Iterator[tuple[Tables, Block]]:
        """Tables of a level, and rows that lie among them: those of the tables that many entries point to as well."""
        reader = self.reader
        shared = None if self._ask is None else shared_tables(reader.paddrs, self._levels[at], tables, reader.span)
        if shared is not None:
            copied, tables = self._once(at, shared, tables)
            if copied.total > BUDGET:
                self._tell_many()
            for block, last in copied.blocks(MOST):
                cut = int(tables.vaddr.searchsorted(last, side="right"))
                row = int(waiting[0].searchsorted(last, side="right"))
                yield tables[:cut], self.question.joined(merged(part(waiting, slice(0, row)), block))
                tables, waiting = tables[cut:], part(waiting, slice(row, None))
        yield tables, waiting

    def _once(self, at: int, shared: Shared, tables: Tables) -> tuple[Copied, Tables]:
        """The rows of shared tables, and the tables that are left: the others, and those that hold too much."""
        assert self._ask is not None
        findings = Elsewhere(self.reader.findings)
        reader = self.reader.elsewhere(findings)
        inner = Descent(reader, self._ask(reader), ask=self._ask)
        sink, joiner = Sink(inner.question.schema), Joiner(inner.question)
        complete = len(shared.tables)
        for task in inner._down(at, shared.tables, inner.question.schema.empty()):
            for block in answer(reader, inner.question, task, no_room):
                joiner.push(block, sink.add)
                complete = len(shared.tables) if len(sink) <= MOST else shared.number(int(block[0][-1]))
            if complete < len(shared.tables):
                break
        joiner.close(sink.add)
        findings.hand_on(shared, complete)
        return Copied.of(shared, sink.result(), complete, tables)


def answer(reader: Reader, question: Question, task: Task, room: Room) -> Iterator[Block]:
    """The rows of a task, by address, in blocks; nothing from the first error on."""
    entries = reader.last.entries
    fast = fast_for(reader, getattr(question, "wanted", None)) if len(task.tables) else None
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
    opened = reader.chunk(reader.last, some) if len(some) else None
    if opened is None:
        return between
    if not len(between[0]):
        return question.rows(opened[0], room)
    return woven(question, question.rows(opened[0], no_room), between, room)


def _sound(reader: Reader, block: Block) -> Iterator[Block]:
    """A block as it is handed out, without what lies behind the first error; nothing if there are no rows."""
    stop = reader.findings.stop
    if len(block[0]) and int(block[0][-1]) >= stop:
        block = part(block, slice(0, int(block[0].searchsorted(np.uint64(stop)))))
    if len(block[0]):
        yield block if reader.outside is None else reader.outside.marked(block)
