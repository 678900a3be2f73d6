"""``pagewalk roots``: every process's root and the kernel's, found in the memory alone."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.cutoff import tell_of_cut_off_files
from pagewalk.cli.output import write
from pagewalk.cli.params import image_options, json_option
from pagewalk.cli.status import complain
from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["roots"]


@click.command
@image_options("root", "encryption_bit")
@json_option
def roots(
    source: str,
    registers: dict[str, int] | None,
    format: str | None,  # noqa: A002 - the option's name
    os: str | None,
    base: int | None,
    segment: tuple[tuple[int, int, int], ...],
    as_json: bool,
) -> int:
    """Find every process's root and the kernel's, without symbols.

    A line a root, best first: its address, with page-table isolation (PTI) the user's as well; format, what it is, the
    number of its kernel, a score from 0 to 1, user pages seen, and why it is one. All memory is gone through once, and
    what looks like a root is proved by a walk. Exits with 8 if there is none: the base may be wrong.
    """
    from pagewalk.report.progress import telling
    from pagewalk.report.roots import json_of, text_of
    from pagewalk.sources import refuse_remote
    from pagewalk.sources import roots as roots_of

    if base and segment:
        raise click.UsageError("--base and --segment contradict each other: give the address in each --segment.")
    refuse_remote(source)
    tell_of_cut_off_files()
    where: dict[str, Any] = {"base": base or 0, "segments": segment or None, "registers": registers, "os": os}
    with telling(sys.stderr, "searching") as progress:
        rows = roots_of(source, **where, formats=None if format is None else [format], progress=progress)
    write(_json(json_of(rows)) if as_json else text_of(rows))
    if not len(rows):
        complain("no page tables prove themselves: is the base right (--base 0, 1G, 2G)?")
        return UnsupportedError.exit_code
    return 0


def _json(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Rows as JSON."""
    yield json.dumps(rows, indent=2) + "\n"
