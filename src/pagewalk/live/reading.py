"""One reading of a live process: its VMAs, where pages are, and their pagemap entries.

How it works. PAGEMAP_SCAN says where anything is, so that empty space costs nothing; only that is read from pagemap.
Where it finds something every few pages, going on with it would cost as much as reading: then as much again is read
unseen, twice as much the next time. What pagemap does not tell, huge pages and zero pages, is asked for once more.

``maps`` is read before and after: what differs was changed meanwhile. ``smaps``, which alone has all flags and which
takes the kernel as long as pagemap does, is read beside it, in a thread if the process is large. A process that reads
itself does without the thread, and keeps the memory for the answers from one reading to the next, so that it finds
itself unchanged by the second one. Nothing is decoded in between.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.abi.pagemap import PageIs
from pagewalk.errors import ProcessError
from pagewalk.live.kernel import PAGE
from pagewalk.live.maps import end_of_last, parse_smaps, parse_vmas
from pagewalk.live.procfs import ProcessFiles
from pagewalk.live.scan import REGION, Scanner, scan_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.space import Vma

    Words = npt.NDArray[np.uint64]
    Regions = npt.NDArray[np.void]

__all__ = ["SPAN", "Reading", "changed_ranges", "joined_ranges", "read_process"]

SPAN: Final = np.dtype([("start", np.uint64), ("end", np.uint64)])
"""``[start, end)`` in bytes."""

ATTEMPTS: Final = 4
_GAP: Final = 512 * PAGE
"""Empty space worth reading through: 512 pagemap entries take about as long as one more system call."""
_DENSE: Final = 16 * PAGE
"""Bytes from one region to the next, at most, where reading costs less than asking."""
_FARTHEST: Final = 1 << 30
_BESIDE: Final = 1 << 26
"""Bytes in memory from which on reading ``smaps`` takes longer than starting a thread."""
_VECTOR: Final = 1024


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
        vmas: The VMAs, ascending.
        changed: ``(start, end)`` of what the VMAs before, meanwhile and after do not agree on.
        spans: ``SPAN`` rows: what was read of pagemap, ascending and apart.
        pages: Their pagemap entries, one after the other.
        special: ``REGION`` rows: the huge pages and the zero pages.
        page_table_bytes: VmPTE, None if it is not told.
    """

    vmas: list[Vma]
    changed: list[tuple[int, int]]
    spans: Regions
    pages: Words
    special: Regions
    page_table_bytes: int | None = None


@dataclass
class _Scratch:
    """Memory kept from one reading to the next."""

    before: bytearray = field(default_factory=bytearray)
    smaps: bytearray = field(default_factory=bytearray)
    after: bytearray = field(default_factory=bytearray)
    vector: Regions = field(default_factory=lambda: np.zeros(_VECTOR, REGION))
    pages: Words = field(default_factory=lambda: np.zeros(0, np.uint64))

    def room(self, count: int, *, own: bool) -> Words:
        """An array for that many pagemap entries."""
        if len(self.pages) < count:
            self.pages = np.empty(count + count // 4 * own, np.uint64)
            if own:
                self.pages.fill(0)  # touched now, not while it is being looked at
        return self.pages[:count]


def read_process(pid: int) -> Reading:
    """Read a process; this one is read again until it holds still, a few times at most.

    So is one whose first thread has ended, if the thread that it is looked at through ends meanwhile.

    Raises:
        ProcessError: ESRCH, EACCES: as ``ProcessFiles``.
        UnsupportedError: No PAGEMAP_SCAN (Linux 6.7).
    """
    scratch = _Scratch()
    for attempt in range(ATTEMPTS):
        with ProcessFiles(pid) as files:
            try:
                reading = _read(files, scratch)
            except ProcessError as error:
                if error.errno != errno.ESRCH or attempt == ATTEMPTS - 1 or not files.goes_on:
                    raise
                continue
            if not (files.own and reading.changed):
                break
    return reading


def _read(files: ProcessFiles, scratch: _Scratch) -> Reading:
    size = files.text(files.maps, scratch.before)
    top = end_of_last(scratch.before, size)
    with _beside(files, scratch.smaps) as smaps:
        spans = _spans(files, top, scratch.vector)
        either = PageIs.HUGE | PageIs.PFNZERO
        special = scan_files(files, 0, top, anyof=either, returns=either, vector=scratch.vector)
        counts = (spans["end"] - spans["start"]) // np.uint64(PAGE)
        bounds = [0, *np.cumsum(counts).tolist()]
        pages = scratch.room(bounds[-1], own=files.own)
        for start, (low, high) in zip(spans["start"].tolist(), pairwise(bounds), strict=True):
            files.pages(start, pages[low:high])
    after = files.text(files.maps, scratch.after)
    with memoryview(scratch.smaps) as view, view[: smaps()] as text:
        vmas, meanwhile = parse_smaps(text)
    changed = _changed(vmas, meanwhile, bytes(scratch.before[:size]), bytes(scratch.after[:after]))
    return Reading(vmas, changed, spans, pages, special, files.page_table_bytes())


@contextmanager
def _beside(files: ProcessFiles, buffer: bytearray) -> Iterator[Callable[[], int]]:
    """Read ``smaps``, while the block runs if that pays; what is handed out says how long it is."""
    if files.own or files.resident() < _BESIDE:
        size = files.text(files.smaps, buffer)
        yield lambda: size
        return
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(files.text, files.smaps, buffer).result


def _spans(files: ProcessFiles, top: int, vector: Regions) -> Regions:
    """What holds anything, with the small gaps between."""
    categories = PageIs.PRESENT | PageIs.SWAPPED
    scanner = Scanner(files, top, anyof=categories, returns=PageIs.PRESENT, vector=vector)
    found, at, leap = [], 0, 0
    while at < top:
        regions, reached = scanner.step(at)
        if len(regions):
            found.append(_joined(regions["start"], regions["end"]))
        stretch = reached - int(regions["start"][0]) if len(regions) else 0
        dense = len(regions) == len(vector) and stretch <= len(regions) * _DENSE
        leap = min(max(2 * leap, stretch), _FARTHEST) if dense else 0
        at = min(reached + leap, top)
        if at > reached:
            found.append(np.array([(reached, at)], SPAN))
    spans = np.concatenate(found) if found else np.empty(0, SPAN)
    return _joined(spans["start"], spans["end"])


def _joined(starts: Words, ends: Words) -> Regions:
    """Ascending ranges as ``SPAN`` rows, joined across small gaps."""
    spans = np.empty(0, SPAN)
    if len(starts):
        apart = np.flatnonzero(starts[1:] > ends[:-1] + np.uint64(_GAP))
        spans = np.empty(len(apart) + 1, SPAN)
        spans["start"], spans["end"] = starts[np.append(0, apart + 1)], ends[np.append(apart, -1)]
    return spans


def _changed(vmas: list[Vma], meanwhile: bytes, before: bytes, after: bytes) -> list[tuple[int, int]]:
    """Where the texts of ``maps`` before and after, or the VMAs of ``smaps`` meanwhile, say something else."""
    ranges: list[tuple[int, int]] = []
    for text in {before, after} - {meanwhile}:
        ranges += changed_ranges(vmas, parse_vmas(text))
    return joined_ranges(ranges)


def joined_ranges(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in any order as ascending ones that do not touch."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            start, end = joined[-1][0], max(end, joined.pop()[1])
        joined.append((start, end))
    return joined


def changed_ranges(before: Sequence[Vma], after: Sequence[Vma]) -> list[tuple[int, int]]:
    """Where two lists of VMAs do not say the same of an address: mapped or not, rights, file, name."""
    old, new = {_identity(vma) for vma in before}, {_identity(vma) for vma in after}
    if old == new:
        return []
    edges = sorted({edge for start, end, _ in old ^ new for edge in (start, end)})
    gone, come = sorted(old - new), sorted(new - old)
    return joined_ranges([span for span in pairwise(edges) if _what(gone, span[0]) != _what(come, span[0])])


def _identity(vma: Vma) -> tuple[int, int, tuple[Any, ...]]:
    """A VMA's range, and what it says of every address in it: file offsets count from address 0."""
    where = vma.offset - vma.start if vma.mapping is not None else 0
    return vma.start, vma.end, (vma.rights[:3], where, vma.name)


def _what(vmas: list[tuple[int, int, tuple[Any, ...]]], addr: int) -> tuple[Any, ...] | None:
    """What these VMAs, ascending, say of an address."""
    at = bisect_right(vmas, addr, key=lambda vma: vma[0]) - 1
    return vmas[at][2] if at >= 0 and addr < vmas[at][1] else None
