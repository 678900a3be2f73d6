"""What a CPU keeps to itself: translations, and pages that it will see to later, held by one more reference meanwhile.

A page that is locked or unlocked waits on such a list until it is full, and who asks whether anybody else holds it is
told so: one that a parent unlocked by writing to its own copy is copied again for the child that it was left to. When a
list is emptied is a matter of what else the CPU does.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Final

__all__ = ["Aside", "flush"]

_FLUSHED: Final = 64
"""Pages of which a CPU forgets all at once, not one by one (``tlb_single_page_flush_ceiling``, x86-64, is 33)."""


class Aside:
    """Empties the lists of this CPU."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self._at = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(self._page)))
        self._libc = ctypes.CDLL(None)

    def empty(self) -> None:
        """Empty them: mlock and munlock do, of an area that is not locked, or is."""
        size = ctypes.c_size_t(mmap.PAGESIZE)
        self._libc.mlock(self._at, size)
        self._libc.munlock(self._at, size)


def flush() -> None:
    """Have this CPU forget all translations of this process, so that the next access to a page is noted in its entry.

    Shared memory for a moment: it becomes one with no neighbour.
    """
    with mmap.mmap(-1, _FLUSHED * mmap.PAGESIZE) as region:
        for page in range(_FLUSHED):
            region[page * mmap.PAGESIZE] = 1
