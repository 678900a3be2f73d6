"""Many random scenarios, until the first disagreement. Scenarios are numbered by their seeds; see also ``crew``."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pagewalk.conform.campaign.compare import compare
from pagewalk.conform.campaign.shrink import shrink
from pagewalk.conform.scenarios.generate import generate
from pagewalk.conform.sides.side import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pagewalk.conform.campaign.compare import Disagreement
    from pagewalk.conform.scenarios import Scenario
    from pagewalk.conform.sides.side import Side

    Maker = Callable[[int], Scenario]
    Sides = Callable[[], AbstractContextManager[tuple[Side, Side]]]

__all__ = ["Campaign", "Maker", "Progress", "Sides", "kernel_and_model", "run_campaign"]


@dataclass
class Campaign:
    """How far it came.

    Attributes:
        agreed: Scenarios on which the sides agree.
        inconclusive: Seeds of those that prove nothing, and why.
        seed: Of the scenario with the disagreement.
        disagreement: The first one, shrunk.
    """

    agreed: int = 0
    inconclusive: list[tuple[int, str]] = field(default_factory=list)
    seed: int | None = None
    disagreement: Disagreement | None = None

    def add(self, later: Campaign) -> None:
        """Take in what the seeds after these gave."""
        self.agreed += later.agreed
        self.inconclusive += later.inconclusive
        self.seed, self.disagreement = later.seed, later.disagreement


class Progress(Protocol):
    """Told what is being done."""

    def __call__(self, what: str, done: int) -> None:
        """``done`` more sequences are done."""


def run_campaign(
    left: Side,
    right: Side,
    *,
    seed: int = 0,
    sequences: int = 2000,
    make: Maker = generate,
    progress: Progress | None = None,
) -> Campaign:
    """Compare two sides on the scenarios of consecutive seeds; shrink the first disagreement.

    Args:
        left, right: The sides.
        seed: The first seed.
        sequences: Scenarios at most.
        make: The scenario of a seed.
        progress: Told of each scenario, and of each attempt to shrink one.
    """
    result = Campaign()
    say = progress or (lambda what, done: None)
    for number in range(seed, seed + sequences):
        verdict = compare(make(number), left, right)
        say(f"seed {number}", 1)
        if verdict.disagreement is not None:
            result.seed = number
            result.disagreement = shrink(
                verdict.disagreement,
                left,
                right,
                progress=lambda left_over: say(f"shrinking, {left_over} attempts left", 0),
            )
            return result
        if verdict.inconclusive:
            result.inconclusive.append((number, verdict.inconclusive))
        else:
            result.agreed += 1
    return result


@contextmanager
def kernel_and_model(timeout: float = TIMEOUT) -> Iterator[tuple[Side, Side]]:
    """The running kernel and the simulated address space.

    Args:
        timeout: Seconds that a scenario may take on the kernel.

    Raises:
        UnsupportedError: There is no kernel to ask.
    """
    from pagewalk.conform.sides.kernel import Kernel
    from pagewalk.conform.sides.model import simulated

    with Kernel(timeout) as kernel:
        yield kernel, simulated()
