"""What ``pagewalk demo`` shows: a walk's callbacks, an install's steps, the tables, and two sides compared."""

from __future__ import annotations

import platform
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.doors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType
    from rich.tree import Tree

__all__ = ["Demo", "Seen", "Step", "demo_text"]

WIDTH: Final = 80
"""Columns that the trees side by side take; a narrower terminal folds the lines itself."""
COLOURS: Final = {"present": "green", "guard": "bold red", "none": "dim"}
WHY: Final = {
    "install_pte": "an empty slot gets the marker",
    "zap": "a page ends the walk: unmap it, walk again",
    "grow": "no table here: one is allocated, zeroed, linked",
}
"""What the steps of an install mean."""


class Seen(NamedTuple):
    """One call of a callback, or several of ``pte_entry`` in a row that saw the same.

    Attributes:
        callback: Which one.
        depth: Of the entry, or of the hole.
        slot, last: The entry's slot in its table; the last one's.
        what: What it holds.
        first, end: The pages of the range that it covers, half-open.
    """

    callback: str
    depth: int
    slot: int
    last: int
    what: str
    first: int
    end: int

    def continues(self, other: Seen) -> bool:
        """Whether this follows on from another, in the same table, and saw the same."""
        return (self.callback, self.what, self.first, self.slot) == (
            other.callback,
            other.what,
            other.end,
            other.last + 1,
        )


class Step(NamedTuple):
    """A step of an install, and the pages it was taken for, half-open."""

    what: str
    first: int
    end: int

    def continued_by(self, what: str, page: int) -> bool:
        """Whether the same step for the next page follows."""
        return (self.what, self.end) == (what, page)


class Demo(NamedTuple):
    """All there is to show.

    Attributes:
        pages: Pages in the range.
        guarded: Those that became a guard region.
        levels: The names of levels, by depth.
        before, after: What a walk saw on the simulated machine.
        steps: What the install took there.
        marker: The raw guard marker.
        kernel: What a walk saw before and after on the running kernel, None where it could not be asked.
        why_not: Why it could not be.
    """

    pages: int
    guarded: range
    levels: tuple[str, ...]
    before: list[Seen]
    steps: list[Step]
    after: list[Seen]
    marker: int
    kernel: tuple[list[Seen], list[Seen]] | None
    why_not: str

    @property
    def sides(self) -> list[list[str]]:
        """The kind of every page: the model's before and after, then the kernel's."""
        return [_kinds(seen) for seen in (self.before, self.after, *(self.kernel or ()))]

    @property
    def agree(self) -> bool | None:
        """Whether model and kernel agree on every page; None where the kernel could not be asked."""
        sides = self.sides
        return sides[:2] == sides[2:] if self.kernel else None

    def json(self) -> dict[str, Any]:
        """As plain data; ranges of pages are half-open."""
        sides = self.sides
        kernel: dict[str, Any] = {"release": platform.release(), "why_not": self.why_not or None}
        if self.kernel:
            kernel |= {"before": sides[2], "after": sides[3]}
        return {
            "pages": self.pages,
            "guarded": [self.guarded.start, self.guarded.stop],
            "walk": [seen._asdict() for seen in self.before],
            "install": [step._asdict() for step in self.steps],
            "model": {"before": sides[0], "after": sides[1]},
            "kernel": kernel,
            "agree": self.agree,
        }


def _kinds(seen: Iterable[Seen]) -> list[str]:
    """The kind of every page."""
    leaves = (call for call in seen if call.callback in ("pte_entry", "pte_hole"))
    return [call.what for call in leaves for _ in range(call.first, call.end)]


def demo_text(demo: Demo) -> str:
    """Everything as text, coloured on a terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    with console.capture() as captured:
        for part in _parts(demo):
            console.print(part)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _parts(demo: Demo) -> Iterator[RenderableType]:
    """The screen, from top to bottom."""
    from rich.markup import escape

    guarded = pages_text(demo.guarded.start, demo.guarded.stop)
    yield f"[bold]1. A simulated machine[/]: one VMA of {demo.pages} pages, some touched. A walk calls:"
    yield _walk(demo.before)
    yield f"\n[bold]2. MADV_GUARD_INSTALL[/] on {guarded}: walk with install_pte, zap what is there."
    yield _install(demo.steps)
    yield f"\n[bold]3. The page tables[/] before and after. The marker is the entry [bold red]{demo.marker:#x}[/]."
    yield _trees(demo)
    yield f"\n[bold]4. The running kernel[/], Linux {platform.release()}: the same, with madvise(2)."
    if not demo.kernel:
        yield f"   It could not be asked: {escape(printable(demo.why_not))}"
        return
    yield _sides(demo)
    yield f"   Model and kernel {'agree' if demo.agree else '[bold red]disagree[/]'}, page by page."


def pages_text(first: int, end: int) -> str:
    """A half-open run of pages as people count: ``page 5``, ``pages 0-2``."""
    return f"page {first}" if end - first == 1 else f"pages {first}-{end - 1}"


def _coloured(what: str) -> str:
    """What a page is, in its colour."""
    return f"[{COLOURS[what]}]{what}[/]" if what in COLOURS else what


def _grid() -> Any:
    """Columns without lines between them, a little to the right."""
    from rich.table import Table

    return Table.grid(padding=(0, 3, 0, 0))


def _walk(seen: list[Seen]) -> RenderableType:
    """The callbacks of a walk."""
    grid = _grid()
    for call in seen:
        what = f"nothing below depth {call.depth}" if call.callback == "pte_hole" else _coloured(call.what)
        grid.add_row(f"   {call.callback}", pages_text(call.first, call.end), what)
    return grid


def _install(steps: list[Step]) -> RenderableType:
    """The steps of an install."""
    grid = _grid()
    for step in steps:
        name = f"[bold red]{step.what}[/]" if step.what == "install_pte" else step.what
        grid.add_row(f"   {name}", pages_text(step.first, step.end), WHY[step.what])
    return grid


def _trees(demo: Demo) -> RenderableType:
    """The tables before and after, side by side."""
    grid = _grid()
    grid.add_row(*(_indented(_tree(seen, demo.levels)) for seen in (demo.before, demo.after)))
    return grid


def _indented(part: RenderableType) -> RenderableType:
    from rich.padding import Padding

    return Padding(part, (0, 0, 0, 3))


def _tree(seen: list[Seen], levels: tuple[str, ...]) -> Tree:
    """The tables as a tree: one level below the other, runs of entries of the last one as leaves."""
    from rich.tree import Tree

    root = Tree("", hide_root=True, guide_style="dim")
    path: list[tuple[int, Tree]] = [(-1, root)]
    for call in seen:
        while path[-1][0] >= call.depth:
            path.pop()
        path.append((call.depth, path[-1][1].add(_branch(call, levels[call.depth]))))
    return root


def _branch(call: Seen, name: str) -> str:
    """An entry of the level of that name, or a run of entries."""
    slots = f"{call.slot}" if call.slot == call.last else f"{call.slot}-{call.last}"
    return f"{name}[not bold]\\[{slots}][/] {_coloured(call.what)}"


def _sides(demo: Demo) -> RenderableType:
    """Model and kernel, a line a run of pages."""
    grid = _grid()
    grid.add_row("", "", "before", "", "after", "", style="dim")
    grid.add_row("", "", *("model", "kernel") * 2, "", style="dim")
    before, after, kernel_before, kernel_after = demo.sides
    columns = list(zip(before, kernel_before, after, kernel_after, strict=True))
    for row, run in groupby(range(demo.pages), key=columns.__getitem__):
        pages = list(run)
        verdict = "agree" if row[::2] == row[1::2] else "[bold red]disagree[/]"
        grid.add_row("  ", pages_text(pages[0], pages[-1] + 1), *map(_coloured, row), verdict)
    return grid
