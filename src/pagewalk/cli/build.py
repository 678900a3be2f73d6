"""``pagewalk build``: page tables from a layout, and a layout from page tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.opening import open_source
from pagewalk.cli.output import write
from pagewalk.cli.params import ADDRESS, Extent, json_option, where_options
from pagewalk.cli.status import complain

if TYPE_CHECKING:
    from pagewalk.editing import Built
    from pagewalk.errors import TranslationError

__all__ = ["build"]

_KINDS = ("bin", "c", "asm", "rust", "ram")


@click.command
@click.argument("layout", metavar="[LAYOUT]", required=False)
@click.option("-o", "--output", metavar="FILE", help="Write what is built to a file.")
@click.option("--as", "kind", type=click.Choice(_KINDS), default="bin", show_default=True, help="What FILE is.")
@click.option("--name", default="page_tables", show_default=True, help="What C, assembler or Rust calls the tables.")
@click.option("--ram", type=Extent("PADDR:SIZE"), metavar="PADDR:SIZE", help="Of --as ram: where the RAM is.")
@click.option("--check", is_flag=True, help="Walk the tables back, and prove that they equal the layout.")
@click.option("--from", "source", metavar="SOURCE", help="Print the layout that a source's tables have, instead.")
@click.option("--tables", type=ADDRESS, default=0, metavar="PADDR", help="Of --from: the base that the layout has.")
@where_options
@json_option
def build(layout: str | None, source: str | None, **options: Any) -> None:
    """Build page tables from a layout.

    LAYOUT is a TOML file: format, [tables] with base and size, and [[region]]s with name, vaddr, paddr, size and rights
    (four places, as in rw-u). The largest pages that fit are used. FILE is what lies at base: raw bytes, or source text
    that has them as an array, or an image of RAM. What to load into which register is said on standard output.

    With --from, the layout is made of the tables of SOURCE, and printed, or written to FILE; the options from --root on
    say where they are, as for map.
    """
    own = {name: options.pop(name) for name in ("output", "kind", "name", "ram", "check", "tables", "as_json")}
    given = [name for name, value in options.items() if value is not False and value not in (None, ())]
    if (layout is None) == (source is None):
        raise _usage("give a LAYOUT, or --from SOURCE: one of both.")
    if source is not None:
        _back(source, options, **own)
        return
    if given:
        raise _usage(f"--{given[0].replace('_', '-')} is an option of --from.")
    if (own["kind"] == "ram") != (own["ram"] is not None):
        raise _usage("--as ram and --ram PADDR:SIZE go together.")
    _forth(str(layout), **own)


def _forth(layout: str, *, output: str | None, kind: str, name: str, ram: Any, check: bool, **rest: Any) -> None:
    """Build a layout."""
    from pagewalk.editing import build as built_from
    from pagewalk.editing.building.proof import prove
    from pagewalk.report.build import built_json, built_text

    built = built_from(layout)
    checked = prove(built) if check else None
    if output is not None:
        _save(built, output, kind, name, ram)
    if rest["as_json"]:
        write([json.dumps(built_json(built, checked=check), indent=2) + "\n"])
    else:
        write(built_text(built, checked=checked))


def _save(built: Built, path: str, kind: str, name: str, ram: tuple[int, int] | None) -> None:
    """Write a file."""
    from pagewalk.editing.building import outputs

    try:
        parts = None if ram else outputs.output(built, kind, name)
    except ValueError as error:
        raise _usage(f"{error}.") from None
    placed = [] if ram is None else list(outputs.ram(built, *ram))
    with Path(path).open("wb") as file:
        for part in parts or ():
            file.write(part)
        if ram is not None:
            file.truncate(ram[1])
            for offset, data in placed:
                file.seek(offset)
                file.write(data)


def _back(source: str, where: dict[str, Any], *, output: str | None, tables: int, as_json: bool, **rest: Any) -> None:
    """Print the layout of a source."""
    from pagewalk.editing.building.back import layout_of

    if as_json or rest["check"] or rest["ram"] is not None or rest["kind"] != "bin":
        raise _usage("--from makes a layout: --as, --ram, --check and --json are for building one.")
    opened = open_source(source, **where)
    findings: list[TranslationError] = []
    text = layout_of(opened.tables, base=tables, name=source, findings=findings).text()
    if output is None:
        write([text])
    else:
        Path(output).write_text(text)
    for finding in findings[:3]:
        complain(f"warning: left out: {finding}")
    if len(findings) > 3:
        complain(f"warning: {len(findings) - 3:,} more are left out")


def _usage(why: str) -> click.UsageError:
    """A usage error that names the command to ask for help."""
    return click.UsageError(why, click.get_current_context(silent=True))
