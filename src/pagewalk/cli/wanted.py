"""Which entries are asked for, and what is said of malformed ones; of ``map`` and of ``count``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from pagewalk.cli.params import ADDRESS, Extent, Names
from pagewalk.cli.status import complain
from pagewalk.formats import Flag, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy.typing as npt

    from pagewalk.errors import TranslationError
    from pagewalk.sweep.filters import Filter

    Rows = npt.NDArray[Any]

__all__ = ["Wanted", "wanted_options", "warn"]

_OF_ROWS: Final = int(Flag.REPEATED | Flag.OUTSIDE)
"""Flags that no entry has, but the rows that are made of entries."""
_NO_ROWS: Final = (Kind.NONE, Kind.TABLE, Kind.RESERVED)
_KINDS: Final = {kind.label: kind for kind in Kind if kind not in _NO_ROWS}
_FLAGS: Final = {flag.name.lower(): flag for flag in Flag if flag.name}
_WARNINGS: Final = 20

_KIND_LIST, _FLAG_LIST = Names(_KINDS), Names(_FLAGS)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is listed: as ``sweep.Filter``, with the flags of rows among the others."""

    having: int = 0
    lacking: int = 0
    kinds: list[Kind] | None = None
    frames: tuple[int, int] | None = None
    hardware: bool = False

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Wanted()

    @property
    def of_entries(self) -> Filter:
        """What can be asked of entries."""
        from pagewalk.sweep.filters import Filter

        having, lacking = self.having & ~_OF_ROWS, self.lacking & ~_OF_ROWS
        return Filter(having=having, lacking=lacking, kinds=self.kinds, frames=self.frames)

    @property
    def of_counts(self) -> Filter:
        """The same, without rows that have flags of their own.

        Raises:
            click.UsageError: One of those is asked for.
        """
        from pagewalk.sweep.filters import Filter

        if flags := (self.having | self.lacking) & _OF_ROWS:
            raise _usage(f"{named(flags)}: only rows of map have it.")
        kinds: Collection[Kind] | None = self.kinds
        if self.hardware:
            kinds = {Kind.PRESENT} & set(Kind if kinds is None else kinds)
        return Filter(having=self.having, lacking=self.lacking, kinds=kinds, frames=self.frames)

    def among(self, rows: Rows) -> Rows:
        """The rows that pass by their own flags."""
        from pagewalk.report.rows import having

        return having(rows, self.having & _OF_ROWS, self.lacking & _OF_ROWS)

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> Wanted:
        """What the options of ``wanted_options`` ask for, which are taken out of all; the range stays.

        Raises:
            click.UsageError: They contradict each other.
        """
        frames = options.pop("frames")
        wanted = cls(
            having=_flags(options.pop("having")),
            lacking=_flags(options.pop("lacking")),
            kinds=[_KINDS[name] for names in options.pop("kinds") for name in names] or None,
            frames=None if frames is None else (frames[0], frames[0] + frames[1]),
            hardware=options.pop("hardware"),
        )
        if both := wanted.having & wanted.lacking:
            raise _usage(f"--having and --lacking contradict each other: {named(both)} is in both.")
        return wanted


def named(flags: int) -> str:
    """The names of flags, as the options spell them."""
    return ", ".join(name for name, flag in _FLAGS.items() if flag & flags)


def _usage(why: str) -> click.UsageError:
    """A usage error that names the command to ask for help."""
    return click.UsageError(why, click.get_current_context(silent=True))


_OPTIONS = (
    click.option("--start", type=ADDRESS, metavar="VADDR", help="First address; by default that of the address space."),
    click.option("--end", type=ADDRESS, metavar="VADDR", help="End, exclusive; by default that of the address space."),
    click.option("--kind", "kinds", type=_KIND_LIST, metavar="KINDS", multiple=True, help="Only these kinds."),
    click.option("--having", type=_FLAG_LIST, metavar="FLAGS", multiple=True, help="Only with all of these."),
    click.option("--lacking", type=_FLAG_LIST, metavar="FLAGS", multiple=True, help="Only with none of these."),
    click.option(
        "--frames",
        type=Extent("PADDR:SIZE", optional=1),
        metavar="PADDR[:SIZE]",
        help="Only pages whose frames lie, at least in part, in SIZE bytes from PADDR on; without SIZE, over PADDR.",
    ),
    click.option("--hardware", is_flag=True, help="Only what the MMU would translate."),
)


def wanted_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which range, and which entries in it."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _flags(options: tuple[tuple[str, ...], ...]) -> int:
    """The flags that are named."""
    return sum({int(_FLAGS[name]) for names in options for name in names})


def warn(findings: list[TranslationError]) -> None:
    """What was passed over, on standard error; of many the first ones, and the last, which may speak for all."""
    shown = findings if len(findings) <= _WARNINGS else findings[: _WARNINGS - 1]
    for error in shown:
        complain(f"warning: {error}")
    if left := len(findings) - len(shown):
        complain(f"warning: {left:,} more, which --json lists, up to the last:")
        complain(f"warning: {findings[-1]}")
