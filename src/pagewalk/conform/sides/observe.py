"""What a process shows, as data that two sides can be compared by: its VMAs, and the state of each page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pagewalk.abi.pagemap import (
    PAGE_REGION,
    PM_FILE,
    PM_GUARD_REGION,
    PM_MMAP_EXCLUSIVE,
    PM_PFRAME_BITS,
    PM_PRESENT,
    PM_SOFT_DIRTY,
    PM_SWAP,
    PM_UFFD_WP,
    PageIs,
)
from pagewalk.conform.scenarios.names import PAGE
from pagewalk.conform.sides.smaps import smaps_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.conform.sides.actor import Look, Window

__all__ = ["STATE_BITS", "Row", "View", "decode", "describe", "has", "is_there", "runs"]

_WORDS = {
    PM_SOFT_DIRTY: "soft-dirty (pagemap)",
    PM_MMAP_EXCLUSIVE: "exclusive",
    PM_UFFD_WP: "uffd-wp (pagemap)",
    PM_GUARD_REGION: "guard (pagemap)",
    PM_FILE: "file (pagemap)",
    PM_SWAP: "swap (pagemap)",
    PM_PRESENT: "present (pagemap)",
}
_CATEGORIES = {
    PageIs.WPALLOWED: "wp-allowed",
    PageIs.WRITTEN: "written",
    PageIs.FILE: "file",
    PageIs.PRESENT: "present",
    PageIs.SWAPPED: "swapped",
    PageIs.PFNZERO: "zero page",
    PageIs.HUGE: "huge",
    PageIs.SOFT_DIRTY: "soft-dirty",
    PageIs.GUARD: "guard",
}
_BESIDE = 16
STATE_BITS = {bit >> PM_PFRAME_BITS: word for bit, word in _WORDS.items()} | {
    int(bit) << _BESIDE: word for bit, word in _CATEGORIES.items()
}
"""A page's state: what pagemap has above the frame in bits 0 to 8, PAGEMAP_SCAN's categories in bits 16 to 24."""
_KEPT = np.uint32(sum(STATE_BITS))
_SOFT_DIRTY = PM_SOFT_DIRTY >> PM_PFRAME_BITS | int(PageIs.SOFT_DIRTY) << _BESIDE
_SCAN_DTYPE = np.dtype([(name, "<u8") for name in PAGE_REGION])
_PRESENT_OR_SWAPPED = np.uint64(PageIs.PRESENT | PageIs.SWAPPED)


class Row(NamedTuple):
    """A line of ``maps``, clipped to a window: pages from its start, rights, file offset in bytes, the file's name."""

    start: int
    end: int
    rights: str
    offset: int
    name: str

    def __str__(self) -> str:
        return f"{self.start:5}-{self.end:<5} {self.rights} {self.offset:8x} {self.name}"


@dataclass(frozen=True, eq=False)
class View:
    """What one window of one process shows.

    Attributes:
        rows: Its VMAs.
        states: A state a page, see ``STATE_BITS``. Shape (pages,), uint32.
        touching: The names of the windows that it touches.
        smaps: Of the arena, a line a VMA of smaps; None where nobody looked, as in what was recorded before.
    """

    rows: tuple[Row, ...]
    states: npt.NDArray[np.uint32]
    touching: frozenset[str] = frozenset()
    smaps: tuple[str, ...] | None = None


def decode(look: Look) -> dict[str, View]:
    """The views of a look, by the window's name."""
    pages = zip(look.windows, look.pages, strict=True)
    views = {
        window.name: View(_rows(look.maps, window), _states(window, pagemap, scan), _touching(window, look.windows))
        for window, (pagemap, scan) in pages
    }
    arena = look.windows[0]
    return views | {arena.name: replace(views[arena.name], smaps=smaps_lines(look.smaps, arena))}


@lru_cache(maxsize=256)
def _touching(window: Window, windows: tuple[Window, ...]) -> frozenset[str]:
    return frozenset(other.name for other in windows if other.start == window.end or other.end == window.start)


@lru_cache(maxsize=64)
def _rows(text: str, window: Window) -> tuple[Row, ...]:
    return tuple(row for line in text.splitlines() if (row := _row(line, window)) is not None)


def _row(line: str, window: Window) -> Row | None:
    """Device and inode are dropped: no two files share them. A file's folder too: each side has its own."""
    where, rights, offset, _, _, *name = line.split(maxsplit=5)
    start, end = (int(part, 16) for part in where.split("-"))
    if end <= window.start or start >= window.end:
        return None
    first, last = max(start, window.start), min(end, window.end)
    path = name[0].removesuffix(" (deleted)").rpartition("/")[2].removeprefix("memfd:") if name else ""
    at = int(offset, 16) + first - start if path else 0
    return Row((first - window.start) // PAGE, (last - window.start) // PAGE, rights, at, path)


def _states(window: Window, pagemap: Any, scan: Any) -> npt.NDArray[np.uint32]:
    words = np.frombuffer(pagemap, "<u8") if isinstance(pagemap, bytes) else np.asarray(pagemap, np.uint64)
    rows = np.frombuffer(scan, _SCAN_DTYPE) if isinstance(scan, bytes) else scan
    states = np.zeros((window.end - window.start) // PAGE, np.uint32)
    states[: len(words)] = words >> np.uint64(PM_PFRAME_BITS)
    rows = rows[(rows["categories"] & _PRESENT_OR_SWAPPED) != 0]
    starts = ((rows["start"] - np.uint64(window.start)) // np.uint64(PAGE)).astype(np.int64)
    counts = ((rows["end"] - rows["start"]) // np.uint64(PAGE)).astype(np.int64)
    pages = np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
    states[pages] |= np.repeat(rows["categories"].astype(np.uint32) << np.uint32(_BESIDE), counts)
    return states & _KEPT


def runs(view: View) -> Iterator[tuple[int, int, int]]:
    """Pages of equal state within one VMA: (first, end, state)."""
    for row in view.rows:
        states = view.states[row.start : row.end]
        edges = np.flatnonzero(np.diff(states)) + 1
        for first, end in zip([0, *edges.tolist()], [*edges.tolist(), len(states)], strict=True):
            yield row.start + first, row.start + end, int(states[first])


def has(state: int, category: PageIs) -> bool:
    """Whether PAGEMAP_SCAN says so of a page in this state."""
    return bool(state >> _BESIDE & category)


def is_there(state: int) -> bool:
    """Whether something stands there: a place that was never touched may be soft-dirty, but nothing else."""
    return bool(state & ~_SOFT_DIRTY)


def describe(state: int) -> str:
    """A state in words."""
    return ", ".join(word for bit, word in STATE_BITS.items() if state & bit) or "none"
