"""How VMAs are split and merged: the rules that decide what ``/proc/PID/maps`` shows.

Two neighbours become one when their flags, file and offset run on and their anonymous pages have the same history. That
history is the kernel's ``anon_vma``: a VMA gets one with its first anonymous page and shares it with the pieces it is
split into; a child's VMAs also hang on their parent's (a chain longer than one), which keeps them apart.
(``mm/vma.c``, 6.18: ``is_mergeable_vma``, ``is_mergeable_anon_vma``, ``can_vma_merge_right``.)
"""

from __future__ import annotations

import errno
from copy import copy
from typing import TYPE_CHECKING, Final

from pagewalk.errors import SystemCallError
from pagewalk.mm.state.allowance import check_areas
from pagewalk.mm.state.area import RIGHTS, SPECIAL, AnonHistory
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space

__all__ = ["cut_out", "each_mapped", "free_around", "insert", "modify", "prepare_anon", "split_at"]


MAY_DIFFER: Final = RIGHTS | VmaFlags.SOFTDIRTY
"""In what neighbours may differ that share a history."""


def _runs_on(left: Area, right: Area) -> bool:
    """Whether the right one is the left one's continuation in all but its anonymous history."""
    return (
        left.end == right.start
        and not (left.flags ^ right.flags) & ~VmaFlags.SOFTDIRTY
        and not left.flags & SPECIAL
        and left.mapping is right.mapping
        and left.offset_at(left.end) == right.offset
    )


def _same_history(target: Area, source: Area) -> bool:
    """Whether the target may take the source's pages over."""
    if target.anon is None and source.anon is not None:
        return source.mm is None or not source.has_uncowed_parents  # the kernel does not ask a new range
    if target.anon is not None and source.anon is None:
        return not target.has_uncowed_parents
    return target.anon is source.anon


def _neighbours(mm: Space, area: Area, start: int, end: int) -> tuple[Area | None, Area | None]:
    """The areas on both sides of ``[start, end)`` that ``area``, cut to that range, can merge with."""
    middle = copy(area)
    middle.start, middle.end, middle.offset = start, end, area.offset_at(start)
    left = mm.area_at(start - 1) if start else None
    right = mm.area_at(end)
    if left is None or left is area or not (_runs_on(left, middle) and _same_history(left, middle)):
        left = None
    if right is None or right is area or not (_runs_on(middle, right) and _same_history(right, middle)):
        right = None
    if left and right and left.anon and right.anon and left.anon is not right.anon:
        right = None
    return left, right


def _absorb(mm: Space, left: Area | None, right: Area | None, area: Area, start: int, end: int) -> Area:
    """Give ``[start, end)`` to the neighbours that can have it; ``area`` keeps the rest, or goes.

    Who takes over grows first, and whoever is covered by it then goes: no page is without an area meanwhile.
    """
    target = left or right
    assert target is not None
    target.guarded = target.guarded or area.guarded
    if target.anon is None and area.anon is not None:
        target.anon, target.chain = area.anon, area.chain
    gone = []
    if area.mm is not None:
        area.start_write()
        if (start, end) == (area.start, area.end):
            gone.append(area)
    if left and right:
        left.guarded = left.guarded or right.guarded
        if left.anon is None:
            left.anon, left.chain = right.anon, right.chain
        right.start_write()
        gone.append(right)
    target.start_write()
    _take_over(target, min(start, target.start), right.end if left and right else max(end, target.end), area)
    for other in gone:
        mm.remove_vma(other)
    return target


def _take_over(target: Area, start: int, end: int, area: Area) -> None:
    """Let an area reach over ``[start, end)``; another that is only partly in it shrinks in the same step."""
    offset = target.offset_at(start)
    low, high, kept = area.start, area.end, area.offset
    if area.mm is not None and low < start < high <= end:
        high = start
    elif area.mm is not None and start <= low < end < high:
        low, kept = end, area.offset_at(end)
    target.start, target.end, target.offset, area.start, area.end, area.offset = start, end, offset, low, high, kept


def insert(mm: Space, area: Area) -> Area:
    """Put a new area in, merged with its neighbours where it can be (``vma_merge_new_range``)."""
    left, right = _neighbours(mm, area, area.start, area.end)
    if left or right:
        return _absorb(mm, left, right, area, area.start, area.end)
    mm.add_vma(area)
    return area


def split_at(mm: Space, area: Area, addr: int) -> tuple[Area, Area]:
    """Cut an area in two; a huge page across the cut is split (``__split_vma``).

    Raises:
        SystemCallError: EINVAL, a hugetlb area is cut inside a page.
    """
    mm.check_cut(area, addr)
    mm.split_huge_at(addr)
    upper = copy(area)
    upper.lock = mm.new_vma_lock()
    upper.offset, upper.start = area.offset_at(addr), addr
    area.start_write()
    mm.vmas.cut(area, upper)
    if upper.mapping is not None:
        upper.mapping.add(upper)
    return area, upper


def cut_out(mm: Space, area: Area, start: int, end: int) -> Area:
    """The part of an area that is exactly ``[start, end)``, cut off from the rest."""
    if start > area.start:
        area = split_at(mm, area, start)[1]
    if end < area.end:
        area = split_at(mm, area, end)[0]
    return area


def modify(mm: Space, area: Area, start: int, end: int, flags: VmaFlags, *, only: bool = False) -> Area:
    """Give ``[start, end)`` of an area new flags, splitting and merging as Linux does (``vma_modify``).

    Args:
        mm, area, start, end, flags: What of it, and all its flags.
        only: What it is merged with is soft-dirty if it was, whatever this one was; else if this one was.

    Returns:
        The area that now holds the range.

    Raises:
        SystemCallError: ENOMEM, there would be more areas than there may be.
    """
    if flags == area.flags:
        return area
    changed = copy(area)
    changed.flags = flags
    left, right = _neighbours(mm, changed, start, end)
    left = left if start == area.start else None
    right = right if end == area.end else None
    if left or right:
        for cut in (start, end):
            mm.split_huge_at(cut)
        merged = _absorb(mm, left, right, area, start, end)
        merged.flags = merged.flags if only else flags
        return merged
    for cut in (start, end):
        if area.start < cut < area.end:
            check_areas(mm)
            area = split_at(mm, area, cut)[cut == start]
    area.start_write()
    area.flags = flags
    return area


def prepare_anon(mm: Space, area: Area) -> None:
    """Give an area a history before its first anonymous page, a neighbour's if it fits (``anon_vma_prepare``)."""
    if area.anon is None:
        _find_history(mm, area)


def _find_history(mm: Space, area: Area) -> None:
    """A neighbour's history, or a new one."""
    right, left = mm.area_at(area.end), mm.area_at(area.start - 1) if area.start else None
    for other, pair in ((right, (area, right)), (left, (left, area))):
        if other is not None and other.anon is not None and other.chain == 1 and _compatible(*pair):
            area.anon, area.chain = other.anon, 1
            return
    area.anon, area.chain = AnonHistory(), 1


def _compatible(left: Area | None, right: Area | None) -> bool:
    """Whether two neighbours differ in nothing but their rights (``anon_vma_compatible``)."""
    return (
        left is not None
        and right is not None
        and left.end == right.start
        and left.mapping is right.mapping
        and left.flags | MAY_DIFFER == right.flags | MAY_DIFFER
        and left.offset_at(left.end) == right.offset
    )


def each_mapped(mm: Space, start: int, end: int) -> Iterator[Area]:
    """The areas of a range.

    Raises:
        SystemCallError: ENOMEM, there are gaps; the areas have been gone through.
    """
    covered = 0
    for vma in mm.vmas.overlapping(start, end) if start < end else ():
        yield mm.as_area(vma)
        covered += min(end, vma.end) - max(start, vma.start)
    if covered != end - start:
        raise SystemCallError(errno.ENOMEM, f"[{start:#x}, {end:#x}) is not all mapped")


def free_around(mm: Space, start: int, end: int) -> tuple[int, int]:
    """The range around ``[start, end)`` up to the next areas: tables that lie in it serve nobody else."""
    below, above = mm.vmas.before(start), mm.vmas.find(end)
    return below.end if below else 0, above.start if above else mm.geometry.user_end
