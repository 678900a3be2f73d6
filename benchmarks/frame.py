"""What every benchmark is made of: cases that check themselves, how much is done, figures.

A benchmark is cases that do the same work. A case is a function that prepares a ``Job``: the work, how many items one
run goes through, and what the result must be. ``rounds`` runs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.images import Image

__all__ = ["SCALES", "Benchmark", "Case", "Job", "Missing", "Result", "Scale", "WrongResult"]


class Missing(Exception):
    """Something that a case needs is not here; the message says what, and how to get it."""


class WrongResult(Exception):
    """A case does not find what the C walker finds: its time means nothing."""


@dataclass(frozen=True)
class Scale:
    """How much is done.

    Attributes:
        pages: Slots of the dense, sparse and mixed images.
        growth: Sizes of the dense images of the growth benchmark.
        touched: Bytes touched.
        hole: Bytes of the hole that is filled.
        walked: Entries for the scalar walk.
        sample: Tables that the slow peers look at.
        rounds: At most so many, ```seconds``` for all rounds of a benchmark (at least ``least`` rounds are run).
        patience: A round lasts so many seconds, or one run if that takes longer.
    """

    name: str
    pages: int
    growth: tuple[int, ...]
    touched: int
    hole: int
    walked: int
    sample: int
    rounds: int
    least: int
    seconds: float
    patience: float


SCALES = {
    scale.name: scale
    for scale in (
        Scale("full", 1 << 24, (1 << 20, 1 << 22, 1 << 24, 1 << 26), 1 << 30, 64 << 30, 1 << 18, 64, 15, 3, 10, 0.05),
        Scale("quick", 1 << 21, (1 << 20, 1 << 22), 1 << 27, 4 << 30, 1 << 15, 8, 3, 2, 0.5, 0.01),
        Scale("tiny", 1 << 19, (1 << 13, 1 << 14), 1 << 20, 16 << 20, 1 << 10, 4, 1, 1, 0, 0),
    )
}


@dataclass(frozen=True)
class Job:
    """Work that is ready to run.

    Attributes:
        items: What one run goes through.
        work: One run; its time is taken.
        digest: What is compared of a result.
        expected: What it must be equal to.
        reset: Undoes a run; its time is not taken.
    """

    items: int
    work: Callable[[], Any]
    digest: Callable[[Any], object]
    expected: object
    reset: Callable[[], object] | None = None


@dataclass(frozen=True)
class Case:
    """One engine, or one way of doing it.

    Attributes:
        name: As the table shows it.
        prepare: Makes the job, given a folder with the images; raises ``Missing``.
        environment: For its process.
    """

    name: str
    prepare: Callable[[Path], Job]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """Cases that do the same work, the first being the one that the others are measured against.

    Attributes:
        name: As the table shows it.
        unit: What is counted.
        images: What the cases read; made before they start.
    """

    name: str
    unit: str
    cases: tuple[Case, ...]
    images: tuple[Image, ...] = ()


@dataclass(frozen=True)
class Result:
    """One case's figures.

    Attributes:
        items: What one run goes through.
        rounds: Nanoseconds an item in each round.
        ratio: To the first case in the same round, the median.
        peak: Bytes of memory that a run took at most, on top of what was there before; None if it is not known.
        missing: Why there are no figures.
        wrong: They are missing because the result is wrong.
    """

    case: str
    items: int = 0
    rounds: list[float] = field(default_factory=list)
    ratio: float | None = None
    peak: int | None = None
    missing: str = ""
    wrong: bool = False

    @property
    def median(self) -> float:
        """Nanoseconds an item."""
        return median(self.rounds)
