"""The kernel's part of a top table: its direct map, and whether the top table is the kernel's own.

Linux maps all memory at one distance from its physical address. So that a candidate has the kernel's part is proved by
one distance at which most of the memory is mapped; and that it is the kernel's own root by the kernel's image, in which
it lies: its frame is mapped a second time there, outside the direct map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.sources.finding.proof import for_the_user

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.sources.finding.reader import Reader
    from pagewalk.sources.finding.reading import Part, Reading
    from pagewalk.sources.finding.step import Step

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["COVERED", "DirectMap", "Pages", "again_at", "direct_map", "pages_below"]

COVERED: Final = 0.5
"""The share of the memory that a direct map must have."""
_FEW, _MANY = 256, 4096
"""Tables of a level that are looked at, for the direct map, and for the image."""
_MACHINES: Final = 4
"""The share of the memory that counts as a machine's at least, one in so many: in a small run anything is most."""
_ALIKE: Final = 3
"""Distances that may have as much as the best: the image's, in a small machine, and some other's."""
_WRAP: Final = (1 << 64) - 1


class Pages(NamedTuple):
    """Pages of one top table, not all of them where there are many tables.

    Attributes:
        vaddrs, paddrs, sizes: Where they are, in bytes. Shape (n,), uint64.
        weights: How many pages each stands for. Shape (n,), float64.
        user: Which programs may use. Shape (n,), bool.
    """

    vaddrs: Words
    paddrs: Words
    sizes: Words
    weights: npt.NDArray[np.float64]
    user: Mask


class DirectMap(NamedTuple):
    """A direct map.

    Attributes:
        distance: How far above its physical address everything is mapped, modulo 2**64.
        covered: The share of the machine's memory that is mapped so, 0 to 1.
    """

    distance: int = 0
    covered: float = 0.0


class _Tables(NamedTuple):
    """Tables of one level: their entries, the first address of each, how many tables each stands for."""

    entries: Words
    vaddrs: Words
    weights: npt.NDArray[np.float64]


def pages_below(
    reader: Reader, reading: Reading, part: Part, row: Words, most: int = _FEW, without: tuple[int, int] | None = None
) -> Pages:
    """Pages of one top table.

    Args:
        reader: Reads tables.
        reading: What it is taken for.
        part: Which slots, and the levels.
        row: Its entries. Shape (entries,), uint64.
        most: Tables of a level that are looked at.
        without: Where not to look: a direct map has nearly all tables.
    """
    first = np.array([part.vaddr + (part.first << part.steps[0].level.shift) & _WRAP], np.uint64)
    tables = _Tables(part.of(row[None, :]), first, np.ones(1))
    found = []
    for step, below in zip(part.steps, (*part.steps[1:], None), strict=True):
        pages, down, vaddrs, weights = _sorted(step, tables)
        found.append(pages)
        if below is None:
            break
        kept = reader.inside(down, below.level.table_bytes)
        if without is not None:
            start, end = (np.uint64(one) for one in without)
            kept &= ~((vaddrs >= start) & (vaddrs + np.uint64(step.level.span - 1) < end))
        chosen = _spread(np.flatnonzero(kept), most)
        if not len(chosen):
            break
        entries, there = reader.rows(down[chosen], below.level, reading.form)
        weights = weights[chosen] * (int(kept.sum()) / len(chosen))
        tables = _Tables(entries[there], vaddrs[chosen][there], weights[there])
    return Pages(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def _sorted(step: Step, tables: _Tables) -> tuple[Pages, Words, Words, npt.NDArray[np.float64]]:
    """The pages of some tables; and the tables below: where, for which address, how many each stands for."""
    width, flat = tables.entries.shape[1], tables.entries.reshape(-1)
    places = step.level.arrays.places(flat)
    words, row = flat[places], places // width
    vaddrs = tables.vaddrs[row] + ((places % width).astype(np.uint64) << np.uint64(step.level.shift))
    sorted_ = step.sort(words)
    table, leaf = sorted_.table, sorted_.leaf
    frames, rights = step.pages_of(words[leaf], sorted_.leaf_rows)
    sizes = np.full(len(frames), step.level.span, np.uint64)
    pages = Pages(vaddrs[leaf], frames, sizes, tables.weights[row[leaf]], for_the_user(rights))
    return pages, step.tables_of(words[table]), vaddrs[table], tables.weights[row[table]]


def _spread(places: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most so many of some places, evenly."""
    return places if len(places) <= most else places[np.linspace(0, len(places) - 1, most).astype(np.intp)]


def direct_map(reader: Reader, part: Part, pages: Pages) -> DirectMap:
    """The distance at which most of the memory is mapped, for the kernel alone; of what its part can hold at most.

    Of runs of memory of which nothing is mapped so, another machine may be: a file may hold the memory of several.
    None where many distances have nearly as much: a fake's pages map the same again and again.
    """
    kept = reader.inside(pages.paddrs) & ~pages.user
    if not kept.any():
        return DirectMap()
    distances, bytes_ = _summed(pages.vaddrs[kept] - pages.paddrs[kept], pages.sizes[kept] * pages.weights[kept])
    best = int(bytes_.argmax())
    if np.count_nonzero(bytes_ * 2 > bytes_[best]) > _ALIKE:
        return DirectMap()
    mapped = pages.paddrs[kept & (pages.vaddrs - pages.paddrs == distances[best])]
    size = max(reader.size_of_runs(mapped), reader.size // _MACHINES)
    return DirectMap(int(distances[best]), min(1.0, float(bytes_[best]) / min(size, part.size)))


def _summed(keys: Words, weights: npt.NDArray[np.float64]) -> tuple[Words, npt.NDArray[np.float64]]:
    """The distinct keys, and the sum of each one's weights. Neighbours have the same key mostly."""
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    sums = np.add.reduceat(weights, first)
    distinct, which = np.unique(keys[first], return_inverse=True)
    return distinct, np.bincount(which, weights=sums).astype(np.float64, copy=False)


def again_at(reader: Reader, reading: Reading, row: Words, frame: int, known: DirectMap) -> list[int]:
    """Where a top table maps a frame besides in its direct map.

    Args:
        reader, reading: As in ``pages_below``.
        row: The top table's entries. Shape (entries,), uint64.
        frame: The frame's address.
        known: Its direct map.
    """
    start, end = (int(one) + known.distance & _WRAP for one in (reader.runs[0, 0], reader.runs[-1, 1]))
    pages = pages_below(reader, reading, reading.kernel, row, _MANY, (start, end) if start < end else None)
    here = np.uint64(frame)
    start_of: Any = pages.paddrs & ~(pages.sizes - np.uint64(1))
    at = np.flatnonzero((start_of <= here) & (here - start_of < pages.sizes))
    vaddrs = pages.vaddrs[at] + (here - start_of[at])
    return [vaddr for vaddr in vaddrs.tolist() if vaddr - frame & _WRAP != known.distance]
