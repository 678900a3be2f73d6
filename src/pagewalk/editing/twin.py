"""Page tables of two roots: under PTI the user's half of a process hangs from both of them.

How it works. The user's root lies a page behind the kernel's, and its slots of the user's addresses are those of the
kernel's root but for one bit, which they differ in alike (Linux makes the user's half not executable from the kernel's
root). Where that is so, a change of such a slot is made in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pagewalk.errors import MemoryReadError
from pagewalk.memory import read_exactly
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.editing.draft import Draft

    Words = npt.NDArray[np.uint64]

__all__ = ["Twin"]


class Twin:
    """The other root of page tables, if they have one.

    Args:
        tables: The page tables.

    Attributes:
        root: Where it is; 0: they have one root.
        user: The one of the two that grants the user more.
    """

    def __init__(self, tables: PageTables) -> None:
        self.root, self.user, self._differ, self._mine = 0, tables.windows[0].root, 0, 0
        shape, window = tables.format.root_page, tables.windows[0]
        self._level = tables.format.levels_of(window)[0]
        self._slots = slice(self._level.index(window.start), self._level.index(window.end - 1) + 1)
        if shape is None or not shape.twin:
            return
        other = window.root ^ shape.twin
        try:
            mine, theirs = (self._half(tables, root) for root in (window.root, other))
        except MemoryReadError:
            return
        held = mine != np.uint64(self._level.none)
        differ = np.unique(mine[held] ^ theirs[held])
        alike = bool((held == (theirs != np.uint64(self._level.none))).all())
        if alike and len(differ) == 1 and int(differ[0]).bit_count() == 1:
            self.root, self._differ = other, int(differ[0])
            self._mine = int(mine[held][0]) & self._differ
            one, two = (self._level.decode(int(half[held][0])).rights for half in (mine, theirs))
            self.user = other if two & ~one else window.root

    def _half(self, tables: PageTables, root: int) -> Words:
        """The slots of the first window."""
        data = read_exactly(tables.memory, root, self._level.table_bytes)
        return np.frombuffer(data, self._level.word.dtype).astype(np.uint64)[self._slots]

    def granting(self, tables: PageTables) -> PageTables:
        """The page tables by the root that says what the user may do."""
        first, *others = tables.windows
        return PageTables(tables.memory, None, tables.format, windows=[first._replace(root=self.user), *others])

    def follow(self, draft: Draft) -> None:
        """Make the other root's slots what those of the one are, and the one's what its others are."""
        if not self.root:
            return
        root = draft.tables.windows[0].root
        mine = self._half(draft.tables, root)
        held = mine != np.uint64(self._level.none)
        for where, bit in ((root, self._mine), (self.root, self._mine ^ self._differ)):
            now = self._half(draft.tables, where)
            wanted = np.where(held, mine & np.uint64(self._differ ^ (1 << 64) - 1) | np.uint64(bit), mine)
            for at in np.flatnonzero(wanted != now).tolist():
                slot = where + (at + self._slots.start) * self._level.word.size
                draft.overlay.write(slot, self._level.word.pack([int(wanted[at])]))
