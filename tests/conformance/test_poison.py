"""Memory that breaks: the model gives the answers that a kernel gave in a guest. Nobody ever asks the running one.

How the answers were recorded: ``tests/data/README.md``.
"""

import subprocess
import sys
from collections import Counter

import pytest

from pagewalk import abi
from pagewalk.conform.campaign.compare import compare
from pagewalk.conform.campaign.text import disagreement_text
from pagewalk.conform.scenarios import At, Limited, Madvise, ProcessMadvise, Scenario
from pagewalk.conform.scenarios.arguments import pairs
from pagewalk.conform.scenarios.generate import generate
from pagewalk.conform.sides.model import simulated
from pagewalk.errors import UnsupportedError
from tests.conformance.guest import is_inside
from tests.conformance.recorded import read_answers
from tests.conformance.written import WRITTEN, poison
from tests.guests import DATA

SEEDS = range(150)
BREAK = Madvise(At(0), 4096, abi.MADV_HWPOISON)


@pytest.fixture(scope="module")
def recorded():
    return read_answers(DATA / "x86_64-6.18-poison.answers.json.xz")


@pytest.mark.slow
@pytest.mark.parametrize("title", poison.SCENARIOS)
def test_the_model_agrees(recorded, title):
    found = compare(recorded.scenarios[title], recorded, simulated(facts=recorded.facts)).disagreement
    assert found is None, disagreement_text(found)


def test_what_was_recorded_is_what_is_written(recorded):
    assert recorded.scenarios == poison.SCENARIOS


def test_each_step_proves_something(recorded):
    for title, scenario in recorded.scenarios.items():
        outcomes = [record.outcome for record in recorded.answers[scenario].records]
        assert [(title, outcome) for outcome in outcomes if outcome.skipped or outcome.trouble] == []


def test_of_every_sort(recorded):
    """Signals at the call and later, each errno there is, pages that say that they are broken."""
    runs = [zip(scenario.steps, recorded.answers[scenario].records, strict=True) for scenario in recorded.answers]
    told = Counter()
    for step, record in (pair for run in runs for pair in run):
        asked = "asked" if Scenario((step,)).breaks_memory else "later"
        told[asked, record.outcome.errno, record.outcome.signo, record.outcome.code] += 1
    assert told["asked", 0, 7, abi.BUS_MCEERR_AR] > 80
    assert told["later", 0, 7, abi.BUS_MCEERR_AR] > 150
    assert {errno for asked, errno, _, _ in told if asked == "asked"} == {0, 1, 5, 14, 16, 22}
    assert {errno for asked, errno, _, _ in told if asked == "later"} >= {0, 5, 11, 12, 14, abi.EHWPOISON}


class TestNobodyElseIsAsked:
    def test_it_is_no_theme(self):
        assert not any(scenario.breaks_memory for scenario in WRITTEN.values())
        assert all(scenario.breaks_memory for scenario in poison.SCENARIOS.values())

    @pytest.mark.parametrize("how", [{}, {"uffd": True}, {"hugetlb": True}, {"swap": True}], ids=str)
    def test_no_random_sequence_does(self, how):
        assert not any(generate(seed, **how).breaks_memory for seed in SEEDS)

    def test_no_pair_of_arguments_does(self):
        assert not Scenario(tuple(pairs())).breaks_memory

    @pytest.mark.parametrize(
        "step",
        [BREAK, Limited("admin", 0, BREAK), ProcessMadvise(((At(0), 4096),), abi.MADV_SOFT_OFFLINE)],
        ids=lambda step: step.call,
    )
    def test_the_running_kernel_is_not(self, kernel, step):
        with pytest.raises(UnsupportedError, match="destroy frames"):
            kernel.run(Scenario((step,)))

    def test_the_recorder_does_not_outside_of_a_guest(self, tmp_path):
        assert not is_inside()
        command = [sys.executable, "-m", "tests.conformance.recorded", "poison", str(tmp_path / "answers")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode
        assert "run it in a guest" in done.stderr
        assert not (tmp_path / "answers").exists()
