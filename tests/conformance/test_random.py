"""Random sequences of all calls agree with the running kernel: the gate, and what Hypothesis makes up.

The gate is what ``pagewalk conform`` runs. Hypothesis draws from the same table, but tries small and odd choices more
often, and shrinks by itself; its seed is fixed, so that a run is repeatable.
"""

import os
from functools import partial

import pytest
from hypothesis import HealthCheck, given, seed, settings

from pagewalk.conform.campaign.campaign import run_campaign
from pagewalk.conform.campaign.compare import compare
from pagewalk.conform.campaign.crew import processors, run_crew
from pagewalk.conform.campaign.shrink import shrink
from pagewalk.conform.campaign.text import campaign_text, disagreement_text
from pagewalk.conform.scenarios.arguments import TOGETHER, ask, pairs
from pagewalk.conform.scenarios.generate import generate
from pagewalk.errors import ProcessError
from tests.conformance.liar import kernel_and_liar, kernel_and_mortal, stillborn, two_kernels
from tests.conformance.strategy import scenarios

SEQUENCES = int(os.environ.get("PAGEWALK_CONFORM_SEQUENCES", "2000"))
STEPS = 30
HUGETLB = 60
PROFILE = settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


def check(scenario, kernel, model):
    verdict = compare(scenario, kernel, model)
    assert verdict.disagreement is None, disagreement_text(verdict.disagreement)


def test_the_gate(kernel):
    """At least 2,000 sequences of 30 steps agree; all but one in a hundred say something."""
    result = run_crew(min(len(processors()), 4), sequences=SEQUENCES, make=partial(generate, steps=STEPS))
    print(campaign_text(result, ("kernel", "model")))
    assert result.disagreement is None, campaign_text(result, ("kernel", "model"))
    assert result.agreed + len(result.inconclusive) == SEQUENCES
    assert len(result.inconclusive) <= SEQUENCES // 100, result.inconclusive


def test_odd_arguments(kernel):
    """Of all pairs of arguments of all calls, one in ten: ``pagewalk conform --arguments`` asks all."""
    scenarios = -(-len(pairs()) // TOGETHER)
    result = run_crew(min(len(processors()), 4), sequences=scenarios // 10, make=every_tenth)
    assert result.disagreement is None, campaign_text(result, ("kernel", "model"))
    assert result.agreed == scenarios // 10, result.inconclusive


def every_tenth(number):
    """Which scenarios those are."""
    return ask(10 * number)


@given(scenario=scenarios(steps=12))
@seed(1)
@PROFILE
def test_what_hypothesis_makes_up(kernel, model, scenario):
    check(scenario, kernel, model)


@pytest.mark.slow
def test_userfaultfd_too(kernel, model):
    """One in six of the others has it; here all do."""
    for number in range(HUGETLB):
        check(generate(number, STEPS, uffd=True), kernel, model)


@pytest.mark.slow
def test_hugetlb_too(kernel, model, huge_pool):
    """The pool is the machine's: one sequence at a time."""
    for number in range(HUGETLB):
        found = compare(generate(number, STEPS, hugetlb=True), kernel, model).disagreement
        assert found is None, f"seed {number}: {disagreement_text(shrink(found, kernel, model, attempts=100))}"


@pytest.mark.slow
def test_a_crew_finds_what_one_process_finds(kernel, other_kernel):
    alone = run_campaign(kernel, other_kernel, seed=7, sequences=25, make=partial(generate, steps=4))
    crew = run_crew(2, two_kernels, seed=7, sequences=25, make=partial(generate, steps=4))
    assert (crew.agreed, crew.inconclusive, crew.disagreement) == (alone.agreed, alone.inconclusive, None)


@pytest.mark.slow
def test_a_crew_ends_at_the_first_disagreement():
    result = run_crew(2, kernel_and_liar, seed=3, sequences=200, make=partial(generate, steps=9))
    found = run_crew(1, kernel_and_liar, seed=3, sequences=200, make=partial(generate, steps=9))
    assert result.disagreement is not None
    assert (result.seed, result.agreed) == (found.seed, found.agreed)
    assert repr(result.disagreement.scenario) == repr(found.disagreement.scenario)


@pytest.mark.slow
@pytest.mark.parametrize("dies_at", [3, 28])
def test_a_crew_goes_on_without_one_that_dies(kernel, dies_at):
    """Only the share of ten that it was at proves nothing."""
    result = run_crew(2, partial(kernel_and_mortal, dies_at), sequences=40, make=partial(generate, steps=3))
    assert (result.agreed, result.disagreement) == (30, None)
    assert [seed for seed, _ in result.inconclusive] == list(range(dies_at // 10 * 10, dies_at // 10 * 10 + 10))
    assert all("of the crew died (status -9)" in why for _, why in result.inconclusive)


@pytest.mark.slow
def test_a_crew_that_cannot_begin_is_an_error(kernel):
    with pytest.raises(ProcessError, match=r"process \d+ of the crew died \(status -9\)"):
        run_crew(2, stillborn, sequences=40)
