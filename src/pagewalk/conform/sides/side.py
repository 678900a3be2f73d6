"""A side of a comparison: something that runs scenarios and tells, after each step, what came of it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pagewalk.conform.scenarios import Exit, Fork
from pagewalk.conform.sides.actor import NO_PROCESS, SAME_CHILD, Actor, make_files, outcome_of
from pagewalk.conform.sides.observe import decode
from pagewalk.errors import ProcessError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pagewalk.conform.scenarios import Scenario, Step
    from pagewalk.conform.scenarios.target import Outcome, Target
    from pagewalk.conform.sides.observe import View

__all__ = ["TIMEOUT", "CaseEnded", "Model", "Record", "Run", "Side"]

TIMEOUT = 30.0
"""Seconds that a scenario may take on a kernel; mostly it takes a thirtieth of one."""


class CaseEnded(ProcessError):
    """A scenario that a side could not finish: it took too long, or its process died. It proves nothing."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.why = why


@dataclass(frozen=True, eq=False)
class Record:
    """After a step: its outcome, and what each process that is alive shows, by number and window."""

    outcome: Outcome
    views: Mapping[int, Mapping[str, View]]


class Run(Protocol):
    """A scenario under way."""

    def records(self) -> Iterator[Record]:
        """Take the scenario's steps, one after another.

        Raises:
            CaseEnded: One cannot be finished.
        """

    def finish(self, steps: Sequence[Step]) -> list[Outcome]:
        """Take more steps, without looking; errors as ``records``."""

    def books(self) -> str:
        """End all its processes, and say what is wrong with what the side noted of them; empty: nothing."""

    def close(self) -> None:
        """End all its processes."""

    @property
    def disturbed(self) -> bool:
        """Whether the side had no huge page where it wanted one, or made one by itself: it proves nothing then."""


class Side(Protocol):
    """Runs scenarios, one at a time."""

    name: str

    def run(self, scenario: Scenario) -> Run:
        """Begin one; errors as ``Run.records``."""


class Model:
    """A side made of ``Target`` objects in this process.

    Args:
        make: A new, empty target.
        name: What to call it.
    """

    def __init__(self, make: Callable[[], Target], name: str = "model") -> None:
        self._make = make
        self.name = name

    def run(self, scenario: Scenario) -> Run:
        """See ``Side``."""
        return _ModelRun(self._make(), scenario)


class _ModelRun:
    disturbed = False

    def __init__(self, target: Target, scenario: Scenario) -> None:
        self._targets = {0: target}
        self._actors = {0: Actor(target, make_files(target, scenario.files), family=self._targets)}
        self._steps = scenario.steps

    def records(self) -> Iterator[Record]:
        for step in self._steps:
            outcome = self._do(step)
            views: dict[int, Mapping[str, View]] = {}
            looked = outcome_of(partial(self._look, views), int)
            yield Record(looked if looked.trouble else outcome, views)

    def _look(self, views: dict[int, Mapping[str, View]]) -> None:
        for number, actor in self._actors.items():
            views[number] = decode(actor.look())

    def _do(self, step: Step) -> Outcome:
        actor = self._actors.get(step.process)
        if actor is None:
            return NO_PROCESS
        match step:
            case Exit():
                del self._actors[step.process]
                return outcome_of(partial(self._exit, step.process), int)
            case Fork(child):
                return SAME_CHILD if child in self._actors else outcome_of(partial(self._fork, step), int)
        return actor.do(step)

    def _fork(self, step: Fork) -> None:
        child = self._targets[step.process].fork()
        self._targets[step.child] = child
        self._actors[step.child] = self._actors[step.process].child(child)

    def _exit(self, number: int) -> None:
        self._targets.pop(number).exit()

    def finish(self, steps: Sequence[Step]) -> list[Outcome]:
        return [self._do(step) for step in steps]

    def books(self) -> str:
        asked = [target for target in self._targets.values() if hasattr(target, "books")][:1]
        wrong = "".join(target.books(ended=False) for target in asked)
        with self._holding_files():
            self.close()
            return wrong or "".join(target.books(ended=True) for target in asked)

    @contextmanager
    def _holding_files(self) -> Iterator[None]:
        """Keep the files: one that nobody has any more is not counted."""
        held = [actor.files for actor in self._actors.values()]
        yield
        held.clear()

    def close(self) -> None:
        for target in self._targets.values():
            target.exit()
        self._actors, self._targets = {}, {}
