"""The benchmarks measure what they say: every contender finds what the C walker finds. How fast is asserted nowhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import NAMES
from benchmarks.frame import SCALES, Job, Missing, WrongResult
from benchmarks.images import PMD, USER, Image
from benchmarks.listing import PAGES, RUNS, limit, sized
from benchmarks.native import digest
from benchmarks.worker import benchmarks_of, first_run
from tests.conftest import skip_or_fail
from tests.reference import Hardware

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
CASES = [
    pytest.param(case, id=f"{benchmark.name}-{case.name}".replace(" ", "_"))
    for name in NAMES
    for benchmark in benchmarks_of(name, "tiny")
    for case in benchmark.cases
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def mixed(folder):
    """A small image of every kind of entry, and what the C walker makes of it."""
    try:
        return limit(Image("mixed", 1 << 13), folder)
    except Missing as why:
        skip_or_fail(str(why))


@pytest.mark.parametrize("case", CASES)
def test_every_contender_finds_the_same(case, folder, monkeypatch):
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    try:
        job = case.prepare(folder)
    except Missing as why:
        skip_or_fail(str(why))
    first_run(job)
    assert job.items > 0


def test_the_limit_agrees_with_the_manual(mixed):
    """The C walker is what the others are compared with: it is compared with the walker written from the manuals."""
    rows = mixed.listing(sized(mixed, sizes=False))
    start, end = USER, USER + (2 << PMD)
    hardware = Hardware(lambda paddr: int(mixed.data[paddr : paddr + 8].view(np.uint64)[0]), 0, 4)
    expected = [
        (found.vaddr, found.what == "leaf", found.paddr, found.write, found.user, found.execute)
        for found in hardware.everything(start, end)
        if found.what in ("leaf", "absent")
    ]
    inside = np.flatnonzero((rows["vaddr"] >= start) & (rows["vaddr"] < end)).tolist()
    assert [row[:2] for row in expected] == [(int(rows["vaddr"][at]), bool(rows["kind"][at] == 1)) for at in inside]
    leaves = [at for at in inside if rows["kind"][at] == 1]
    flags = [int(rows["flags"][at]) for at in leaves]
    assert [row[2:] for row in expected if row[1]] == [
        (int(rows["paddr"][at]), bool(bits & 2), bool(bits & 8), bool(bits & 4))
        for at, bits in zip(leaves, flags, strict=True)
    ]


def test_runs_and_counts_are_those_of_the_rows(mixed):
    rows, runs = mixed.listing(sized(mixed, sizes=False)), mixed.listing(sized(mixed, sizes=True))
    spans = np.array([0, 0, 1 << 30, 1 << 21, 1 << 12], np.uint64)
    assert int(runs["size"].sum()) == int(spans[rows["depth"]].sum())
    assert len(runs["vaddr"]) < len(rows["vaddr"]) == sum(mixed.counts().values())
    assert {kind for kind, _ in mixed.counts()} == {1, 2, 3, 4, 5, 6, 7}
    assert {depth for _, depth in mixed.counts()} == {2, 3, 4}


def test_an_image_is_the_same_for_the_same_seed(tmp_path):
    image = Image("dense", 1 << 13)
    one, other = (image.path(folder) for folder in (tmp_path / "one", tmp_path / "other") if not folder.mkdir())
    with one.open("rb") as first, other.open("rb") as second:
        assert first.read(image.tables_size) == second.read(image.tables_size)


def test_tables_are_shuffled(tmp_path):
    image = Image("dense", 1 << 15)
    entries = np.fromfile(image.path(tmp_path), np.uint64, image.tables_size // 8)
    pud = entries[int(entries[USER >> 39 & 511]) >> 12 << 9 :][:512]
    pmd = entries[int(pud[0]) >> 12 << 9 :][:64]
    assert not (pmd[1:] > pmd[:-1]).all()


def test_a_digest_sees_an_exchanged_pair_and_a_changed_bit():
    column = np.arange(100, dtype=np.uint64)
    exchanged, changed = column.copy(), column.copy()
    exchanged[[3, 4]] = exchanged[[4, 3]]
    changed[7] ^= np.uint64(1 << 63)
    digests = [digest({"vaddr": each}, "vaddr") for each in (column, exchanged, changed)]
    assert digests[0] == digest({"vaddr": column.copy()}, "vaddr")
    assert len({tuple(one) for one in digests}) == 3


def test_a_wrong_result_has_no_time():
    with pytest.raises(WrongResult, match="the result is 2, not 1"):
        first_run(Job(1, lambda: 2, lambda result: result, 1))


def test_a_run_writes_its_figures(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "walk", "--scale", "tiny", "--results", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("*-tiny.json")
    found = json.loads(path.read_text())
    assert set(found["machine"]) == {"cpu", "cores", "memory", "kernel", "python", "load", "packages"}
    assert [len(one["results"]) for one in found["benchmarks"]] == [4, 3]
    for benchmark in found["benchmarks"]:
        assert [one["items"] for one in benchmark["results"]] == [SCALES["tiny"].walked] * len(benchmark["results"])
        assert benchmark["results"][0]["ratio"] == 1
        assert all(one["median"] > 0 and not one["wrong"] for one in benchmark["results"])
        assert all(one["case"] in result.stdout for one in benchmark["results"])


def test_the_listings_compare_all_columns():
    assert PAGES == ("vaddr", "paddr", "flags", "kind", "depth")
    assert (*PAGES, "size") == RUNS
