"""Swap: written scenarios and random ones, with a swap file switched on."""

from functools import partial

import pytest

from pagewalk.conform.campaign.campaign import run_campaign
from pagewalk.conform.campaign.text import campaign_text
from pagewalk.conform.scenarios.generate import generate
from tests.conformance.test_written import check
from tests.conformance.written import WRITTEN

pytestmark = pytest.mark.slow

SEQUENCES = 60


@pytest.mark.parametrize("title", [title for title in WRITTEN if title.startswith("swap: ")])
def test_both_sides_agree(kernel, model, swap, title):
    check(WRITTEN[title], kernel, model)


@pytest.mark.parametrize("title", [title for title in WRITTEN if title.startswith("swap: ")])
def test_no_step_is_skipped(ask, swap, title):
    scenario = WRITTEN[title]
    assert [step for step, record in zip(scenario.steps, ask(scenario), strict=True) if record.outcome.skipped] == []


def test_random_sequences(kernel, model, swap):
    result = run_campaign(kernel, model, sequences=SEQUENCES, make=partial(generate, swap=True))
    assert result.disagreement is None, campaign_text(result, ("kernel", "model"))
    assert len(result.inconclusive) <= 1, result.inconclusive
