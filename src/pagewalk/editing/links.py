"""Every table of page tables, once, and how many entries lead to it: what is shared, what is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pagewalk.query.tables import linked_tables

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    Counts = npt.NDArray[np.intp]

__all__ = ["Links"]


class Links(NamedTuple):
    """Tables, by physical address, each once however many entries lead to it.

    Attributes:
        paddrs: Where they are. Shape (n,), uint64.
        sizes: Their bytes. Shape (n,), uint64.
        counts: How many entries, or windows, lead to each. Shape (n,).
    """

    paddrs: Words
    sizes: Words
    counts: Counts

    @classmethod
    def of(cls, tables: PageTables) -> Links:
        """Those of page tables, all windows together; what lies outside the memory is not looked into."""
        found: list[tuple[Words, int]] = []
        for window in tables.windows:
            found += [(paddrs, level.table_bytes) for level, paddrs in linked_tables(tables, window)]
        if tables.format.has_one_root:  # its windows have slots of their own
            found = [(paddrs, size) for paddrs, size in found if not _is_root(tables, paddrs)]
            top = tables.format.levels_of(tables.windows[0])[0].table_bytes
            found += [(np.array([root], np.uint64), top) for root in {window.root for window in tables.windows}]
        every = np.concatenate([paddrs for paddrs, _ in found])
        sizes = np.concatenate([np.full(len(paddrs), size, np.uint64) for paddrs, size in found])
        paddrs, first, counts = np.unique(every, return_index=True, return_counts=True)
        return cls(paddrs, sizes[first], counts)

    def within(self, start: int, end: int) -> Words:
        """Those that have a byte in some physical memory."""
        inside = (self.paddrs < np.uint64(end)) & (self.paddrs + self.sizes > np.uint64(start))
        return self.paddrs[inside]


def _is_root(tables: PageTables, paddrs: Words) -> bool:
    """Whether it is the root alone."""
    return len(paddrs) == 1 and any(int(paddrs[0]) == window.root for window in tables.windows)
