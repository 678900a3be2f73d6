"""What of a machine the model is given: read where it is told, for machines of all kinds."""

import pytest

from pagewalk.conform import facts
from pagewalk.conform.facts import Facts, cpu_flags, free_hugetlb, running_facts
from pagewalk.conform.model import simulated
from pagewalk.conform.scenario import ARENA, Scenario
from tests.conformance.written.words import X, anon, read

CPUS = {
    "AMD, without keys": ("fpu pse pge pdpe1gb lm svm", Facts()),
    "AMD, with keys": ("fpu pdpe1gb lm svm pku ospke", Facts(pku=True)),
    "Intel, five levels": ("fpu pdpe1gb lm vmx la57 pku ospke", Facts(pku=True, la57=True)),
    "keys that the kernel does not use": ("fpu lm pku", Facts()),
    "no gigantic pages": ("fpu lm", Facts()),
}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes the files of a machine."""

    def make(cpu=None, thp=None, pool=None):
        for name, path, text in (
            (
                "_CPU",
                "cpuinfo",
                None if cpu is None else f"processor\t: 0\nflags\t\t: {cpu}\nbugs\t\t:\n\nprocessor\t: 1\n",
            ),
            ("_THP", "enabled", thp),
        ):
            monkeypatch.setattr(facts, name, tmp_path / path)
            if text is not None:
                (tmp_path / path).write_text(text)
        monkeypatch.setattr(facts, "_POOL", tmp_path)
        for name, pages in (pool or {}).items():
            (tmp_path / f"{name}_hugepages").write_text(f"{pages}\n")

    return make


@pytest.mark.parametrize(("cpu", "expected"), CPUS.values(), ids=CPUS)
def test_the_cpu(machine, cpu, expected):
    machine(cpu, "always [madvise] never\n")
    assert running_facts() == Facts(expected.pku, expected.la57, "madvise", None)


@pytest.mark.parametrize("policy", ["always", "madvise", "never"])
def test_the_policy(machine, policy):
    machine("fpu", "always madvise never\n".replace(policy, f"[{policy}]"))
    assert running_facts().thp == policy


def test_what_is_not_told_is_not_there(machine):
    machine()
    assert (cpu_flags(), running_facts(), free_hugetlb()) == (frozenset(), Facts(thp="never", hugetlb=None), 0)


@pytest.mark.parametrize(
    ("free", "promised", "usable"), [(0, 0, 0), (4, 0, 4), (4, 1, 3), (4, 4, 0), (2, 3, 0), (500, 100, 32)]
)
def test_promised_pages_cannot_be_had(machine, free, promised, usable):
    """Usable are those that are free, less those that are promised, though nobody may ever take them."""
    machine(pool={"free": free, "resv": promised})
    assert free_hugetlb() == usable


@pytest.mark.parametrize("la57", [False, True])
@pytest.mark.parametrize("pku", [False, True])
def test_the_model_is_such_a_machine(la57, pku):
    run = simulated(facts=Facts(pku=pku, la57=la57)).run(Scenario((anon(0, 1, X), read(0))))
    outcomes = [record.outcome for record in run.records()]
    assert (outcomes[1].code, outcomes[1].value) == ((4, None) if pku else (0, bytes(8)))
    (target,) = run._targets.values()
    assert target.tables.format.name == ("x86-64-la57" if la57 else "x86-64")
    assert target.area_at(ARENA).protection_key == pku
