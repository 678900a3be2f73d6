"""Rows of mappings and holes on their way to the page: one kind of row, joined, brought in order, and added up.

All of it is array code on blocks, so that a listing of millions of rows is never held at once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import NO_PADDR, Flag, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from pagewalk.sweep.columns import Columns

    Rows = npt.NDArray[np.void]

__all__ = ["AGING", "ROW", "Tally", "by_address", "having", "joined", "rows_of"]

ROW: Final = np.dtype(
    [("vaddr", "u8"), ("paddr", "u8"), ("size", "u8"), ("page_size", "u8"), ("flags", "u4"), ("kind", "u1"),
     ("depth", "u1"), ("entry", "u8")], align=True
)  # fmt: skip
"""A row of what is mapped, or a hole: a row of kind NONE."""

AGING: Final = Flag.ACCESSED | Flag.DIRTY | Flag.SAVED_DIRTY
"""State that the MMU sets as time goes by: pages of one mapping differ in it by chance."""

_NOWHERE: Final = np.uint64(NO_PADDR)


def rows_of(columns: Columns) -> Rows:
    """Columns of a sweep as rows, those of holes too."""
    rows = np.zeros(len(columns), ROW)
    rows["paddr"] = _NOWHERE
    for name in {*columns.names, "size", "page_size"}:
        rows[name] = getattr(columns, name)
    return rows


def having(rows: Rows, all_of: int, none_of: int) -> Rows:
    """The rows that have all of some flags, and none of others (of which none is among the first)."""
    return rows[rows["flags"] & np.uint32(all_of | none_of) == np.uint32(all_of)] if all_of | none_of else rows


# -- joining -----------------------------------------------------------------------------------------------------------


def joined(blocks: Iterable[Rows], ignoring: int = AGING) -> Iterator[Rows]:
    """Join neighbours that differ in some flags only; a joined row keeps those that all its pages have.

    Args:
        blocks: Rows of mappings, by address.
        ignoring: The flags that may differ.

    Two rows belong together if they touch, are alike, and their frames go on or are not known; or if all pages of both
    have the same frame: that makes a row with ``Flag.REPEATED``.
    """
    kept = np.empty(0, ROW)
    for block in blocks:
        rows = _runs(np.concatenate([kept, block]), ignoring)
        kept = rows[-1:]
        if len(rows) > 1:
            yield rows[:-1]
    if len(kept):
        yield kept


def _runs(rows: Rows, ignoring: int) -> Rows:
    """Rows of one block, joined."""
    if len(rows) < 2:
        return rows
    going_on, same_frame = _relations(rows, ignoring)
    relation = np.where(same_frame, 2, 1) * (going_on | same_frame)
    together = _consistent(relation)
    first = np.flatnonzero(np.append(True, ~together))
    runs = rows[first].copy()
    runs["size"] = np.add.reduceat(rows["size"], first)
    flags = np.bitwise_and.reduceat(rows["flags"], first)
    repeats = np.bitwise_or.reduceat(np.append(0, np.where(together, relation, 0)), first) == 2
    runs["flags"] = flags | np.uint32(Flag.REPEATED) * repeats
    return runs


def _relations(rows: Rows, ignoring: int) -> tuple[Any, Any]:
    """For each row but the last: whether the frames of the next go on, and whether they are the same one frame."""
    low, high = rows[:-1], rows[1:]
    fixed = np.uint32(0xFFFF_FFFF ^ (ignoring | Flag.REPEATED))
    alike = (low["flags"] & fixed == high["flags"] & fixed) & (low["vaddr"] + low["size"] == high["vaddr"])
    for name in ("kind", "page_size"):
        alike &= low[name] == high[name]
    repeated = rows["flags"] & np.uint32(Flag.REPEATED) != 0
    known = (low["paddr"] != _NOWHERE) & (high["paddr"] != _NOWHERE)
    unknown = (low["paddr"] == _NOWHERE) & (high["paddr"] == _NOWHERE)
    following = known & (low["paddr"] + low["size"] == high["paddr"]) & ~(repeated[:-1] | repeated[1:])
    one_frame = repeated | (rows["size"] <= rows["page_size"])
    same = known & (low["paddr"] == high["paddr"]) & one_frame[:-1] & one_frame[1:]
    return alike & (following | unknown), alike & same


def _consistent(relation: Any) -> Any:
    """Whether each row joins the next: a run is of one relation, and begins as early as it can.

    Where the relation changes from pair to pair, every second pair stays together.
    """
    there = relation != 0
    changes = there & np.append(False, there[:-1] & (relation[1:] != relation[:-1]))
    at = np.arange(len(relation))
    begun = np.maximum.accumulate(np.where(changes, 0, at + 1))
    return there & ~(changes & ((at - begun) % 2 == 0))


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

    Attributes:
        mapped, holes: Rows of each.
        sizes: Bytes by ``(kind, page size)``.
    """

    def __init__(self) -> None:
        self.mapped = 0
        self.holes = 0
        self.sizes: Counter[tuple[int, int]] = Counter()

    def watch(self, blocks: Iterable[Rows]) -> Iterator[Rows]:
        """Hand blocks on, and count them."""
        for block in blocks:
            self.add(block)
            yield block

    def add(self, block: Rows) -> None:
        """Count a block."""
        empty = int(np.count_nonzero(block["kind"] == Kind.NONE.value))
        self.holes += empty
        self.mapped += len(block) - empty
        combined = block["kind"].astype(np.uint64) << np.uint64(58) | block["page_size"]
        for key in np.unique(combined).tolist():
            self.sizes[key >> 58, key & (1 << 58) - 1] += int(block["size"][combined == np.uint64(key)].sum())
