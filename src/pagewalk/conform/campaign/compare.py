"""Runs a scenario on two sides, step by step, and says where they first disagree."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pagewalk.conform.scenarios import ARENA_PAGES, At, Read, Write
from pagewalk.conform.scenarios.names import PAGE
from pagewalk.conform.sides.observe import describe, is_there, runs
from pagewalk.conform.sides.side import CaseEnded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pagewalk.conform.scenarios import Scenario, Step
    from pagewalk.conform.scenarios.target import Outcome
    from pagewalk.conform.sides.observe import View
    from pagewalk.conform.sides.side import Record, Run, Side

__all__ = ["FREEDOMS", "Disagreement", "Freedom", "Verdict", "What", "compare", "final_steps"]


class Freedom(NamedTuple):
    """Something in which two sides may differ, how far that goes, and why."""

    what: str
    how: str
    why: str


FREEDOMS = (
    Freedom(
        "addresses chosen by the kernel",
        "an address outside the arena is compared as (mapping's name, page, byte); its VMAs are clipped to the mapping",
        "top-down placement starts at a random address, beside mappings of the process that asks (sides/actor.py)",
    ),
    Freedom(
        "neighbours of mappings whose address the kernel chose",
        "a disagreement does not count where such mappings touch on one side only",
        "a hole between mappings of the process that asks may be as large as one; neighbours become one VMA, and share "
        "what it has (its anon_vma: a fork copies the page tables)",
    ),
    Freedom(
        "file identity in maps",
        "device, inode and the folder of the path are dropped; the file's own name is compared (sides/observe.py)",
        "each side makes its own files",
    ),
    Freedom(
        "what smaps rests on besides pages",
        "of the arena's VMAs the flag gu is dropped (sides/smaps.py); VMAs elsewhere are not looked at",
        "the flag depends on the kernel's version",
    ),
    Freedom(
        "pages that a CPU has set aside",
        "its lists of them are emptied after each step (sides/aside.py)",
        "a page waits there, held once more, after it was locked, unlocked or freed lazily, until the list is full",
    ),
    Freedom(
        "huge pages out of stock, and khugepaged",
        "a disagreement does not count while the kernel's counters of these two moved; the scenario is run again",
        "the machine's free memory may be fragmented; khugepaged collapses advised memory every few seconds",
    ),
    Freedom(
        "the kernel's own hour",
        "a disagreement counts only when a second run shows it too; else it is reported as one that proves nothing",
        "compaction and reclaim change pages when they like",
    ),
)
"""All that is let pass. Whatever is not in this table must agree."""


_RETRIES = 3


class What(Enum):
    """What two sides may disagree in."""

    OUTCOME = "the result"
    PROCESSES = "which processes and mappings there are"
    MAPS = "the VMAs"
    PAGES = "the pages' states"
    SMAPS = "smaps"
    CONTENTS = "the contents and rights found at the end"
    BOOKS = "the model's books"


@dataclass(frozen=True)
class Disagreement:
    """Where two sides differ first.

    Attributes:
        scenario: What was run.
        step: Its number in the scenario, counted from 0; the number of steps for a look at the contents at the end.
        taken: The step itself.
        what: What differs.
        said: What each side says, by its name: one line a VMA, page run or result.
        shown: All that each side showed after the step, likewise.
    """

    scenario: Scenario
    step: int
    taken: Step
    what: What
    said: Mapping[str, tuple[str, ...]]
    shown: Mapping[str, tuple[str, ...]]

    def to_plain(self) -> dict[str, Any]:
        """As what ``json.dumps`` takes."""
        import json

        return {
            "step": self.step,
            "taken": repr(self.taken),
            "what": self.what.name.lower(),
            "said": {name: list(lines) for name, lines in self.said.items()},
            "shown": {name: list(lines) for name, lines in self.shown.items()},
            "scenario": json.loads(self.scenario.to_json()),
        }


class Verdict(NamedTuple):
    """Of a comparison: a disagreement, or why there is none to be told from this run (empty: they agree)."""

    disagreement: Disagreement | None = None
    inconclusive: str = ""


def compare(scenario: Scenario, left: Side, right: Side, *, confirm: bool = True) -> Verdict:
    """Run a scenario on two sides.

    Args:
        scenario: What to run.
        left, right: The sides; their names must differ.
        confirm: Run it again when they disagree, and believe only what repeats.
    """
    try:
        return _compare(scenario, left, right, confirm)
    except CaseEnded as error:
        return Verdict(None, error.why)


def _compare(scenario: Scenario, left: Side, right: Side, confirm: bool) -> Verdict:
    first, excuse = _once(scenario, left, right)
    for _ in range(_RETRIES):
        if excuse and first is not None:
            first, excuse = _once(scenario, left, right)
    if first is None:
        return Verdict()
    if excuse:
        return Verdict(None, f"{excuse}, each time")
    if confirm:
        second, _ = _once(scenario, left, right)
        if second is None or (second.step, second.what) != (first.step, first.what):
            return Verdict(None, f"did not repeat: step {first.step}, {first.taken!r}: {first.said}")
    return Verdict(first)


def _once(scenario: Scenario, left: Side, right: Side) -> tuple[Disagreement | None, str]:
    """Where the sides disagree, and why that proves nothing, if it does not."""
    with closing(left.run(scenario)) as one, closing(right.run(scenario)) as other:
        found, placed_alike = _compare_runs(scenario, (left.name, one), (right.name, other))
        if one.disturbed or other.disturbed:
            return found, "the kernel had no huge page to give, or made one by itself"
        return found, "" if placed_alike else "the kernel put a mapping beside others than the model does"


def _compare_runs(
    scenario: Scenario, left: tuple[str, Run], right: tuple[str, Run]
) -> tuple[Disagreement | None, bool]:
    """Where the sides disagree, and whether mappings had the same neighbours then."""
    names = left[0], right[0]
    last: Record | None = None
    placed_alike = True
    steps = zip(scenario.steps, left[1].records(), right[1].records(), strict=True)
    for number, (step, one, other) in enumerate(steps):
        placed_alike &= _neighbours(one) == _neighbours(other)
        difference = _difference(one, other)
        if difference is not None:
            what, said = difference
            shown = dict(zip(names, (_shown(one), _shown(other)), strict=True))
            return Disagreement(scenario, number, step, what, dict(zip(names, said, strict=True)), shown), placed_alike
        last = one
    found = (
        None if last is None else _compare_contents(scenario, left, right, last) or _books(scenario, left, right, last)
    )
    return found, placed_alike


def _books(scenario: Scenario, left: tuple[str, Run], right: tuple[str, Run], last: Record) -> Disagreement | None:
    """What is wrong with a side's own books: everything else agrees."""
    said = {name: (run.books() or "right",) for name, run in (left, right)}
    if all(text == ("right",) for text in said.values()):
        return None
    step = scenario.steps[-1]
    return Disagreement(scenario, len(scenario.steps), step, What.BOOKS, said, dict.fromkeys(said, _shown(last)))


def _neighbours(record: Record) -> dict[tuple[int, str], frozenset[str]]:
    """Which mappings touch, in each process."""
    return {(n, name): view.touching for n, views in record.views.items() for name, view in views.items()}


def _compare_contents(
    scenario: Scenario, left: tuple[str, Run], right: tuple[str, Run], last: Record
) -> Disagreement | None:
    steps = tuple(final_steps(last))
    outcomes = zip(steps, left[1].finish(steps), right[1].finish(steps), strict=True)
    for step, one, other in outcomes:
        if not _same(one, other):
            said = {left[0]: (f"{step}: {one}",), right[0]: (f"{step}: {other}",)}
            shown = dict.fromkeys(said, _shown(last))
            return Disagreement(scenario, len(scenario.steps), step, What.CONTENTS, said, shown)
    return None


_RUN_PAGES = 64
"""Of a run of pages that were never touched, as many are read; of one that was touched, all."""


def final_steps(last: Record) -> Iterator[Step]:
    """Reads of all that was touched, then by trying: the CPU's right to read and write the ends of each run.

    Of a run that no arena holds, which is in pages of 1 GiB, the ends are read.
    """
    places = [(n, name, run) for n, views in last.views.items() for name, view in views.items() for run in runs(view)]
    for number, name, (first, end, state) in places:
        whole = is_there(state) and end - first <= ARENA_PAGES
        size = end - first if whole else min(end - first, _RUN_PAGES)
        for page in sorted({first, end - size}) if is_there(state) else [first]:
            yield Read(At(page, base=name), size * PAGE, process=number)
    for number, name, (first, end, _) in places:
        for page in sorted({first, end - 1}):
            yield Read(At(page, base=name), process=number)
            yield Write(At(page, base=name), b"\xc3" + bytes(7), process=number)


def _difference(one: Record, other: Record) -> tuple[What, tuple[tuple[str, ...], tuple[str, ...]]] | None:
    if not _same(one.outcome, other.outcome):
        return What.OUTCOME, ((str(one.outcome),), (str(other.outcome),))
    windows = [tuple(f"process {n}: {sorted(views)}" for n, views in sorted(r.views.items())) for r in (one, other)]
    if windows[0] != windows[1]:
        return What.PROCESSES, (windows[0], windows[1])
    for number, views in one.views.items():
        for name, view in views.items():
            found = _view_difference(view, other.views[number][name])
            if found is not None:
                return found
    return None


def _same(one: Outcome, other: Outcome) -> bool:
    return one == other and not one.trouble


def _view_difference(one: View, other: View) -> tuple[What, tuple[tuple[str, ...], tuple[str, ...]]] | None:
    if one.rows != other.rows:
        return What.MAPS, (_only(one.rows, other.rows), _only(other.rows, one.rows))
    if not np.array_equal(one.states, other.states):
        ours, theirs = _state_lines(one), _state_lines(other)
        return What.PAGES, (_only(ours, theirs), _only(theirs, ours))
    if one.smaps is not None and other.smaps is not None and one.smaps != other.smaps:
        return What.SMAPS, (_only(one.smaps, other.smaps), _only(other.smaps, one.smaps))
    return None


def _only(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(str(line) for line in ours if line not in theirs) or ("nothing of its own",)


def _state_lines(view: View) -> tuple[str, ...]:
    return tuple(f"pages {first}-{end}: {describe(state)}" for first, end, state in runs(view) if state)


def _shown(record: Record) -> tuple[str, ...]:
    lines = [str(record.outcome)]
    for number, views in record.views.items():
        for name, view in views.items():
            lines.append(f"process {number}{f', mapping {name!r}' if name else ''}:")
            lines += [f"  {line}" for line in (*map(str, view.rows), *_state_lines(view))]
    return tuple(lines)


def lines_side_by_side(lines: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """The sides' lines as rows of a table."""
    return zip_longest(*lines.values(), fillvalue="")
