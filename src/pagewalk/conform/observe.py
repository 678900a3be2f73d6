"""What a process shows, as data that two sides can be compared by: its VMAs, and the state of each page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pagewalk.conform.names import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.conform.actor import Look, Window

__all__ = ["STATE_BITS", "Row", "View", "decode", "describe", "runs"]

STATE_BITS = {
    1 << 1: "exclusive",
    1 << 2: "uffd-wp (pagemap)",
    1 << 3: "guard (pagemap)",
    1 << 6: "file (pagemap)",
    1 << 7: "swap (pagemap)",
    1 << 8: "present (pagemap)",
    1 << 16: "wp-allowed",
    1 << 17: "written",
    1 << 18: "file",
    1 << 19: "present",
    1 << 20: "swapped",
    1 << 21: "zero page",
    1 << 22: "huge",
    1 << 24: "guard",
}
"""A page's state: pagemap's bits 55 to 63 in bits 0 to 8, PAGEMAP_SCAN's categories in bits 16 to 24. Soft-dirty (0 and
23) is left out: kernels are built with and without it."""
_KEPT = np.uint32(sum(STATE_BITS))
_SCAN_DTYPE = np.dtype([("start", "<u8"), ("end", "<u8"), ("categories", "<u8")])
_PRESENT_OR_SWAPPED = np.uint64(0x18)


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
    """

    rows: tuple[Row, ...]
    states: npt.NDArray[np.uint32]


def decode(look: Look) -> dict[str, View]:
    """The views of a look, by the window's name."""
    pages = zip(look.windows, look.pages, strict=True)
    return {w.name: View(_rows(look.maps, w), _states(w, pagemap, scan)) for w, (pagemap, scan) in pages}


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
    entries = np.frombuffer(pagemap, "<u8") if isinstance(pagemap, bytes) else np.asarray(pagemap, np.uint64)
    rows = np.frombuffer(scan, _SCAN_DTYPE) if isinstance(scan, bytes) else scan
    states = np.zeros((window.end - window.start) // PAGE, np.uint32)
    states[: len(entries)] = entries >> np.uint64(55)
    rows = rows[(rows["categories"] & _PRESENT_OR_SWAPPED) != 0]
    starts = ((rows["start"] - np.uint64(window.start)) >> np.uint64(12)).astype(np.int64)
    counts = ((rows["end"] - rows["start"]) >> np.uint64(12)).astype(np.int64)
    pages = np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
    states[pages] |= np.repeat(rows["categories"].astype(np.uint32) << np.uint32(16), counts)
    return states & _KEPT


def runs(view: View) -> Iterator[tuple[int, int, int]]:
    """Pages of equal state within one VMA: (first, end, state)."""
    for row in view.rows:
        states = view.states[row.start : row.end]
        edges = np.flatnonzero(np.diff(states)) + 1
        for first, end in zip([0, *edges.tolist()], [*edges.tolist(), len(states)], strict=True):
            yield row.start + first, row.start + end, int(states[first])


def describe(state: int) -> str:
    """A state in words."""
    return ", ".join(word for bit, word in STATE_BITS.items() if state & bit) or "none"
