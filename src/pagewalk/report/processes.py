"""The processes of a memory image as text and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pagewalk.doors import printable
from pagewalk.report.layout import Cells, side_by_side
from pagewalk.report.words import hexed, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.void]

__all__ = ["processes_json", "processes_text"]

_ADDRESSES = ("root", "user_root", "task")


def processes_text(rows: Rows, *, width: int | None = None) -> Iterator[str]:
    """A line a process; columns that are empty everywhere are left out.

    Args:
        rows: As ``pagewalk.processes`` gives them.
        width: Cells that a line may take: names are shortened, then columns left out. None: as many as it takes.
    """
    if not len(rows):
        yield "no processes\n"
        return
    lines, _ = side_by_side(_columns(rows), width)
    yield "".join(f"{line}\n" for line in lines)


def _columns(rows: Rows) -> list[Cells]:
    """The table."""
    threads = bool((rows["pid"] != rows["tgid"]).any())
    given = [
        Cells("PID", [str(pid) for pid in rows["pid"].tolist()], right=True),
        Cells("PROCESS", [str(pid) for pid in rows["tgid"].tolist()] if threads else [], right=True, rank=1),
        Cells("THREADS", [str(many) for many in rows["threads"].tolist()], right=True, rank=3),
        Cells("ROOT", _addresses(rows["root"]), right=True),
        Cells("USER ROOT", _addresses(rows["user_root"]), right=True, rank=5),
        Cells("RESIDENT", _sizes(rows["resident"]), right=True, rank=2),
        Cells("TABLES", _sizes(rows["tables"]), right=True, rank=4),
        Cells("STATE", [_state(row) for row in rows], rank=1),
        Cells("NAME", [printable(name) for name in rows["name"].tolist()], elastic=True),
    ]
    return [column for column in given if any(cell not in ("", "-") for cell in column.cells)]


def _addresses(values: npt.NDArray[np.uint64]) -> list[str]:
    """Addresses; ``-`` for none."""
    return [f"{value:#x}" if value else "-" for value in values.tolist()]


def _sizes(values: npt.NDArray[np.uint64]) -> list[str]:
    """Sizes in a narrow column: ``4K``, ``12.5M``; ``-`` for nothing."""
    return [size_text(value).replace(" ", "")[:-2] if value else "-" for value in values.tolist()]


def _state(row: Any) -> str:
    """What is not ordinary about a process."""
    states = ("unlisted", not row["listed"]), ("kernel", row["kernel_thread"]), ("zombie", row["ended"])
    return ", ".join(word for word, is_so in states if is_so)


def processes_json(source: str, rows: Rows, notes: Sequence[str]) -> Iterator[str]:
    """One object, a line a process; keys are the fields' names, addresses hex strings, sizes numbers."""
    yield json.dumps({"source": source, "notes": list(notes)})[:-1] + ',\n"processes": ['
    names = rows.dtype.names or ()
    for at, row in enumerate(rows.tolist()):
        data = {name: hexed(value) if name in _ADDRESSES else value for name, value in zip(names, row, strict=True)}
        yield f"{',' if at else ''}\n{json.dumps(data)}"
    yield "]}\n"
