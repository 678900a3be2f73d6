"""``pagewalk vtop``: addresses through the tables, level by level. Does without NumPy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.opening import Opened, open_source
from pagewalk.cli.output import write
from pagewalk.cli.params import ADDRESS, json_option, source_options
from pagewalk.cli.status import complain
from pagewalk.errors import MemoryFault, TranslationError
from pagewalk.formats.access import ACCESSES
from pagewalk.report.steps import Trip, trip

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["vtop"]


@click.command
@source_options
@click.argument("vaddr", type=ADDRESS, nargs=-1, required=True)
@click.option("--hardware", is_flag=True, help="Answer as the MMU would: a PROT_NONE page is not there.")
@click.option(
    "--access",
    type=click.Choice(tuple(ACCESSES)),
    help="Say whether the MMU lets this access through, or which bit refuses it.",
)
@json_option
def vtop(vaddr: tuple[int, ...], hardware: bool, access: str | None, as_json: bool, **source: Any) -> int:
    """Translate virtual addresses, showing every level's entry.

    A line a level: the table's name in the manual and in the kernel, the slot, its physical address, the raw entry,
    what it holds, its own rights (read, write, execute, user) and state. Then where the address leads, with the rights
    that all levels together grant, and what of the page's own the tables above take away. Exits with 4 if an address
    does not translate, else with 12 if --access is refused, after all have been shown.

    SOURCE is an image or a dump of physical memory, with --root, --registers or --pid where it does not say them
    itself; qmp:PATH, gdb:PATH or gdb:HOST:PORT: a machine that QEMU runs; or pid:N: a process of this machine. The
    kernel does not show its tables: what is said is what it tells of the page.
    """
    opened = open_source(**source)
    trips = [_trip(opened, at, hardware, access) for at in vaddr]
    write(_json(trips) if as_json else _text(trips))
    failed = [way.error for way in trips if way.error]
    if failed:
        complain(str(failed[0]) if len(trips) == 1 else f"{len(failed)} of {len(trips)} addresses do not translate")
        return failed[0].exit_code
    refused = [way.vaddr for way in trips if way.verdict is not None and not way.verdict.allowed]
    if refused:
        what = f"{refused[0]:#x}" if len(trips) == 1 else f"{len(refused)} of {len(trips)} addresses"
        complain(f"{what}: {access} is refused")
    return MemoryFault.exit_code if refused else 0


def _trip(opened: Opened, vaddr: int, hardware: bool, access: str | None) -> Trip:
    """The way of an address, as far as it is known."""
    space = opened.space
    if space is None:
        return trip(opened.tables, vaddr, hardware=hardware, access=access)
    if vaddr >= opened.hidden and any(window.holds(vaddr) for window in opened.tables.windows):
        why = f"not known: of a process the kernel shows what lies below {opened.hidden:#x} only"
        return Trip(vaddr, error=TranslationError(vaddr, -1, 0, why), access=access)
    known = space.frames_known
    return trip(opened.tables, vaddr, hardware=hardware, access=access, told=False, swap_known=known)


def _text(trips: list[Trip]) -> Iterator[str]:
    """The trips, an empty line between two."""
    for at, way in enumerate(trips):
        yield "\n" * bool(at) + "\n".join(way.text()) + "\n"


def _json(trips: list[Trip]) -> Iterator[str]:
    """The trips as a list of objects."""
    yield json.dumps([way.json() for way in trips], indent=2) + "\n"
