"""Scenarios are plain data: JSON and ``repr`` give them back, and a seed stands for one of them."""

from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings

from pagewalk import abi
from pagewalk.conform import scenarios as do
from pagewalk.conform.scenarios import STEPS, At, File, Scenario
from pagewalk.conform.scenarios.generate import STEP_TABLE, generate
from tests.conformance.strategy import scenarios

NAMESPACE = vars(abi) | vars(do)


@given(scenarios(steps=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_json_gives_a_scenario_back(scenario):
    assert Scenario.from_json(scenario.to_json()) == scenario


@given(scenarios(steps=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_repr_gives_a_scenario_back(scenario):
    assert eval(repr(scenario), dict(NAMESPACE)) == scenario


def test_repr_names_the_kernels_numbers():
    step = do.Mmap(0x2000, abi.PROT_READ | abi.PROT_WRITE, abi.MAP_PRIVATE | abi.MAP_FIXED, At(3), "a", process=1)
    assert repr(step) == (
        "Mmap(0x2000, PROT_READ | PROT_WRITE, flags=MAP_PRIVATE | MAP_FIXED, addr=At(3), file='a', process=1)"
    )
    assert repr(do.Madvise(At(1, 2, "m"), 4096, abi.MADV_GUARD_INSTALL)) == (
        "Madvise(At(1, 0x2, base='m'), 0x1000, MADV_GUARD_INSTALL)"
    )
    assert repr(do.Madvise(At(1), 4096, 77)) == "Madvise(At(1), 0x1000, 77)"


def test_every_kind_of_step_survives_json():
    ranges = ((At(1), 4096), (At(0, base="m"), 1))
    special = {"data": b"\xc3", "ranges": ranges, "file": "a", "child": 1, "addr": At(1), "name": "m"}
    special |= {"limit": "as", "taken": STEPS["Munmap"](At(1), 4096)}
    for kind in STEPS.values():
        names = [field.name for field in fields(kind) if field.name != "process"]
        scenario = Scenario((kind(*(special.get(name, 4096) for name in names), process=2),), (File("a", 2, "disk"),))
        assert Scenario.from_json(scenario.to_json()) == scenario


@pytest.mark.parametrize("text", ["{}", '{"files": [], "steps": [{"step": "Nonsense"}]}'])
def test_what_is_no_scenario_is_refused(text):
    with pytest.raises(KeyError):
        Scenario.from_json(text)


def test_a_seed_is_one_scenario():
    assert generate(7, 30) == generate(7, 30)
    assert generate(7, 30) != generate(8, 30)


def test_the_generator_reaches_every_kind_of_step():
    made = {type(step) for seed in range(300) for step in generate(seed).steps}
    made |= {type(step) for seed in range(20) for step in generate(seed, hugetlb=True).steps}
    made |= {type(step) for seed in range(100) for step in generate(seed, swap=True).steps}
    assert made == set(STEPS.values())
    assert all(weight > 0 for weight, _ in STEP_TABLE)
