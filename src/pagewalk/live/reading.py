"""One reading of a live process: its VMAs, the runs of pages that are there, and their pagemap entries.

How it works. PAGEMAP_SCAN names the ranges that hold anything, so that empty space costs nothing; only those are read
from pagemap. The VMAs are read before and after: what differs was changed meanwhile. Nothing is decoded in between,
and the memory for the answers is kept from one reading to the next, so that a process that reads itself finds itself
unchanged by the second one.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.live.procfs import PAGE, ProcessFiles
from pagewalk.live.scan import REGION, PageIs, scan_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pagewalk.vma import Vma

    Words = npt.NDArray[np.uint64]
    Regions = npt.NDArray[np.void]

__all__ = ["Reading", "changed_ranges", "cut", "read_process"]

OWN_ATTEMPTS: Final = 4
_GAP: Final = 512 * PAGE
"""Empty space worth reading through: 512 pagemap entries take about as long as one more system call."""
_VECTOR: Final = 4096


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
        vmas: The VMAs before the pages were read, ascending.
        changed: ``(start, end)`` of what the VMAs before and after do not agree on.
        regions: ``REGION`` rows, cut at the VMAs' edges, each inside one VMA.
        pages: The regions' pagemap entries, one after the other.
        owner: Which VMA each region lies in, as an index.
    """

    vmas: list[Vma]
    changed: list[tuple[int, int]]
    regions: Regions
    pages: Words
    owner: npt.NDArray[np.intp]


@dataclass
class _Scratch:
    """Memory kept from one reading to the next."""

    before: bytearray = field(default_factory=bytearray)
    after: bytearray = field(default_factory=bytearray)
    vector: Regions = field(default_factory=lambda: np.zeros(_VECTOR, REGION))
    pages: Words = field(default_factory=lambda: np.zeros(0, np.uint64))

    def room(self, count: int) -> Words:
        """An array for that many pagemap entries."""
        if len(self.pages) < count:
            self.pages = np.empty(count + count // 4, np.uint64)
            self.pages.fill(0)  # touched now, not while it is being looked at
        return self.pages[:count]


def read_process(pid: int) -> Reading:
    """Read a process; this one is read again until it holds still, a few times at most.

    Raises:
        ProcessError: ESRCH, EACCES: as ``ProcessFiles``.
        UnsupportedError: No PAGEMAP_SCAN (Linux 6.7).
    """
    scratch = _Scratch()
    with ProcessFiles(pid) as files:
        for _ in range(OWN_ATTEMPTS if files.pid == os.getpid() else 1):
            reading = _read(files, scratch)
            if not reading.changed:
                break
    return reading


def _read(files: ProcessFiles, scratch: _Scratch) -> Reading:
    before = files.vmas(full=True, buffer=scratch.before)
    top = before[-1].end if before else 0
    categories = PageIs.PRESENT | PageIs.SWAPPED
    returns = categories | PageIs.HUGE | PageIs.PFNZERO
    found = scan_files(files, 0, top, anyof=categories, returns=returns, vector=scratch.vector)
    spans = _spans(found)
    offsets = np.concatenate([[0], np.cumsum((spans[:, 1] - spans[:, 0]) // PAGE)]).astype(np.intp)
    pages = scratch.room(int(offsets[-1]))
    for start, (low, high) in zip(spans[:, 0].tolist(), pairwise(offsets.tolist()), strict=True):
        files.pages(start, pages[low:high])
    after = files.vmas(full=False, buffer=scratch.after)
    regions, owner = _owned(found, before)
    at = np.searchsorted(spans[:, 0], regions["start"], side="right") - 1
    places = offsets[at] + ((regions["start"] - spans[at, 0]) // PAGE).astype(np.intp)
    return Reading(before, changed_ranges(before, after), regions, _take(pages, places, regions), owner)


def _spans(regions: Regions) -> Words:
    """``[start, end)`` rows that hold the regions and the small gaps between them."""
    starts, ends = regions["start"], regions["end"]
    if not len(regions):
        return np.empty((0, 2), np.uint64)
    apart = np.flatnonzero(starts[1:] - ends[:-1] > _GAP)
    return np.stack([starts[np.append(0, apart + 1)], ends[np.append(apart, -1)]], axis=1)


def _take(pages: Words, places: Any, regions: Regions) -> Words:
    """The entries of the regions alone, out of those of the spans."""
    counts = ((regions["end"] - regions["start"]) // PAGE).astype(np.intp)
    ends = np.cumsum(counts)
    if not len(counts) or ends[-1] == len(pages):
        return pages[: len(pages) * bool(len(counts))]
    return pages[np.repeat(places - ends + counts, counts) + np.arange(ends[-1])]


def _owned(regions: Regions, vmas: Sequence[Vma]) -> tuple[Regions, npt.NDArray[np.intp]]:
    """Regions cut at the VMAs' edges, and whose they are; without what is in no VMA (mapped meanwhile)."""
    starts = np.array([vma.start for vma in vmas], np.uint64)
    ends = np.array([vma.end for vma in vmas], np.uint64)
    pieces = cut(regions, np.union1d(starts, ends))
    owner = np.searchsorted(starts, pieces["start"], side="right") - 1
    inside = (owner >= 0) & (pieces["start"] < ends[owner])
    return pieces[inside], owner[inside]


def cut(rows: Any, edges: Words) -> Any:
    """Cut ranges at addresses.

    Args:
        rows: Structured, with ``start`` and ``end``, ascending; the other fields are repeated.
        edges: Where to cut, ascending and distinct. Shape (n,), uint64.
    """
    low = np.searchsorted(edges, rows["start"], side="right")
    count = np.searchsorted(edges, rows["end"], side="left") - low + 1
    pieces = np.repeat(rows, count)
    if len(pieces) == len(rows):
        return pieces
    nth = np.arange(len(pieces)) - np.repeat(np.cumsum(count) - count, count)
    at = np.repeat(low, count) + nth
    later, earlier = nth > 0, nth < np.repeat(count, count) - 1
    pieces["start"][later] = edges[at[later] - 1]
    pieces["end"][earlier] = edges[at[earlier]]
    return pieces


def changed_ranges(before: Sequence[Vma], after: Sequence[Vma]) -> list[tuple[int, int]]:
    """Where two lists of VMAs do not say the same of an address: mapped or not, rights, file, name."""
    old, new = {_identity(vma) for vma in before}, {_identity(vma) for vma in after}
    if old == new:
        return []
    edges = sorted({edge for start, end, _ in old ^ new for edge in (start, end)})
    gone, come = sorted(old - new), sorted(new - old)
    ranges: list[tuple[int, int]] = []
    for start, end in pairwise(edges):
        if _what(gone, start) == _what(come, start):
            continue
        if ranges and ranges[-1][1] == start:
            start = ranges.pop()[0]
        ranges.append((start, end))
    return ranges


def _identity(vma: Vma) -> tuple[int, int, tuple[Any, ...]]:
    """A VMA's range, and what it says of every address in it: file offsets count from address 0."""
    where = vma.offset - vma.start if vma.mapping is not None else 0
    return vma.start, vma.end, (vma.rights[:3], where, vma.name)


def _what(vmas: list[tuple[int, int, tuple[Any, ...]]], addr: int) -> tuple[Any, ...] | None:
    """What these VMAs, ascending, say of an address."""
    at = bisect_right(vmas, addr, key=lambda vma: vma[0]) - 1
    return vmas[at][2] if at >= 0 and addr < vmas[at][1] else None
