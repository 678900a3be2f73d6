"""``pagewalk map``: everything the tables hold in a range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from pagewalk.cli.listing import Listing, Wanted, json_of, text_of
from pagewalk.cli.opening import open_source
from pagewalk.cli.output import write
from pagewalk.cli.params import ADDRESS, NUMBER, Extent, Names, json_option, source_options
from pagewalk.cli.status import complain
from pagewalk.formats import Flag, Kind

if TYPE_CHECKING:
    from pagewalk.errors import TranslationError

__all__ = ["map"]

_NO_ROWS: Final = (Kind.NONE, Kind.TABLE, Kind.RESERVED)
_KINDS: Final = {kind.label: kind for kind in Kind if kind not in _NO_ROWS}
_FLAGS: Final = {flag.name.lower(): flag for flag in Flag if flag.name}
_WARNINGS: Final = 20

_KIND_LIST, _FLAG_LIST = Names(_KINDS), Names(_FLAGS)


@click.command
@source_options
@click.option("--start", type=ADDRESS, metavar="VADDR", help="First address; by default that of the address space.")
@click.option("--end", type=ADDRESS, metavar="VADDR", help="End, exclusive; by default that of the address space.")
@click.option("--kind", "kinds", type=_KIND_LIST, metavar="KINDS", multiple=True, help="Only these kinds; repeatable.")
@click.option("--having", type=_FLAG_LIST, metavar="FLAGS", multiple=True, help="Only with all of these; repeatable.")
@click.option("--lacking", type=_FLAG_LIST, metavar="FLAGS", multiple=True, help="Only with none of these; repeatable.")
@click.option(
    "--frames",
    type=Extent("PADDR:SIZE", optional=1),
    metavar="PADDR[:SIZE]",
    help="Only pages whose frames lie, at least in part, in SIZE bytes from PADDR on; without SIZE, over PADDR.",
)
@click.option("--hardware", is_flag=True, help="Only what the MMU would translate.")
@click.option("--holes", is_flag=True, help="Show what is not mapped too.")
@click.option("--state", is_flag=True, help="Keep apart what differs in accessed or dirty only.")
@click.option("--pages", is_flag=True, help="One row an entry, with its raw value, instead of joined runs.")
@click.option("--limit", type=NUMBER, metavar="N", help="Show N rows; the totals are those of all rows still.")
@json_option
def map(  # noqa: A001 - the command's name
    kinds: tuple[tuple[str, ...], ...],
    having: tuple[tuple[str, ...], ...],
    lacking: tuple[tuple[str, ...], ...],
    frames: tuple[int, int] | None,
    as_json: bool,
    limit: int | None,
    **options: Any,
) -> int:
    """List what is mapped where.

    A line a run of like pages: addresses, size, page size, first frame, effective rights (read, write, execute, user),
    what kind of entry it is, and its state. Runs that differ in accessed or dirty only are shown as one, with the state
    that all of its pages have; --state, --pages and --json keep them apart. A frame =0x5000 is the one frame of every
    page in the run; "outside" is a frame that the memory image does not have. What is malformed is passed over with a
    warning.

    SOURCE is an image or a dump of physical memory, with --root, --registers or --pid where it does not say them
    itself; qmp:PATH, gdb:PATH or gdb:HOST:PORT: a machine that QEMU runs; or pid:N: a process of this machine.

    \b
    KINDS, with commas between:
      present prot_none swap migration guard uffd_wp hwpoison other
    FLAGS, with commas between:
      read write exec user global accessed dirty special soft_dirty uffd_wp
      exclusive file no_frame saved_dirty repeated outside kernel_exec grouped
    """  # noqa: D301 - click's mark, that the lines stay as they are, is this character
    wanted = Wanted(
        having=_flags(having),
        lacking=_flags(lacking),
        kinds=[_KINDS[name] for names in kinds for name in names] or None,
        frames=None if frames is None else (frames[0], frames[0] + frames[1]),
        hardware=options.pop("hardware"),
    )
    if both := wanted.having & wanted.lacking:
        names = ", ".join(name for name, flag in _FLAGS.items() if flag & both)
        context = click.get_current_context(silent=True)
        raise click.UsageError(f"--having and --lacking contradict each other: {names} is in both.", context)
    shape = {name: options.pop(name) for name in ("start", "end", "holes", "state", "pages")}
    opened = open_source(**options)
    if shape["start"] is None:
        shape["start"] = opened.tables.windows[0].start
    listing = Listing(opened, wanted, limit=limit, **shape)
    write(json_of(listing) if as_json else text_of(listing))
    _warn(listing.findings)
    return listing.verdict


def _flags(options: tuple[tuple[str, ...], ...]) -> int:
    """The flags that are named."""
    return sum({int(_FLAGS[name]) for names in options for name in names})


def _warn(findings: list[TranslationError]) -> None:
    """What was passed over, on standard error; of many the first ones, and the last, which may speak for all."""
    shown = findings if len(findings) <= _WARNINGS else findings[: _WARNINGS - 1]
    for error in shown:
        complain(f"warning: {error}")
    if left := len(findings) - len(shown):
        complain(f"warning: {left:,} more, which --json lists, up to the last:")
        complain(f"warning: {findings[-1]}")
