"""``capture``: a live process as an ``AddressSpace``, with page tables made from what the kernel tells of its pages.

How it works. ``reading`` asks the kernel, ``encode`` turns its words into entries, ``build`` makes tables of them. The
tables lie in a ``Ram`` far above any real frame, so that an address in them is never mistaken for a frame's. A page
mapped by one entry (PMD-mapped THP, hugetlb) becomes one entry again, unless its 4096-byte parts no longer belong
together: then it was split between two questions, and is shown as it was found, page by page.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.live.build import Leaves, build
from pagewalk.live.encode import FRAME, PRESENT, SWAPPED, Pages, capture_format, encode, vma_rights
from pagewalk.live.procfs import PAGE, check_page_size, kernel_sees_frames
from pagewalk.live.reading import Reading, cut, read_process
from pagewalk.live.scan import PageIs
from pagewalk.space import AddressSpace
from pagewalk.vma import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import PagingFormat
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]

__all__ = ["TABLES_BASE", "Capture", "capture"]

TABLES_BASE: Final = 1 << 50
"""Where a capture's tables begin: inside the format's 52 bits, beyond the frames of any machine."""

_ENTRIES: Final = 512
_SPARE: Final = 1 << 12
"""Frames to grow into, beyond those that splitting every huge page takes. Untouched, they cost nothing."""
_CHUNK: Final = 1 << 30
"""Regions are worked on in pieces of 1 GiB (2^18 pages) at most, to bound what is in memory at a time."""
_LOWER_HALF: Final = 1 << 47
_EXCLUSIVE: Final = np.uint64(1 << 56)
_HUGE_DEPTHS: Final = {_ENTRIES: 3, _ENTRIES**2: 2}
"""Pages in a huge page, and the depth of its entry."""


class Capture(AddressSpace):
    """What was in a process's page tables when it was looked at. A snapshot: it may be changed, the process is not.

    Attributes:
        pid: The process.
        frames_known: Whether the kernel told frame numbers and swap slots (CAP_SYS_ADMIN). If not, pages carry
            ``Flag.NO_FRAME`` and swap entries name slot 0 of device 0.
        complete: Nothing is known to have changed while it was read.
        changed: ``(start, end)`` ranges whose VMAs were not the same before and after: what is said of them is stale.
        notes: What else to know, in sentences.
    """

    def __init__(self, reading: Reading, tables: PageTables, *, pid: int, frames_known: bool, zero: set[int]) -> None:
        super().__init__(tables, reading.vmas, zero_frames=zero)
        self.pid = pid
        self.frames_known = frames_known
        self.changed = reading.changed
        self.complete = not reading.changed
        self.notes = tuple(_notes(self))

    def __repr__(self) -> str:
        state = "" if self.complete else f", changed in {len(self.changed)} ranges"
        return f"<Capture of process {self.pid}: {len(self.vmas)} VMAs{state}>"


def capture(pid: int | None = None) -> Capture:
    """Capture the address space of a live process.

    The process runs on meanwhile. Each page's state was true at some moment of the reading, not all at the same one.

    Args:
        pid: The process; None for this one.

    Returns:
        The address space, in x86-64's format whatever the machine: 4 levels, or 5 if an address needs them.

    Raises:
        ProcessError: ESRCH: no such process, it ended meanwhile, or a kernel thread. EACCES: it may not be looked at.
        UnsupportedError: The kernel has no PAGEMAP_SCAN (Linux 6.7), or its pages are not 4096 bytes.
    """
    check_page_size()
    reading = read_process(pid or 0)
    known = kernel_sees_frames()
    top = max((vma.end for vma in reading.vmas), default=0)
    form = capture_format(4 if top <= _LOWER_HALF else 5)
    zero: set[int] = set()
    parts: dict[int, list[Leaves]] = {}
    for depth, leaves in _leaves(form, reading, known, zero):
        parts.setdefault(depth, []).append(leaves)
    leaves_of = {depth: Leaves(*map(np.concatenate, zip(*some, strict=True))) for depth, some in parts.items()}
    huge = sum(len(leaves_of[depth].vaddrs) * (_ENTRIES + 1) ** (3 - depth) for depth in leaves_of if depth < 4)
    tables = build(form, leaves_of, base=TABLES_BASE, spare=huge + _SPARE)
    return Capture(reading, tables, pid=pid or os.getpid(), frames_known=known, zero=zero)


def _leaves(form: PagingFormat, reading: Reading, known: bool, zero: set[int]) -> Iterator[tuple[int, Leaves]]:
    """The leaf entries, by depth, ascending within each; adds the zero pages' frames to ``zero``."""
    rights = np.array([vma_rights(vma) for vma in reading.vmas], np.uint64)
    private = np.array([not vma.flags & (VmaFlags.SHARED | VmaFlags.MAYSHARE) for vma in reading.vmas], np.bool_)
    for depth, vaddrs, words, owner, zeros in _rows(reading):
        level = form.levels[depth]
        entries = encode(form, level, Pages(words, rights[owner], private[owner], zeros), known=known)
        there = entries != 0
        yield depth, Leaves(vaddrs[there], entries[there])
        if known and zeros.any():
            zero.update((np.unique(words[zeros] & np.uint64(FRAME)) * np.uint64(PAGE)).tolist())


def _rows(reading: Reading) -> Iterator[tuple[int, Words, Words, Any, Any]]:
    """For each chunk and depth: addresses, pagemap entries, owning VMA, whether it is a zero page."""
    sizes = np.array([max(vma.huge_page_size // PAGE, 1) for vma in reading.vmas], np.int64)
    at = 0
    for regions, owner in _chunks(reading):
        counts = ((regions["end"] - regions["start"]) // PAGE).astype(np.int64)
        total = int(counts.sum())
        words = reading.pages[at : at + total]
        at += total
        piece = np.repeat(np.arange(len(regions)), counts)
        nth = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        vaddrs = regions["start"][piece] + nth.astype(np.uint64) * np.uint64(PAGE)
        pages = _entry_pages(regions, sizes[owner])[piece]
        zeros = regions["categories"][piece] & np.uint64(PageIs.PFNZERO) != 0
        for depth, rows, merged in _by_depth(words, pages):
            yield depth, vaddrs[rows], merged, owner[piece[rows]], zeros[rows]


def _chunks(reading: Reading) -> Iterator[tuple[Any, Any]]:
    """The regions and their owners, in groups of at most 2^18 pages."""
    regions, owner = reading.regions, reading.owner
    large = regions[regions["end"] - regions["start"] > _CHUNK]
    bounds = [np.arange(start // _CHUNK + 1, (end - 1) // _CHUNK + 1) for start, end, _ in large.tolist()]
    edges = np.concatenate(bounds).astype(np.uint64) * np.uint64(_CHUNK) if bounds else np.empty(0, np.uint64)
    pieces = cut(regions, edges)
    owner = owner[np.searchsorted(regions["start"], pieces["start"], side="right") - 1]
    done = np.cumsum(pieces["end"] - pieces["start"])
    first = 0
    while first < len(pieces):
        before = int(done[first - 1]) if first else 0
        last = max(int(np.searchsorted(done, before + _CHUNK, side="right")), first + 1)
        yield pieces[first:last], owner[first:last]
        first = last


def _entry_pages(regions: Any, hugetlb: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many pages one entry of each region maps; 1 where the region is not whole huge pages."""
    huge = regions["categories"] & np.uint64(PageIs.HUGE) != 0
    pages = np.where(huge, np.where(hugetlb > 1, hugetlb, _ENTRIES), 1)
    ragged = (regions["start"] | regions["end"]) % (pages.astype(np.uint64) * np.uint64(PAGE)) != 0
    return np.where(ragged, 1, pages)


def _by_depth(words: Words, pages: npt.NDArray[np.int64]) -> Iterator[tuple[int, Any, Words]]:
    """Sort pages by the depth of what maps them: rows of the first page of each entry, and the entries' words."""
    small = pages == 1
    for count, depth in _HUGE_DEPTHS.items():
        rows = np.flatnonzero(pages == count)
        if not len(rows):
            continue
        blocks, starts = words[rows].reshape(-1, count), rows[::count]
        whole = _is_whole(blocks)
        small[rows.reshape(-1, count)[~whole]] = True
        exclusive = np.bitwise_and.reduce(blocks, axis=1) & _EXCLUSIVE
        merged = (blocks[:, 0] | _EXCLUSIVE) ^ _EXCLUSIVE | exclusive
        yield depth, starts[whole], merged[whole]
    rows = np.flatnonzero(small)
    yield 4, rows, words[rows]


def _is_whole(blocks: Words) -> npt.NDArray[np.bool_]:
    """Whether the pages of each block are still parts of one: the same state, and frames or swap slots in a row."""
    first = blocks[:, :1] | _EXCLUSIVE
    step = np.where(first >> np.uint64(SWAPPED) & np.uint64(1), np.uint64(1 << 5), np.uint64(1))
    step = step * (first & np.uint64(FRAME) != 0)
    expected = first + step * np.arange(blocks.shape[1], dtype=np.uint64)
    aligned = (first[:, 0] & np.uint64(FRAME)) % np.uint64(blocks.shape[1]) == 0
    in_place = aligned | (first[:, 0] >> np.uint64(PRESENT) & np.uint64(1) == 0)
    return np.all(blocks | _EXCLUSIVE == expected, axis=1) & in_place


def _notes(space: Capture) -> Iterator[str]:
    """What to know about a capture."""
    if not space.frames_known:
        yield "frame numbers and swap slots are not known: the kernel tells them to root (CAP_SYS_ADMIN) only"
    if space.changed:
        size = sum(end - start for start, end in space.changed)
        yield f"{size:#x} bytes of VMAs in {len(space.changed)} ranges changed while they were read: look again"
    if any(VmaFlags.PFNMAP in vma.flags and not vma.name.startswith("[vvar") for vma in space.vmas):
        yield "the kernel does not show the pages of VM_PFNMAP VMAs, such as device memory"
