"""Frames that a memory does not have, though it claims to hold frames: rows that name them are marked.

A file holds the memory of a machine, so a page whose frame is not in it is odd: another kernel version, an encryption
bit or the wrong format make entries mean something else. A capture holds page tables alone, and claims nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.formats.arrays import kinds_of
from pagewalk.memory import frames_of
from pagewalk.sweep.columns import RUNS, part
from pagewalk.sweep.runs import joined_runs, spans_by_depth, spans_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.memory import Memory
    from pagewalk.sweep.columns import Block, Schema

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Outside", "outside_of"]

_SIZE: Final = RUNS.names.index("size")


def outside_of(memory: Memory, levels: Sequence[Level], schema: Schema) -> Outside | None:
    """What marks rows of frames that are outside; None where the memory does not claim to hold frames."""
    frames = frames_of(memory) if "place" in schema.names else None
    return None if frames is None else Outside(frames, levels, schema)


class Outside:
    """Marks rows whose pages lie outside a memory: no byte of them is there.

    Args:
        frames: Where the memory is: ``[start, end)`` of each run, ascending and apart. Shape (runs, 2), uint64.
        levels: How large pages are.
        schema: The rows' columns: those of pages, or of runs.
    """

    def __init__(self, frames: Words, levels: Sequence[Level], schema: Schema) -> None:
        self._spans = spans_by_depth(levels)
        self._runs = "size" in schema.names
        self._starts, self._ends = frames[:, 0].copy(), frames[:, 1].copy()
        edges = np.concatenate([self._starts, self._ends])
        order = np.argsort(edges, kind="stable")
        self._edges, self._is_end = edges[order], order >= len(self._starts)

    def marked(self, block: Block) -> Block:
        """Rows with ``Flag.OUTSIDE`` where it is so. Flags change in place; runs that are partly outside are cut."""
        if not len(block[0]) or self._all_inside(block):
            return block
        pieces = self._cut(block) if self._runs else block
        outside = self._outside(pieces[1], spans_of(self._spans, pieces[2])) & (kinds_of(pieces[2]) != Kind.SWAP)
        pieces[2][outside] |= np.uint32(Flag.OUTSIDE)
        return pieces if pieces is block else joined_runs(self._spans, pieces)  # a gap may be smaller than a page

    def _all_inside(self, block: Block) -> bool:
        """Whether all is inside, as is mostly so and soon seen; if not, one has to look."""
        if len(self._starts) != 1:
            return False
        paddrs = block[1]
        ends = paddrs + (block[_SIZE] if self._runs else np.uint64(1))  # small where there is no frame: it wraps
        return int(paddrs.min()) >= int(self._starts[0]) and int(ends.max()) <= int(self._ends[0])

    def _outside(self, paddrs: Words, spans: Words) -> Mask:
        """Which pages have no byte in the memory; what has no frame is not outside."""
        segment = self._ends.searchsorted(paddrs, side="right")
        reached: Any = segment < len(self._ends)
        if len(self._starts):
            reached &= self._starts[segment.clip(max=len(self._starts) - 1)] < paddrs + spans
        outside: Mask = ~reached & (paddrs != np.uint64(NO_PADDR))
        return outside

    def _cut(self, block: Block) -> Block:
        """Runs, cut where the memory begins or ends, at borders of pages; the block itself if none is."""
        paddrs, sizes, spans = block[1], block[_SIZE], spans_of(self._spans, block[2])
        low = self._edges.searchsorted(paddrs, side="right")
        high = self._edges.searchsorted(paddrs + sizes, side="left")
        whole = (
            (sizes <= spans)
            | (kinds_of(block[2]) == Kind.SWAP)
            | (block[2] & np.uint32(Flag.REPEATED) != 0)
            | (paddrs == np.uint64(NO_PADDR))
        )
        counts = np.where(whole, 1, np.maximum(high - low, 0) + 1)
        if int(counts.max()) == 1:
            return block
        which = np.repeat(np.arange(len(paddrs)), counts)
        piece = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        begins = np.minimum(self._borders(low[which] + piece - 1, paddrs[which], spans[which]), sizes[which])
        begins[piece == 0] = 0
        ends = np.append(begins[1:], begins[:1])
        last = np.append(piece[1:] == 0, True)
        ends[last] = sizes[which[last]]
        pieces = part(block, which)
        pieces[0][:] += begins
        pieces[1][:] += begins  # what has no frame was not cut: 0 is added
        pieces[_SIZE][:] = ends - begins
        return part(pieces, ends > begins)

    def _borders(self, edges: Places, paddrs: Words, spans: Words) -> Words:
        """How far from ``paddrs`` on pages reach below an edge: the page that it lies in is inside."""
        edges = edges.clip(min=0)
        offset = paddrs % spans  # of a page that the range has cut
        steps: Words = self._edges[edges] - (paddrs - offset) + np.where(self._is_end[edges], spans - 1, 0)
        return steps // spans * spans - np.minimum(offset, steps // spans * spans)
