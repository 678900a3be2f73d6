"""Mappings and holes, as text and as JSON, in blocks that can be written as they come."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.formats import NO_PADDR, Kind
from pagewalk.report.words import flag_names, rights_text, size_text, state_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from pagewalk.formats import PagingFormat

    Rows = npt.NDArray[np.void]
    Paint = Callable[[str, str], str]

__all__ = ["BLOCK", "json_rows", "summary", "text_blocks"]

BLOCK = 4096
"""Rows in a block of text."""

_NARROW, _WIDE = 12, 16
_COLOURS = {
    "prot_none": "magenta",
    "swap": "yellow",
    "migration": "yellow",
    "guard": "red",
    "uffd_wp": "cyan",
    "hwpoison": "red",
    "other": "yellow",
    "hole": "bright_black",
}
_LABELS = {kind.value: kind.label for kind in Kind}


def text_blocks(form: PagingFormat, rows: Rows, holes: Rows | None, paint: Paint) -> Iterator[tuple[int, str]]:
    """A header and the rows, by address, as ``(rows done, text)``.

    Args:
        form: Names the levels of holes.
        rows: As ``mappings`` gives them, coalesced or not.
        holes: As ``holes`` gives them, to stand between the rows; None: left out.
        paint: Given a text and a colour's name, the text in that colour.
    """
    starts = rows["vaddr"] if holes is None else np.concatenate([rows["vaddr"], holes["vaddr"]])
    order = np.argsort(starts, kind="stable")
    digits = _WIDE if len(starts) and int(starts.max()) >> 4 * _NARROW else _NARROW
    raw = "entry" in (rows.dtype.names or ())
    yield 0, _header(digits, raw) + "\n"
    for at in range(0, len(order), BLOCK):
        some = order[at : at + BLOCK]
        lines = _mapping_lines(rows[some[some < len(rows)]], digits, paint)
        if holes is not None:
            gaps = holes[some[some >= len(rows)] - len(rows)]
            lines = _merge(some < len(rows), lines, _hole_lines(form, gaps, digits, raw, paint))
        yield len(some), "".join(f"{line}\n" for line in lines)


def _merge(is_mapping: npt.NDArray[np.bool_], mappings: Iterator[str], holes: Iterator[str]) -> Iterator[str]:
    """Lines of both, in turn."""
    return (next(mappings if mine else holes) for mine in is_mapping.tolist())


def _range(start: int, size: int, digits: int) -> str:
    """A range of addresses."""
    return f"{start:#0{digits + 2}x}-{start + size:#0{digits + 2}x}"


def _header(digits: int, raw: bool) -> str:
    """The line over the columns."""
    line = f"{'ADDRESSES':<{2 * digits + 5}}  {'SIZE':>9}  {'PAGE':>5}  {'FRAME':<14}  "
    return line + (f"{'ENTRY':<18}  " if raw else "") + f"{'RIGHTS':<6}  {'KIND':<9}  STATE"


def _mapping_lines(rows: Rows, digits: int, paint: Paint) -> Iterator[str]:
    """A line for each row."""
    raw = "entry" in (rows.dtype.names or ())
    for vaddr, paddr, size, page, flags, kind, *entry in rows.tolist():
        label = _LABELS[kind]
        frame = "-" if paddr == NO_PADDR else f"{paddr:#x}"
        line = (
            f"{_range(vaddr, size, digits):<{2 * digits + 5}}  {size_text(size):>9}  {_short(page):>5}  {frame:<14}  "
            f"{f'{entry[0]:#018x}  ' if raw else ''}{rights_text(flags):<6}  {label:<9}  {' '.join(state_names(flags))}"
        ).rstrip()
        yield paint(line, _COLOURS[label]) if label in _COLOURS else line


def _hole_lines(form: PagingFormat, holes: Rows, digits: int, raw: bool, paint: Paint) -> Iterator[str]:
    """A line for each hole."""
    blank = f"{'-':<14}  " + (f"{'':<18}  " if raw else "") + f"{'':<6}"
    for vaddr, size, depth in holes.tolist():
        level = form.levels[depth]
        line = f"{_range(vaddr, size, digits):<{2 * digits + 5}}  {size_text(size):>9}  {_short(level.span):>5}  "
        yield paint(f"{line}{blank}  {'hole':<9}  empty {level.name}", _COLOURS["hole"])


def _short(size: int) -> str:
    """A page size in a narrow column: ``4K``, ``2M``."""
    return size_text(size).replace(" ", "")[:-2]


def summary(rows: Rows) -> str:
    """One line: how much there is of each kind and page size."""
    parts = []
    for kind in np.unique(rows["kind"]).tolist():
        mine = rows[rows["kind"] == kind]
        sizes = [
            (page, int(mine["size"][mine["page_size"] == page].sum())) for page in np.unique(mine["page_size"]).tolist()
        ]
        parts.append(f"{_LABELS[kind]} " + " + ".join(f"{size_text(total)} in {_short(page)}" for page, total in sizes))
    return f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}: {', '.join(parts) or 'nothing is mapped'}"


def json_rows(rows: Rows, form: PagingFormat) -> Iterator[str]:
    """Each row as one JSON object: addresses and sizes in bytes, null where there is no frame."""
    names = rows.dtype.names or ()
    for values in rows.tolist():
        yield json.dumps(_plain(dict(zip(names, values, strict=True)), form))


def _plain(row: dict[str, Any], form: PagingFormat) -> dict[str, Any]:
    """A row with its numbers in words where they stand for something."""
    if "depth" in row:
        return {**row, "level": form.levels[row["depth"]].name}
    paddr = None if row["paddr"] == NO_PADDR else row["paddr"]
    return {**row, "paddr": paddr, "flags": list(flag_names(row["flags"])), "kind": _LABELS[row["kind"]]}
