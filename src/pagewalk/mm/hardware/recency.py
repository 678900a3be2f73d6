"""How recently folios were used, as far as that is noted of a folio and not in entries.

How it works. A folio's first frame has its notes, and every frame knows that one. The first mark makes a folio
*referenced*, the second makes it *active* and no longer referenced, the third referenced again. One that is locked in
memory is never active. (``folio_mark_accessed``, mm/swap.c, Linux 6.18 with the classic LRU lists.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    Frames = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Recency"]

REFERENCED: Final = np.uint8(1)
ACTIVE: Final = np.uint8(2)


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
        self._notes[target // int(self._page_size)] = self._notes[source // int(self._page_size)]

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
        self._notes[self._folios(paddrs)] &= ACTIVE

    def forget(self, paddrs: Frames) -> None:
        """Their folios are neither active nor referenced any more."""
        self._notes[self._folios(paddrs)] = 0

    def mark(self, paddrs: Frames, locked: Callable[[Frames], Mask]) -> None:
        """Their folios are used now: a mark for each frame that is said, so one may get several.

        Args:
            paddrs: The frames.
            locked: Says of the first frames of folios which are locked in memory. It is asked only where that matters.
        """
        folios, marks = np.unique(self._folios(paddrs), return_counts=True)
        notes = self._notes[folios]
        marks -= notes & REFERENCED == 0
        notes |= REFERENCED
        again = np.flatnonzero((marks > 0) | (notes & ACTIVE != 0))
        if again.size:
            stays = locked(folios[again] * self._page_size)
            notes[again[stays]] = REFERENCED
            rising = again[~stays & (marks[again] > 0) & (notes[again] & ACTIVE == 0)]
            notes[rising] = np.where(marks[rising] > 1, ACTIVE | REFERENCED, ACTIVE)
        self._notes[folios] = notes
