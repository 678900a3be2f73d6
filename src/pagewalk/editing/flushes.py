"""Which translations CPUs must be told to forget, and in what order, by the words that change."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pagewalk.editing.places import level_of
from pagewalk.formats import Flag
from pagewalk.formats.codec import ATTRIBUTES_SHIFT, memory_of
from pagewalk.formats.leaf import by_meaning, unseen_bits

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]
    Rows = npt.NDArray[np.void]

__all__ = ["Flush", "flushes_of"]


class Flush(NamedTuple):
    """Addresses whose translations must be forgotten.

    Attributes:
        vaddr, size: The range, in bytes.
        stride: Bytes from one translation to the next: the size of its pages.
        tables: A table was unlinked, or stands where a page was: what CPUs keep of upper entries goes too.
        breaks: The entries must be emptied and forgotten before the new ones are written.
        absent: Nothing was there: only a CPU that keeps that has to be told.
    """

    vaddr: int
    size: int
    stride: int
    tables: bool = False
    breaks: bool = False
    absent: bool = False

    @property
    def translations(self) -> int:
        """How many translations that are."""
        return -(-self.size // self.stride)


def flushes_of(tables: PageTables, words: Rows) -> tuple[Flush, ...]:
    """The addresses whose translations must be forgotten, joined where they follow each other.

    Args:
        tables: The page tables.
        words: The words that change, of ``plan.WORD``.
    """
    rule = tables.format.invalidation
    if rule is None:
        return ()
    words = words[(words["depth"] >= 0) & ~words["fresh"]]
    found: list[Flush] = []
    for depth in np.unique(words["depth"]).tolist():
        some = words[words["depth"] == depth]
        for level, mine in _by_level(tables, some):
            found += _of_level(level, mine, keeps_absent=rule.keeps_absent, breaks=rule.breaks)
    return tuple(sorted(found))


def _by_level(tables: PageTables, words: Rows) -> Iterator[tuple[Level, Rows]]:
    """Words of one depth, those of each window by their level."""
    for window in tables.windows:
        inside = (words["vaddr"] >= window.start) & (words["vaddr"] <= window.end - 1)
        if inside.any():
            some = words[inside]
            yield level_of(tables, int(some["depth"][0]), int(some["vaddr"][0])), some


def _of_level(level: Level, words: Rows, *, keeps_absent: bool, breaks: bool) -> Iterator[Flush]:
    """What words of one level make necessary."""
    old, new = (np.ascontiguousarray(words[name]) for name in ("old", "new"))
    was, is_now = (np.broadcast_to(level.is_valid(entries), len(words)) for entries in (old, new))
    matters = _differs_for_hardware(level, old, new, was & is_now)
    table = was & level.arrays.is_table(old)
    breaking = was & is_now & matters & _must_break(level, old, new) if breaks else np.zeros(len(words), np.bool_)
    absent = ~was & is_now if keeps_absent else np.zeros(len(words), np.bool_)
    needed = (was & ~is_now) | (was & is_now & matters) | absent
    codes = np.packbits(np.stack([table, breaking, absent]), axis=0, bitorder="little")[0]
    for first, count, code in _joined(words["vaddr"], codes, needed, level.span):
        yield Flush(first, count * level.span, level.span, bool(code & 1), bool(code & 2), bool(code & 4))


def _differs_for_hardware(level: Level, old: Words, new: Words, both: Mask) -> Mask:
    """Which entries, present before and after, differ in a bit that the hardware looks at."""
    differs = both & (old != new)
    for entry, mask in by_meaning(level, old) if differs.any() else ():
        seen = np.uint64(level.word.mask & ~unseen_bits(level, entry))
        differs[mask] &= ((old[mask] ^ new[mask]) & seen) != 0
    return differs


def _must_break(level: Level, old: Words, new: Words) -> Mask:
    """Which entries name another frame, or are of another size, memory type or scope than before."""
    arrays = level.arrays
    frames = arrays.frames(old) != arrays.frames(new)
    kinds = arrays.kinds(old) != arrays.kinds(new)
    was, is_now = (np.broadcast_to(np.asarray(arrays.states(entries)), len(entries)) for entries in (old, new))
    bits = int(Flag.GLOBAL | Flag.GROUPED) | memory_of(-1) << ATTRIBUTES_SHIFT
    found: Mask = frames | kinds | ((was ^ is_now) & np.uint32(bits) != 0)
    return found


def _joined(vaddrs: Words, codes: npt.NDArray[np.uint8], needed: Mask, span: int) -> Iterator[tuple[int, int, int]]:
    """Runs of neighbours that are alike: the first address, how many, and what they are."""
    order = np.argsort(vaddrs[needed], kind="stable")
    vaddrs, codes = vaddrs[needed][order], codes[needed][order]
    if not len(vaddrs):
        return
    cuts = (vaddrs[1:] - vaddrs[:-1] != np.uint64(span)) | (codes[1:] != codes[:-1])
    firsts = np.append(0, np.flatnonzero(cuts) + 1)
    counts = np.diff(np.append(firsts, len(vaddrs)))
    yield from zip(vaddrs[firsts].tolist(), counts.tolist(), codes[firsts].tolist(), strict=True)
