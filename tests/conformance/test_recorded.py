"""CPUs with protection keys and without: the model of either gives the answers that a kernel gave on one.

The other tests ask the running kernel about the CPU at hand; here are both, on every machine. How the answers were
recorded: ``tests/data/README.md``.
"""

from collections import Counter
from dataclasses import replace
from signal import SIGBUS

import numpy as np
import pytest

from pagewalk.abi.pagemap import PM_MMAP_EXCLUSIVE, PM_PFRAME_BITS
from pagewalk.conform.campaign.compare import compare
from pagewalk.conform.campaign.text import disagreement_text
from pagewalk.conform.sides.facts import running_facts
from pagewalk.conform.sides.model import simulated
from tests.conformance.held import the_model_agrees
from tests.conformance.recorded import read_answers
from tests.conformance.written import dirty
from tests.guests import DATA

pytestmark = pytest.mark.slow

PKUERR = 4
FILES = {True: "x86_64-6.18-pku", False: "x86_64-6.18"}


@pytest.fixture(scope="module", params=FILES, ids=["with keys", "without"])
def recorded(request):
    answers = read_answers(DATA / f"{FILES[request.param]}.answers.json.xz")
    assert answers.facts.pku is request.param
    return answers


def signals(recorded):
    outcomes = (record.outcome for run in recorded.answers.values() for record in run.records)
    return Counter((outcome.signo, outcome.code) for outcome in outcomes if outcome.signo)


def test_the_model_of_that_cpu_agrees(recorded):
    the_model_agrees(recorded)


def test_the_model_of_the_other_cpu_does_not(recorded):
    """What is recorded tells the two apart, random scenarios among it."""
    other = simulated(facts=replace(recorded.facts, pku=not recorded.facts.pku))
    for kind, least in (("execute only", 12), ("seed", 3)):
        asked = [scenario for title, scenario in recorded.scenarios.items() if title.startswith(kind)][:20]
        wrong = [scenario for scenario in asked if compare(scenario, recorded, other, confirm=False).disagreement]
        assert len(wrong) >= least, kind


def test_only_a_cpu_with_keys_tells_of_them(recorded):
    found = signals(recorded)
    assert (found[11, PKUERR] > 50) is recorded.facts.pku
    assert bool(found[11, PKUERR]) is recorded.facts.pku
    assert found[11, 1]
    assert found[11, 2]


def test_the_running_cpu_is_one_of_them():
    assert running_facts().pku in FILES


class Unsure:
    """A side that does not say who is alone with a page: of 1 GiB, a kernel says so by chance (docs/kernel-bugs.md)."""

    def __init__(self, side):
        self.side, self.name = side, side.name

    def run(self, scenario):
        self.running = self.side.run(scenario)
        return self

    def __getattr__(self, name):
        return getattr(self.running, name)

    def records(self):
        for record in self.running.records():
            views = {n: {name: self.told(view) for name, view in shown.items()} for n, shown in record.views.items()}
            yield replace(record, views=views)

    @staticmethod
    def told(view):
        return replace(view, states=view.states & ~np.uint32(PM_MMAP_EXCLUSIVE >> PM_PFRAME_BITS))


def test_a_kernel_that_loses_what_is_dirty():
    """The mend came later (docs/kernel-bugs.md): a model of a kernel that has it does not agree."""
    answers = read_answers(DATA / "x86_64-6.18-dirty.answers.json.xz")
    assert answers.scenarios == dirty.SCENARIOS
    assert not answers.facts.keeps_dirty
    model, mended = simulated(facts=answers.facts), simulated(facts=replace(answers.facts, keeps_dirty=True))
    for title, scenario in answers.scenarios.items():
        found = compare(scenario, answers, model).disagreement
        assert found is None, f"{title}: {disagreement_text(found)}"
    disagree = [one for one in answers.scenarios.values() if compare(one, answers, mended, confirm=False).disagreement]
    assert len(disagree) > 9


def test_gigantic_pages():
    answers = read_answers(DATA / "x86_64-6.18-gigantic.answers.json.xz")
    assert answers.facts.gigantic == 1
    model = simulated(facts=answers.facts)
    for title, scenario in answers.scenarios.items():
        found = compare(scenario, Unsure(answers), Unsure(model)).disagreement
        assert found is None, f"{title}: {disagreement_text(found)}"
    assert signals(answers)[SIGBUS, 2]
