"""Rows of mappings and holes on their way to the page: one kind of row, joined, brought in order, and added up.

All of it is array code on blocks, so that a listing of millions of rows is never held at once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.formats.arrays import kinds_of
from pagewalk.report.doubts import Doubts
from pagewalk.sweep.columns import DEPTH_SHIFT, RUNS
from pagewalk.sweep.runs import joined_runs, spans_by_depth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.sweep.columns import Columns
    from pagewalk.tables import PageTables

    Rows = npt.NDArray[np.void]

__all__ = ["AGING", "ROW", "Tally", "by_address", "having", "joined", "rows_of"]

ROW: Final = np.dtype(
    [("vaddr", "u8"), ("place", "u8"), ("size", "u8"), ("page_size", "u8"), ("entry", "u8"), ("state", "u4")],
    align=True,
)
"""A row of what is mapped, or a hole: a row of kind NONE. ``place`` and ``state`` are as the sweep has them."""

AGING: Final = Flag.ACCESSED | Flag.DIRTY | Flag.SAVED_DIRTY
"""State that the MMU sets as time goes by: pages of one mapping differ in it by chance."""

_NOWHERE: Final = np.uint64(NO_PADDR)


def rows_of(columns: Columns) -> Rows:
    """Columns of a sweep as rows, those of holes too."""
    rows = np.zeros(len(columns), ROW)
    rows["place"] = _NOWHERE
    for name, column in zip(columns.schema.names, columns.block, strict=True):
        if name == "depth":
            rows["state"] = column.astype(np.uint32) << np.uint32(DEPTH_SHIFT)
        else:
            rows[name] = column
    rows["size"], rows["page_size"] = columns.size, columns.page_size
    return rows


def having(rows: Rows, all_of: int, none_of: int) -> Rows:
    """The rows that have all of some flags, and none of others (of which none is among the first)."""
    return rows[rows["state"] & np.uint32(all_of | none_of) == np.uint32(all_of)] if all_of | none_of else rows


# -- joining -----------------------------------------------------------------------------------------------------------


def joined(blocks: Iterable[Rows], levels: Sequence[Level], ignoring: int = AGING) -> Iterator[Rows]:
    """Join neighbours that differ in some flags only; a joined row keeps those that all its pages have.

    Args:
        blocks: Rows of mappings, by address.
        levels: Those of the tables.
        ignoring: The flags that may differ. But for them, rows belong together as those of a sweep do.
    """
    kept, spans = np.empty(0, ROW), spans_by_depth(levels)
    for block in blocks:
        rows = np.concatenate([kept, block])
        runs = _runs(rows, spans, ignoring)
        kept = _open(rows, runs[-1:], ignoring)
        if len(runs) > 1:
            yield runs[:-1]
    if len(kept):
        yield _runs(kept, spans, ignoring)


def _open(rows: Rows, run: Rows, ignoring: int) -> Rows:
    """The last run, of which the next block may claim the last page: the row that holds that stands apart."""
    last = rows[-1:]
    if run["vaddr"] >= last["vaddr"]:
        return run
    front = run.copy()
    front["size"] = last["vaddr"] - run["vaddr"]
    first = int(np.searchsorted(rows["vaddr"], run["vaddr"][0], side="right")) - 1
    front["state"] &= np.uint32(0xFFFF_FFFF ^ ignoring)
    front["state"] |= np.bitwise_and.reduce(rows["state"][first:-1]) & np.uint32(ignoring)
    if front["size"] <= front["page_size"]:
        front["state"] &= np.uint32(0xFFFF_FFFF ^ Flag.REPEATED)
    return np.concatenate([front, last])


def _runs(rows: Rows, spans: Any, ignoring: int) -> Rows:
    """Rows of one block, joined."""
    if len(rows) < 2:
        return rows
    columns = {name: np.ascontiguousarray(rows[name]) for name in RUNS.names}
    columns["state"] &= np.uint32(0xFFFF_FFFF ^ ignoring)
    block = dict(zip(RUNS.names, joined_runs(spans, tuple(columns.values())), strict=True))
    first = np.searchsorted(rows["vaddr"], block["vaddr"], side="right") - 1  # the first row that a run is made of
    runs = rows[first]
    for name, column in block.items():
        runs[name] = column
    end = np.searchsorted(rows["vaddr"], block["vaddr"] + (block["size"] - 1), side="right")
    state = np.append(rows["state"], np.uint32(0)) & np.uint32(ignoring)
    runs["state"] |= np.bitwise_and.reduceat(state, np.stack([first, end], axis=1).reshape(-1))[::2]
    return runs


# -- order -------------------------------------------------------------------------------------------------------------


def by_address(*streams: Iterable[Rows]) -> Iterator[Rows]:
    """Blocks of several streams, each by address, as one stream by address."""
    sources = [iter(stream) for stream in streams]
    heads = [next(source, None) for source in sources]
    while live := [at for at, head in enumerate(heads) if head is not None]:
        border = min(heads[at]["vaddr"][-1] for at in live)  # type: ignore[index]  # they are live
        parts = []
        for at in live:
            head: Any = heads[at]
            cut = int(np.searchsorted(head["vaddr"], border, side="right"))
            parts.append(head[:cut])
            heads[at] = head[cut:] if cut < len(head) else next(sources[at], None)
        block = np.concatenate(parts)
        yield block[np.argsort(block["vaddr"], kind="stable")] if len(live) > 1 else block


# -- sums --------------------------------------------------------------------------------------------------------------


class Tally:
    """How much there is of everything that went by.

    Args:
        tables: Whose rows they are, if their entries can be asked.

    Attributes:
        mapped, holes: Rows of each.
        doubts: What speaks against the system as whose entries they were read.
        sizes: Bytes by ``(kind, page size)``.
    """

    def __init__(self, tables: PageTables | None = None) -> None:
        self.mapped = 0
        self.holes = 0
        self.doubts = Doubts(tables)
        self.sizes: Counter[tuple[int, int]] = Counter()

    def watch(self, blocks: Iterable[Rows]) -> Iterator[Rows]:
        """Hand blocks on, and count them."""
        for block in blocks:
            self.add(block)
            yield block

    def add(self, block: Rows) -> None:
        """Count a block."""
        kinds = kinds_of(np.ascontiguousarray(block["state"]))
        empty = int(np.count_nonzero(kinds == Kind.NONE.value))
        self.holes += empty
        self.mapped += len(block) - empty
        self.doubts.add(block)
        combined = kinds.astype(np.uint64) << np.uint64(58) | block["page_size"]
        for key in np.unique(combined).tolist():
            self.sizes[key >> 58, key & (1 << 58) - 1] += int(block["size"][combined == np.uint64(key)].sum())
