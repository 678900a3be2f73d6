"""Leaf entries out of a reading: what pagemap said, in the shape of page tables.

How it works. What an entry says beside its frame depends on nine bits of pagemap's word and on its VMA's rights. VMAs
of equal rights are a *class*; so a table of 512 entries a class, made once by ``encode``, turns words into entries by
looking them up, and the frame is x-ored in. The few that are not so, swap entries and zero pages, are made again.

A page mapped by one entry (PMD-mapped THP, hugetlb) becomes one entry again, unless its 4096-byte parts no longer
belong together: then it was split between two questions, and is shown as it was found, page by page.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.abi.pagemap import (
    MAX_SWAPFILES_SHIFT,
    PM_FILE,
    PM_MMAP_EXCLUSIVE,
    PM_PFRAME_BITS,
    PM_PFRAME_MASK,
    PM_PRESENT,
    PM_SWAP,
    PageIs,
)
from pagewalk.live.encode import Pages, encode, frames_of, vma_rights
from pagewalk.live.kernel import PAGE
from pagewalk.query.ranges import cut
from pagewalk.space import VmaFlags
from pagewalk.sweep.build import Leaves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.formats import PagingFormat
    from pagewalk.live.reading import Reading
    from pagewalk.space import Vma

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]
    Places = npt.NDArray[np.intp]

__all__ = ["Found", "find_leaves"]

_CHUNK: Final = 1 << 28
"""Pages are worked on in pieces of 256 MiB (2^16 pages) at most, so that they stay in the cache."""
_STATES: Final = 1 << 64 - PM_PFRAME_BITS
"""How many states there are: what stands in a word above the frame."""
_THERE: Final = np.uint64(PM_SWAP)
"""A word that is not less than this is present or swapped, or both."""
_EXCLUSIVE: Final = np.uint64(PM_MMAP_EXCLUSIVE)
_ANONYMOUS: Final = ("", "[heap]", "[stack]")


class Found(NamedTuple):
    """The leaves of a reading.

    Attributes:
        leaves: By depth, in parts.
        zero: The frames of the zero pages, as addresses.
        foreign: The VMAs that hold pages which cannot be theirs, as indices.
        known: Whether the kernel told frame numbers and swap slots.
    """

    leaves: dict[int, list[Leaves]]
    zero: set[int]
    foreign: set[int]
    known: bool


def find_leaves(form: PagingFormat, reading: Reading) -> Found:
    """All leaf entries, ascending within each depth."""
    known = _tells_frames(reading.pages)
    encoder = _Encoder(form, reading.vmas, known=known)
    zero: set[int] = set()
    foreign: set[int] = set()
    leaves: dict[int, list[Leaves]] = {}
    for chunk in _chunks(reading, encoder.classes):
        for depth, some in encoder.leaves(chunk, zero, foreign):
            leaves.setdefault(depth, []).append(some)
    return Found(leaves, zero, foreign, known)


def _tells_frames(words: Words) -> bool:
    """Whether the kernel tells frame numbers and swap slots (CAP_SYS_ADMIN): both are 0 only where it does not."""
    step = 1 << 12
    for at in range(0, len(words), step):
        some = words[at : at + step]
        there = some[some >= _THERE]
        if len(there):
            return bool(there[0] & np.uint64(PM_PFRAME_MASK))
    return True


class _Chunk(NamedTuple):
    """Pages of which something is known, ascending: addresses, words, VMA (by counts), class; special regions there."""

    vaddrs: Words
    words: Words
    first: int
    counts: Places
    classes: Places
    special: npt.NDArray[np.void]
    vmas: Sequence[Vma]

    def owner(self, rows: Any) -> Places:
        """Which VMA some of the pages lie in."""
        return np.searchsorted(np.cumsum(self.counts), rows, side="right") + self.first


def _chunks(reading: Reading, classes: Places) -> Iterator[_Chunk]:
    """The reading in pieces that no huge page reaches out of."""
    starts = np.array([vma.start for vma in reading.vmas], np.uint64)
    ends = np.array([vma.end for vma in reading.vmas], np.uint64)
    special = cut(reading.special, np.union1d(starts, ends))
    at = 0
    for spans in _groups(reading, max([_CHUNK, *(vma.huge_page_size for vma in reading.vmas)])):
        sizes = ((spans["end"] - spans["start"]) // np.uint64(PAGE)).astype(np.intp)
        words = reading.pages[at : at + int(sizes.sum())]
        at += len(words)
        rows = np.flatnonzero(words >= _THERE)
        if not len(rows):
            continue
        vaddrs, words = _addresses(rows, spans, sizes), words[rows] if len(rows) < len(words) else words
        low, high = np.searchsorted(ends, vaddrs[0], side="right"), np.searchsorted(starts, vaddrs[-1], side="right")
        bounds = np.searchsorted(vaddrs, np.stack([starts[low:high], ends[low:high]]))
        counts = bounds[1] - bounds[0]
        if counts.sum() < len(vaddrs):  # mapped meanwhile
            inside = np.concatenate([np.arange(*pair) for pair in bounds.T.tolist()] or [np.empty(0, np.intp)])
            vaddrs, words = vaddrs[inside], words[inside]
        first, last = (np.searchsorted(special[name], spans[at][name]) for name, at in (("start", 0), ("end", -1)))
        here = special[max(int(first) - 1, 0) : int(last) + 1]
        yield _Chunk(vaddrs, words, int(low), counts, _each(classes[low:high], counts), here, reading.vmas)


def _each(classes: Places, counts: Places) -> Places:
    """The class of every page; where all have the same one, one number broadcast."""
    there = classes[counts > 0]
    if len(there) and (there == there[0]).all():
        return np.broadcast_to(there[0], int(counts.sum()))
    return np.repeat(classes, counts)


def _groups(reading: Reading, size: int) -> Iterator[Any]:
    """The spans, cut at every multiple of ``size`` bytes, in groups of at most so many bytes."""
    large = reading.spans[reading.spans["end"] // np.uint64(size) > reading.spans["start"] // np.uint64(size)]
    bounds = [np.arange(start // size + 1, (end - 1) // size + 1) for start, end in large.tolist()]
    edges = np.concatenate(bounds).astype(np.uint64) * np.uint64(size) if bounds else np.empty(0, np.uint64)
    pieces = cut(reading.spans, edges)
    done = np.cumsum(pieces["end"] - pieces["start"])
    first = 0
    while first < len(pieces):
        before = int(done[first - 1]) if first else 0
        last = max(int(np.searchsorted(done, before + size, side="right")), first + 1)
        yield pieces[first:last]
        first = last


def _addresses(rows: Places, spans: Any, sizes: Places) -> Words:
    """The addresses of pages, given as places in their spans' words."""
    offsets = np.cumsum(sizes) - sizes
    shift = spans["start"] - offsets.astype(np.uint64) * np.uint64(PAGE)
    if len(spans) > 1:
        shift = np.repeat(shift, np.diff(np.searchsorted(rows, offsets), append=len(rows)))
    return (rows.view(np.uint64) << np.uint64(12)) + shift


class _Encoder:
    """Turns words into entries.

    Args:
        form: The capture's format.
        vmas: The process's.
        known: Whether frames are.

    Attributes:
        classes: For each VMA, which class it is of.
    """

    def __init__(self, form: PagingFormat, vmas: Sequence[Vma], *, known: bool) -> None:
        self._form = form
        self._huge = _huge_sizes(form)
        self._known = known
        of: dict[tuple[int, bool, int], int] = {}
        keys = [_class(vma) for vma in vmas]
        self.classes = np.array([of.setdefault(key, len(of)) for key in keys], np.intp)
        self._classes = tuple(of)
        self._impossible = _impossible()[np.array([expects for _, _, expects in of], np.intp)].reshape(-1)
        self._tables: dict[tuple[int, bool], Words] = {}

    def leaves(self, chunk: _Chunk, zero: set[int], foreign: set[int]) -> Iterator[tuple[int, Leaves]]:
        """The leaves of a chunk, by depth; adds to the frames of zero pages, and to the VMAs with foreign pages."""
        zeros = _zero_rows(chunk)
        small = np.ones(len(chunk.words), np.bool_)
        for depth, first, words in _huge(self._huge, chunk, small):
            yield depth, self._made(depth, chunk, words, first, np.isin(first, zeros), zero, foreign)
        rows = slice(None) if small.all() else np.flatnonzero(small)
        is_zero = np.zeros(len(chunk.words), np.bool_)
        is_zero[zeros] = True
        last = self._form.levels[-1].depth
        yield last, self._made(last, chunk, chunk.words[rows], rows, is_zero[rows], zero, foreign)

    def _made(
        self, depth: int, chunk: _Chunk, words: Words, rows: Any, is_zero: Mask, zero: set[int], foreign: set[int]
    ) -> Leaves:
        """The leaves of one level, out of words, for some of the pages of a chunk."""
        states = (words >> np.uint64(PM_PFRAME_BITS)).view(np.intp) + chunk.classes[rows] * _STATES
        zeros = np.flatnonzero(is_zero)
        self._note_zero(zero, words[zeros])
        seen = np.bincount(states, minlength=len(self._impossible))
        if (seen * self._impossible).any():
            strange = self._impossible[states] & ~is_zero  # the huge zero page looks like a file's
            places = np.arange(len(chunk.words))[rows][strange]
            foreign.update(np.unique(chunk.owner(places)).tolist())
        return Leaves(chunk.vaddrs[rows], self._entries(depth, words, states, zeros))

    def _note_zero(self, zero: set[int], words: Words) -> None:
        """Add the frames of zero pages."""
        if self._known and len(words):
            zero.update((np.unique(words & np.uint64(PM_PFRAME_MASK)) * np.uint64(PAGE)).tolist())

    def _entries(self, depth: int, words: Words, states: Places, zeros: Places) -> Words:
        """The entries of one level."""
        level = self._form.levels[depth]
        entries = self._table(depth, zero=False).take(states)
        entries ^= frames_of(level, words)
        if len(zeros):
            entries[zeros] = self._table(depth, zero=True).take(states[zeros])
            entries[zeros] ^= frames_of(level, words[zeros])
        swapped = np.flatnonzero(words & _THERE)
        if len(swapped):
            entries[swapped] = encode(level, Pages.bare(words[swapped]), known=self._known)
        return entries

    def _table(self, depth: int, *, zero: bool) -> Words:
        """Entries of frame 0, by class and state."""
        if (depth, zero) not in self._tables:
            self._tables[depth, zero] = _entries_of_states(self._form, depth, self._classes, zero, self._known)
        return self._tables[depth, zero]


@lru_cache(maxsize=16)
def _entries_of_states(
    form: PagingFormat, depth: int, classes: tuple[tuple[int, bool, int], ...], zero: bool, known: bool
) -> Words:
    """Entries of frame 0, by class and state. Processes are much alike: the next one has the same classes, often."""
    words = np.tile(np.arange(_STATES, dtype=np.uint64) << np.uint64(PM_PFRAME_BITS), len(classes))
    rights = np.repeat(np.array([rights for rights, _, _ in classes], np.uint64), _STATES)
    private = np.repeat(np.array([private for _, private, _ in classes], np.bool_), _STATES)
    return encode(form.levels[depth], Pages(words, rights, private, np.full(len(words), zero)), known=known)


def _class(vma: Vma) -> tuple[int, bool, int]:
    """The rights of a VMA's pages, whether it is private, and what its pages must be: see ``_impossible``."""
    rights, private, plain = _of_flags(int(vma.flags))
    if vma.mapping is None:
        return rights, private, int(vma.name in _ANONYMOUS or vma.name.startswith("[anon"))
    return rights, private, 2 if plain and not private else 0


@lru_cache(maxsize=1024)
def _of_flags(flags: int) -> tuple[int, bool, bool]:
    """What VMA flags say: rights, whether it is private, and that its pages are ordinary ones."""
    private = not flags & (VmaFlags.SHARED | VmaFlags.MAYSHARE)
    special = VmaFlags.PFNMAP | VmaFlags.MIXEDMAP | VmaFlags.IO
    return vma_rights(VmaFlags(flags)), private, not flags & special


@lru_cache(maxsize=1)
def _impossible() -> npt.NDArray[np.bool_]:
    """Which states pages cannot have. Rows: where nobody knows; private anonymous memory; shared mappings."""
    words = np.arange(_STATES, dtype=np.uint64) << np.uint64(PM_PFRAME_BITS)
    has = {bit: words & np.uint64(bit) != 0 for bit in (PM_PRESENT, PM_SWAP, PM_FILE, PM_MMAP_EXCLUSIVE)}
    present, of_file, exclusive = has[PM_PRESENT] & ~has[PM_SWAP], has[PM_FILE], has[PM_MMAP_EXCLUSIVE]
    return np.stack([np.zeros_like(present), present & of_file, present & exclusive & ~of_file])


def _rows_of(chunk: _Chunk, starts: Words, ends: Words) -> tuple[Places, Places]:
    """The pages of a chunk that lie in ranges: the first, and the one after the last."""
    return np.searchsorted(chunk.vaddrs, starts), np.searchsorted(chunk.vaddrs, ends)


def _zero_rows(chunk: _Chunk) -> Places:
    """Which pages are zero pages. One of 4096 bytes that is a file's, or exclusive, has become another meanwhile."""
    regions = chunk.special[chunk.special["categories"] & np.uint64(PageIs.PFNZERO) != 0]
    if not len(regions):
        return np.empty(0, np.intp)
    low, high = _rows_of(chunk, regions["start"], regions["end"])
    rows = _places(low, high - low)
    huge = np.repeat(regions["categories"] & np.uint64(PageIs.HUGE) != 0, high - low)
    owned = np.uint64(PM_FILE | PM_MMAP_EXCLUSIVE)
    return rows[huge | (chunk.words[rows] & owned == 0)]


def _places(first: Places, counts: Places) -> Places:
    """The places of runs, given by their first one and how many follow."""
    return np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())


def _huge_sizes(form: PagingFormat) -> dict[int, int]:
    """Pages in each huge page, and the depth of its entry; the smallest first."""
    return {level.span // PAGE: level.depth for level in form.levels[-2::-1] if level.may_be_leaf}


def _huge(depths: dict[int, int], chunk: _Chunk, small: Mask) -> Iterator[tuple[int, Places, Words]]:
    """The pages that one entry maps, by its depth: the row of the first, and the entry's word; they leave ``small``.

    A THP is as large as the smallest huge page; ``depths``: see ``_huge_sizes``.
    """
    regions = chunk.special[chunk.special["categories"] & np.uint64(PageIs.HUGE) != 0]
    if not len(regions) or not len(chunk.vaddrs):
        return
    owner = np.searchsorted(np.array([vma.start for vma in chunk.vmas], np.uint64), regions["start"], side="right") - 1
    sizes = np.array([max(chunk.vmas[at].huge_page_size // PAGE, 1) for at in owner.tolist()], np.int64)
    pages = np.where(sizes > 1, sizes, next(iter(depths)))
    for count, depth in depths.items():
        first = _first_rows(chunk, regions[pages == count], count)
        if not len(first):
            continue
        blocks = _blocks(chunk.words, first, count)
        whole = _is_whole(blocks)
        small[(first[whole][:, None] + np.arange(count)).reshape(-1)] = False
        blocks = blocks[whole]
        exclusive = np.bitwise_and.reduce(blocks, axis=1) & _EXCLUSIVE
        yield depth, first[whole], (blocks[:, 0] | _EXCLUSIVE) ^ _EXCLUSIVE | exclusive


def _first_rows(chunk: _Chunk, regions: Any, count: int) -> Places:
    """The row of the first page of each huge page of ``count`` pages in regions, if all of its pages are there."""
    span = count * PAGE
    low = (regions["start"] + np.uint64(span - 1)) // np.uint64(span)
    low = np.maximum(low, chunk.vaddrs[0] // np.uint64(span))
    high = np.minimum(regions["end"], chunk.vaddrs[-1] + np.uint64(PAGE)) // np.uint64(span)
    counts = np.where(high > low, high - low, 0).astype(np.intp)
    starts = _places(low.astype(np.intp), counts).astype(np.uint64) * np.uint64(span)
    first, after = _rows_of(chunk, starts, starts + np.uint64(span))
    return first[after - first == count]


def _blocks(pages: Any, first: Places, count: int) -> Any:
    """What is said of the pages of huge pages, one a line; in place where they follow each other."""
    if len(first) * count == first[-1] + count - first[0]:
        return pages[first[0] : first[-1] + count].reshape(-1, count)
    return pages[first[:, None] + np.arange(count)]


def _is_whole(blocks: Words) -> npt.NDArray[np.bool_]:
    """Whether the pages of each block are still parts of one: the same state, and frames or swap slots in a row."""
    first = blocks[:, :1] | _EXCLUSIVE
    step = np.where(first & np.uint64(PM_SWAP) != 0, np.uint64(1 << MAX_SWAPFILES_SHIFT), np.uint64(1))
    step = step * (first & np.uint64(PM_PFRAME_MASK) != 0)
    expected = first + step * np.arange(blocks.shape[1], dtype=np.uint64)
    aligned = (first[:, 0] & np.uint64(PM_PFRAME_MASK)) % np.uint64(blocks.shape[1]) == 0
    in_place = aligned | (first[:, 0] & np.uint64(PM_PRESENT) == 0)
    return np.all(blocks | _EXCLUSIVE == expected, axis=1) & in_place
