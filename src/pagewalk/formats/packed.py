"""Bits of entries packed side by side, as an index: what they decide is then looked up."""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]

__all__ = ["WIDEST", "Run", "empty_lookup", "packed", "runs_of", "unpacked"]

WIDEST: Final = 22
"""Bits of the index at most."""
_LARGE: Final = 1 << 18
"""Numbers in a large lookup."""


class Run(NamedTuple):
    """Neighbouring bits of an entry, and where they go in the index."""

    first: int
    bits: int
    to: int

    @property
    def mask(self) -> int:
        """The bits where they go."""
        return ((1 << self.bits) - 1) << self.to


def packed(entries: Words, runs: tuple[Run, ...]) -> npt.NDArray[np.intp]:
    """The bits of some runs, side by side."""
    if not runs:
        return np.zeros(len(entries), np.intp)
    index, *more = (_moved(entries, run) for run in runs)
    for part in more:
        index |= part
    return index.view(np.intp)


def empty_lookup(size: int) -> npt.NDArray[np.uint32]:
    """Room for what is looked up by indexes, all zeros: of a large one only what is used takes memory.

    NumPy asks for huge pages, of which each would be there as a whole for one number in it.
    """
    if size < _LARGE or not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.zeros(size, np.uint32)
    data = mmap.mmap(-1, 4 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        data.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(data, np.uint32)


def unpacked(index: npt.NDArray[np.intp], runs: tuple[Run, ...]) -> Words:
    """Entries that have these bits and no others: the opposite of ``packed``."""
    entries = np.zeros(len(index), np.uint64)
    for run in runs:
        bits = index.view(np.uint64) >> np.uint64(run.to) & np.uint64(run.mask >> run.to)
        entries |= bits << np.uint64(run.first)
    return entries


def _moved(entries: Words, run: Run) -> Words:
    """One run of bits, brought to its place in the index."""
    shift = run.first - run.to
    moved: Any = entries >> np.uint64(shift) if shift > 0 else entries
    return moved & np.uint64(run.mask) if shift >= 0 else moved << np.uint64(-shift) & np.uint64(run.mask)


def runs_of(bits: int) -> tuple[Run, ...]:
    """Bits as runs, as few as the index's width allows: narrow gaps are taken along.

    Raises:
        ValueError: They are too many.
    """
    places = [at for at in range(64) if bits >> at & 1]
    if len(places) > WIDEST:
        raise ValueError(f"{len(places)} bits decide what an entry says ({bits:#x}): {WIDEST} are possible")
    spans = [(at, at + 1) for at in places]
    gaps = sorted(range(len(spans) - 1), key=lambda at: spans[at + 1][0] - spans[at][1])
    together: set[int] = set()
    width = len(places)
    for gap in gaps:
        width += spans[gap + 1][0] - spans[gap][1]
        if width > WIDEST and spans[gap + 1][0] != spans[gap][1]:
            break
        together.add(gap)
    runs: list[Run] = []
    to = 0
    for at, (first, end) in enumerate(spans):
        if at and at - 1 in together:
            last = runs.pop()
            first, to = last.first, last.to
        runs.append(Run(first, end - first, to))
        to += end - first
    return tuple(runs)
