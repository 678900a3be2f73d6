"""What every benchmark shares: rounds, medians, ratios, a table, a JSON file.

A benchmark is one file beside this one with a ``BENCHMARK``: a name, and cases. A case is a function that prepares its
input and returns ``(units, work)``: what one run of ``work`` goes through, and the work. Each case runs in a process of
its own, and the cases take turns: a slow minute of the machine falls on all of them. What counts is the median, over
the rounds, of the ratio to the first case *in the same round*.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Benchmark", "Case", "Result", "measure", "run_case", "save", "show"]

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Case:
    """One engine, or one way of doing it.

    Attributes:
        name: As the table shows it.
        prepare: Makes the input; returns how many units one run goes through, and the run.
    """

    name: str
    prepare: Callable[[], tuple[int, Callable[[], object]]]


@dataclass(frozen=True)
class Benchmark:
    """Cases that do the same work, the first being the one that the others are measured against."""

    name: str
    unit: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Result:
    """One case's figures: nanoseconds a unit in each round, and the median ratio to the first case."""

    case: str
    units: int
    rounds: list[float] = field(default_factory=list)
    ratio: float = 1.0

    @property
    def median(self) -> float:
        """Nanoseconds a unit."""
        return median(self.rounds)


def run_case(case: Case) -> tuple[int, float]:
    """Prepare and run a case once, here: units, nanoseconds."""
    units, work = case.prepare()
    start = time.perf_counter_ns()
    work()
    return units, float(time.perf_counter_ns() - start)


def measure(module: str, benchmark: Benchmark, rounds: int) -> list[Result]:
    """Run every case in turn, ``rounds`` times, each in a new process."""
    seen: list[list[tuple[int, float]]] = [[] for _ in benchmark.cases]
    for _ in range(rounds):
        for at, runs in enumerate(seen):
            runs.append(_in_a_process(module, at))
    first = [time / units for units, time in seen[0]]
    results = []
    for case, runs in zip(benchmark.cases, seen, strict=True):
        costs = [time / units for units, time in runs]
        ratio = median(cost / base for cost, base in zip(costs, first, strict=True))
        results.append(Result(case.name, runs[0][0], costs, ratio))
    return results


def _in_a_process(module: str, at: int) -> tuple[int, float]:
    """One run of case ``at`` of a benchmark's module."""
    command = [sys.executable, "-m", "benchmarks", "--case", module, str(at)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"benchmarks: {module}, case {at} failed:\n{result.stderr}")
    units, nanoseconds = json.loads(result.stdout.splitlines()[-1])
    return units, nanoseconds


def show(benchmark: Benchmark, results: list[Result]) -> None:
    """Print the table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=benchmark.name, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for title in (benchmark.unit, "ns each, median", "least", "ratio"):
        table.add_column(title, justify="right")
    for one in results:
        table.add_row(one.case, f"{one.units:,}", f"{one.median:,.1f}", f"{min(one.rounds):,.1f}", f"{one.ratio:,.2f}")
    Console(width=100).print(table)


def save(module: str, benchmark: Benchmark, results: list[Result]) -> Path:
    """Write the figures to ``benchmarks/results``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{module}.json"
    figures = [asdict(one) | {"median": one.median} for one in results]
    path.write_text(json.dumps({"name": benchmark.name, "unit": benchmark.unit, "results": figures}, indent=1) + "\n")
    return path
