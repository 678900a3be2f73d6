"""What is mapped in a range, and what is not, as structured arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.sweep.columns import Sink
from pagewalk.sweep.filters import Filter
from pagewalk.sweep.listing import MAX_ROWS, Listing, mapping_listing
from pagewalk.sweep.listing import holes as hole_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy.typing as npt

    from pagewalk.errors import TranslationError
    from pagewalk.formats import Flag, Kind
    from pagewalk.space import AddressSpace
    from pagewalk.tables import PageTables

    Rows = npt.NDArray[np.void]

__all__ = ["HOLE", "MAPPING", "PAGE", "holes", "mappings"]

_COLUMNS = [
    ("vaddr", "u8"), ("paddr", "u8"), ("size", "u8"), ("page_size", "u8"), ("flags", "u4"), ("kind", "u1"),
    ("memory", "u1"), ("pkey", "u1"), ("swap_type", "u1"), ("swap_offset", "u8"),
]  # fmt: skip

MAPPING = np.dtype(_COLUMNS, align=True)
"""A run of entries, as ``mappings`` gives it."""
PAGE = np.dtype([*_COLUMNS, ("entry", "u8"), ("depth", "u1")], align=True)
"""One entry, as ``mappings(coalesce=False)`` gives it."""
HOLE = np.dtype([("vaddr", "u8"), ("size", "u8"), ("depth", "u1")], align=True)
"""A run of empty entries of one level."""

_BLOCK = 1 << 14
"""Rows turned into records at a time, so that they stay in the cache while their columns are filled."""


def mappings(
    tables: PageTables | AddressSpace,
    start: int | None = None,
    end: int | None = None,
    *,
    coalesce: bool = True,
    hardware: bool = False,
    findings: list[TranslationError] | None = None,
    having: Flag | int = 0,
    lacking: Flag | int = 0,
    kinds: Collection[Kind | int] | None = None,
    page_sizes: Collection[int] | None = None,
    frames: tuple[int, int] | None = None,
    limit: int | None = MAX_ROWS,
    progress: Callable[[int, int], None] | None = None,
) -> Rows:
    """Everything that page tables hold in ``[start, end)``: pages, and what is in their place.

    Args:
        tables: Page tables, or an address space for its tables.
        start, end: Virtual addresses in bytes, whole pages; None for both canonical halves. What reaches out of the
            range is cut off, huge pages too.
        coalesce: Join neighbours of equal page size, flags and kind whose frames follow each other, or are one and the
            same (such a row has ``Flag.REPEATED``), or which have none.
        hardware: Only what the MMU would translate: present pages.
        findings: Collects what is malformed, which is then passed over, instead of raising the first. Beyond 65,536
            they are counted, in one more finding; in a table that many entries point to, each is told once.
        having, lacking: Only entries with all of these ``Flag`` bits, and none of those.
        kinds: Only these kinds.
        page_sizes: Only pages of these sizes, in bytes.
        frames: Only pages that lie in this physical range ``(start, end)``, in part at least.
        limit: Entries that may be gone through; None: any number.
        progress: Told, now and then, how many tables of the last level are done and how many are known.

    Returns:
        A structured array by ascending vaddr, dtype ``MAPPING``: vaddr, paddr, size and page_size in bytes, flags
        (``Flag``: rights are what every level grants; a page that is not there has none), kind (``Kind``). Where no
        frame is known, paddr is ``NO_PADDR``. Without coalescing, dtype ``PAGE``: one row an entry, and the raw entry.

    Raises:
        WalkError: EINVAL: the range is empty, or not whole pages.
        NonCanonical: The range begins or ends between the halves.
        ReservedBits, Malformed: An entry is not one (carries vaddr, depth, entry), and ``findings`` is None.
        UnsupportedError: More entries than ``limit``, the message says how many.
    Source: Intel SDM vol. 3A, 5.5.4 and 5.6.1 (rights).
    """
    where = Filter(having=having, lacking=lacking, kinds=kinds, page_sizes=page_sizes, frames=frames)
    options: Any = {"coalesce": coalesce, "hardware": hardware, "entries": not coalesce, "where": where}
    options |= {"findings": findings, "limit": limit, "progress": progress}
    return _records(mapping_listing(tables, start, end, **options), MAPPING if coalesce else PAGE)


def holes(
    tables: PageTables | AddressSpace,
    start: int | None = None,
    end: int | None = None,
    *,
    findings: list[TranslationError] | None = None,
) -> Rows:
    """Where page tables hold nothing in ``[start, end)``.

    Together with ``mappings`` they cover the range exactly, but for what is malformed.

    Args:
        tables: Page tables, or an address space for its tables.
        start, end: As ``mappings``.
        findings: As ``mappings``.

    Returns:
        A structured array by ascending vaddr, dtype ``HOLE``: vaddr and size in bytes, and the depth of the empty
        entries, as the kernel's ``pte_hole`` counts (0 PGD .. 3 PMD, a folded level as the one it repeats; 4 for an
        empty PTE). Neighbours of equal depth are one.

    Raises:
        WalkError, NonCanonical, ReservedBits, Malformed, UnsupportedError: As ``mappings``.
    """
    return hole_columns(tables, start, end, findings=findings).records(HOLE)


def _records(listing: Listing, dtype: np.dtype[np.void]) -> Rows:
    """The rows as a structured array; each block of columns is given up as it is turned into records."""
    sink = Sink(listing.schema)
    listing.collect(sink)
    rows = np.empty(len(sink), dtype)
    done = 0
    for block in sink.drain():
        for at in range(0, len(block[0]), _BLOCK):
            columns = listing.columns(tuple(column[at : at + _BLOCK] for column in block))
            some = rows[done : done + len(columns)]
            for name in dtype.names or ():
                some[name] = getattr(columns, name)
            done += len(columns)
    return rows
