"""Rule: "inside a room the files have an order too", TYPE_CHECKING imports counted: so no circle is left anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.imports import circle, graph_of

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "src" / "pagewalk", ROOT / "benchmarks", ROOT / "tests"

TANGLES = {
    "plainly": ("from box import b", "import box.a"),
    "under TYPE_CHECKING": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from box.b import B",
        "from box import a",
    ),
    "inside a function": ("def f():\n    from box.b import B", "from box.a import f"),
    "by a relative name": ("from .b import B", "from . import a"),
    "through the room's face": ("import box", "B = 1"),
}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_no_circle(package: Path) -> None:
    assert circle(graph_of(package)) == []


@pytest.mark.parametrize(("first", "second"), TANGLES.values(), ids=TANGLES)
def test_a_planted_one_is_found(tmp_path: Path, first: str, second: str) -> None:
    box = tmp_path / "box"
    box.mkdir()
    for name, text in (("__init__", "from box.a import A"), ("a", first), ("b", second), ("c", "import box.a, os")):
        (box / f"{name}.py").write_text(text)
    found = circle(graph_of(box))
    assert found[0] == found[-1]
    assert set(found) in ({"box.a", "box.b"}, {"box", "box.a"})


def test_what_goes_down_only_is_none(tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    for name, text in (("__init__", "from box.a import A"), ("a", "from .b import B"), ("b", "import os")):
        (box / f"{name}.py").write_text(text)
    assert graph_of(box) == {"box": {"box.a"}, "box.a": {"box.b"}, "box.b": set()}
    assert circle(graph_of(box)) == []
