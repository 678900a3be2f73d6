"""``pagewalk read``: the bytes at virtual addresses."""

from __future__ import annotations

import json
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.opening import Opened, open_source
from pagewalk.cli.output import write, write_bytes
from pagewalk.cli.params import ADDRESS, NUMBER, json_option, source_options
from pagewalk.cli.status import complain
from pagewalk.errors import UnsupportedError
from pagewalk.query.read import Part, bytes_of, missing, parts
from pagewalk.report.hexdump import hex_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.errors import TranslationError

__all__ = ["read"]


@click.command
@source_options
@click.argument("vaddr", type=ADDRESS)
@click.argument("size", type=NUMBER)
@click.option("--raw", is_flag=True, help="Write the bytes as they are, all of them or none.")
@click.option("-o", "output", metavar="FILE", type=click.Path(path_type=Path), help="Write them to a file, as --raw.")
@json_option
def read(vaddr: int, size: int, raw: bool, output: Path | None, as_json: bool, **source: Any) -> int:
    """Show the bytes at virtual addresses, across pages: SIZE of them from VADDR on.

    A line a run of sixteen, by address. What is not there is told on a line of its own, with the reason, and never
    shown as zeros: the command then exits with 4, after the rest has been shown. --raw and -o write nothing at all
    then.

    SOURCE is as for map; a process's bytes are in /proc/PID/mem.
    """
    if as_json and (raw or output):
        raise click.UsageError("--json and --raw contradict each other: give one.", click.get_current_context())
    opened = open_source(**source)
    if opened.space is not None:
        raise UnsupportedError(f"{opened.name}: a process's tables do not lead to its bytes: /proc/PID/mem has them")
    found = list(parts(opened.tables, vaddr, size))
    holes = [missing(opened.tables, part.vaddr) for part in found if part.paddr is None]
    if raw or output:
        return _write(opened, found, holes, output)
    write(_json(opened, found, holes) if as_json else _text(opened, found, holes))
    return _verdict(holes)


def _verdict(holes: list[TranslationError]) -> int:
    """The exit code, and what there is to say."""
    if not holes:
        return 0
    more = f" ({len(holes)} parts of the range are not there)" if len(holes) > 1 else ""
    complain(f"{holes[0]}{more}")
    return holes[0].exit_code


def _write(opened: Opened, found: list[Part], holes: list[TranslationError], output: Path | None) -> int:
    """The bytes as they are."""
    if holes:
        return _verdict(holes)
    blocks = bytes_of(opened.tables, found)
    first = next(blocks, b"")  # a memory that does not answer is told before a file is made
    if output is None:
        write_bytes(chain([first], blocks))
        return 0
    with output.open("wb") as file:
        file.writelines(chain([first], blocks))
    return 0


def _text(opened: Opened, found: list[Part], holes: list[TranslationError]) -> Iterator[str]:
    """Lines of bytes, and a line for each hole."""
    reasons = iter(holes)
    for absent, some in groupby(found, key=_is_hole):
        if absent:
            yield from (_told(part, next(reasons)) for part in some)
        else:
            yield from _lines(opened, list(some))


def _lines(opened: Opened, found: list[Part]) -> Iterator[str]:
    """Lines of the bytes of parts that lie side by side, as they arrive."""
    at, rest = found[0].vaddr, b""
    for block in bytes_of(opened.tables, found):
        data = rest + block
        whole = max(0, len(data) - (at + len(data)) % 16)
        yield from hex_lines(at, data[:whole])
        at, rest = at + whole, data[whole:]
    yield from hex_lines(at, rest)


def _is_hole(part: Part) -> bool:
    """Whether a part has no bytes."""
    return part.paddr is None


def _told(part: Part, why: TranslationError) -> str:
    """The line for a hole."""
    return f"{part.vaddr:016x}  {part.size:#x} bytes are not there: {_reason(why)}\n"


def _reason(why: TranslationError) -> str:
    """Why there are no bytes, without the address that stands beside it."""
    return str(why).removeprefix(f"{why.vaddr:#x}: ")


def _json(opened: Opened, found: list[Part], holes: list[TranslationError]) -> Iterator[str]:
    """What was read, as one object."""
    reasons = iter(holes)
    rows: list[dict[str, Any]] = []
    for part in found:
        row: dict[str, Any] = {"vaddr": f"{part.vaddr:#x}", "size": part.size}
        if part.paddr is None:
            rows.append(row | {"paddr": None, "data": None, "why": _reason(next(reasons))})
        else:
            data = b"".join(bytes_of(opened.tables, [part]))
            rows.append(row | {"paddr": f"{part.paddr:#x}", "data": data.hex(), "why": None})
    yield json.dumps(opened.json() | {"parts": rows}, indent=2) + "\n"
