"""Rounds, medians of ratios, peak memory: how the cases of a benchmark are measured beside each other.

Each case lives in a process of its own (``worker``), which first runs the job once, compares the result, and notes the
memory it took; then the cases take turns. A slow minute of the machine so falls on all of them: what counts is the
median, over the rounds, of the ratio to the first case *in the same round*.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.frame import Result
from benchmarks.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.frame import Benchmark, Case, Scale

__all__ = ["measure"]


def measure(benchmark: Benchmark, scale: Scale, where: tuple[str, int], folder: Path) -> list[Result]:
    """Run all cases of a benchmark.

    Args:
        benchmark: Which.
        scale: How much.
        where: Its module, and its place there, for the workers to find it.
        folder: For the images.

    Raises:
        SystemExit: A case failed.
    """
    for image in benchmark.images:
        image.path(folder)
    with ExitStack() as stack:
        workers = []
        for at, case in enumerate(benchmark.cases):
            worker = Worker(case, [*map(str, where), str(at), scale.name, str(folder)])
            workers.append(stack.enter_context(worker))
            worker.start()
        ready = [worker for worker in workers if not worker.missing]
        _take_turns(ready, scale)
    base = workers[0].rounds
    return [_result(worker.case, worker, base) for worker in workers]


def _take_turns(workers: Sequence[Worker], scale: Scale) -> None:
    """Rounds, until there are enough or the time is up; one at least."""
    begin = time.monotonic()
    for done in range(scale.rounds):
        spent = time.monotonic() - begin
        if (done >= scale.least and spent > scale.seconds) or (done and spent > 3 * scale.seconds):
            return
        for worker in workers:
            worker.round()


def _result(case: Case, worker: Worker, base: list[float]) -> Result:
    """A worker's figures."""
    if worker.missing:
        return Result(case.name, missing=worker.missing, wrong=worker.wrong)
    ratio = median(cost / first for cost, first in zip(worker.rounds, base, strict=True)) if base else None
    return Result(case.name, worker.items, worker.rounds, ratio, worker.peak)
