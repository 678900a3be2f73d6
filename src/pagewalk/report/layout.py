"""Columns side by side, in as many cells as a terminal has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pagewalk.report.fit import breadth, pad, shorten

__all__ = ["Cells", "side_by_side"]

_GAP: Final = "  "
_LEAST: Final = 12
"""Cells that a column which can be shortened keeps, if others can give way."""


@dataclass(frozen=True)
class Cells:
    """A column.

    Attributes:
        heading: What stands over it.
        cells: A text a row.
        right: Flush right, as numbers are.
        brief: A shorter heading and cells, for when there is too little room.
        elastic: Its cells can be shortened in the middle.
        rank: Where there is too little room, columns of a higher rank go first; those of rank 0 stay.
    """

    heading: str
    cells: list[str]
    right: bool = False
    brief: tuple[str, list[str]] | None = None
    elastic: bool = False
    rank: int = 0

    @property
    def width(self) -> int:
        """Cells that it takes."""
        return max(map(breadth, (self.heading, *self.cells)))

    @property
    def least(self) -> int:
        """Cells that it has to have."""
        return min(self.width, _LEAST) if self.elastic else self.width


def side_by_side(columns: list[Cells], width: int | None) -> tuple[list[str], list[str]]:
    """The lines, the headings first, and the headings of what was left out for want of room.

    Args:
        columns: From left to right.
        width: The cells of a line; None: as many as it takes.
    """
    dropped: list[str] = []
    if width is not None and _needed(columns, full=True) > width:
        columns = [_brief(column) for column in columns]
        while _needed(columns) > width and any(column.rank for column in columns):
            last = max(columns, key=lambda column: column.rank)
            dropped.insert(0, last.heading)
            columns = [column for column in columns if column is not last]
        columns = [_squeezed(column, columns, width) for column in columns]
    lines = _lines(columns)
    return [line if width is None else shorten(line, max(width, 1)) for line in lines], dropped


def _brief(column: Cells) -> Cells:
    """A column in its shorter form."""
    return column if column.brief is None else replace(column, heading=column.brief[0], cells=column.brief[1])


def _needed(columns: list[Cells], *, full: bool = False) -> int:
    """Cells that a line takes, with names in full or as short as can be."""
    return sum(column.width if full else column.least for column in columns) + len(_GAP) * (len(columns) - 1)


def _squeezed(column: Cells, columns: list[Cells], width: int) -> Cells:
    """A column whose cells can be shortened, in what room the others leave."""
    if not column.elastic:
        return column
    room = max(width - _needed([other for other in columns if other is not column]) - len(_GAP), 1)
    return replace(column, heading=column.heading[:room], cells=[shorten(cell, room) for cell in column.cells])


def _lines(columns: list[Cells]) -> list[str]:
    """Lines of cells."""
    padded = []
    for column in columns:
        width = column.width
        padded.append([pad(cell, width, right=column.right) for cell in (column.heading, *column.cells)])
    return [_GAP.join(cells).rstrip() for cells in zip(*padded, strict=True)]
