"""``pagewalk vtop``: addresses through the tables, level by level. Does without NumPy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.opening import Opened, open_source
from pagewalk.cli.output import write
from pagewalk.cli.params import ADDRESS, json_option, source_options
from pagewalk.cli.status import complain
from pagewalk.errors import TranslationError
from pagewalk.report.steps import Trip, trip

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["vtop"]


@click.command
@source_options
@click.argument("vaddr", type=ADDRESS, nargs=-1, required=True)
@click.option("--hardware", is_flag=True, help="Answer as the MMU would: a PROT_NONE page is not there.")
@json_option
def vtop(vaddr: tuple[int, ...], hardware: bool, as_json: bool, **source: Any) -> int:
    """Translate virtual addresses, showing every level's entry.

    A line a level: the table's name in the manual and in the kernel, the slot, its physical address, the raw entry,
    what it holds, its own rights (read, write, execute, user) and state. Then where the address leads, with the rights
    that all levels together grant. Exits with 4 if an address does not translate, after all have been shown.

    SOURCE is a raw image of physical memory, with --root or --registers; or pid:N: a process of this machine, which
    needs neither. The kernel does not show its tables: what is said is what it tells of the page.
    """
    opened = open_source(**source)
    trips = [_trip(opened, at, hardware) for at in vaddr]
    write(_json(trips) if as_json else _text(trips))
    failed = [way.error for way in trips if way.error]
    if not failed:
        return 0
    complain(str(failed[0]) if len(trips) == 1 else f"{len(failed)} of {len(trips)} addresses do not translate")
    return failed[0].exit_code


def _trip(opened: Opened, vaddr: int, hardware: bool) -> Trip:
    """The way of an address, as far as it is known."""
    space = opened.space
    if space is None:
        return trip(opened.tables, vaddr, hardware=hardware)
    if vaddr >= opened.hidden and any(window.holds(vaddr) for window in opened.tables.windows):
        why = f"not known: of a process the kernel shows what lies below {opened.hidden:#x} only"
        return Trip(vaddr, error=TranslationError(vaddr, -1, 0, why))
    return trip(opened.tables, vaddr, hardware=hardware, told=False, swap_known=space.frames_known)


def _text(trips: list[Trip]) -> Iterator[str]:
    """The trips, an empty line between two."""
    for at, way in enumerate(trips):
        yield "\n" * bool(at) + "\n".join(way.text()) + "\n"


def _json(trips: list[Trip]) -> Iterator[str]:
    """The trips as a list of objects."""
    yield json.dumps([way.json() for way in trips], indent=2) + "\n"
