"""The running kernel as a side of a comparison: a worker process that runs scenarios."""

from __future__ import annotations

import errno
import subprocess
import sys
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING, Any

from pagewalk.conform.observe import decode
from pagewalk.conform.probe import require_machine
from pagewalk.conform.side import Record
from pagewalk.errors import ProcessError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pagewalk.conform.actor import Look
    from pagewalk.conform.observe import View
    from pagewalk.conform.scenario import Scenario, Step
    from pagewalk.conform.target import Outcome

__all__ = ["Kernel"]

_PATIENCE = 150
"""Seconds: longer than a worker lets a scenario's process live."""


class Kernel:
    """See ``Side``. Use it in a ``with``, or call ``close``.

    Raises:
        UnsupportedError: Not x86-64 Linux.
    """

    name = "kernel"

    def __init__(self) -> None:
        require_machine()
        self._pipe, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-P", "-m", "pagewalk.conform.worker", str(theirs.fileno())]
            self._worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])  # noqa: S603

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The worker's."""
        return self._worker.pid

    def run(self, scenario: Scenario) -> _KernelRun:
        """See ``Side``."""
        return _KernelRun(self, scenario)

    def ask(self, *request: Any) -> Any:
        """Send a request to the worker, and wait for the answer.

        Raises:
            ProcessError: The worker died, or does not answer (ESRCH).
        """
        try:
            self._pipe.send(request)
            if self._pipe.poll(_PATIENCE):
                return self._pipe.recv()
        except (EOFError, ConnectionError):
            pass
        self._pipe.close()
        self._worker.kill()
        raise ProcessError(errno.ESRCH, f"worker {self.pid} died (status {self._worker.wait()}) while asked: {request}")

    def close(self) -> None:
        """End the worker and everything it started."""
        self._pipe.close()
        try:
            self._worker.wait(5)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()


class _KernelRun:
    """See ``Run``: the whole scenario is one request."""

    def __init__(self, kernel: Kernel, scenario: Scenario) -> None:
        self._kernel = kernel
        self._steps = scenario.steps
        self._before = self._after = kernel.ask("open", scenario)
        self._last: dict[int, Mapping[str, View]] = {}

    @property
    def disturbed(self) -> bool:
        return self._after != self._before

    def records(self) -> Iterator[Record]:
        answers, self._after = self._kernel.ask("steps", self._steps, True)
        for outcome, looks in answers:
            yield Record(outcome, self._decode(looks))

    def _decode(self, looks: Mapping[int, Look | None]) -> dict[int, Mapping[str, View]]:
        self._last = {n: self._last[n] if look is None else decode(look) for n, look in looks.items()}
        return self._last

    def finish(self, steps: Sequence[Step]) -> list[Outcome]:
        answers, self._after = self._kernel.ask("steps", steps, False)
        return [outcome for outcome, _ in answers]

    def close(self) -> None:
        self._kernel.ask("close")
