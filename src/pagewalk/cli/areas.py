"""A process VMA by VMA: the options that say which and how, and the output; of ``live`` and of ``vmas``."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from pagewalk.cli.output import paint, write
from pagewalk.cli.params import Number, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.report.columns import Choice
    from pagewalk.space import ProcessSpace

__all__ = ["AreasCommand", "areas_options", "show"]


class AreasCommand(click.Command):
    """A command that lists VMAs; its help explains the columns."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The columns, and what colours mean."""
        from pagewalk.report.columns import COLOURS, explain

        with formatter.section("Columns, each with content only"):
            formatter.write_dl(explain())
        colours = ", ".join(f"{colour}: has {name.upper()}" for name, colour in COLOURS)
        with formatter.section("Colours of lines, on a terminal"):
            formatter.write_text(f"The first that is true: {colours}.")


class _Column(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """What VMAs can be sorted by."""

    name = "column"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name that the report knows."""
        from pagewalk.doors import shown
        from pagewalk.report.columns import near, sort_key

        key = sort_key(value)
        if key is None:
            like = near(value, sorting=True)
            hint = f"did you mean {like}?" if like else "see --help."
            self.fail(f"there is no column {shown(value)}: {hint}", param, ctx)
        return key


_OPTIONS = (
    click.option("--guards", is_flag=True, help="List the guard regions, each with its VMA."),
    click.option(
        "--filter",
        "filters",
        multiple=True,
        metavar="NAME|KIND",
        help="Only VMAs that have some of a kind (a column, such as guard), or whose name contains this or matches a "
        "pattern with * or ?; repeatable: any of them.",
    ),
    click.option("--sort", type=_Column(), metavar="COLUMN", help="By a column, the most first; or by address, name."),
    click.option("--top", type=Number(least=1), metavar="N", help="The first N VMAs, by size if not sorted."),
    json_option,
)


def areas_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which VMAs are shown, and how."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def show(
    space: ProcessSpace, *, guards: bool, filters: tuple[str, ...], sort: str | None, top: int | None, as_json: bool
) -> None:
    """Show a process by the options of ``areas_options``.

    Raises:
        BadParameter: A filter means nothing here.
    """
    from pagewalk.report.columns import Choice
    from pagewalk.report.process import guards_text, process_text
    from pagewalk.report.process_json import process_json

    choice = Choice(filters, sort or ("address" if top is None else "size"), top)
    _check_names(filters, [vma.name for vma in space.vmas])
    if not space.synthetic:
        _check_told(choice)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if as_json:
        write(process_json(space, choice=choice))
    elif guards:
        write(guards_text(space, choice=choice, width=width))
    else:
        write(process_text(space, paint, choice=choice, width=width))


def _check_told(choice: Choice) -> None:
    """Refuse what nobody tells of a process in a dump.

    Raises:
        BadParameter: It is asked for.
    """
    from pagewalk.query.areas import QUALITIES
    from pagewalk.report.columns import column_of

    asked = [("--sort", choice.sort), *(("--filter", column_of(text)) for text in choice.filters)]
    for option, name in asked:
        if name in QUALITIES:
            why = "whose pages they are is told of live processes only: page tables do not say it."
            raise click.BadParameter(why, param_hint=f"'{option}'")


def _check_names(filters: tuple[str, ...], names: list[str]) -> None:
    """Refuse a filter that is nearly a kind, and no VMA's name.

    Raises:
        BadParameter: One is, or is empty.
    """
    from pagewalk.doors import shown
    from pagewalk.report.columns import column_of, near

    for text in filters:
        if not text:
            raise click.BadParameter("a filter cannot be empty.", param_hint="'--filter'")
        if column_of(text) or any(text in name for name in names):
            continue
        if like := near(text, sorting=False):
            said = shown(text)
            hint = f"no VMA's name contains {said}, and no kind is called so: did you mean {like}?"
            raise click.BadParameter(hint, param_hint="'--filter'")
