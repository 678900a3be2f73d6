"""The golden entries by the name of their format (see ``golden/README.md``)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pagewalk.testing import Golden, read_golden

FOLDER = Path(__file__).parent / "golden"
FORMATS = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


@cache
def golden(name: str) -> tuple[Golden, ...]:
    """The golden entries of a format."""
    return tuple(read_golden(FOLDER / f"{name}.json"))
