"""Makes a scenario on which two sides disagree as small as it gets, by running smaller ones."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from pagewalk.conform.campaign.compare import compare
from pagewalk.conform.scenarios.names import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pagewalk.conform.campaign.compare import Disagreement
    from pagewalk.conform.scenarios import Scenario, Step
    from pagewalk.conform.sides.side import Side

__all__ = ["shrink"]


def shrink(
    found: Disagreement, left: Side, right: Side, *, attempts: int = 500, progress: Callable[[int], None] | None = None
) -> Disagreement:
    """The same kind of disagreement on fewer, simpler steps.

    Args:
        found: A disagreement between the sides.
        left, right: The sides.
        attempts: Scenarios to run at most.
        progress: Called with the number of each attempt.
    """
    search = _Search(found, left, right, attempts, progress)
    search.accept(replace(found.scenario, steps=found.scenario.steps[: found.step + 1]))
    while search.attempts and (search.drop_steps() or search.pass_over(_simpler_steps)):
        pass
    search.pass_over(_without_files)
    return search.best


class _Search:
    """The best so far, and what is left to spend."""

    def __init__(
        self, found: Disagreement, left: Side, right: Side, attempts: int, progress: Callable[[int], None] | None
    ) -> None:
        self.best = found
        self.attempts = attempts
        self._sides = left, right
        self._progress = progress

    def accept(self, scenario: Scenario) -> bool:
        """Whether a scenario shows a disagreement of the same kind; then it is the best."""
        if not self.attempts:
            return False
        self.attempts -= 1
        if self._progress is not None:
            self._progress(self.attempts)
        found = compare(scenario, *self._sides, confirm=False).disagreement
        if found is None or found.what is not self.best.what:
            return False
        self.best = replace(found, scenario=replace(scenario, steps=scenario.steps[: found.step + 1]))
        return True

    def drop_steps(self) -> bool:
        """Leave out half of the steps, a quarter, and so on, down to one; whether that went anywhere."""
        before = len(self.best.scenario.steps)
        size = before // 2
        while size:
            at = len(self.best.scenario.steps) - size
            while at >= 0:
                steps = self.best.scenario.steps
                self.accept(replace(self.best.scenario, steps=steps[:at] + steps[at + size :]))
                at = min(at, len(self.best.scenario.steps)) - size
            size //= 2
        return len(self.best.scenario.steps) < before

    def pass_over(self, smaller: Callable[[Scenario], Iterator[Scenario]]) -> bool:
        """Try what a function makes of the best, and go on at the same place after a success; whether there was any."""
        place, better = 0, False
        while (scenario := next(islice(smaller(self.best.scenario), place, None), None)) is not None:
            if self.accept(scenario):
                better = True
            else:
                place += 1
        return better


def _simpler_steps(scenario: Scenario) -> Iterator[Scenario]:
    for number, step in enumerate(scenario.steps):
        for simpler in _simpler(step):
            yield replace(scenario, steps=(*scenario.steps[:number], simpler, *scenario.steps[number + 1 :]))


def _simpler(step: Step) -> Iterator[Step]:
    for field in fields(step):
        value = getattr(step, field.name)
        for smaller in _smaller(field.name, value):
            yield replace(step, **{field.name: smaller})


def _smaller(name: str, value: Any) -> Iterator[Any]:
    if name in ("length", "old_length", "new_length", "size") and value > PAGE:
        pages = -(-value // PAGE)
        yield PAGE
        yield from ((pages - (pages >> part)) * PAGE for part in range(1, pages.bit_length()))
    elif name == "data" and len(value) > 1:
        yield value[:1]
    elif name == "ranges" and len(value) > 1:
        yield from (value[:number] + value[number + 1 :] for number in range(len(value)))


def _without_files(scenario: Scenario) -> Iterator[Scenario]:
    for file in scenario.files:
        yield replace(scenario, files=tuple(other for other in scenario.files if other is not file))
