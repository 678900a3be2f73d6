"""``pagewalk map``: everything the tables hold in a range."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.output import paint, write
from pagewalk.cli.params import NUMBER, json_option, open_tables, source_options
from pagewalk.cli.status import complain
from pagewalk.formats import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.errors import TranslationError
    from pagewalk.tables import PageTables

__all__ = ["map"]

_KINDS = {kind.label: kind for kind in Kind if kind is not Kind.NONE}
_WARNINGS = 20


@click.command
@source_options
@click.option("--start", type=NUMBER, metavar="VADDR", default=0, help="First address; by default 0.")
@click.option("--end", type=NUMBER, metavar="VADDR", help="End, exclusive; by default that of the address space.")
@click.option("--pages", is_flag=True, help="One row an entry, with its raw value, instead of joined runs.")
@click.option("--holes", "with_holes", is_flag=True, help="Show what is not mapped too.")
@click.option("--kind", "kinds", type=click.Choice(list(_KINDS)), multiple=True, help="Only these kinds; repeatable.")
@click.option("--hardware", is_flag=True, help="Only what the MMU would translate.")
@json_option
def map(  # noqa: A001 - the command's name
    start: int,
    end: int | None,
    pages: bool,
    with_holes: bool,
    kinds: tuple[str, ...],
    hardware: bool,
    as_json: bool,
    **source: Any,
) -> None:
    """List what is mapped where.

    A line a run of like pages: addresses, size, page size, first frame, effective rights (read, write, execute, user),
    what kind of entry it is, and its state. What is malformed is passed over with a warning.
    """
    from pagewalk.query import holes, mappings

    tables = open_tables(**source)
    end = 1 << 64 if end is None else end
    findings: list[TranslationError] = []
    rows = mappings(tables, start, end, coalesce=not pages, hardware=hardware, findings=findings)
    findings.sort(key=lambda error: error.vaddr)
    if kinds:
        rows = rows[_among(rows["kind"], kinds)]
    gaps = holes(tables, start, end, findings=[]) if with_holes else None
    if as_json:
        head = {
            "source": source["source"],
            "format": tables.format.name,
            "root": tables.root,
            "start": start,
            "end": end,
        }
        write(_json(head, tables, rows, gaps, findings))
    else:
        write(_text(tables, rows, gaps))
    _warn(findings)


def _among(column: Any, kinds: tuple[str, ...]) -> Any:
    """Which rows are of these kinds."""
    import numpy as np

    return np.isin(column, [_KINDS[kind].value for kind in kinds])


def _text(tables: PageTables, rows: Any, gaps: Any) -> Iterator[str]:
    """The table and its summary. The bar stays away from a terminal that shows the table itself."""
    from pagewalk.report.listing import summary, text_blocks
    from pagewalk.report.progress import watched

    total = len(rows) + (0 if gaps is None else len(gaps))
    yield from watched(text_blocks(tables.format, rows, gaps, paint), total, _bystander())
    yield f"\n{summary(rows)}\n"


def _json(head: dict[str, Any], tables: PageTables, rows: Any, gaps: Any, findings: list[Any]) -> Iterator[str]:
    """One object; a line a row."""
    from pagewalk.report.listing import json_rows
    from pagewalk.report.progress import watched

    yield json.dumps(head)[:-1]
    for name, part in (("mappings", rows), ("holes", gaps)):
        if part is not None:
            lines = ((1, line) for line in json_rows(part, tables.format))
            yield f',\n"{name}": ['
            yield from _separated(watched(lines, len(part), _bystander()))
            yield "]"
    yield ',\n"findings": ['
    yield from _separated(json.dumps(_finding(error)) for error in findings)
    yield "]}\n"


def _separated(lines: Iterator[str]) -> Iterator[str]:
    """Each on a line of its own, commas between."""
    for at, line in enumerate(lines):
        yield f"{',' if at else ''}\n{line}"


def _finding(error: TranslationError) -> dict[str, Any]:
    """What is wrong, as plain data."""
    what = type(error).__name__
    return {"error": what, "vaddr": error.vaddr, "depth": error.depth, "entry": error.entry, "message": str(error)}


def _bystander() -> Any:
    """Where a bar disturbs nothing: standard error, unless the output goes to the same terminal."""
    return None if sys.stdout.isatty() else sys.stderr


def _warn(findings: list[TranslationError]) -> None:
    """What was passed over, on standard error."""
    for error in findings[:_WARNINGS]:
        complain(f"warning: {error}")
    if len(findings) > _WARNINGS:
        complain(f"warning: and {len(findings) - _WARNINGS:,} more; --json lists them all")
