"""Where each table lies: in a fixed order, so that the same layout gives the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk.errors import LayoutError, OutOfFrames

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pagewalk.editing.building.outline import Outline
    from pagewalk.formats import Level
    from pagewalk.sweep.build import Grove

    Words = npt.NDArray[np.uint64]

__all__ = ["check_count", "place"]

_LEAST: Final = 64
"""A root is aligned to its own size, and to so many bytes at least: arm64 asks for it where addresses have 52 bits."""
_LAST: Final = np.iinfo(np.uint64).max


_MANY: Final = 1 << 16
"""Tables from which on a size that cannot do is refused before all of them are counted."""
_MOST: Final = 1 << 22


def check_count(layout: Outline, least: int, level: Level) -> None:
    """Refuse more tables than there is room for, before they take it.

    Args:
        layout: The layout.
        least: How many tables of a level are needed, at least.
        level: The level.

    Raises:
        OutOfFrames: They have more bytes than the layout leaves them, or than anybody has.
    """
    size = least * level.table_bytes
    if least > _MOST or (least > _MANY and layout.size is not None and size > layout.size):
        has = f"and have {layout.size:#x}" if layout.size is not None else "more than can be built"
        raise OutOfFrames(
            f"{layout.title}: the tables need {size:#x} bytes ({size:,}) at least, {has}: let regions "
            "have larger pages, for which vaddr and paddr must be aligned alike"
        )


class _Some(NamedTuple):
    """The tables of a level of a grove."""

    grove: Grove
    level: Level


def place(layout: Outline, groves: Sequence[Grove]) -> int:
    """Give every table its place, from the layout's base on.

    Returns:
        How many bytes the tables have, from the first to the end of the last.

    Raises:
        LayoutError: The base is not aligned to a table.
        OutOfFrames: They have more bytes than the layout leaves them.
    """
    tops = [_Some(grove, grove.shape.levels[0]) for grove in groves]
    others = [_Some(grove, level) for grove in groves for level in grove.shape.levels[1:]]
    others.sort(key=lambda some: some.level.depth)
    in_order = _by_level if layout.order == "levels" else _by_need
    at = layout.base
    if layout.root == "first":
        at = _roots(tops, at)
        at = in_order(others, at)
    else:
        at = in_order(others, at)
        at = _roots(tops, at)
    _check(layout, [*tops, *others], at)
    return at - layout.base


def _check(layout: Outline, some: Sequence[_Some], end: int) -> None:
    """Refuse a base or a size that does not do."""
    whole = max((one.level.table_bytes for one in some if len(one.grove.tables[one.level.depth])), default=_LEAST)
    if layout.base % max(whole, _LEAST):
        raise LayoutError(f"{layout.title}: base {layout.base:#x} is not aligned to {whole:#x} bytes")
    size = end - layout.base
    if layout.size is not None and size > layout.size:
        raise OutOfFrames(
            f"{layout.title}: the tables need {size:#x} bytes ({size:,}), and have "
            f"[{layout.base:#x}, {layout.base + layout.size:#x}), which is {layout.size:#x}: make size larger, or "
            "let regions have larger pages"
        )
    if end > 1 << layout.format.physical_bits:
        raise LayoutError(
            f"{layout.title}: tables up to {end:#x} are beyond physical addresses of {layout.format.physical_bits} bits"
        )


def _roots(tops: Sequence[_Some], at: int) -> int:
    """Place top tables, one after the other; where the last one ends."""
    for grove, level in tops:
        step = max(level.table_bytes, _LEAST)
        at = -(-at // step) * step
        count = len(grove.tables[level.depth])
        grove.paddrs[level.depth] = _row(at, step, count)
        at += step * (count - 1) + level.table_bytes
    return at


def _by_level(others: Sequence[_Some], at: int) -> int:
    """Place the tables below, level by level; where the last one ends."""
    for grove, level in others:
        count, step = len(grove.tables[level.depth]), level.table_bytes
        at = -(-at // step) * step if count else at
        grove.paddrs[level.depth] = _row(at, step, count)
        at += count * step
    return at


def _by_need(others: Sequence[_Some], at: int) -> int:
    """Place the tables below as they are needed, one that leads to others before them; where the last ends."""
    counts = [len(grove.tables[level.depth]) for grove, level in others]
    if not sum(counts):
        return _by_level(others, at)
    ranks = [grove.ranks[level.depth] for grove, level in others]
    when = [np.full(count, _LAST) if rank is None else rank for rank, count in zip(ranks, counts, strict=True)]
    depths = [np.full(count, some.level.depth) for some, count in zip(others, counts, strict=True)]
    order = np.lexsort((np.concatenate(depths), np.concatenate(when)))
    step = max(level.table_bytes for _, level in others)
    at = -(-at // step) * step
    paddrs = np.empty(len(order), np.uint64)
    paddrs[order] = _row(at, step, len(order))
    for (grove, level), end, count in zip(others, np.cumsum(counts).tolist(), counts, strict=True):
        grove.paddrs[level.depth] = paddrs[end - count : end]
    return at + step * len(order)


def _row(at: int, step: int, count: int) -> Words:
    """Addresses one after the other."""
    return np.arange(count, dtype=np.uint64) * np.uint64(step) + np.uint64(at)
