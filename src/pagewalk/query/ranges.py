"""Ranges of addresses, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]

__all__ = ["cut"]


def cut(rows: Any, edges: Words) -> Any:
    """Cut ranges at addresses.

    Args:
        rows: Structured, with ``start`` and ``end``, ascending; the other fields are repeated.
        edges: Where to cut, ascending and distinct. Shape (n,), uint64.
    """
    at = np.searchsorted(rows["start"], edges, side="left") - 1  # the last row that begins below each edge
    if not len(rows) or not ((at >= 0) & (edges < rows["end"][at])).any():
        return rows
    low = np.searchsorted(edges, rows["start"], side="right")
    count = np.searchsorted(edges, rows["end"], side="left") - low + 1
    pieces = np.repeat(rows, count)
    if len(pieces) == len(rows):
        return pieces
    nth = np.arange(len(pieces)) - np.repeat(np.cumsum(count) - count, count)
    at = np.repeat(low, count) + nth
    later, earlier = nth > 0, nth < np.repeat(count, count) - 1
    pieces["start"][later] = edges[at[later] - 1]
    pieces["end"][earlier] = edges[at[earlier]]
    return pieces
