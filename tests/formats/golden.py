"""The golden entries: raw entries, each with its meaning and its source (see ``golden/README.md``)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "golden"
FORMATS = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


class Golden(NamedTuple):
    """One raw entry and what it means."""

    shift: int
    entry: int
    source: str
    kind: str
    frame: int | None
    flags: frozenset[str]
    memory: int
    pkey: int
    swap: tuple[int, int] | None
    order: int

    def __str__(self) -> str:
        return f"{self.shift}-{self.entry:#018x}"


@cache
def golden(name: str) -> tuple[Golden, ...]:
    """The golden entries of a format."""
    rows = json.loads((FOLDER / f"{name}.json").read_text())["entries"]
    return tuple(
        Golden(
            row["shift"],
            int(row["entry"], 16),
            row["source"],
            row["kind"],
            int(row["frame"], 16) if "frame" in row else None,
            frozenset(row.get("flags", ())),
            row.get("memory", 0),
            row.get("pkey", 0),
            tuple(row["swap"]) if "swap" in row else None,
            row.get("order", 0),
        )
        for row in rows
    )
