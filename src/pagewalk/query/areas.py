"""What each VMA of a process really holds, in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import Flag, Kind
from pagewalk.query.ranges import cut
from pagewalk.space import VmaFlags
from pagewalk.sweep import Filter, mappings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.errors import TranslationError
    from pagewalk.space import AddressSpace

    Rows = npt.NDArray[np.void]
    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["MARKS", "PARTS", "QUALITIES", "TOTALS", "guard_ranges", "summarize"]

PARTS: Final = {
    "small": "the smallest pages, those among them of a THP that is mapped page by page",
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
    "hidden": "VM_PFNMAP, of a live process: the kernel does not say",
}
"""What fills a VMA. The parts add up to its size. Without root (CAP_SYS_ADMIN) the kernel does not tell markers, poison
and what is migrating from ``swap``: they are counted there. In a dump, the huge
zero page is known as such from Linux 6.18 on; before, it looks like a THP."""

QUALITIES: Final = {
    "file": "of a file, or shared anonymous memory",
    "anonymous": "private anonymous memory",
    "shared": "mapped by others too",
    "exclusive": "mapped by this process alone",
}
"""What its pages are (those of small, thp, hugetlb and prot_none): file + anonymous, and shared + exclusive, are all
of them. Page tables do not say it, only the kernel of a live process (``AddressSpace.synthetic``): 0 otherwise."""

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
_RUN: Final = np.dtype([("start", np.uint64), ("end", np.uint64), ("state", np.uint16)])
"""A run of entries that are alike; ``state`` as ``_State`` reads it."""


def summarize(space: AddressSpace, *, findings: list[TranslationError] | None = None) -> Rows:
    """Add up what the VMAs of an address space hold.

    Args:
        space: A capture, a process in a dump, or any other.
        findings: Collects what is malformed, which is then passed over, instead of raising the first.

    Returns:
        A row a VMA, ascending, structured as ``TOTALS``.

    Raises:
        ReservedBits, Malformed: An entry is not one, and ``findings`` is None.
    """
    vmas = list(space.vmas)
    totals = np.zeros(len(vmas), TOTALS)
    totals["start"] = [vma.start for vma in vmas]
    totals["end"] = [vma.end for vma in vmas]
    if not vmas:
        return totals
    runs, owner = _owned(_runs(space, totals, findings=findings), totals)
    if not space.synthetic:
        _forget_special(runs, _having(vmas, VmaFlags.PFNMAP | VmaFlags.MIXEDMAP)[owner])
    sums, states = _sums(len(vmas), runs, owner)
    for name, mask in (*_parts(states), *(_qualities(states) if space.synthetic else ()), *_marks(states)):
        totals[name] = sums[:, mask].sum(axis=1)
    hugetlb, hidden = _having(vmas, VmaFlags.HUGETLB), _having(vmas, VmaFlags.PFNMAP) & space.synthetic
    totals["hugetlb"] = (totals["small"] + totals["thp"]) * hugetlb
    for name in ("small", "thp"):
        totals[name] *= ~hugetlb
    rest = totals["end"] - totals["start"]
    for name in PARTS:
        rest = rest - totals[name]
    totals["untouched"], totals["hidden"] = rest * ~hidden, rest * hidden
    return totals


def guard_ranges(space: AddressSpace) -> list[tuple[int, int, Any]]:
    """The guard regions of an address space: ``(start, end, vma)``, ascending, each in one VMA."""
    vmas = list(space.vmas)
    if not vmas:
        return []
    bounds = np.zeros(len(vmas), TOTALS)
    bounds["start"], bounds["end"] = [vma.start for vma in vmas], [vma.end for vma in vmas]
    runs, owner = _owned(_runs(space, bounds, where=Filter(kinds={Kind.GUARD}), findings=[]), bounds)
    return [(start, end, vmas[at]) for (start, end, _), at in zip(runs.tolist(), owner.tolist(), strict=True)]


def _having(vmas: list[Any], flags: VmaFlags) -> Mask:
    """Which VMAs have one of some flags."""
    return np.array([bool(vma.flags & flags) for vma in vmas], np.bool_)


def _runs(space: AddressSpace, vmas: Rows, **options: Any) -> Rows:
    """What the tables hold, cut at the VMAs' edges."""
    first, last = int(vmas["start"][0]), int(vmas["end"][-1])
    windows = [one for one in space.tables.windows if one.start < last and first < one.end] or space.tables.windows
    found = mappings(space, windows[0].start, windows[-1].end, **options)
    runs = np.empty(len(found), _RUN)
    runs["start"], runs["end"] = found.vaddr, found.vaddr + found.size
    level = space.tables.format.last
    runs["state"] = _State.of(found.kind, found.flags, found.depth != level.depth)
    return cut(runs, np.union1d(vmas["start"], vmas["end"]))


def _owned(runs: Rows, vmas: Rows) -> tuple[Rows, npt.NDArray[np.intp]]:
    """The runs that lie in VMAs, and in which."""
    low, high = np.searchsorted(runs["start"], vmas["start"]), np.searchsorted(runs["start"], vmas["end"])
    owner = np.repeat(np.arange(len(vmas)), high - low)
    if len(owner) == len(runs):
        return runs, owner
    inside = np.zeros(len(runs) + 1, np.int8)
    np.add.at(inside, low, 1)
    np.add.at(inside, high, -1)
    return runs[np.cumsum(inside)[:-1] > 0], owner


def _forget_special(runs: Rows, which: Mask) -> None:
    """Take the mark from pages that have it without being the zero page: those that a driver has put there."""
    runs["state"][which] &= np.uint16(~_State.bit_of(Flag.SPECIAL) & 0xFFFF)


def _sums(vmas: int, runs: Rows, owner: npt.NDArray[np.intp]) -> tuple[Words, npt.NDArray[np.uint16]]:
    """Bytes of each VMA in each state that there is. Shapes (VMAs, states) and (states,)."""
    there = np.bincount(runs["state"], minlength=1)
    states = np.flatnonzero(there)
    column = (np.cumsum(there > 0) - 1)[runs["state"]]
    # bincount adds in float64, which is exact for whole numbers below 2**53
    sizes = (runs["end"] - runs["start"]).astype(np.float64)
    sums = np.bincount(owner * len(states) + column, sizes, vmas * len(states))
    return sums.astype(np.uint64).reshape(vmas, len(states)), states.astype(np.uint16)


class _State:
    """What matters of an entry, in one number: kind, whether it is huge, and some of its flags."""

    flags = Flag.SPECIAL | Flag.UFFD_WP | Flag.EXCLUSIVE | Flag.FILE
    shift = (flags & -flags).bit_length() - 1
    huge = 1 << (flags.bit_length() - shift)
    kind_shift = huge.bit_length()

    @classmethod
    def of(cls, kind: Any, flags: Any, huge: Mask) -> npt.NDArray[np.uint16]:
        """The states of entries."""
        state = ((flags & np.uint32(cls.flags)) >> np.uint32(cls.shift)).astype(np.uint16)
        state |= huge * np.uint16(cls.huge)
        state |= kind.astype(np.uint16) << np.uint16(cls.kind_shift)
        return state

    @classmethod
    def has(cls, states: Any, flag: Flag) -> Mask:
        """Which of them have a flag."""
        mask: Mask = states & np.uint16(cls.bit_of(flag)) != 0
        return mask

    @classmethod
    def bit_of(cls, flag: Flag) -> int:
        """The bit of a flag."""
        return int(flag) >> cls.shift


def _parts(states: Any) -> Iterator[tuple[str, Mask]]:
    """Which states are which of ``PARTS``, hugetlb pages counted as THP."""
    kind = states >> np.uint16(_State.kind_shift)
    huge = states & np.uint16(_State.huge) != 0
    zero = _State.has(states, Flag.SPECIAL)
    present = (kind == Kind.PRESENT) & ~zero
    left = ~present & ~zero
    yield "small", present & ~huge
    yield "thp", present & huge
    yield "zero", zero
    for value, name in _OF_KIND.items():
        mask = left & (kind == value)
        left = left & ~mask
        yield name, mask
    yield "other", left


def _qualities(states: Any) -> Iterator[tuple[str, Mask]]:
    """Which states are which of ``QUALITIES``."""
    kind = states >> np.uint16(_State.kind_shift)
    page = np.isin(kind, (Kind.PRESENT, Kind.PROT_NONE)) & ~_State.has(states, Flag.SPECIAL)
    for flag, yes, no in ((Flag.FILE, "file", "anonymous"), (Flag.EXCLUSIVE, "exclusive", "shared")):
        has = _State.has(states, flag)
        yield yes, page & has
        yield no, page & ~has


def _marks(states: Any) -> Iterator[tuple[str, Mask]]:
    """Which states are which of ``MARKS``."""
    kind = states >> np.uint16(_State.kind_shift)
    yield "write_protected", _State.has(states, Flag.UFFD_WP) | (kind == Kind.UFFD_WP)
