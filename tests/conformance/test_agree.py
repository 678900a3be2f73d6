"""The kernel agrees with itself: what is observed follows from the scenario, and nothing else is let pass."""

from dataclasses import replace

import pytest

from pagewalk import abi
from pagewalk.conform.campaign.campaign import run_campaign
from pagewalk.conform.campaign.compare import FREEDOMS, What, compare
from pagewalk.conform.campaign.shrink import shrink
from pagewalk.conform.campaign.text import campaign_text, disagreement_text
from pagewalk.conform.scenarios import At, Fork, Mmap, Mprotect, Munmap, Read, Scenario, Write
from pagewalk.conform.scenarios.generate import generate
from pagewalk.conform.scenarios.target import Outcome
from pagewalk.conform.sides.model import simulated
from tests.conformance.liar import Wrong, wrong_errno

pytestmark = pytest.mark.slow

RW = abi.PROT_READ | abi.PROT_WRITE
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
SEQUENCES = 100


def test_two_workers_agree_on_random_sequences(kernel, other_kernel):
    result = run_campaign(kernel, other_kernel, seed=1, sequences=SEQUENCES)
    assert result.disagreement is None, campaign_text(result, ("kernel", "other kernel"))
    assert len(result.inconclusive) <= 1 + SEQUENCES // 100, result.inconclusive


def lost_guards(step, record):
    if not record.views or not isinstance(step, Mprotect):
        return record
    view = record.views[0][""]
    states = view.states.copy()
    states[states >> 24 & 1 != 0] = 0
    return replace(record, views={**record.views, 0: {**record.views[0], "": replace(view, states=states)}})


def wrong_merge(step, record):
    view = record.views[0][""] if record.views else None
    if view is None or len(view.rows) < 2 or view.rows[0].end != view.rows[1].start:
        return record
    rows = (view.rows[0]._replace(end=view.rows[1].end), *view.rows[2:])
    return replace(record, views={**record.views, 0: {**record.views[0], "": replace(view, rows=rows)}})


def wrong_contents(step, record):
    return replace(record, outcome=Outcome(bytes(8))) if isinstance(step, Read) and record.outcome.value else record


def lost_pages_of_neighbours(step, record):
    """A fork copies nothing of a mapping that lies elsewhere than beside the one before."""
    if not isinstance(step, Fork):
        return record
    views = {
        number: {
            name: replace(view, states=view.states * (name != "m1" or number == 0), touching=frozenset())
            for name, view in views.items()
        }
        for number, views in record.views.items()
    }
    return replace(record, views=views)


def test_neighbours_on_one_side_only_prove_nothing():
    word = bytes(8)
    steps = (
        Mmap(4096, RW, name="m0"), Write(At(0, base="m0"), word), Mmap(0x8000, RW, name="m1"),
        Write(At(3, base="m1"), word), Fork(1),
    )  # fmt: skip
    verdict = compare(Scenario(steps), simulated(), Wrong(simulated(), lost_pages_of_neighbours))
    assert verdict.disagreement is None
    assert "beside others" in verdict.inconclusive


@pytest.mark.parametrize(
    ("change", "what", "size", "first"),
    [
        (wrong_errno, What.OUTCOME, 1, 0),
        (lost_guards, What.PAGES, 3, 0),
        (wrong_merge, What.MAPS, 2, 50),
    ],
)
def test_a_wrong_answer_is_found_and_shrunk(kernel, other_kernel, change, what, size, first):
    """``first``: a seed shortly before the one that was seen to find it."""
    result = run_campaign(kernel, Wrong(other_kernel, change), seed=first, sequences=200)
    found = result.disagreement
    assert found is not None
    assert found.what is what
    assert len(found.scenario.steps) <= size
    text = campaign_text(result, ("kernel", "wrong"))
    assert "They disagree about" in text
    assert repr(found.scenario) in text
    assert compare(found.scenario, kernel, other_kernel).disagreement is None


def test_contents_are_compared_at_the_end(kernel, other_kernel):
    scenario = Scenario((Mmap(4096, RW, FIXED, At(0)), Write(At(0), b"\xc3abc")))
    found = compare(scenario, kernel, Wrong(other_kernel, wrong_contents)).disagreement
    assert found is not None
    assert (found.what, found.step) == (What.CONTENTS, 2)
    assert "abc" in disagreement_text(found)


def test_what_does_not_repeat_is_no_disagreement(kernel, other_kernel):
    runs = iter((True, False))

    def once(step, record):
        return replace(record, outcome=Outcome(errno=1)) if next(runs) else record

    verdict = compare(Scenario((Munmap(At(0), 4096),)), kernel, Wrong(other_kernel, once))
    assert verdict.disagreement is None
    assert verdict.inconclusive.startswith("did not repeat: step 0")


def test_a_side_that_breaks_disagrees(kernel, other_kernel):
    def broken(step, record):
        return replace(record, outcome=Outcome(trouble="broke: KeyError: 1"))

    found = compare(Scenario((Munmap(At(0), 4096),)), kernel, Wrong(other_kernel, broken)).disagreement
    assert found is not None
    assert found.said["wrong"] == ("broke: KeyError: 1",)


def test_shrinking_keeps_what_is_needed(kernel, other_kernel):
    """Of a long scenario, the fork, the write by the child and the mapping it needs."""
    needed = Mmap(8192, RW, FIXED, At(0)), Fork(1), Write(At(0), b"\xc3", process=1)
    noise = generate(3, 12).steps[1:]
    scenario = Scenario((*(s for s in noise if s.process == 0 and not isinstance(s, Fork)), *needed))

    def change(step, record):
        wrong = isinstance(step, Write) and step.process == 1 and record.outcome == Outcome()
        return replace(record, outcome=Outcome(errno=5)) if wrong else record

    wrong = Wrong(other_kernel, change)
    first = compare(scenario, kernel, wrong).disagreement
    assert first is not None
    small = shrink(first, kernel, wrong).scenario
    assert [type(step) for step in small.steps] == [Mmap, Fork, Write]
    assert small.steps[0].length == 4096


def test_what_is_let_pass_is_listed_with_a_reason():
    assert all(freedom.what and freedom.how and freedom.why for freedom in FREEDOMS)
    assert len({freedom.what for freedom in FREEDOMS}) == len(FREEDOMS)
