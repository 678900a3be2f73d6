"""Many random scenarios, until the first disagreement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pagewalk.conform.compare import compare
from pagewalk.conform.generate import generate
from pagewalk.conform.shrink import shrink

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.conform.compare import Disagreement
    from pagewalk.conform.side import Side

__all__ = ["Campaign", "run_campaign"]


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


def run_campaign(
    left: Side,
    right: Side,
    *,
    seed: int = 0,
    sequences: int = 2000,
    steps: int = 30,
    progress: Callable[[str], None] | None = None,
) -> Campaign:
    """Compare two sides on the scenarios of consecutive seeds; shrink the first disagreement.

    Args:
        left, right: The sides.
        seed: The first seed.
        sequences: Scenarios at most.
        steps: Steps in each.
        progress: Called with what is being done, once a scenario.
    """
    result = Campaign()
    say = progress or (lambda _: None)
    for number in range(seed, seed + sequences):
        say(f"seed {number}")
        verdict = compare(generate(number, steps), left, right)
        if verdict.disagreement is not None:
            result.seed = number
            result.disagreement = shrink(
                verdict.disagreement,
                left,
                right,
                progress=lambda left_over: say(f"shrinking, {left_over} attempts left"),
            )
            return result
        if verdict.inconclusive:
            result.inconclusive.append((number, verdict.inconclusive))
        else:
            result.agreed += 1
    return result
