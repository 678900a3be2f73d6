"""What is asked of each chunk: runs of pages that belong together, as one row each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.formats.arrays import kinds_of
from pagewalk.formats.bits import EVERY
from pagewalk.sweep.columns import RUNS, depths_of, part
from pagewalk.sweep.questions import cut_front, decoded, ends_of, run_together, selected

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.sweep.chunk import Chunk
    from pagewalk.sweep.columns import Block
    from pagewalk.sweep.filters import Filter
    from pagewalk.sweep.questions import Room

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Runs", "joined_runs", "spans_by_depth", "spans_of"]

_REPEATED: Final = int(Flag.REPEATED)
_SIZE: Final = RUNS.names.index("size")


class Runs:
    """Neighbours of one level, alike in flags, kind, memory type and key, as one row; so are neighbours in swap.

    They belong together while their frames follow each other, or are one and the same (``Flag.REPEATED``), or while
    they have none. A page whose neighbour has the same frame belongs with that one rather than with a frame that goes
    on: so it does not matter from where one begins to look.

    How it works. Where an entry is its neighbour, or its neighbour plus one frame, the two belong together whatever
    their bits mean: a subtraction and two comparisons find most runs before anything is decoded. What begins a run is
    decoded, and then joined once more by the rule itself (``joined_runs``): different bits may mean the same.
    """

    def __init__(self, levels: Sequence[Level], span: tuple[int, int], wanted: Filter) -> None:
        self.schema = RUNS
        self._spans = spans_by_depth(levels)
        self._span = span
        self.wanted = wanted

    def rows(self, chunk: Chunk, room: Room) -> Block:
        """See ``Question``."""
        entries, places = ends_of(chunk)
        if not len(entries):
            return self.schema.empty()
        starts, counts, again = self._raw_runs(chunk, entries, places)
        if len(starts) < len(entries):
            entries = entries[starts]
            places = starts + chunk.first if places is None else places[starts]
        elif places is None:
            places = np.arange(chunk.first, chunk.end, dtype=np.intp)
        return self._decoded(chunk, entries, places, (counts, again))

    def _decoded(self, chunk: Chunk, entries: Words, places: Places, runs: tuple[Words, Mask | None]) -> Block:
        """The runs that begin with these entries, as rows."""
        level, (counts, again) = chunk.level, runs
        found, at, states = selected(chunk, self.wanted, entries, places)
        if at is None:
            at = places
        if not self.wanted.everything:
            passed = places.searchsorted(at)
            counts, again = counts[passed], None if again is None else again[passed]
        block: Block = tuple(np.empty(len(found), dtype) for dtype in self.schema.dtypes)
        decoded(chunk, found, at, states, block)
        if again is not None:
            block[2][again & (block[1] != np.uint64(NO_PADDR))] |= _REPEATED
        np.left_shift(counts, np.uint64(level.shift), out=block[_SIZE])
        block = self._within_frames(block, level.span)
        self._cut(block)
        return self.joined(block)

    def _within_frames(self, block: Block, span: int) -> Block:
        """Cut runs down to the pages that lie in the physical range that is wanted."""
        if self.wanted.frames is None or not len(block[0]):
            return block
        start, end = self.wanted.frames
        vaddrs, paddrs, states, sizes = block
        shift = np.uint64(span.bit_length() - 1)
        low, high = np.uint64(max(start - span + 1, 0)), np.uint64(min(end, 1 << 63))
        first = np.maximum(paddrs, low) - paddrs + np.uint64(span - 1) >> shift
        behind = np.minimum(np.maximum(paddrs, high) - paddrs + np.uint64(span - 1) >> shift, sizes >> shift)
        again = states & np.uint32(_REPEATED) != 0  # all of its pages lie in the range, or none
        framed = (paddrs != np.uint64(NO_PADDR)) & (kinds_of(states) != Kind.SWAP)
        wanted = framed & (first < behind) & ~(again & (first > 0))
        behind = np.where(again, sizes >> shift, behind)
        vaddrs, paddrs, _, sizes = block = part(block, wanted)
        first, behind = first[wanted], behind[wanted]
        vaddrs += first << shift
        paddrs += first << shift
        sizes[:] = behind - first << shift
        return block

    def _raw_runs(self, chunk: Chunk, entries: Words, places: Places | None) -> tuple[Places, Words, Mask | None]:
        """Where runs begin, by the raw entries alone; how many entries each has; which repeat one entry (None: no)."""
        arrays, visible = chunk.level.arrays, chunk.level.codec.visible
        step, counted = arrays.step
        apart = self._apart(chunk, entries, places)
        steps = entries[1:] - entries[:-1]
        breaks, same = steps != np.uint64(step), steps == 0
        if visible is None or not step:
            breaks.fill(True)
        elif not chunk.valid:
            breaks |= entries[1:] & np.uint64(visible.mask) != np.uint64(visible.value)  # stored in another way
        for mask, value in chunk.level.codec.shared_entries:  # alike, yet not of one frame
            same &= entries[1:] & np.uint64(mask) != np.uint64(value)
            breaks |= entries[1:] & np.uint64(mask) == np.uint64(value)
        if apart is not None:
            breaks |= apart
            same &= ~apart
        repeated = bool(same.any())
        if repeated:
            follows = ~breaks
            _leave_to(same, follows)
            breaks = ~(same | follows)
        starts = np.concatenate([[0], np.flatnonzero(breaks) + 1]).astype(np.intp)
        ends = np.append(starts[1:], len(entries))
        carried = (entries[starts] ^ entries[ends - 1]) & np.uint64(EVERY ^ counted)
        if carried.any():  # a frame number ran over into the bits above it
            starts = np.arange(len(entries), dtype=np.intp)
            return starts, np.ones(len(entries), np.uint64), None
        return starts, (ends - starts).astype(np.uint64), np.append(same, False)[starts] if repeated else None

    def _apart(self, chunk: Chunk, entries: Words, places: Places | None) -> Mask | None:
        """Which entries the next one has nothing to do with: it stands elsewhere; None: none of them."""
        apart = None if places is None else places[1:] - places[:-1] != 1
        borders = self._borders(chunk)
        if self._cut_page(chunk, places):
            borders.append((chunk.first if places is None else int(places[0])) + 1)
        for border in borders:
            after = border - chunk.first if places is None else int(places.searchsorted(border))
            if 0 < after < len(entries):
                apart = np.zeros(len(entries) - 1, np.bool_) if apart is None else apart
                apart[after - 1] = True
        return apart

    def _cut_page(self, chunk: Chunk, places: Places | None) -> bool:
        """Whether the range begins within the first page: what is left of it is no whole page."""
        first = places[:1] if places is not None else np.array([chunk.first], np.intp)
        return self._span[0] % chunk.level.span != 0 and int(chunk.vaddrs(first)[0]) < self._span[0]

    @staticmethod
    def _borders(chunk: Chunk) -> list[int]:
        """The places where a table's first entry does not continue the table before."""
        tables, level = chunk.tables, chunk.level
        found: list[int] = []
        if len(tables) > 1:
            apart = tables.vaddr[1:] - tables.vaddr[:-1] != np.uint64(level.span << level.index_bits)
            apart |= tables.rights[1:] != tables.rights[:-1]
            found += ((np.flatnonzero(apart) + 1) << level.index_bits).tolist()
        return found

    def _cut(self, block: Block) -> None:
        """Cut off what reaches out of the range."""
        vaddrs, sizes = block[0], block[_SIZE]
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
        return joined_runs(self._spans, rows)


def _leave_to(same: Mask, follows: Mask) -> None:
    """Where a page's frame is that of a neighbour, it no longer follows, nor is followed by, the other neighbour's."""
    follows[1:] &= ~same[:-1]
    follows[:-1] &= ~same[1:]


def joined_runs(by_depth: Words, rows: Block) -> Block:
    """Rows by address, each a run or a page; those joined that belong together.

    Args:
        by_depth: How large an entry's page is, by depth.
        rows: The columns of ``RUNS``. Within itself, each row is complete.
    """
    if len(rows[0]) < 2:
        return rows
    spans = spans_of(by_depth, rows[2])
    repeats = bool(int(np.bitwise_or.reduce(rows[2])) & _REPEATED)
    links = _links(rows, spans, rows[2] & np.uint32(_REPEATED) != 0 if repeats else None)
    if links is None:
        return rows
    same, follows, nothing = links
    many = (rows[_SIZE] > spans) & (rows[2] & np.uint32(_REPEATED) == 0)
    if (torn := same & (many[:-1] | many[1:])).any():
        return joined_runs(by_depth, _torn(rows, (torn & many[1:], torn & many[:-1]), spans))
    _leave_to(same, follows)
    return _run_together(rows, same, same | follows | nothing)


def spans_by_depth(levels: Sequence[Level]) -> Words:
    """What one entry covers, by depth."""
    spans = np.zeros(levels[-1].depth + 1, np.uint64)
    for level in levels:
        spans[level.depth] = level.span
    return spans


def spans_of(by_depth: Words, states: npt.NDArray[np.uint32]) -> Words:
    """How large the pages of each row are."""
    depths = depths_of(states)
    if int(depths.min()) == int(depths.max()):
        return np.broadcast_to(by_depth[depths[0]], depths.shape)
    return by_depth.take(depths)


def _links(rows: Block, spans: Words, repeats: Mask | None) -> tuple[Mask, Mask, Mask] | None:
    """Which rows are alike and continue: with the same frame, the frame that follows, none; None: no rows do."""
    vaddrs, paddrs, states, sizes = rows
    steps = paddrs[1:] - paddrs[:-1]
    steps -= sizes[:-1]
    if repeats is not None:  # the last page's frame is the first one's
        steps[repeats[:-1]] += (sizes - spans)[:-1][repeats[:-1]]
    follows = steps == 0
    if repeats is not None:
        follows &= ~repeats[:-1] & ~repeats[1:]
    steps += spans[:-1]
    same = steps == 0
    linked = same | follows
    if int(paddrs.max()) == NO_PADDR:
        unframed = paddrs == np.uint64(NO_PADDR)
        same &= ~unframed[:-1]
        linked |= unframed[:-1] & unframed[1:]
    at = np.flatnonzero(linked)
    alike = vaddrs[at] + sizes[at] == vaddrs[at + 1]
    alike &= (states[at] ^ states[at + 1]) & np.uint32(0xFFFF_FFFF ^ _REPEATED) == 0
    at = at[alike]
    if not len(at):
        return None
    linked.fill(False)
    linked[at] = True
    same &= linked & (sizes[:-1] >= spans[:-1])  # not the rest of a page that the range has cut
    follows &= linked
    nothing = linked & (paddrs[:-1] == np.uint64(NO_PADDR))
    return same, follows, nothing


def _run_together(rows: Block, same: Mask, joins: Mask) -> Block:
    """Rows, each joined to the one before it where ``joins`` says; ``same``: because they have one frame."""
    runs = run_together(rows, joins, _SIZE)
    begins = np.concatenate([[0], np.flatnonzero(~joins) + 1])
    runs[2][np.append(same, False)[begins]] |= _REPEATED
    return runs


def _torn(rows: Block, ends: tuple[Mask, Mask], spans: Words) -> Block:
    """Rows, some without their first or their last page, which stands for itself.

    Args:
        rows: The rows.
        ends: Whether the first page of each but the first is torn off; whether the last page of each but the last is.
        spans: A page's size in each.
    """
    first, last = np.insert(ends[0], 0, False), np.append(ends[1], False)
    middle = rows[_SIZE] - spans * (first.astype(np.uint64) + last)
    counts = np.stack([first, middle > 0, last], axis=1)
    sizes = np.stack([spans, middle, spans], axis=1)
    offsets = np.cumsum(sizes * counts, axis=1) - sizes * counts
    which, piece = np.nonzero(counts)
    pieces = part(rows, which)
    framed = pieces[1] != np.uint64(NO_PADDR)
    pieces[0][:] += offsets[which, piece]
    pieces[1][framed] += offsets[which, piece][framed]
    pieces[_SIZE][:] = sizes[which, piece]
    return pieces
