"""A disagreement, and a campaign's end, for people to read."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pagewalk.conform.campaign.compare import lines_side_by_side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pagewalk.conform.campaign.campaign import Campaign
    from pagewalk.conform.campaign.compare import Disagreement

__all__ = ["campaign_text", "disagreement_text"]


def disagreement_text(found: Disagreement, width: int = 110) -> str:
    """The steps, the one that differs marked; what each side said and showed; the scenario to paste into a test."""
    console = Console(file=StringIO(), width=width, force_terminal=False, color_system=None)
    console.print(Text(f"They disagree about {found.what.value}."))
    console.print(_steps(found))
    console.print(_columns("What differs", found.said))
    console.print(_columns("All they show then", found.shown))
    console.print(Text("To paste into a test:"))
    console.print(Text(repr(found.scenario), no_wrap=True, overflow="ignore"), crop=False, soft_wrap=True)
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def _steps(found: Disagreement) -> Table:
    table = Table(title="Steps", title_justify="left", box=None, show_header=False)
    for number, step in enumerate(found.scenario.steps):
        table.add_row(">" if number == found.step else "", str(number), Text(repr(step)))
    if found.step == len(found.scenario.steps):
        table.add_row(">", "end", Text(repr(found.taken)))
    return table


def _columns(title: str, lines: Mapping[str, tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in lines:
        table.add_column(name, ratio=1)
    for row in lines_side_by_side(lines):
        table.add_row(*map(Text, row))
    return table


def campaign_text(result: Campaign, names: tuple[str, str]) -> str:
    """One line on what agreed, one for each scenario that proves nothing, and the disagreement."""
    lines = [f"{result.agreed} sequences agree between {names[0]} and {names[1]}"]
    lines += [f"seed {seed} proves nothing: {why}" for seed, why in result.inconclusive]
    text = "".join(f"{line}\n" for line in lines)
    if result.disagreement is None:
        return text
    return (
        f"{text}seed {result.seed}, shrunk to {len(result.disagreement.scenario.steps)} steps:\n"
        + disagreement_text(result.disagreement)
    )
