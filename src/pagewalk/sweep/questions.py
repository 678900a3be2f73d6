"""What is asked of each chunk: its pages, its runs, or its holes. Each answers with a block by address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pagewalk.formats import NO_PADDR, Flag
from pagewalk.sweep.bits import FLAGS, KIND_SHIFT, kinds_of
from pagewalk.sweep.columns import HOLES, PAGES, PAGES_RAW, RUNS, part

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from pagewalk.sweep.bits import Codec, States
    from pagewalk.sweep.chunk import Chunk
    from pagewalk.sweep.columns import Block, Schema
    from pagewalk.sweep.filters import Filter

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]
    Room = Callable[[int], Block | None]

__all__ = ["Holes", "Pages", "Question", "Runs", "no_room", "selected"]

_STATE: Final = (1 << 32) - 1 - int(Flag.rights())


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
    codec: Codec, chunk: Chunk, wanted: Filter, entries: Words, places: Places | None
) -> tuple[Words, Places | None, States]:
    """The entries that pass a filter by level, flags and kind, with their places and states."""
    if not wanted.level_passes(chunk.level):
        return entries[:0], _NOWHERE, 0
    states: Any = codec.states(entries, chunk.level)
    rights: Any = chunk.rights(places)
    if not isinstance(rights, int) or rights != int(Flag.rights()):
        masks: Any = rights | _STATE if isinstance(rights, int) else rights | np.uint32(_STATE)
        states = states & masks
    if wanted.by_level_only:
        return entries, places, states
    passes = wanted.by_state(states)
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


def _take_apart(states: States, flags: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8]) -> None:
    """Write the flags and the kinds of states down."""
    if isinstance(states, int):
        flags.fill(states & FLAGS)
        kinds.fill(states >> KIND_SHIFT)
        return
    np.bitwise_and(states, np.uint32(FLAGS), out=flags)
    kinds[:] = kinds_of(states)


class Pages:
    """One row an entry.

    Args:
        codec: The format's decoder.
        span: The range's first and last byte.
        wanted: Which entries.
        raw: With the raw entries.
    """

    def __init__(self, codec: Codec, span: tuple[int, int], wanted: Filter, *, raw: bool = False) -> None:
        self.schema = PAGES_RAW if raw else PAGES
        self._codec = codec
        self._first = span[0]
        self.wanted = wanted
        self._raw = raw

    def rows(self, chunk: Chunk, room: Room) -> Block:
        """See ``Question``."""
        entries, places, states = selected(self._codec, chunk, self.wanted, *ends_of(chunk))
        count = len(entries)
        filtered = self.wanted.frames is not None
        block = None if filtered else room(count)
        if block is None:
            block = tuple(np.empty(count, dtype) for dtype in self.schema.dtypes)
        chunk.vaddrs(places, block[0])
        self._codec.frames(entries, chunk.level, states, block[1])
        _take_apart(states, block[2], block[3])
        block[4].fill(chunk.depth)
        if self._raw:
            block[5][:] = entries
        passes = self.wanted.by_frame(block[1], chunk.level.span)
        if passes is not None and not passes.all():
            block = part(block, passes)
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


class Runs:
    """Neighbours of one level, alike in flags and kind, whose frames follow each other (or which have none), as one.

    How it works. Where an entry is its neighbour plus one frame, the two belong together, whatever their bits mean: a
    subtraction and a comparison find most runs before anything is decoded. What begins a run is decoded, and then
    joined once more by the rule itself: different bits may mean the same, and markers have no frames.
    """

    def __init__(self, codec: Codec, span: tuple[int, int], wanted: Filter) -> None:
        self.schema = RUNS
        self._codec = codec
        self._span = span
        self.wanted = wanted

    def rows(self, chunk: Chunk, room: Room) -> Block:
        """See ``Question``."""
        entries, places = ends_of(chunk)
        if not len(entries):
            return self.schema.empty()
        starts, counts = self._raw_runs(chunk, entries, places)
        if len(starts) < len(entries):
            entries = entries[starts]
            places = starts + chunk.first if places is None else places[starts]
        elif places is None:
            places = np.arange(chunk.first, chunk.end, dtype=np.intp)
        return self._decoded(chunk, entries, places, counts)

    def _decoded(self, chunk: Chunk, entries: Words, places: Places, counts: Words) -> Block:
        """The runs that begin with these entries, as rows."""
        everything, level = self.wanted.everything, chunk.level
        found, at, states = selected(self._codec, chunk, self.wanted, entries, places)
        if at is None:
            at = places
        if not everything:
            counts = counts[np.searchsorted(places, at)]
        vaddrs = chunk.vaddrs(at)
        paddrs = self._codec.frames(found, level, states)
        flags = np.empty(len(found), np.uint32)
        kinds = np.empty(len(found), np.uint8)
        _take_apart(states, flags, kinds)
        sizes = counts << np.uint64(level.shift)
        block: Block = (vaddrs, paddrs, flags, kinds, np.full(len(found), chunk.depth, np.uint8), sizes)
        block = self._within_frames(block, level.span)
        self._cut(block)
        return self.joined(block)

    def _within_frames(self, block: Block, span: int) -> Block:
        """Cut runs down to the pages that lie in the physical range that is wanted."""
        if self.wanted.frames is None or not len(block[0]):
            return block
        start, end = self.wanted.frames
        vaddrs, paddrs, _, _, _, sizes = block
        shift = np.uint64(span.bit_length() - 1)
        low, high = np.uint64(max(start - span + 1, 0)), np.uint64(min(end, 1 << 63))
        first = np.maximum(paddrs, low) - paddrs + np.uint64(span - 1) >> shift
        behind = np.maximum(paddrs, high) - paddrs + np.uint64(span - 1) >> shift
        behind = np.minimum(behind, sizes >> shift)
        wanted = (paddrs != np.uint64(NO_PADDR)) & (first < behind)
        vaddrs += first << shift
        paddrs += first << shift
        sizes[:] = behind - first << shift
        return part(block, wanted)

    def _raw_runs(self, chunk: Chunk, entries: Words, places: Places | None) -> tuple[Places, Words]:
        """Where runs begin, by the raw entries alone, and how many entries each has."""
        depth = chunk.level.depth
        breaks = entries[1:] - entries[:-1] != np.uint64(self._codec.step[depth])
        if places is not None:
            breaks |= places[1:] - places[:-1] != 1
            breaks |= (entries[1:] & self._codec.valid_bit) == 0  # frames may be stored inverted
        for at in self._borders(chunk):
            after = at - chunk.first if places is None else int(np.searchsorted(places, at))
            if 0 < after < len(entries):
                breaks[after - 1] = True
        starts = np.concatenate([[0], np.flatnonzero(breaks) + 1]).astype(np.intp)
        ends = np.append(starts[1:], len(entries))
        carried = (entries[starts] ^ entries[ends - 1]) & np.uint64(self._codec.step_field[depth])
        if carried.any():  # a frame number ran over into the bits above it
            starts = np.arange(len(entries), dtype=np.intp)
            return starts, np.ones(len(entries), np.uint64)
        return starts, (ends - starts).astype(np.uint64)

    @staticmethod
    def _borders(chunk: Chunk) -> list[int]:
        """The places where a table's first entry does not continue the table before."""
        tables, level = chunk.tables, chunk.level
        found = [chunk.half] if chunk.half else []
        if len(tables) > 1:
            apart = tables.vaddr[1:] - tables.vaddr[:-1] != np.uint64(level.span << level.index_bits)
            apart |= tables.rights[1:] != tables.rights[:-1]
            found += ((np.flatnonzero(apart) + 1) << level.index_bits).tolist()
        return found

    def _cut(self, block: Block) -> None:
        """Cut off what reaches out of the range."""
        vaddrs, sizes = block[0], block[5]
        if not len(vaddrs):
            return
        if int(vaddrs[0]) < self._span[0]:
            sizes[0] = int(sizes[0]) - (self._span[0] - int(vaddrs[0]))
            cut_front(block, self._span[0])
        beyond = int(vaddrs[-1]) + int(sizes[-1]) - 1 - self._span[1]
        if beyond > 0:
            sizes[-1] = int(sizes[-1]) - beyond

    def joined(self, rows: Block) -> Block:
        """See ``Question``."""
        if len(rows[0]) < 2:
            return rows
        vaddrs, paddrs, flags, kinds, depths, sizes = rows
        joins: Mask = vaddrs[:-1] + sizes[:-1] == vaddrs[1:]
        joins &= _in_order(paddrs, sizes)
        if not joins.any():
            return rows
        for column in (flags, kinds, depths):
            joins &= column[:-1] == column[1:]
        return _run_together(rows, joins, 5)


def _in_order(paddrs: Words, sizes: Words) -> Mask:
    """Whether each frame follows on from the one before, or both rows have none."""
    none = np.uint64(NO_PADDR)
    follows: Mask = paddrs[:-1] + sizes[:-1] == paddrs[1:]
    if int(paddrs.max()) == NO_PADDR:
        framed = paddrs != none
        follows = follows & framed[:-1] & framed[1:] | ~framed[:-1] & ~framed[1:]
    return follows


def _run_together(rows: Block, joins: Mask, size: int) -> Block:
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
        if chunk.even and not chunk.half:
            return begins, ends
        per = chunk.level.entries
        borders = np.arange(per, len(chunk.tables) * per, per, dtype=np.intp)
        if chunk.half:
            borders = np.sort(np.append(borders, chunk.half))
        inside = np.searchsorted(begins, borders, side="right") - 1
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
        return _run_together(rows, joins, 2) if joins.any() else rows
