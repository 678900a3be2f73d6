"""The golden entries by the name of their format, and of their operating system (see ``golden/README.md``)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from pagewalk.testing import Golden, read_golden

FOLDER = Path(__file__).parent / "golden"
FORMATS = tuple(sorted(path.stem for path in FOLDER.glob("*.json") if "." not in path.stem))
"""Formats with the newest Linux, or none."""


@cache
def about(name: str) -> dict[str, object]:
    """What a file says of itself beside its entries (see ``golden/README.md``)."""
    return {key: value for key, value in json.loads((FOLDER / f"{name}.json").read_text()).items() if key != "entries"}


@cache
def golden(name: str) -> tuple[Golden, ...]:
    """The golden entries of a format."""
    return tuple(read_golden(FOLDER / f"{name}.json"))


@cache
def layers() -> dict[tuple[str, str], tuple[Golden, ...]]:
    """The golden entries of other systems, by format and ``os``."""
    found: dict[tuple[str, str], list[Golden]] = {}
    for path in sorted(FOLDER.glob("*.*.json")):
        for one, row in zip(read_golden(path), _rows(path), strict=True):
            found.setdefault((path.stem.partition(".")[0], row["os"]), []).append(one)
    return {key: tuple(entries) for key, entries in found.items()}


@cache
def row_names() -> dict[tuple[str, str, int, int], str]:
    """What rows are called, by format, ``os``, shift and entry: where an entry says so."""
    return {
        (path.stem.partition(".")[0], row["os"], row["shift"], int(row["entry"], 16)): row["name"]
        for path in sorted(FOLDER.glob("*.*.json"))
        for row in _rows(path)
        if "name" in row
    }


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text())["entries"]
    return rows
