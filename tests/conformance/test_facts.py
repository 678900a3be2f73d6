"""What of a machine the model is given: read where it is told, for machines of all kinds."""

import pytest

from pagewalk.conform.scenarios import ARENA, Scenario
from pagewalk.conform.sides import facts
from pagewalk.conform.sides.facts import Facts, cpu_flags, free_hugetlb, running_facts
from pagewalk.conform.sides.model import simulated
from pagewalk.errors import UnsupportedError
from pagewalk.mm.hardware.machine import SHMEM_POLICIES
from tests.conformance.written.words import X, anon, read

CPUS = {
    "AMD, without keys": ("fpu pse pge pdpe1gb lm svm", Facts()),
    "AMD, with keys": ("fpu pdpe1gb lm svm pku ospke", Facts(pku=True)),
    "Intel, five levels": ("fpu pdpe1gb lm vmx la57 pku ospke", Facts(pku=True, format="x86-64-la57")),
    "keys that the kernel does not use": ("fpu lm pku", Facts()),
    "no gigantic pages": ("fpu lm", Facts()),
}


FILES = {
    "_CPU": "cpuinfo", "_POOLS": "pools", "_SWAPS": "swaps", "_OWN_GROUP": "cgroup", "_GROUPS": "groups", "_THP": "thp",
}  # fmt: skip
SWAP = "Filename Type Size Used Priority\n/dev/sda2 partition 1000 0 -2\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes the files of a machine that can be asked nothing else."""
    for name, path in FILES.items():
        monkeypatch.setattr(facts, name, tmp_path / path)
    monkeypatch.setattr(facts, "_last_view", lambda scenario: None)
    monkeypatch.setattr(facts, "_tells_soft_dirty", lambda: False)

    def make(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    return make


@pytest.mark.parametrize(("cpu", "expected"), CPUS.values(), ids=CPUS)
def test_the_cpu(machine, cpu, expected):
    machine({"cpuinfo": f"processor\t: 0\nflags\t\t: {cpu}\nbugs\t\t:\n\nprocessor\t: 1\n"})
    assert running_facts() == Facts(expected.pku, expected.format, "never", None, swap=None)


@pytest.mark.parametrize("policy", ["always", "madvise", "never"])
@pytest.mark.parametrize("own", [None, "inherit", "always"])
def test_the_policy(machine, policy, own):
    machine({"thp/enabled": "always madvise never\n".replace(policy, f"[{policy}]")})
    if own:
        machine({"thp/hugepages-2048kB/enabled": "always inherit madvise never\n".replace(own, f"[{own}]")})
    assert running_facts().thp == ("always" if own == "always" else policy)


@pytest.mark.parametrize("policy", SHMEM_POLICIES)
def test_the_policy_of_shared_memory(machine, policy):
    machine({"thp/shmem_enabled": "always within_size advise never deny force\n".replace(policy, f"[{policy}]")})
    assert running_facts().shmem_thp == policy


def test_what_is_not_told_is_not_there(machine):
    assert (cpu_flags(), running_facts(), free_hugetlb()) == (
        frozenset(),
        Facts(thp="never", hugetlb=None, swap=None),
        0,
    )


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"swaps": SWAP, "cgroup": "0::/a/b\n"}, "swap is on.*swapoff -a"),
        ({"swaps": SWAP}, None),
        ({"swaps": SWAP.splitlines()[0], "cgroup": "0::/\n"}, None),
        ({"swaps": SWAP, "cgroup": "0::/a/b\n", "groups/a/memory.swap.max": "0\n"}, None),
        ({"swaps": SWAP, "cgroup": "0::/a/b\n", "groups/a/memory.swap.max": "max\n"}, "swap is on"),
        (
            {"thp/hugepages-2048kB/shmem_enabled": "[always] inherit within_size advise never\n"},
            "hugepages-2048kB/shmem_enabled is always.*write inherit",
        ),
        ({"thp/shmem_enabled": "always within_size [advise] never deny force\n"}, None),
        (
            {
                "thp/shmem_enabled": "always within_size [advise] never deny force\n",
                "thp/hugepages-64kB/shmem_enabled": "always [inherit] within_size advise never\n",
            },
            "hugepages-64kB/shmem_enabled is inherit.*write never",
        ),
        ({"thp/use_zero_page": "0\n"}, "use_zero_page is 0.*write 1 there"),
        ({"thp/use_zero_page": "1\n"}, None),
        (
            {"thp/hugepages-64kB/enabled": "always inherit [madvise] never\n"},
            "hugepages-64kB/enabled is madvise.*write never",
        ),
        (
            {
                "thp/hugepages-64kB/enabled": "always [inherit] madvise never\n",
                "thp/enabled": "[always] madvise never\n",
            },
            "is inherit",
        ),
        (
            {
                "thp/hugepages-64kB/enabled": "always [inherit] madvise never\n",
                "thp/enabled": "always madvise [never]\n",
            },
            None,
        ),
    ],
)
def test_what_the_model_does_not_have_is_refused(machine, files, why):
    machine(files)
    if why is None:
        running_facts()
    else:
        with pytest.raises(UnsupportedError, match=why):
            running_facts()


@pytest.mark.parametrize(
    ("free", "promised", "usable"), [(0, 0, 0), (4, 0, 4), (4, 1, 3), (4, 4, 0), (2, 3, 0), (500, 100, 32)]
)
def test_promised_pages_cannot_be_had(machine, free, promised, usable):
    """Usable are those that are free, less those that are promised, though nobody may ever take them."""
    machine(
        {"pools/hugepages-2048kB/free_hugepages": f"{free}\n", "pools/hugepages-2048kB/resv_hugepages": f"{promised}\n"}
    )
    assert free_hugetlb() == usable


def test_without_pagemap_nothing_is_soft_dirty(monkeypatch, tmp_path):
    monkeypatch.setattr(facts, "_PAGEMAP", tmp_path / "none")
    assert facts._tells_soft_dirty.__wrapped__() is False


@pytest.mark.parametrize("form", ["x86-64", "x86-64-la57"])
@pytest.mark.parametrize("pku", [False, True])
def test_the_model_is_such_a_machine(form, pku):
    run = simulated(facts=Facts(pku=pku, format=form)).run(Scenario((anon(0, 1, X), read(0))))
    outcomes = [record.outcome for record in run.records()]
    assert (outcomes[1].code, outcomes[1].value) == ((4, None) if pku else (0, bytes(8)))
    (target,) = run._targets.values()
    assert target.tables.format.name == form
    assert target.area_at(ARENA).protection_key == pku
