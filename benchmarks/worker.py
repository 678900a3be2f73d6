"""A case in a process of its own: ``python -m benchmarks.worker MODULE BENCHMARK CASE SCALE FOLDER``.

The two sides speak in lines of JSON. The worker's first line says what the first run was like; then each line that it
reads is a round, and each line that it writes the nanoseconds of one run in it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.frame import SCALES, Benchmark, Case, Job, Missing, WrongResult

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["Worker", "benchmarks_of"]


def benchmarks_of(module: str, scale: str) -> list[Benchmark]:
    """The benchmarks of a module."""
    found: list[Benchmark] = importlib.import_module(f"benchmarks.{module}").benchmarks(SCALES[scale])
    return found


class Worker:
    """The parent's side.

    Args:
        case: What it runs.
        arguments: For the process.

    Attributes:
        items: What one run goes through.
        peak: Bytes that the first run took at most; None if unknown.
        missing: Why there are no figures of it; it is wrong if its result is.
        rounds: Nanoseconds an item in each round.
    """

    def __init__(self, case: Case, arguments: list[str]) -> None:
        self.case = case
        self.items = 0
        self.peak: int | None = None
        self.missing = ""
        self.wrong = False
        self.rounds: list[float] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | case.environment,
            cwd=Path(__file__).parent.parent,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self) -> None:
        """Wait for the first run.

        Raises:
            SystemExit: It failed.
        """
        answer = self._read()
        self.missing = answer.get("missing", "")
        self.wrong = answer.get("wrong", False)
        self.items = answer.get("items", 0)
        self.peak = answer.get("peak")

    def round(self) -> None:
        """Run one round.

        Raises:
            SystemExit: It failed.
        """
        assert self._process.stdin is not None
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        self.rounds.append(self._read()["nanoseconds"] / self.items)

    def _read(self) -> dict[str, Any]:
        """One line of the other side's."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"benchmarks: «{self.case.name}» ended with {self._process.wait()}; its message is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    """The worker's side."""
    module, benchmark, case, scale, folder = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    _spare_the_machine()
    try:
        job = benchmarks_of(module, scale)[int(benchmark)].cases[int(case)].prepare(Path(folder))
        first, peak = first_run(job)
    except (Missing, WrongResult) as why:
        print(json.dumps({"missing": str(why), "wrong": isinstance(why, WrongResult)}), file=answers)
        return
    print(json.dumps({"items": job.items, "peak": peak}), file=answers)
    _serve(job, first, SCALES[scale].patience, answers)


def _serve(job: Job, first: int, patience: float, answers: TextIO) -> None:
    """A round for each line, of as many runs as some seconds hold: by the second run, for the first loads modules."""
    one = first if first > patience * 1e9 else timed(job)
    times = max(1, int(patience * 1e9 / max(one, 1)))
    for _ in sys.stdin:
        nanoseconds = sum(timed(job) for _ in range(times)) / times
        print(json.dumps({"nanoseconds": nanoseconds}), file=answers)


def timed(job: Job) -> int:
    """Nanoseconds of one run. What it gives is thrown away after the clock has stopped."""
    if job.reset is not None:
        job.reset()
    start = time.perf_counter_ns()
    result = job.work()
    spent = time.perf_counter_ns() - start
    del result
    return spent


def first_run(job: Job) -> tuple[int, int | None]:
    """Run a job once and compare what it gives: nanoseconds, and the memory it took at most.

    Raises:
        WrongResult: It is not what it must be.
    """
    if job.reset is not None:
        job.reset()
    before = _restart_peak()
    start = time.perf_counter_ns()
    result = job.work()
    spent = time.perf_counter_ns() - start
    peak = None if before is None else _status("VmHWM") - before
    found = job.digest(result)
    if found != job.expected:
        raise WrongResult(f"the result is {found}, not {job.expected}")
    return spent, peak


def _restart_peak() -> int | None:
    """Let the kernel forget the highest memory use so far; returns the present one (Linux 4.0, proc_pid_clear_refs)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def _status(name: str) -> int:
    """A size in /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"benchmarks: /proc/self/status has no {name}")


def _spare_the_machine() -> None:
    """Let a case that wants more memory than there is fail by itself."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    (available,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    resource.setrlimit(resource.RLIMIT_DATA, (available * 4 // 5, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
