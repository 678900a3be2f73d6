"""The golden entries by the name of their format (see ``golden/README.md``)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from pagewalk.testing import Golden, read_golden

FOLDER = Path(__file__).parent / "golden"
FORMATS = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


@cache
def about(name: str) -> dict[str, object]:
    """What a file says of itself beside its entries (see ``golden/README.md``)."""
    return {key: value for key, value in json.loads((FOLDER / f"{name}.json").read_text()).items() if key != "entries"}


@cache
def golden(name: str) -> tuple[Golden, ...]:
    """The golden entries of a format."""
    return tuple(read_golden(FOLDER / f"{name}.json"))
