"""What is asked of each chunk: its pages, or its holes (its runs: ``runs``). Each answers with a block by address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pagewalk.formats import NO_PADDR
from pagewalk.formats.arrays import kinds_of
from pagewalk.sweep.columns import DEPTH_SHIFT, HOLES, NO_DEPTH, PAGES, PAGES_RAW, part

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from pagewalk.formats.arrays import States
    from pagewalk.sweep.chunk import Chunk
    from pagewalk.sweep.columns import Block, Schema
    from pagewalk.sweep.filters import Filter

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]
    Room = Callable[[int], Block | None]

__all__ = [
    "DECODED",
    "Holes",
    "Pages",
    "Question",
    "cut_front",
    "decoded",
    "ends_of",
    "no_room",
    "run_together",
    "selected",
]

DECODED: Final = len(PAGES.names)
"""Columns that are the same in all listings of pages."""


class Question(Protocol):
    """What a sweep asks."""

    schema: Schema

    def rows(self, chunk: Chunk, room: Room) -> Block:
        """The answer for one chunk, by address; written where ``room`` says, if it has room."""

    def joined(self, rows: Block) -> Block:
        """Rows by address, those joined that belong together."""


def no_room(rows: int) -> Block | None:
    """There is no place prepared for rows."""
    return None


def selected(
    chunk: Chunk, wanted: Filter, entries: Words, places: Places | None
) -> tuple[Words, Places | None, States]:
    """The entries that pass a filter by level, flags and kind, with their places and states."""
    if not wanted.level_passes(chunk.level):
        return entries[:0], _NOWHERE, 0
    states: Any = chunk.states(entries, places)
    if wanted.by_level_only and not wanted.splits_groups(chunk.level):
        return entries, places, states
    passes = wanted.by_state(states, chunk.level)
    if not isinstance(passes, np.ndarray):
        return (entries, places, states) if passes else (entries[:0], _NOWHERE, 0)
    if passes.all():
        return entries, places, states
    at = np.flatnonzero(passes)
    return entries[at], at + chunk.first if places is None else places[at], states[at]


_NOWHERE: Final = np.empty(0, np.intp)


def ends_of(chunk: Chunk) -> tuple[Words, Places | None]:
    """The entries of a chunk that end a translation, and their places."""
    if chunk.ends is None:
        return chunk.entries, chunk.places
    at = np.flatnonzero(chunk.ends)
    return chunk.entries[at], at + chunk.first if chunk.places is None else chunk.places[at]


def decoded(chunk: Chunk, entries: Words, places: Places | None, states: States, block: Block) -> None:
    """Write down what entries say: address, place, state and depth."""
    arrays, count, depth = chunk.level.arrays, len(entries), np.uint32(chunk.depth << DEPTH_SHIFT)
    vaddrs, frames, said = (column[:count] for column in block[:DECODED])
    chunk.vaddrs(places, vaddrs)
    arrays.addresses(entries, states, vaddrs, frames)
    if isinstance(states, int):
        said.fill(np.uint32(states & NO_DEPTH) | depth)
    else:
        np.bitwise_and(states, np.uint32(NO_DEPTH), out=said)
        said |= depth


class Pages:
    """One row an entry.

    Args:
        span: The range's first and last byte.
        wanted: Which entries.
        raw: With the raw entries.
    """

    def __init__(self, span: tuple[int, int], wanted: Filter, *, raw: bool = False) -> None:
        self.schema = PAGES_RAW if raw else PAGES
        self._first = span[0]
        self.wanted = wanted
        self._raw = raw

    def rows(self, chunk: Chunk, room: Room) -> Block:
        """See ``Question``."""
        entries, places = ends_of(chunk)
        if not len(entries):
            return self.schema.empty()
        entries, places, states = selected(chunk, self.wanted, entries, places)
        count = len(entries)
        filtered = self.wanted.frames is not None
        block = None if filtered else room(count)
        if block is None:
            block = tuple(np.empty(count, dtype) for dtype in self.schema.dtypes)
        decoded(chunk, entries, places, states, block)
        if self._raw:
            block[DECODED][:] = entries
        if filtered:
            block = part(block, self.wanted.by_frame(block[1], kinds_of(block[2]), chunk.level.span))
        cut_front(block, self._first)
        return block

    def joined(self, rows: Block) -> Block:
        """See ``Question``: nothing is joined."""
        return rows


def cut_front(block: Block, first: int) -> None:
    """Cut off what the first page has before the range."""
    vaddrs, paddrs = block[0], block[1]
    if len(vaddrs) and (begin := int(vaddrs[0])) < first:
        vaddrs[0] = first
        if int(paddrs[0]) != NO_PADDR:
            paddrs[0] = int(paddrs[0]) + first - begin


def run_together(rows: Block, joins: Mask, size: int) -> Block:
    """Rows, each joined to the one before it where ``joins`` says; ``size`` is the column of sizes."""
    begins = np.concatenate([[0], np.flatnonzero(~joins) + 1])
    runs = part(rows, begins)
    runs[size][:] = np.add.reduceat(rows[size], begins)
    return runs


class Holes:
    """Runs of empty entries of one level."""

    def __init__(self, span: tuple[int, int]) -> None:
        self.schema = HOLES
        self._span = span

    def rows(self, chunk: Chunk, room: Room) -> Block:
        """See ``Question``."""
        if chunk.places is None:
            return self.schema.empty()
        edges = np.concatenate([[chunk.first - 1], chunk.places, [chunk.end]])
        gaps = np.flatnonzero(edges[1:] - edges[:-1] > 1)
        begins, ends = self._cut_at_borders(chunk, edges[gaps] + 1, edges[gaps + 1])
        sizes = (ends - begins).view(np.uint64) << np.uint64(chunk.level.shift)
        block: Block = (chunk.vaddrs(begins), np.full(len(begins), chunk.depth, np.uint8), sizes)
        self._cut(block)
        return self.joined(block)

    @staticmethod
    def _cut_at_borders(chunk: Chunk, begins: Places, ends: Places) -> tuple[Places, Places]:
        """Gaps between places, none of which goes on into the next table where its addresses do not."""
        if chunk.even:
            return begins, ends
        per = chunk.level.entries
        borders = np.arange(per, len(chunk.tables) * per, per, dtype=np.intp)
        inside = begins.searchsorted(borders, side="right") - 1
        ok = inside >= 0
        borders, inside = borders[ok], inside[ok]
        cut = borders[(begins[inside] < borders) & (borders < ends[inside])]
        return np.sort(np.concatenate([begins, cut])), np.sort(np.concatenate([ends, cut]))

    def _cut(self, block: Block) -> None:
        """Cut off what reaches out of the range."""
        vaddrs, _, sizes = block
        if not len(vaddrs):
            return
        missing = self._span[0] - int(vaddrs[0])
        if missing > 0:
            vaddrs[0], sizes[0] = self._span[0], int(sizes[0]) - missing
        beyond = int(vaddrs[-1]) + int(sizes[-1]) - 1 - self._span[1]
        if beyond > 0:
            sizes[-1] = int(sizes[-1]) - beyond

    def joined(self, rows: Block) -> Block:
        """See ``Question``."""
        if len(rows[0]) < 2:
            return rows
        vaddrs, depths, sizes = rows
        joins: Mask = (vaddrs[:-1] + sizes[:-1] == vaddrs[1:]) & (depths[:-1] == depths[1:])
        return run_together(rows, joins, 2) if joins.any() else rows
