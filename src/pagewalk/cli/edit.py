"""``pagewalk edit``: change page tables, with a plan, a journal and an undo."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.opening import open_source, process_of
from pagewalk.cli.output import write
from pagewalk.cli.params import Extent, json_option, where_options
from pagewalk.editing.script import OPERATIONS, Operation, parsed, perform, read_script, usages
from pagewalk.errors import UnsupportedError
from pagewalk.numbers import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.editing import Change, Committed, Plan

__all__ = ["edit"]

_FILE = click.Path(path_type=Path, dir_okay=False)


class _Command(click.Command):
    """Its help ends with the operations."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Operations"):
            formatter.write_dl(list(usages()))


@click.command(cls=_Command)
@click.argument("source", metavar="[SOURCE]", required=False)
@click.argument("operations", metavar="[OPERATION]...", nargs=-1)
@click.option("--script", type=_FILE, metavar="FILE", help="Operations from a TOML or JSON file, before the others.")
@click.option(
    "--frames",
    type=Extent("PADDR:SIZE"),
    metavar="PADDR:SIZE",
    multiple=True,
    help="Memory that new tables may take; what is a table already is passed over. Repeatable.",
)
@click.option("--free", is_flag=True, help="Refuse frames that these tables map already.")
@click.option("--dry-run", is_flag=True, help="Show the plan: every word, table and invalidation. Nothing is written.")
@click.option("-o", "output", type=_FILE, metavar="FILE", help="Change a copy of the source, and leave it as it is.")
@click.option("--write", "in_place", is_flag=True, help="Change the source itself; needs --journal.")
@click.option("--journal", type=_FILE, metavar="FILE", help="What is needed to take the change back; a new file.")
@click.option("--undo", type=_FILE, metavar="JOURNAL", help="Take back what a journal says; no SOURCE is needed.")
@click.option("--recover", type=_FILE, metavar="JOURNAL", help="Bring back what was before an interrupted change.")
@json_option
@where_options
def edit(
    source: str | None,
    operations: tuple[str, ...],
    script: Path | None,
    frames: tuple[tuple[int, int], ...],
    free: bool,
    dry_run: bool,
    output: Path | None,
    in_place: bool,
    journal: Path | None,
    undo: Path | None,
    recover: Path | None,
    as_json: bool,
    **where: Any,
) -> int:
    """Change page tables: all of the OPERATIONs, or none.

    \b
    pagewalk edit guest.ram --root 0x4b26000 --dry-run "protect 0x400000 4K r--u"
    pagewalk edit guest.ram --root 0x4b26000 -o changed.ram --frames 0x5f00000:64K "guard 0x500000 8K"
    pagewalk edit guest.ram --root 0x4b26000 --write --journal j "install 0x600000 0x5e00000 16K rw-u"
    pagewalk edit --undo j

    They are made on a copy of the tables first; what is there now is compared with what the plan was made on, the
    journal is on disk before the first word is written, and the result is walked. Exits with 13 where an operation
    cannot be done, or the memory has changed since.

    SOURCE is as for map, but no process.
    """  # noqa: D301 - click's mark, that the lines stay as they are, is this character
    context = click.get_current_context()
    if undo or recover:
        if (undo and recover) or source or operations or script:
            raise click.UsageError("--undo and --recover stand alone, with the journal.", context)
        return _take_back(undo, recover, as_json=as_json)
    wanted = [name for name, given in (("--dry-run", dry_run), ("-o", output), ("--write", in_place)) if given]
    if source is None or len(wanted) != 1:
        raise click.UsageError("Give a SOURCE, and one of --dry-run, -o FILE and --write.", context)
    if in_place and journal is None:
        raise click.UsageError("--write needs --journal FILE: without it nothing can be taken back.", context)
    todo = [*(read_script(script, _number) if script else ()), *(parsed(text, _number) for text in operations)]
    if not todo:
        raise click.UsageError(f"Nothing is to be done: give an OPERATION ({', '.join(OPERATIONS)}).", context)
    change = _change(source, todo, frames=frames, free=free, writable=in_place, **where)
    plan = change.plan()
    done = None if dry_run else change.commit(journal=journal, to=output)
    write(_json(plan, done) if as_json else _text(plan, done))
    return 0


_number = partial(parse, address=False)


def _change(source: str, todo: list[Operation], *, frames: Any, free: bool, writable: bool, **where: Any) -> Change:
    """A change with the operations done."""
    from pagewalk.editing import edit as begin

    if process_of(source, **where) is not None:
        raise UnsupportedError(f"{source}: a process's tables are made here from what the kernel says: edit none")
    opened = open_source(source, **where, **({"writable": True} if writable else {}))
    change = begin(opened.tables, frames=[(paddr, paddr + size) for paddr, size in frames], free=free)
    perform(change, todo)
    return change


def _take_back(undo: Path | None, recover: Path | None, *, as_json: bool) -> int:
    """Undo, or recover."""
    from pagewalk import editing

    done = editing.recover(recover) if recover else editing.undo(undo or "")
    what = "nothing had to be done" if not done.words else f"{done.words:,} words are as they were"
    write([json.dumps(_done_json(done), indent=2) + "\n" if as_json else f"{what}\n"])
    return 0


def _text(plan: Plan, done: Committed | None) -> Iterator[str]:
    """The plan as lines, and what became of it."""
    yield f"{plan}\n"
    if done is None:
        yield "nothing was written (--dry-run)\n"
        return
    where = f" to {done.to}" if done.to else ""
    flushed = ", and every CPU was told to forget what it kept" if done.flushed else ""
    undo = f"; pagewalk edit --undo {done.journal} takes it back" if done.journal else ""
    yield f"written{where}: {done.words:,} words{flushed}{undo}\n"


def _json(plan: Plan, done: Committed | None) -> Iterator[str]:
    """The same as one object."""
    yield json.dumps(plan.json() | {"done": None if done is None else _done_json(done)}, indent=2) + "\n"


def _done_json(done: Committed) -> dict[str, Any]:
    """What was done, as plain data."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in done._asdict().items()}
