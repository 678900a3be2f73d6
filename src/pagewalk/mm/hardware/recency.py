"""How recently folios were used, as far as that is noted of a folio and not in entries.

How it works. A folio's first frame has its notes, and every frame knows that one. The first mark makes a folio
*referenced*, the second makes it *active* and no longer referenced, the third referenced again. One that is locked in
memory is never active. Single pages wait on a CPU's list to become active, until the list is full or the system call
over: a fourth mark takes the reference from one that waits once more. (``folio_mark_accessed``, mm/swap.c, Linux 6.18
with the classic LRU lists.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    Frames = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Recency"]

REFERENCED: Final = np.uint8(1)
ACTIVE: Final = np.uint8(2)
WAITS: Final = np.uint8(4)
"""It is about to be active: noted beside ACTIVE."""
TOGETHER: Final = 31
"""PAGEVEC_SIZE: pages that a CPU has on a list."""


class Recency:
    """What is noted of the folios of a machine's frames; frames are said by their physical addresses, uint64.

    Args:
        count: How many frames there are.
        page_size: Bytes in one.
    """

    def __init__(self, count: int, page_size: int) -> None:
        self._page_size = np.uint64(page_size)
        self._notes = np.zeros(count, np.uint8)
        self._first = np.arange(count, dtype=np.uint64)
        self._sizes = np.ones(count, np.uint32)
        self._waiting = np.empty(0, np.uint64)

    def _folios(self, paddrs: Frames) -> Frames:
        """The number of the first frame of the folio of each."""
        return self._first[paddrs // self._page_size]

    # -- folios --------------------------------------------------------------------------------------------------------

    def begin(self, paddrs: Frames) -> None:
        """These are single frames that somebody has just got: nothing is noted of them."""
        self._notes[paddrs // self._page_size] = 0

    def join(self, paddrs: Frames) -> None:
        """These frames are one folio from now on, of which is noted what was of the first one."""
        numbers = paddrs // self._page_size
        self._first[numbers] = numbers[0]
        self._sizes[numbers[0]] = len(numbers)

    def separate(self, paddrs: Frames) -> None:
        """These frames are folios of their own, of which is noted what was of the folio they are from."""
        numbers = paddrs // self._page_size
        self._notes[numbers] = self._notes[self._first[numbers]]
        self._first[numbers] = numbers
        self._sizes[numbers] = 1

    def take_over(self, source: int, target: int) -> None:
        """One single frame takes the place of another."""
        self._notes[target // int(self._page_size)] = self._notes[source // int(self._page_size)] & ~WAITS

    def recount(self, folios: Iterable[Frames]) -> None:
        """Say which frames are large folios; all others are single ones."""
        self.separate(np.arange(len(self._first), dtype=np.uint64) * self._page_size)
        for paddrs in folios:
            self.join(paddrs)

    def folios(self, paddrs: Frames) -> Frames:
        """The address of the first frame of the folio of each."""
        return self._folios(paddrs) * self._page_size

    def pages(self, paddrs: Frames) -> npt.NDArray[np.uint32]:
        """How many frames the folio of each has."""
        return self._sizes[self._folios(paddrs)]

    # -- notes ---------------------------------------------------------------------------------------------------------

    def referenced(self, paddrs: Frames) -> Mask:
        """Whether their folios are referenced: a bool a frame."""
        found: Mask = self._notes[self._folios(paddrs)] & REFERENCED != 0
        return found

    def refer(self, paddrs: Frames) -> None:
        """Their folios are referenced, whatever else."""
        self._notes[self._folios(paddrs)] |= REFERENCED

    def activate(self, paddrs: Frames) -> None:
        """Their folios are active, whatever else."""
        self._notes[self._folios(paddrs)] |= ACTIVE

    def deactivate(self, paddrs: Frames) -> None:
        """Their folios are not active any more."""
        self._notes[self._folios(paddrs)] &= REFERENCED

    def forget_references(self, paddrs: Frames) -> None:
        """Their folios are not referenced any more."""
        self._notes[self._folios(paddrs)] &= ~REFERENCED

    def forget(self, paddrs: Frames) -> None:
        """Their folios are neither active nor referenced any more."""
        self._notes[self._folios(paddrs)] = 0

    def mark(self, paddrs: Frames, locked: Callable[[Frames], Mask]) -> None:
        """Their folios are used now: a mark for each frame that is said, in order, so one may get several.

        Args:
            paddrs: The frames.
            locked: Says of the first frames of folios which are locked in memory. It is asked only where that matters.
        """
        folios = self._folios(paddrs)
        single, which, count = np.unique(folios, return_inverse=True, return_counts=True)
        if len(single) == len(folios):
            self._mark_each(folios, lambda at: locked(folios[at] * self._page_size))
            return
        order = np.argsort(which, kind="stable")
        times = np.empty_like(order)
        times[order] = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)  # that it was marked before
        stays = locked(single * self._page_size)
        marks = np.flatnonzero((times < 3) | (self._sizes[folios] == 1))  # more change nothing in what never waits
        for part in np.split(marks, np.flatnonzero(np.diff(times[marks])) + 1):
            self._mark_each(folios[part], stays[which[part]].__getitem__)

    def _mark_each(self, folios: Frames, locked: Callable[[Any], Mask]) -> None:
        """Mark folios once each; ``locked`` says which of some of them are."""
        before = self._notes[folios]
        self._notes[folios] = before | REFERENCED
        again = np.flatnonzero(before)
        if not again.size:
            return
        stays = locked(again)
        self._notes[folios[again[stays]]] = REFERENCED
        had = before[again]
        rising = folios[again[~stays & (had & REFERENCED != 0) & (had & (ACTIVE | WAITS) != ACTIVE)]]
        alone = self._sizes[rising] == 1
        self._notes[rising] = np.where(alone, ACTIVE | WAITS, ACTIVE)
        waiting = np.append(self._waiting, rising)
        large = np.flatnonzero(~alone)
        gone = len(self._waiting) + int(large[-1]) + 1 if large.size else 0  # a large one takes all before it along
        gone += (len(waiting) - gone) // TOGETHER * TOGETHER
        self._notes[waiting[:gone]] &= ~WAITS
        self._waiting = waiting[gone:]

    def drain(self) -> None:
        """Nobody waits any more to become active."""
        if len(self._waiting):
            self._notes[self._waiting] &= ~WAITS
            self._waiting = self._waiting[:0]
