"""A part of what is to be answered, and how it is cut into smaller ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pagewalk.sweep.columns import part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.sweep.chunk import Tables
    from pagewalk.sweep.columns import Block

__all__ = ["Task", "chunks_of"]


def chunks_of(count: int, entries: int, chunk: int) -> int:
    """How many chunks of about so many entries ``count`` tables make."""
    return -(-count // max(chunk // entries * 3 // 2, 1))


class Task(NamedTuple):
    """A part of the range: tables of the last level, and rows of the levels above. Each by address."""

    tables: Tables
    rows: Block

    def after(self, tables: int) -> Task:
        """The task without some of its first tables, and what lies before the next."""
        row = len(self.rows[0]) if tables == len(self.tables) else self.rows[0].searchsorted(self.tables.vaddr[tables])
        return Task(self.tables[tables:], part(self.rows, slice(int(row), None)))

    def split(self, parts: int) -> Iterator[Task]:
        """The task in parts of equal work; one, if it has no tables."""
        count = len(self.tables)
        cuts = [count * at // parts for at in range(1, parts)]
        borders = self.rows[0].searchsorted(self.tables.vaddr[cuts]).tolist()
        ends = zip([0, *cuts], [*cuts, count], [0, *borders], [*borders, len(self.rows[0])], strict=True)
        for first, end, low, high in ends:
            yield Task(self.tables[first:end], part(self.rows, slice(low, high)))

    def chunks(self, entries: int, chunk: int) -> Iterator[Task]:
        """The task in parts of about ``chunk`` entries; ``entries`` are in a table."""
        return self.split(chunks_of(len(self.tables), entries, chunk))
