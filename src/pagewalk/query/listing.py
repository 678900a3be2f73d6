"""What is mapped in a range, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.query.decode import decode
from pagewalk.query.levels import Findings, bounds, sweep, tables_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from pagewalk.errors import TranslationError
    from pagewalk.formats import PagingFormat
    from pagewalk.query.levels import Batch
    from pagewalk.space import AddressSpace
    from pagewalk.tables import PageTables

    Rows = npt.NDArray[np.void]

__all__ = ["HOLE", "MAPPING", "PAGE", "holes", "mappings"]

_COLUMNS = [("vaddr", "u8"), ("paddr", "u8"), ("size", "u8"), ("page_size", "u8"), ("flags", "u4"), ("kind", "u1")]

MAPPING = np.dtype(_COLUMNS, align=True)
"""A run of entries, as ``mappings`` gives it."""
PAGE = np.dtype([*_COLUMNS, ("entry", "u8")], align=True)
"""One entry, as ``mappings(coalesce=False)`` gives it."""
HOLE = np.dtype([("vaddr", "u8"), ("size", "u8"), ("depth", "u1")], align=True)
"""A run of empty entries of one level."""

_STATE = (1 << 32) - 1 - int(Flag.rights())


def mappings(
    tables: PageTables | AddressSpace,
    start: int | None = None,
    end: int | None = None,
    *,
    coalesce: bool = True,
    hardware: bool = False,
    findings: list[TranslationError] | None = None,
) -> Rows:
    """Everything that page tables hold in ``[start, end)``: pages, and what is in their place.

    Args:
        tables: Page tables, or an address space for its tables.
        start, end: Virtual addresses in bytes, whole pages; None for both canonical halves. What reaches out of the
            range is cut off, huge pages too.
        coalesce: Join neighbours of equal page size, flags and kind whose frames follow each other (or which have
            none).
        hardware: Only what the MMU would translate: present pages.
        findings: Collects what is malformed, which is then passed over, instead of raising the first.

    Returns:
        A structured array by ascending vaddr, dtype ``MAPPING``: vaddr, paddr, size and page_size in bytes, flags
        (``Flag``: rights are what every level grants; a page that is not there has none), kind (``Kind``). Where no
        frame is known, paddr is ``NO_PADDR``. Without coalescing, dtype ``PAGE``: one row an entry, and the raw entry.

    Raises:
        WalkError: EINVAL: the range is empty, or not whole pages.
        NonCanonical: The range begins or ends between the halves.
        ReservedBits, Malformed: An entry is not one (carries vaddr, depth, entry), and ``findings`` is None.
        UnsupportedError: A level has more tables, or the range more malformed entries, than can be looked at.
    Source: Intel SDM vol. 3A, 5.5.4 and 5.6.1 (rights).
    """
    tables = tables_of(tables)
    first, last = bounds(tables.format, start, end)
    dtype = MAPPING if coalesce else PAGE
    parts = [np.zeros(0, dtype)]
    for batch in sweep(tables, first, last, Findings(tables, findings)):
        rows = _held(tables.format, batch, first, last, dtype)
        if hardware:
            rows = rows[rows["kind"] == Kind.PRESENT]
        parts.append(_joined(rows, _continues) if coalesce else rows)
    rows = _ordered(parts)
    return _joined(rows, _continues) if coalesce else rows


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
    tables = tables_of(tables)
    first, last = bounds(tables.format, start, end)
    parts = [np.zeros(0, HOLE)]
    for batch in sweep(tables, first, last, Findings(tables, findings)):
        rows = np.zeros(int(batch.empty.sum()), HOLE)
        rows["vaddr"], rows["size"], _ = _clipped(batch.vaddr[batch.empty], batch.level.span, first, last)
        rows["depth"] = batch.depth
        parts.append(_joined(rows, _same_depth))
    return _joined(_ordered(parts), _same_depth)


def _held(form: PagingFormat, batch: Batch, first: int, last: int, dtype: np.dtype[np.void]) -> Rows:
    """One row for each entry that holds something other than a table."""
    entry = batch.entries[batch.held]
    rows = np.zeros(len(entry), dtype)
    rights = np.broadcast_to(batch.rights, batch.held.shape)[batch.held]
    rows["vaddr"], rows["size"], cut = _clipped(batch.vaddr[batch.held], batch.level.span, first, last)
    frame, flags, kind = decode(form, entry, batch.level)
    rows["paddr"] = frame + cut * (frame != NO_PADDR)
    rows["page_size"] = batch.level.span
    rows["flags"] = flags & (rights | _STATE)
    rows["kind"] = kind
    if dtype is PAGE:
        rows["entry"] = entry
    return rows


def _clipped(
    vaddr: npt.NDArray[np.uint64], span: int, first: int, last: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Where entries of ``span`` bytes begin inside the range, how long they are there, and what was cut in front."""
    begin = np.maximum(vaddr, np.uint64(first))
    final = np.minimum(vaddr + (span - 1), np.uint64(last))
    return begin, final - begin + 1, begin - vaddr


def _ordered(parts: list[Rows]) -> Rows:
    """All rows, by address. A level's own are in order already."""
    rows = np.concatenate(parts)
    vaddr = rows["vaddr"]
    if (vaddr[:-1] <= vaddr[1:]).all():
        return rows
    return rows[np.argsort(vaddr, kind="stable")]


def _joined(rows: Rows, continues: Callable[[Rows, Rows], npt.NDArray[np.bool_]]) -> Rows:
    """Runs of rows, each of which ``continues`` the one before it."""
    ends = rows["vaddr"] + rows["size"]
    joins = (ends[:-1] == rows["vaddr"][1:]) & continues(rows[:-1], rows[1:])
    if not joins.any():
        return rows
    begins = np.flatnonzero(np.concatenate([[True], ~joins]))
    runs = rows[begins]
    runs["size"] = ends[np.append(begins[1:], len(rows)) - 1] - runs["vaddr"]
    return runs


def _continues(low: Rows, high: Rows) -> npt.NDArray[np.bool_]:
    """Whether entries follow on from those before them: alike, and their frames in order."""
    alike = (low["page_size"] == high["page_size"]) & (low["flags"] == high["flags"]) & (low["kind"] == high["kind"])
    framed = low["paddr"] != NO_PADDR
    in_order = framed & (high["paddr"] != NO_PADDR) & (low["paddr"] + low["size"] == high["paddr"])
    return alike & (in_order | ~framed & (high["paddr"] == NO_PADDR))


def _same_depth(low: Rows, high: Rows) -> npt.NDArray[np.bool_]:
    """Whether holes are of one level."""
    return low["depth"] == high["depth"]
