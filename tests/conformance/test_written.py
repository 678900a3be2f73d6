"""The written scenarios run on the running kernel and on the model; all must agree after every step."""

import pytest

from pagewalk import abi
from pagewalk.conform.campaign.compare import Verdict, compare
from pagewalk.conform.campaign.text import disagreement_text
from pagewalk.conform.scenarios import STEPS, Madvise, Mmap, Mprotect, Mremap, ProcessMadvise
from tests.conformance.written import THEMES, WRITTEN

pytestmark = pytest.mark.slow

TRIES = 3
"""One that proves nothing is run again: compaction and reclaim change pages when they like."""

NOT_USED = ("MAP_HUGE_", "MAP_SHARED_", "MAP_TYPE", "MADV_HWPOISON", "MADV_SOFT_OFFLINE")
STEPS_TAKEN = [step for scenario in WRITTEN.values() for step in scenario.steps]


def bits(value):
    return [1 << bit for bit in range(value.bit_length()) if value >> bit & 1]


NOT_SWAP = [title for title in WRITTEN if not title.startswith("swap: ")]
"""Scenarios in swap have their tests in ``test_swap``: it is switched on there."""


def needs_pool(scenario):
    mapped = any(isinstance(step, Mmap) and step.flags & abi.MAP_HUGETLB for step in scenario.steps)
    return mapped or any(file.kind == "hugetlb" for file in scenario.files)


@pytest.mark.parametrize("title", NOT_SWAP)
def test_both_sides_agree(kernel, model, request, title):
    scenario = WRITTEN[title]
    if needs_pool(scenario):
        request.getfixturevalue("huge_pool")
    check(scenario, kernel, model)


def check(scenario, kernel, model):
    tries = (compare(scenario, kernel, model) for _ in range(TRIES))
    verdict = next((verdict for verdict in tries if not verdict.inconclusive), Verdict(None, "each time"))
    assert verdict.disagreement is None, disagreement_text(verdict.disagreement)
    assert not verdict.inconclusive


@pytest.mark.parametrize("title", NOT_SWAP)
def test_no_step_is_skipped(ask, title):
    """A step that names what is not there proves nothing."""
    scenario = WRITTEN[title]
    assert [step for step, record in zip(scenario.steps, ask(scenario), strict=True) if record.outcome.skipped] == []


def test_there_are_enough():
    assert len(WRITTEN) >= 200
    assert min(len(theme.SCENARIOS) for theme in THEMES.values()) >= 8


def test_every_kind_of_step_is_taken():
    assert {type(step) for step in STEPS_TAKEN} == set(STEPS.values())


@pytest.mark.parametrize(
    ("prefix", "used"),
    [
        ("MADV_", {step.advice for step in STEPS_TAKEN if isinstance(step, Madvise | ProcessMadvise)}),
        ("MAP_", {bit for step in STEPS_TAKEN if isinstance(step, Mmap) for bit in (step.flags, *bits(step.flags))}),
        ("MREMAP_", {bit for step in STEPS_TAKEN if isinstance(step, Mremap) for bit in bits(step.flags)}),
        (
            "PROT_",
            {bit for step in STEPS_TAKEN if isinstance(step, Mmap | Mprotect) for bit in (step.prot, *bits(step.prot))},
        ),
    ],
    ids=["advice", "mmap", "mremap", "rights"],
)
def test_every_number_of_the_interface_is_used(prefix, used):
    """The sizes of hugetlb pages are fields of several bits, and 1 GiB ones are not to be had while a machine runs.

    What poisons the machine's own frames is asked in a guest only: ``test_poison``.
    """
    names = [name for name in abi.__all__ if name.startswith(prefix) and not name.startswith(NOT_USED)]
    assert [name for name in names if getattr(abi, name) not in used] == []
