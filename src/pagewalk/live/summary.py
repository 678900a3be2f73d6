"""What each VMA of a capture really holds, in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import Flag, Kind
from pagewalk.live.reading import cut
from pagewalk.query import mappings
from pagewalk.space import AddressSpace
from pagewalk.vma import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.tables import PageTables

    Rows = npt.NDArray[np.void]
    Mask = npt.NDArray[np.bool_]

__all__ = ["MARKS", "PARTS", "QUALITIES", "TOTALS", "count_tables", "guard_ranges", "summarize"]

PARTS: Final = {
    "small": "pages of 4096 bytes, PTE-mapped THP among them",
    "thp": "transparent huge pages, mapped by one entry",
    "hugetlb": "hugetlb pages",
    "prot_none": "pages of any size that are there, with no rights",
    "zero": "the shared zero page, of any size",
    "guard": "guard markers",
    "swap": "swapped out",
    "markers": "userfaultfd write protection of pages that are not there",
    "poison": "poisoned: by a memory error, or a marker",
    "other": "migrating, device memory",
    "untouched": "nothing: never touched, or given back",
    "hidden": "VM_PFNMAP: the kernel does not say",
}
"""What fills a VMA. The parts add up to its size. Without root (CAP_SYS_ADMIN) the kernel does not tell markers, poison
and what is migrating from ``swap``: they are counted there."""

QUALITIES: Final = {
    "file": "of a file, or shared anonymous memory",
    "anonymous": "private anonymous memory",
    "shared": "mapped by others too",
    "exclusive": "mapped by this process alone",
}
"""What its pages are (those of small, thp, hugetlb and prot_none): file + anonymous, and shared + exclusive, are all
of them."""

MARKS: Final = {"write_protected": "write-protected by userfaultfd, whether a page is there or not"}
"""What is said of pages of any kind: those that are not there too."""

TOTALS: Final = np.dtype([(name, np.uint64) for name in ("start", "end", *PARTS, *QUALITIES, *MARKS)])
"""A VMA's range, and bytes for each of ``PARTS``, ``QUALITIES`` and ``MARKS``."""

_OF_KIND: Final = {
    Kind.GUARD: "guard",
    Kind.SWAP: "swap",
    Kind.PROT_NONE: "prot_none",
    Kind.UFFD_WP: "markers",
    Kind.HWPOISON: "poison",
}
_RUN: Final = np.dtype(
    [("start", np.uint64), ("end", np.uint64), ("page_size", np.uint64), ("flags", np.uint32), ("kind", np.uint8)]
)


def summarize(space: AddressSpace) -> Rows:
    """Add up what the VMAs of a capture hold.

    Args:
        space: A capture. (Of another address space, file and exclusive pages are not known.)

    Returns:
        A row a VMA, ascending, structured as ``TOTALS``.

    Raises:
        ReservedBits, Malformed: The tables were changed, for the worse.
    """
    vmas = list(space.vmas)
    totals = np.zeros(len(vmas), TOTALS)
    totals["start"] = [vma.start for vma in vmas]
    totals["end"] = [vma.end for vma in vmas]
    if not vmas:
        return totals
    runs, owner = _runs(space, totals)
    sizes = (runs["end"] - runs["start"]).astype(np.int64)
    hugetlb = np.array([VmaFlags.HUGETLB in vma.flags for vma in vmas], np.bool_)
    for name, mask in (*_parts(runs, hugetlb[owner]), *_qualities(runs)):
        # bincount adds in float64, which is exact for whole numbers below 2**53
        totals[name] += np.bincount(owner[mask], sizes[mask], len(vmas)).astype(np.uint64)
    rest = totals["end"] - totals["start"]
    for name in PARTS:
        rest = rest - totals[name]
    hidden = np.array([VmaFlags.PFNMAP in vma.flags for vma in vmas], np.bool_)
    totals["untouched"], totals["hidden"] = np.where(hidden, np.uint64(0), rest), np.where(hidden, rest, np.uint64(0))
    return totals


def guard_ranges(space: AddressSpace) -> list[tuple[int, int, Any]]:
    """The guard regions of a capture: ``(start, end, vma)``, ascending, each in one VMA."""
    vmas = list(space.vmas)
    if not vmas:
        return []
    bounds = np.zeros(len(vmas), TOTALS)
    bounds["start"], bounds["end"] = [vma.start for vma in vmas], [vma.end for vma in vmas]
    runs, owner = _runs(space, bounds)
    mine = runs["kind"] == Kind.GUARD
    ranges = zip(runs["start"][mine].tolist(), runs["end"][mine].tolist(), owner[mine].tolist(), strict=True)
    return [(start, end, vmas[at]) for start, end, at in ranges]


def count_tables(tables: PageTables | AddressSpace) -> dict[str, int]:
    """How many tables there are of each level, by the level's name.

    The top one is among them, and one that is pointed to twice is one.

    Raises:
        MemoryReadError: One lies outside the memory.
    """
    tables = tables.tables if isinstance(tables, AddressSpace) else tables
    form, found = tables.format, {}
    at = np.array([tables.root], np.uint64)
    for level in form.real_levels:
        found[level.name] = len(at)
        if level is not form.real_levels[-1]:
            size = form.table_bytes(level)
            entries = [np.frombuffer(tables.memory.read(paddr, size), "<u8") for paddr in at.tolist()]
            words = np.concatenate(entries) if entries else at
            at = np.unique(form.table_paddr(words[form.is_table(words, level)]))
    return found


def _runs(space: AddressSpace, vmas: Rows) -> tuple[Rows, npt.NDArray[np.intp]]:
    """What the tables hold, cut at the VMAs' edges, and whose it is."""
    rows = mappings(space)
    runs = np.empty(len(rows), _RUN)
    for name in ("page_size", "flags", "kind"):
        runs[name] = rows[name]
    runs["start"], runs["end"] = rows["vaddr"], rows["vaddr"] + rows["size"]
    pieces = cut(runs, np.union1d(vmas["start"], vmas["end"]))
    owner = np.searchsorted(vmas["start"], pieces["start"], side="right") - 1
    inside = (owner >= 0) & (pieces["start"] < vmas["end"][owner])
    return pieces[inside], owner[inside]


def _parts(runs: Rows, hugetlb: Mask) -> Iterator[tuple[str, Mask]]:
    """Which runs are which of ``PARTS``."""
    zero = runs["flags"] & np.uint32(Flag.SPECIAL) != 0
    present = (runs["kind"] == Kind.PRESENT) & ~zero
    small = runs["page_size"] == 4096
    left = ~present & ~zero
    yield "small", present & small
    yield "thp", present & ~small & ~hugetlb
    yield "hugetlb", present & ~small & hugetlb
    yield "zero", zero
    for kind, name in _OF_KIND.items():
        mask = left & (runs["kind"] == kind)
        left = left & ~mask
        yield name, mask
    yield "other", left


def _qualities(runs: Rows) -> Iterator[tuple[str, Mask]]:
    """Which runs are which of ``QUALITIES``."""
    page = np.isin(runs["kind"], (Kind.PRESENT, Kind.PROT_NONE)) & (runs["flags"] & np.uint32(Flag.SPECIAL) == 0)
    for flag, yes, no in ((Flag.FILE, "file", "anonymous"), (Flag.EXCLUSIVE, "exclusive", "shared")):
        has = runs["flags"] & np.uint32(flag) != 0
        yield yes, page & has
        yield no, page & ~has
    yield "write_protected", (runs["flags"] & np.uint32(Flag.UFFD_WP) != 0) | (runs["kind"] == Kind.UFFD_WP)
