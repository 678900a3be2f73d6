"""Rows joined across the borders of blocks, and rows of two levels brought together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pagewalk.sweep.columns import part
from pagewalk.sweep.questions import no_room

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.sweep.columns import Block, Sink
    from pagewalk.sweep.questions import Question, Room

__all__ = ["Joiner", "woven"]


class Joiner:
    """Joins rows across blocks: the last row of each is kept back until the next is seen.

    Args:
        question: Says which rows belong together.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._idle = "size" not in question.schema.names
        self._kept: Block | None = None

    def room(self, sink: Sink) -> Room:
        """Where rows may be written before they are pushed: nowhere, if others may have to go before them."""
        return sink.room if self._idle else no_room

    def push(self, block: Block, add: Callable[[Block], None]) -> None:
        """Take a block, each row of which stands for itself; hand on what is done."""
        if self._idle:
            add(block)
            return
        if not len(block[0]):
            return
        if self._kept is not None:
            pair = self._question.joined(
                tuple(np.concatenate([one, two[:1]]) for one, two in zip(self._kept, block, strict=True))
            )
            for column, values in zip(block, pair, strict=True):
                column[0] = values[-1]
            add(part(pair, slice(0, -1)))
        self._kept = tuple(column[-1:].copy() for column in block)
        add(part(block, slice(0, -1)))

    def close(self, add: Callable[[Block], None]) -> None:
        """Hand on the last row."""
        if self._kept is not None:
            add(self._kept)
            self._kept = None


def woven(question: Question, rows: Block, between: Block, room: Room) -> Block:
    """Rows of the last level and rows of the levels above, by address."""
    places = rows[0].searchsorted(between[0])
    total = len(rows[0]) + len(places)
    block = room(total)
    if block is None:
        block = tuple(np.empty(total, column.dtype) for column in rows)
    targets = places + np.arange(len(places))
    steps = np.flatnonzero(places[1:] != places[:-1]) + 1
    cuts = [0, *places[np.append(0, steps)].tolist(), len(rows[0])]
    shifts = [0, *steps.tolist(), len(places)]
    moves = [
        (slice(first, end), slice(first + shift, end + shift))
        for first, end, shift in zip(cuts[:-1], cuts[1:], shifts, strict=True)
        if first < end
    ]
    for to, column, more in zip(block, rows, between, strict=True):
        for source, target in moves:
            to[target] = column[source]
        to[targets] = more
    return question.joined(block)
