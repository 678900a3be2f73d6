"""Pages that come into locked memory: which of them are locked already when the kernel notes that they are used.

How it works. A page that is mapped where memory is locked waits on a CPU's list; the page that fills the list has all
of them locked together (``mlock_folio``, mm/mlock.c, Linux 6.18). Pages are brought in in order of address, each is
noted to be used once it is there, and a read fault of a file takes along what the page cache has around it. So it
matters how many had come when a page was looked at. (The list is emptied when an area has been populated, not between
areas whose pages are pinned.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.hardware.recency import TOGETHER
from pagewalk.mm.paging.around import takes_around, window
from pagewalk.mm.state.accessed import whole_folios

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.mm.hardware.cpu import Access
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.files import File
    from pagewalk.mm.state.space import Space

    Frames = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.intp]

__all__ = ["Arrivals", "LockList"]


class LockList:
    """A CPU's list of pages that wait to be locked."""

    def __init__(self) -> None:
        self._waiting = 0

    def add(self, places: Numbers, come: Numbers) -> Mask:
        """Put pages on the list, and say which had left it when they were looked at.

        Args:
            places: Which each is, from 0, in the order in which they come.
            come: How many of them had come when each was looked at.
        """
        filled = (self._waiting + come) // TOGETHER * TOGETHER
        locked: Mask = self._waiting + places < filled
        self._waiting = (self._waiting + len(places)) % TOGETHER
        return locked


class Arrivals:
    """What comes into a part of a locked area from now on.

    Args:
        mm: The address space.
        area: The area.
        start, end: The part, one or more whole pages.
        access: For what it is brought in.
    """

    def __init__(self, mm: Space, area: Area, start: int, end: int, access: Access) -> None:
        self._mm, self._area, self._start = mm, area, start
        folio = mm.geometry.block_size  # the largest there is
        self._locked = whole_folios(mm.machine, mm, max(area.start, start - folio), min(area.end, end + folio))
        self._around = takes_around(area, access)
        self._first, self._end = start, end
        if self._around:
            self._first, self._end = window(mm, area, start)[0], window(mm, area, end - mm.geometry.page_size)[1]
            self._cached = self._in_cache()
        self._before = self._frames()

    def locked(self, waiting: LockList) -> Frames:
        """The folios of this part that are locked when it is noted that they are used.

        Args:
            waiting: The list on which those that came are put.
        """
        (pages, came), (known, had), frames = self._frames(), self._before, self._mm.machine.frames
        at = known.searchsorted(pages)
        there = at < len(known)
        there[there] = (known[at[there]] == pages[there]) & (had[at[there]] == came[there])
        waits = ~there & (frames.recency.pages(came) == 1) & ~frames.used_as(came, Usage.ZERO)  # large ones never do
        pages, came = pages[waits], came[waits]
        order = self._order(pages.tolist()) if self._around else (np.arange(len(pages)), np.arange(1, len(pages) + 1))
        return np.append(self._locked, came[waiting.add(*order)])

    def _frames(self) -> tuple[Numbers, Frames]:
        """The pages that are mapped by entries of the last level, by number, and their frames."""
        size, last = self._mm.geometry.page_size, self._mm.geometry.last
        pages, frames = [np.empty(0, np.intp)], [np.empty(0, np.uint64)]
        for addr, entries in self._mm.tables.slices(self._first, self._end):
            at = np.flatnonzero(last.is_page(entries))
            pages.append(at + (addr - self._first) // size)
            frames.append(last.frame(entries[at]))
        return np.concatenate(pages), np.concatenate(frames)

    def _in_cache(self) -> set[int]:
        """The pages of which the page cache has the file's."""
        file, size = cast("File", self._area.mapping), self._mm.geometry.page_size
        first, count = self._area.offset_at(self._first) // size, (self._end - self._first) // size
        return {number - first for number in range(first, min(first + count, file.page_count)) if number in file.pages}

    def _order(self, pages: list[int]) -> tuple[Numbers, Numbers]:
        """In which order pages of a file came, and how many had when each was looked at.

        Args:
            pages: Which came, ascending.
        """
        size, came = self._mm.geometry.page_size, self._cached.intersection(pages)
        places, come = dict[int, int](), list[int]()
        for page in pages:
            addr = self._first + page * size
            if page not in places and addr >= self._start:  # a fault
                low, high = ((end - self._first) // size for end in window(self._mm, self._area, addr))
                for near in (*(near for near in range(low, high) if near in came), page):
                    places.setdefault(near, len(places))
            come.append(len(places))
        return np.array([places.get(page, len(places)) for page in pages], np.intp), np.array(come, np.intp)
