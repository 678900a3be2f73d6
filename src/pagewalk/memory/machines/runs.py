"""Reads of many places, joined to few: which bytes to ask for, and what of the answers is whose."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Extents", "gathered"]

_TOLD: Final = 3
"""Runs that a message names."""


class Extents:
    """Where there is memory.

    Args:
        runs: ``[start, end)`` of each run, in any order, apart or touching.

    Attributes:
        runs: The same, ascending; those that touch are one.
    """

    def __init__(self, runs: Iterable[tuple[int, int]]) -> None:
        self.runs: list[tuple[int, int]] = []
        for start, end in sorted(runs):
            if self.runs and start <= self.runs[-1][1]:
                self.runs[-1] = self.runs[-1][0], max(end, self.runs[-1][1])
            elif start < end:
                self.runs.append((start, end))
        self._starts = [start for start, _ in self.runs]

    def __str__(self) -> str:
        """For messages: the first few, and how many there are."""
        spans = [f"[{start:#x}, {end:#x})" for start, end in self.runs]
        if len(spans) <= _TOLD:
            return ", ".join(spans) or "nothing"
        return f"{', '.join(spans[: _TOLD - 1])} and {len(spans) - _TOLD + 1:,} more up to {self.runs[-1][1]:#x}"

    def find(self, paddr: int, size: int) -> int | None:
        """Which run has all of some bytes; None: none has."""
        at = bisect_right(self._starts, paddr) - 1
        return at if at >= 0 and size >= 0 and paddr + size <= self.runs[at][1] else None


def gathered(
    extents: Extents,
    paddrs: Sequence[int],
    size: int,
    fetch: Callable[[list[tuple[int, int]]], list[bytes | None]],
    *,
    gap: int = 0,
    most: int,
) -> list[bytes | None]:
    """Read ``size`` bytes at each of some addresses, as few runs of bytes.

    Args:
        extents: Where there is memory; nothing else is asked for.
        paddrs, size: What is wanted.
        fetch: Reads runs, ``[start, end)`` each: None for one that cannot be read.
        gap: Bytes between two that are read along, rather than asked for apart.
        most: Bytes of a run at most, if it is more than one wanted piece.

    Returns:
        The bytes of each; None: not all of them are there.
    """
    runs: list[tuple[int, int]] = []
    places: dict[int, int] = {}
    last = None
    for paddr in sorted(set(paddrs)):
        where = extents.find(paddr, size)
        if where is None:
            continue
        end = paddr + size
        if runs and where == last and paddr <= runs[-1][1] + gap and end - runs[-1][0] <= most:
            runs[-1] = runs[-1][0], max(end, runs[-1][1])
        else:
            runs.append((paddr, end))
        places[paddr], last = len(runs) - 1, where
    data = fetch(runs) if runs else []
    found = {paddr: _cut(data[run], paddr - runs[run][0], size) for paddr, run in places.items()}
    alone = [(at, at + size) for at, one in found.items() if one is None and runs[places[at]] != (at, at + size)]
    if alone:  # one of a run cannot be read, and its neighbours may be
        found |= zip((start for start, _ in alone), fetch(alone), strict=True)
    return [found.get(paddr) for paddr in paddrs]


def _cut(run: bytes | None, at: int, size: int) -> bytes | None:
    """A piece of a run."""
    return None if run is None else run[at : at + size]
