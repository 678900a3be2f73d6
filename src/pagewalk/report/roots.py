"""Roots as a table, and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pagewalk.report.words import columns, hexed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.void]

__all__ = ["json_of", "text_of"]

_HEADINGS: Final = ("ROOT", "USER ROOT", "FORMAT", "KIND", "KERNEL", "SCORE", "PAGES", "CPU", "WHY")
_RIGHT: Final = frozenset((0, 1, 4, 5, 6, 7))
_ADDRESSES: Final = ("root", "user_root")


def text_of(rows: Rows) -> Iterator[str]:
    """A line a root, under headings; nothing where there are none."""
    if len(rows):
        lines = columns([_HEADINGS, *(_cells(row) for row in rows)], _RIGHT)
        yield "\n".join(lines) + "\n"


def _cells(row: Any) -> tuple[str, ...]:
    """A row's cells."""
    user = int(row["user_root"])
    return (
        f"{int(row['root']):#x}",
        f"{user:#x}" if user else "-",
        str(row["format"]),
        str(row["kind"]),
        str(row["kernel"]),
        f"{row['score']:.2f}",
        f"{int(row['pages']):,}",
        str(row["cpu"]) if row["cpu"] >= 0 else "-",
        str(row["reason"]),
    )


def json_of(rows: Rows) -> list[dict[str, Any]]:
    """The rows as plain data: keys are the fields' names, addresses hex strings."""
    names: tuple[str, ...] = rows.dtype.names or ()
    return [{name: hexed(int(row[name])) if name in _ADDRESSES else row[name].item() for name in names} for row in rows]
