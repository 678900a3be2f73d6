"""Models held to what kernels answered elsewhere: not for guests, which have no more than ``recorded.py`` needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.conform.campaign.compare import compare
from pagewalk.conform.campaign.text import disagreement_text
from pagewalk.conform.sides.model import simulated

if TYPE_CHECKING:
    from tests.conformance.recorded import Recorded

__all__ = ["the_model_agrees"]


def the_model_agrees(recorded: Recorded) -> None:
    """Assert that the model of a machine of the same facts gives the same answers to all that was asked."""
    model = simulated(facts=recorded.facts)
    for title, scenario in recorded.scenarios.items():
        found = compare(scenario, recorded, model).disagreement
        assert found is None, f"{title}: {disagreement_text(found)}"
