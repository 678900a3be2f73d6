"""What a guest's program said: its areas, what it planted, and what its kernel says of each page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

__all__ = ["FRAME", "PRESENT", "SWAP", "UFFD", "Area", "Plant", "Truth", "parse"]

PRESENT: Final = 1 << 63
SWAP: Final = 1 << 62
GUARD: Final = 1 << 58
UFFD: Final = 1 << 57
FRAME: Final = (1 << 55) - 1
"""Bits of a page's entry (Documentation/admin-guide/mm/pagemap.rst)."""


class Area(NamedTuple):
    """A line of maps."""

    start: int
    end: int
    rights: str
    page_size: int
    huge: int


class Plant(NamedTuple):
    """Something to look at, and the errno of making it."""

    start: int
    end: int
    error: int


@dataclass
class Truth:
    """What the program said."""

    release: str = ""
    page: int = 0
    block: int = 0
    control: int = 0
    areas: list[Area] = field(default_factory=list)
    plants: dict[str, Plant] = field(default_factory=dict)
    runs: list[tuple[int, int, int, int]] = field(default_factory=list)
    huge: list[tuple[int, int]] = field(default_factory=list)
    processes: int = 0
    symbols: dict[str, int] = field(default_factory=dict)

    def pages(self) -> tuple[np.ndarray, np.ndarray]:
        """Each page that has an entry in pagemap, by address, and the entry."""
        where = [start + self.page * np.arange(count, dtype=np.uint64) for start, count, _, _ in self.runs]
        words = [
            np.uint64(first) + np.uint64(step) * np.arange(count, dtype=np.uint64)
            for _, count, step, first in self.runs
        ]
        return np.concatenate(where), np.concatenate(words)

    def planted(self, name: str) -> range:
        """The pages of something that was planted."""
        plant = self.plants[name]
        return range(plant.start, plant.end, self.page)


def parse(log: str) -> Truth:
    """The truth, from the console's lines."""
    truth = Truth()
    for line in log.replace("\r", "").split("\n"):
        if line.startswith("@ "):
            _, word, *rest = line.split(maxsplit=2)
            _take(truth, word, *rest)
    return truth


def _take(truth: Truth, word: str, rest: str = "") -> None:
    """Take one line."""
    words = rest.split()
    if word == "release":
        truth.release = rest
    elif word in ("page", "block", "control", "processes"):
        setattr(truth, word, int(rest, 16))
    elif word == "symbol":
        truth.symbols[words[0]] = int(words[1], 16)
    elif word == "plant":
        truth.plants[words[0]] = Plant(int(words[1], 16), int(words[2], 16), int(words[3]))
    elif word == "pages":
        at, count, step, first = (int(number, 16) for number in words)
        truth.runs.append((at, count, step, first))
    elif word == "huge":
        truth.huge.append((int(words[0], 16), int(words[1], 16)))
    elif word == "area":
        start, end = (int(number, 16) for number in words[0].split("-"))
        truth.areas.append(Area(start, end, words[1], 0, 0))
    elif word == "smaps":
        _add(truth.areas, words[0], int(words[1]) << 10)


def _add(areas: list[Area], name: str, size: int) -> None:
    """Add a line of smaps to the last area."""
    last = areas[-1]
    areas[-1] = last._replace(page_size=size) if name == "KernelPageSize:" else last._replace(huge=last.huge + size)
