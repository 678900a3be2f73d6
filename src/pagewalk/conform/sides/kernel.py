"""The running kernel as a side of a comparison: a worker process that runs scenarios."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from pagewalk.conform.sides.observe import decode
from pagewalk.conform.sides.probe import require_machine
from pagewalk.conform.sides.process import Process
from pagewalk.conform.sides.side import TIMEOUT, CaseEnded, Record
from pagewalk.errors import ProcessError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pagewalk.conform.scenarios import Scenario, Step
    from pagewalk.conform.scenarios.target import Outcome
    from pagewalk.conform.sides.actor import Look
    from pagewalk.conform.sides.observe import View

__all__ = ["Kernel"]

_PATIENCE = 10
"""Seconds, besides a scenario's own, in which a worker answers."""


class Kernel:
    """See ``Side``. Use it in a ``with``, or call ``close``.

    Args:
        timeout: Seconds that a scenario may take. One that takes longer is ended, and so is the worker if it does not
            answer; another one takes the next scenario.
        breaks_memory: Whether scenarios may destroy frames of the machine. That is for a guest.

    Raises:
        UnsupportedError: Not x86-64 Linux.
    """

    name = "kernel"

    def __init__(self, timeout: float = TIMEOUT, *, breaks_memory: bool = False) -> None:
        require_machine()
        self._timeout = timeout
        self._breaks_memory = breaks_memory
        self._worker = Process("pagewalk.conform.sides.worker")
        self._answered = False

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The worker's."""
        return self._worker.pid

    def run(self, scenario: Scenario) -> _KernelRun:
        """See ``Side``.

        Raises:
            UnsupportedError: The scenario would destroy frames.
        """
        if scenario.breaks_memory and not self._breaks_memory:
            raise UnsupportedError("MADV_HWPOISON and MADV_SOFT_OFFLINE destroy frames: only in a guest are they asked")
        if self._worker.pipe.closed:
            self._worker = Process("pagewalk.conform.sides.worker")
        return _KernelRun(self, scenario)

    def take(self, steps: Sequence[Step], *, look: bool) -> Any:
        """Have the worker take steps: their outcomes and looks, and its counters.

        Raises:
            CaseEnded: One did not return in time.
        """
        answers, counters = self.ask("steps", steps, look, self._timeout)
        if len(answers) < len(steps):
            step = f"step {len(answers)}" if look else "at the end"
            why = f"{step}, {steps[len(answers)]!r}, did not return within {self._timeout:g} s"
            raise CaseEnded(errno.ETIMEDOUT, why)
        return answers, counters

    def ask(self, *request: Any) -> Any:
        """Send a request to the worker, and wait for the answer.

        Raises:
            CaseEnded: The worker died, or does not answer.
            ProcessError: So did the first one, at once: the next would too.
        """
        why = "died"
        try:
            self._worker.pipe.send(request)
            if self._worker.pipe.poll(self._timeout + _PATIENCE):
                answer = self._worker.pipe.recv()
                self._answered = True
                return answer
            why = "did not answer"
        except (EOFError, ConnectionError):
            pass
        kind = CaseEnded if self._answered else ProcessError
        raise kind(errno.ESRCH, f"worker {self.pid} {why} (status {self._worker.kill()}) while asked: {request}")

    def end(self, worker: int) -> None:
        """End the scenario of a worker, if that is still at it."""
        if worker == self.pid and not self._worker.pipe.closed:
            self.ask("close")

    def close(self) -> None:
        """End the worker and everything it started."""
        self._worker.close()


class _KernelRun:
    """See ``Run``: the whole scenario is one request."""

    def __init__(self, kernel: Kernel, scenario: Scenario) -> None:
        self._kernel = kernel
        self._worker = kernel.pid
        self._steps = scenario.steps
        self._before = self._after = kernel.ask("open", scenario)
        self._last: dict[int, Mapping[str, View]] = {}

    @property
    def disturbed(self) -> bool:
        return self._after != self._before

    def records(self) -> Iterator[Record]:
        answers, self._after = self._kernel.take(self._steps, look=True)
        for outcome, looks in answers:
            yield Record(outcome, self._decode(looks))

    def _decode(self, looks: Mapping[int, Look | None]) -> dict[int, Mapping[str, View]]:
        self._last = {n: self._last[n] if look is None else decode(look) for n, look in looks.items()}
        return self._last

    def finish(self, steps: Sequence[Step]) -> list[Outcome]:
        answers, self._after = self._kernel.take(steps, look=False)
        return [outcome for outcome, _ in answers]

    def books(self) -> str:
        return ""

    def close(self) -> None:
        self._kernel.end(self._worker)
