"""``pagewalk count``: how much there is, without listing it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.listing import Listing, finding_data, head_of
from pagewalk.cli.opening import open_source
from pagewalk.cli.output import write
from pagewalk.cli.params import json_option, source_options
from pagewalk.cli.wanted import Wanted, wanted_options, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["count"]


@click.command
@source_options
@wanted_options
@json_option
def count(as_json: bool, **options: Any) -> int:
    """Count what is mapped, by kind and page size.

    A line a kind and size: how many entries there are, and how many bytes they stand for. Then the page tables of each
    level: of all addresses, whatever the range and the filters are. It takes less time and memory than map, however
    much is mapped. A huge page that reaches out of the range counts whole. What is malformed is passed over with a
    warning.

    SOURCE, KINDS and FLAGS are as for map; repeated and outside are of its runs, and not counted.
    """
    from pagewalk.query.tables import count_tables
    from pagewalk.sweep import count as counted

    wanted = Wanted.taken_from(options)
    where = wanted.of_counts
    start, end = options.pop("start"), options.pop("end")
    opened = open_source(**options)
    listing = Listing(opened, wanted, start=opened.tables.windows[0].start if start is None else start, end=end)
    rows = counted(opened.tables, listing.start, listing.stop, where=where, findings=listing.findings)
    tables, listing.rows = count_tables(opened.tables), len(rows)
    write(_json(listing, rows, tables) if as_json else _text(listing, rows, tables))
    warn(listing.findings)
    return listing.verdict


def _text(listing: Listing, rows: Any, tables: dict[str, int]) -> Iterator[str]:
    """The table, and the tables."""
    from pagewalk.report.count import count_text

    yield from count_text(rows, tables, listing.source.tables.format, empty=listing.emptiness)


def _json(listing: Listing, rows: Any, tables: dict[str, int]) -> Iterator[str]:
    """One object."""
    from pagewalk.report.count import count_data

    counts = count_data(rows, listing.source.tables.format)
    said = {"counts": counts, "tables": tables, "findings": [finding_data(one) for one in listing.findings]}
    yield json.dumps(head_of(listing) | said, indent=2) + "\n"
