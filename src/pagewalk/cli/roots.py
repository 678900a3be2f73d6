"""``pagewalk roots``: every process's root and the kernel's, found in the memory alone."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.opening import open_told
from pagewalk.cli.output import write
from pagewalk.cli.params import json_option, memory_options
from pagewalk.cli.status import complain
from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["roots"]


@click.command
@memory_options
@json_option
def roots(
    source: str,
    registers: dict[str, int] | None,
    format: str | None,  # noqa: A002 - the option's name
    os: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Find every process's root and the kernel's, without symbols.

    A line a root, best first: its address, with page-table isolation (PTI) the user's as well; format, what it is, the
    number of its kernel, a score from 0 to 1, user pages seen, and why it is one. All memory is gone through once, and
    what looks like a root is proved by a walk. Exits with 8 if there is none: the base may be wrong.
    """
    from pagewalk.report.progress import shown_bar
    from pagewalk.report.roots import json_of, text_of

    opened = open_told(source, **options)
    asked = None if format is None else [format]
    with shown_bar("searching", sys.stderr) as progress:
        rows = opened.roots(registers=registers, os=os, formats=asked, progress=progress)
    write(_json(json_of(rows)) if as_json else text_of(rows))
    if not len(rows):
        complain("no page tables prove themselves: is the base right (--base 0, 1G, 2G)?")
        return UnsupportedError.exit_code
    return 0


def _json(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Rows as JSON."""
    yield json.dumps(rows, indent=2) + "\n"
