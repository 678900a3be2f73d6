"""``--part FILE``: a source that lies in several files, and what is wrong with some of them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.fuzz.processes import pages_of
from tests.memory.kdumps import PAGE, Dump, written

if TYPE_CHECKING:
    from pathlib import Path

NAME = "processes-x86_64-6.1-pti"
EDGES = (0, 0x2700, 0x3000, 0x20000)
"""The first page of each part, and the end of the last."""


def parts_of(dump: Dump, folder: Path, name: str = "part") -> list[Path]:
    """The parts of a split dump."""
    paths = [folder / f"{name}{at}" for at in range(len(EDGES) - 1)]
    for path, (first, end) in zip(paths, pairwise(EDGES), strict=True):
        path.write_bytes(written(dump.but(split=(first, end))))
    return paths


@pytest.fixture(scope="module")
def dump() -> Dump:
    pages = {at // PAGE: page for at, page in pages_of(NAME).items()}
    counts = [sum(first <= page < end for page in pages) for first, end in pairwise(EDGES)]
    assert min(counts) > 10
    return Dump(pages, limit=EDGES[-1])


@pytest.fixture(scope="module")
def whole(dump: Dump, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("whole") / "dump"
    path.write_bytes(written(dump))
    return path


@pytest.fixture(scope="module")
def split(dump: Dump, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return parts_of(dump, tmp_path_factory.mktemp("split"))


def given(paths: list[Path]) -> list[Any]:
    """The words that name a source in several files."""
    return [paths[0], *(word for path in paths[1:] for word in ("--part", path))]


class TestAllOfIt:
    @pytest.mark.parametrize(
        "words",
        [
            ["ps"],
            ["vmas", "--pid", "1"],
            ["map", "--pid", "1", "--end", "0x800000000000"],
            ["vtop", "--pid", "85", "0x10000000"],
            ["roots", "--format", "x86-64"],
        ],
        ids=lambda words: words[0],
    )
    def test_each_command(self, invoke: Any, whole: Path, split: list[Path], words: list[str]) -> None:
        name, *rest = words
        alone, together = (invoke(name, *source, *rest) for source in ([whole], given([split[i] for i in (1, 2, 0)])))
        assert (alone.exit_code, alone.stdout) == (together.exit_code, together.stdout)
        assert alone.stderr == together.stderr

    def test_info(self, invoke: Any, split: list[Path]) -> None:
        said = json.loads(invoke("info", *given(split), "--json").stdout)
        assert said["source"] == ", ".join(map(str, split))
        assert said["notes"] == []


class TestWrong:
    def test_a_part_that_is_missing(self, invoke: Any, split: list[Path]) -> None:
        says = "it is split, and what it has of [0x2700000, 0x3000000) is in other files: give those too (--part FILE"
        two = given([split[0], split[2]])
        for words in (["ps"], ["roots"], ["map", "--pid", "1"], ["vmas", "--pid", "1"], ["vtop", "--pid", "1", "0"]):
            assert f"note: {says}" in invoke(words[0], *two, *words[1:]).stderr
        assert says in invoke("info", *two).stdout

    def test_a_root_in_a_part_that_is_missing(self, invoke: Any, whole: Path, split: list[Path]) -> None:
        rows = json.loads(invoke("ps", whole, "--json").stdout)["processes"]
        (root,) = (row["root"] for row in rows if row["name"] == "busy")
        done = invoke("map", *given([split[0], split[2]]), "--root", root)
        note, line = done.stderr.splitlines()
        assert done.exit_code == 4
        assert "give those too (--part FILE" in note
        assert f"the root {root} is not in the dump: " in line
        assert "the page is in another file of the split dump: give that too (--part FILE)" in line

    def test_a_part_twice(self, fails: Any, split: list[Path]) -> None:
        assert "is it given twice?" in fails(7, "ps", *given([split[0], split[1], split[1]]))

    def test_parts_of_two_dumps(self, fails: Any, dump: Dump, whole: Path, split: list[Path], tmp_path: Path) -> None:
        others = parts_of(dump.but(level=1), tmp_path)
        assert "not of the same split dump as" in fails(7, "ps", *given([split[0], others[1], others[2]]))
        assert "not of the same split dump as" in fails(7, "ps", *given([split[0], whole]))

    def test_what_is_no_part(self, fails: Any, guest: Any, split: list[Path], tmp_path: Path) -> None:
        assert "No such file" in fails(10, "ps", split[0], "--part", tmp_path / "nothing")
        assert "no kdump file" in fails(7, "ps", split[0], "--part", guest.path)
        assert "a raw memory image has one file" in fails(8, "info", guest.path, "--part", split[0])
        line = fails(2, "map", "qmp:/run/qmp", "--part", split[0])
        assert "qmp:/run/qmp is a running machine: other files are no part of it" in line
        assert "takes no --part, as memory images do" in fails(2, "map", "pid:1", "--part", split[0])
        assert "segments are of one file, not of 2" in fails(2, "ps", *given(split[:2]), "--segment", "0:0:4K")
