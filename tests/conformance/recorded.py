"""Answers that a kernel gave on another machine: written to a file there, and a side of a comparison here.

``python -m tests.conformance.recorded THEME FILE`` asks the running kernel about a theme (``themes.py``); ``guest.py``
runs that in a guest, and what destroys frames is asked nowhere else. With the name of such a file for the theme, what
was asked then is asked again: seeds may stand for other scenarios by now. The file is compressed JSON: the machine's
facts, and for each scenario its steps' outcomes and what each process showed after them (nothing, where it shows what
it did before), then what was found at the end.
"""

from __future__ import annotations

import base64
import json
import lzma
import platform
import sys
import zlib
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pagewalk.conform.campaign.compare import final_steps
from pagewalk.conform.scenarios import At, Scenario, Step
from pagewalk.conform.scenarios.target import Outcome
from pagewalk.conform.sides.facts import GIGANTIC, Facts, free_hugetlb, running_facts
from pagewalk.conform.sides.observe import Row, View
from pagewalk.conform.sides.side import Record, Side
from pagewalk.errors import UnsupportedError
from tests.conformance.guest import is_inside
from tests.conformance.themes import THEMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ATTEMPTS = 5
"""At a scenario that the kernel had no huge page for."""
_LONG = 64
_PATIENCE = 300
"""Seconds that a scenario may take in a guest, which is slow."""
_POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


class Answers(NamedTuple):
    """What a kernel said to a scenario."""

    records: tuple[Record, ...]
    end: tuple[Outcome, ...]


@dataclass
class Recorded:
    """See ``Side``.

    Attributes:
        kernel: Which one.
        facts: Of its machine.
        scenarios: By title.
        answers: By scenario.
    """

    kernel: str
    facts: Facts
    scenarios: dict[str, Scenario]
    answers: dict[Scenario, Answers]
    name: str = "recorded"

    def run(self, scenario: Scenario) -> _RecordedRun:
        return _RecordedRun(self.answers[scenario])


class _RecordedRun:
    disturbed = False

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def records(self) -> Iterator[Record]:
        yield from self._answers.records

    def finish(self, steps: Sequence[Step]) -> list[Outcome]:
        assert len(steps) == len(self._answers.end)
        return list(self._answers.end)

    def books(self) -> str:
        return ""

    def close(self) -> None:
        pass


def read_answers(path: Path) -> Recorded:
    """Read what ``write_answers`` wrote."""
    plain = json.loads(lzma.decompress(path.read_bytes()))
    scenarios = {title: Scenario.from_json(json.dumps(run["scenario"])) for title, run in plain["runs"].items()}
    answers = {scenarios[title]: _answers(run) for title, run in plain["runs"].items()}
    return Recorded(plain["kernel"], Facts(**plain["facts"]), scenarios, answers)


def write_answers(path: Path, side: Side, facts: Facts, scenarios: Mapping[str, Scenario]) -> None:
    """Ask a side about scenarios."""
    runs = {}
    for title, scenario in scenarios.items():
        if scenario.breaks_memory and facts.hugetlb is not None:
            fill_pool(facts.hugetlb)
        runs[title] = _ask(side, scenario)
    plain = {"kernel": platform.release(), "facts": asdict(facts), "runs": runs}
    path.write_bytes(lzma.compress(json.dumps(plain).encode(), preset=9))


def fill_pool(pages: int) -> None:
    """Have so many hugetlb pages free: one that was broken may be counted for ever, though nobody can have it."""
    there, free = (_POOL / "nr_hugepages", _POOL / "free_hugepages")
    there.write_text(str(int(there.read_text()) + pages - int(free.read_text())))
    if int(free.read_text()) != pages:
        raise RuntimeError(f"the kernel has not {pages} huge pages to give")


def _ask(side: Side, scenario: Scenario) -> dict[str, Any]:
    for _ in range(_ATTEMPTS):
        with closing(side.run(scenario)) as run:
            records = list(run.records())
            end = run.finish(tuple(final_steps(records[-1])))
            if not run.disturbed:
                break
    else:
        raise RuntimeError("the kernel has no huge page to give")
    before: list[Any] = [{}, *(_plain_views(record) for record in records)]
    shown = [{n: None if views == old.get(n) else views for n, views in new.items()} for old, new in pairwise(before)]
    return {
        "scenario": json.loads(scenario.to_json()),
        "outcomes": [_plain_outcome(record.outcome) for record in records],
        "shown": shown,
        "end": [_plain_outcome(outcome) for outcome in end],
    }


def _plain_views(record: Record) -> dict[str, Any]:
    return {str(n): {name: _plain_view(view) for name, view in views.items()} for n, views in record.views.items()}


def _plain_view(view: View) -> dict[str, Any]:
    edges = [0, *(np.flatnonzero(np.diff(view.states)) + 1).tolist()]
    states = [[edge, int(view.states[edge])] for edge in edges]
    told = {"rows": view.rows, "pages": len(view.states), "states": states}
    return told if view.smaps is None else told | {"smaps": view.smaps}


def _plain_outcome(outcome: Outcome) -> dict[str, Any]:
    told = {field.name: getattr(outcome, field.name) for field in fields(outcome)}
    return {name: _plain(value) for name, value in told.items() if value != getattr(Outcome(), name)}


def _plain(value: Any) -> Any:
    match value:
        case At():
            return {"at": [value.page, value.byte, value.base]}
        case bytes() if len(value) <= _LONG:
            return {"hex": value.hex()}
        case bytes():
            return {"zlib": base64.b64encode(zlib.compress(value, 9)).decode()}
    return value


def _answers(run: dict[str, Any]) -> Answers:
    last: dict[str, Mapping[str, View]] = {}
    records = []
    for outcome, shown in zip(run["outcomes"], run["shown"], strict=True):
        last = {n: last[n] if views is None else _views(views) for n, views in shown.items()}
        records.append(Record(_outcome(outcome), {int(n): views for n, views in last.items()}))
    return Answers(tuple(records), tuple(_outcome(outcome) for outcome in run["end"]))


def _views(plain: dict[str, Any]) -> dict[str, View]:
    return {name: _view(**view) for name, view in plain.items()}


def _view(rows: list[Any], pages: int, states: list[list[int]], smaps: list[str] | None = None) -> View:
    counts = np.diff([*(first for first, _ in states), pages])
    told = np.repeat(np.array([state for _, state in states], np.uint32), counts)
    return View(tuple(Row(*row) for row in rows), told, smaps=None if smaps is None else tuple(smaps))


def _outcome(plain: dict[str, Any]) -> Outcome:
    return Outcome(**{name: _value(value) for name, value in plain.items()})


def _value(plain: Any) -> Any:
    match plain:
        case {"at": [page, byte, base]}:
            return At(page, byte, base)
        case {"hex": text}:
            return bytes.fromhex(text)
        case {"zlib": text}:
            return zlib.decompress(base64.b64decode(text))
    return plain


def main() -> None:
    from pagewalk.conform.sides.kernel import Kernel

    asked, path = sys.argv[1:]
    scenarios = THEMES[asked]() if asked in THEMES else read_answers(Path(asked)).scenarios
    breaks_memory = any(scenario.breaks_memory for scenario in scenarios.values())
    if breaks_memory and not is_inside():
        raise UnsupportedError("that destroys frames of this machine: run it in a guest, by tests.conformance.guest")
    with Kernel(_PATIENCE, breaks_memory=breaks_memory) as kernel:
        facts = replace(running_facts(), hugetlb=free_hugetlb(), swap=0, gigantic=free_hugetlb(GIGANTIC))
        write_answers(Path(path), kernel, facts, scenarios)


if __name__ == "__main__":
    main()
