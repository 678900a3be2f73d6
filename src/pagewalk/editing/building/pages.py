"""From regions to the pages that map them: the largest that fit, as runs first, then as entries of tables.

A run is pages of one size that follow each other. It is known where every run lies, and so how many tables there will
be, before there is an entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.errors import LayoutError, UnsupportedError
from pagewalk.formats import made
from pagewalk.sweep.build import Leaves, expanded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.editing.building.areas import Areas, Saying
    from pagewalk.editing.building.outline import Outline
    from pagewalk.editing.building.sizes import PageSize
    from pagewalk.formats import Level

    Words = npt.NDArray[np.uint64]
    Numbers = npt.NDArray[np.intp]

__all__ = ["Runs", "leaves_of", "runs_of"]

_AT_ONCE: Final = 1 << 21
"""Entries that are made at a time."""


class Runs(NamedTuple):
    """Pages that follow each other, as columns; each of shape (n,).

    Attributes:
        vaddrs, sizes, paddrs: Where they are, and where they lead, in bytes, uint64.
        pages: The number of their size, among ``page_sizes``.
        areas: The number of the region.
    """

    vaddrs: Words
    sizes: Words
    paddrs: Words
    pages: Numbers
    areas: Numbers

    def some(self, chosen: Any) -> Runs:
        """Those at some places."""
        return Runs(*(column[chosen] for column in self))


def runs_of(areas: Areas, sizes: Sequence[PageSize]) -> Runs:
    """The runs of regions that map something, by address within each region.

    Args:
        areas: The regions.
        sizes: The sizes that there are, the largest first.
    """
    found: list[Runs] = []
    left = Runs(
        areas.vaddrs, areas.sizes, areas.paddrs, np.zeros(len(areas.vaddrs), np.intp), np.arange(len(areas.vaddrs))
    )
    for number, (size, _, _) in enumerate(sizes):
        step = np.uint64(size)
        most, repeats = areas.largest[left.areas], areas.repeats[left.areas]
        head = (step - left.vaddrs % step) % step
        fits = (most == 0) | (most >= step)
        fits &= np.where(repeats, most == step, (left.vaddrs ^ left.paddrs) % step == 0)
        fits &= (left.sizes >= head) & (left.sizes - np.minimum(head, left.sizes) >= step)
        head, body = np.where(fits, head, left.sizes), (left.sizes - np.minimum(head, left.sizes)) // step * step
        body = np.where(fits, body, np.uint64(0))
        found.append(_cut(left, head, body, number).some(fits))
        tail = left.sizes - head - body
        left = _joined([_cut(left, left.sizes * 0, head, 0), _cut(left, head + body, tail, 0)])
        left = left.some(left.sizes > 0)
    runs = _joined(found)
    return runs.some(np.lexsort((runs.vaddrs, runs.areas)))


def _cut(runs: Runs, offsets: Words, sizes: Words, page: int) -> Runs:
    """Parts of runs."""
    return Runs(runs.vaddrs + offsets, sizes, runs.paddrs + offsets, np.full(len(sizes), page, np.intp), runs.areas)


def _joined(parts: Sequence[Runs]) -> Runs:
    """Runs in parts as one."""
    return Runs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def leaves_of(layout: Outline, areas: Areas, runs: Runs, page: PageSize, saying: Saying) -> Iterator[Leaves]:
    """The entries of some runs, in parts.

    Args:
        layout: Whose they are, for messages.
        areas: The regions, all of them.
        runs: Runs of pages of one size, of regions that say one thing, by address.
        page: The size.
        saying: What they say.

    Raises:
        UnsupportedError: The format cannot say it.
        LayoutError: It cannot name the address; or bits are to be set or cleared that mean something.
    """
    level, span = page.level, np.uint64(page.level.span)
    counts = (runs.sizes // span).astype(np.intp)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    repeats = areas.repeats[runs.areas]
    inside = np.uint64(page.size - 1)
    for first in range(0, total, _AT_ONCE):
        last = min(first + _AT_ONCE, total)
        low = np.clip(first - (ends - counts), 0, counts)
        which, nth = expanded(low, np.clip(last - (ends - counts), 0, counts) - low)
        offsets = nth.astype(np.uint64) * span
        forwards = np.where(repeats[which], offsets & inside, offsets) if repeats.any() else offsets
        paddrs = runs.paddrs[which] + forwards
        try:
            entries = made(level, paddrs, saying.leaf, order=page.order)
        except (UnsupportedError, ValueError) as error:
            kind = UnsupportedError if isinstance(error, UnsupportedError) else LayoutError
            raise kind(f"{_told(layout, runs)}: {error}") from None
        if saying.set or saying.clear:
            entries = _with_bits(level, entries, saying.set, saying.clear, _told(layout, runs))
        yield Leaves(runs.vaddrs[which] + offsets, entries)


def _told(layout: Outline, runs: Runs) -> str:
    """The first of the regions whose runs these are, for a message."""
    return layout.where(layout.regions[int(runs.areas[0])])


def _with_bits(level: Level, entries: Words, more: int, less: int, where: str) -> Words:
    """Entries with bits set and cleared, if these mean nothing to the MMU."""
    changed: Words = entries & ~np.uint64(less) | np.uint64(more)
    before, after = level.decode(int(entries[0])), level.decode(int(changed[0]))
    address = sum(part.mask for part in before.row.address)
    meant = [before.kind, before.flags, before.rights, before.attributes, before.row.order]
    if (more | less) & address or meant != [after.kind, after.flags, after.rights, after.attributes, after.row.order]:
        raise LayoutError(f"{where}: set {more:#x} and clear {less:#x} change what the entries say: say that instead")
    if more >> 8 * level.word.size or level.wrong(int(changed[0])):
        raise LayoutError(f"{where}: set {more:#x} sets bits that entries of this format must not have")
    return changed
