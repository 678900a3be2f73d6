"""Soft-dirty pages: the model of a kernel that has them gives the answers that such a kernel gave.

The running kernel may have none; how the answers were recorded: ``tests/data/README.md``.
"""

from dataclasses import replace

import pytest

from pagewalk.abi.pagemap import PageIs
from pagewalk.conform.campaign.compare import compare
from pagewalk.conform.scenarios import ClearRefs
from pagewalk.conform.sides.model import simulated
from pagewalk.conform.sides.observe import has
from tests.conformance.held import the_model_agrees
from tests.conformance.recorded import read_answers
from tests.conformance.written import soft_dirty
from tests.guests import DATA

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recorded():
    answers = read_answers(DATA / "x86_64-6.18-soft-dirty.answers.json.xz")
    assert answers.facts.soft_dirty
    return answers


def test_the_model_of_that_kernel_agrees(recorded):
    the_model_agrees(recorded)


def test_the_model_of_a_kernel_without_does_not(recorded):
    other = simulated(facts=replace(recorded.facts, soft_dirty=False))
    assert all(compare(one, recorded, other, confirm=False).disagreement for one in recorded.scenarios.values())


def test_what_is_recorded_is_what_is_written(recorded):
    """A scenario that has changed since is to be asked again."""
    assert {title: recorded.scenarios.get(title) for title in soft_dirty.SCENARIOS} == soft_dirty.SCENARIOS


def test_all_of_it_is_told_there(recorded):
    """Pages that are soft-dirty and that are not, areas too, and steps that make them so."""
    records = [record for run in recorded.answers.values() for record in run.records]
    views = [view for record in records for views in record.views.values() for view in views.values()]
    told = {
        has(int(state), PageIs.SOFT_DIRTY) for view in views for state in view.states if has(int(state), PageIs.PRESENT)
    }
    areas = {"sd" in line.split() for view in views for line in view.smaps or ()}
    assert told == areas == {False, True}
    assert all(ClearRefs in map(type, one.steps) for title, one in recorded.scenarios.items() if "seed" not in title)
