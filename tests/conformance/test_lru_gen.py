"""A kernel that sorts pages by generations: its model gives the answers that it gave, which a kernel without does not.

How the answers were recorded: ``tests/data/README.md``.
"""

from dataclasses import replace

import pytest

from pagewalk.conform.campaign.compare import compare
from pagewalk.conform.sides.model import simulated
from tests.conformance.held import the_model_agrees
from tests.conformance.recorded import read_answers
from tests.conformance.written import used
from tests.guests import DATA

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recorded():
    answers = read_answers(DATA / "x86_64-6.18-lru-gen.answers.json.xz")
    assert answers.facts.lru_gen
    return answers


def test_the_model_of_that_kernel_agrees(recorded):
    the_model_agrees(recorded)


def test_the_model_of_a_kernel_without_does_not(recorded):
    other = simulated(facts=replace(recorded.facts, lru_gen=False))
    found = [title for title in used.SCENARIOS if compare(used.SCENARIOS[title], recorded, other).disagreement]
    assert "marks make referenced then active" in found
    assert len(found) > len(used.SCENARIOS) // 3


def test_what_is_recorded_is_what_is_written(recorded):
    """A scenario that has changed since is to be asked again."""
    assert {title: recorded.scenarios.get(title) for title in used.SCENARIOS} == used.SCENARIOS
