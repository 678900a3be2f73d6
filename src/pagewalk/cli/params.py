"""Arguments and options that mean the same in every command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.cutoff import tell_of_cut_off_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.tables import PageTables

__all__ = ["NUMBER", "json_option", "open_tables", "source_options"]

_NUMBER = re.compile(r"(0x[0-9a-f]+|[0-9]+)([kmgt]?)", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


class Number(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A number: decimal or 0x..., times 1024 for each step of K, M, G, T."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number that a text stands for."""
        if isinstance(value, int):
            return value
        match = _NUMBER.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is not a number: write 4096, 0x1000 or 4K.", param, ctx)
        digits, unit = match.groups()
        return int(digits, 16 if digits[:2].lower() == "0x" else 10) << _UNITS[unit.lower()]


class Segment(click.ParamType):  # type: ignore[type-arg]  # as Number
    """A part of an image: ``PADDR:OFFSET:SIZE``."""

    name = "segment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        """Its three numbers."""
        if isinstance(value, tuple):
            return value
        parts = value.split(":")
        if len(parts) != 3:
            self.fail(f"{value!r} is not PADDR:OFFSET:SIZE.", param, ctx)
        paddr, offset, size = (NUMBER.convert(part, param, ctx) for part in parts)
        return paddr, offset, size


NUMBER = Number()
_SEGMENT = Segment()

_SOURCE_OPTIONS = (
    click.argument("source", metavar="SOURCE"),
    click.option("--root", type=NUMBER, metavar="PADDR", required=True, help="The top table (x86: CR3, flags off)."),
    click.option("--format", default="x86-64", show_default=True, help="Paging format."),
    click.option("--base", type=NUMBER, metavar="PADDR", default=0, help="Physical address of the image's first byte."),
    click.option(
        "--segment",
        type=_SEGMENT,
        metavar="PADDR:OFFSET:SIZE",
        multiple=True,
        help="A part of the image, for one that is not one run from --base; repeatable.",
    ),
)

json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of text: bytes, null for no frame.")


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the SOURCE argument and the options that say how to read it."""
    for decorate in reversed(_SOURCE_OPTIONS):
        command = decorate(command)
    return command


def open_tables(source: str, root: int, format: str, base: int, segment: tuple[Any, ...]) -> PageTables:  # noqa: A002
    """The page tables that these options name."""
    from pagewalk import source as opener

    if base and segment:
        raise click.UsageError("--base and --segment contradict each other: give the address in each --segment.")
    tell_of_cut_off_files()
    return opener.open(source, format=format, root=root, base=base, segments=segment or None)
