"""Guard regions: page-table markers that make any access a SIGSEGV, the first user of ``install_pte``.

How it works, in the kernel's own shape (``mm/madvise.c``, 6.18). To install, walk the range with an ``install_pte``
that fills every empty slot with the marker, and with entry callbacks that end the walk at the first thing in the way.
If something was, zap the range and walk again; a racing fault can bring pages back, so after three tries the system
call restarts. To remove, walk again and empty the slots that hold the marker; huge pages hold none and are passed over.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pagewalk.errors import WalkError
from pagewalk.formats import Kind
from pagewalk.walk import PGWALK_RDLOCK, Action, WalkOps
from pagewalk.walk.ranges import walk_page_range_mm, walk_page_range_vma_mm

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.space import AddressSpace, Vma
    from pagewalk.tables import Entry
    from pagewalk.walk import Walk

__all__ = ["ZAP_RETRIES", "install_guards", "remove_guards"]

ZAP_RETRIES: Final = 3
"""MAX_MADVISE_GUARD_RETRIES."""

BULK: Final = 2
"""Tables from which on the array engine fills faster than the walk."""


def _stop_at_huge(entry: Entry, addr: int, next_: int, walk: Walk) -> int:
    """Something present stands here: end the walk, it has to be zapped."""
    return int(entry.is_leaf)


def _stop_at_present(entry: Entry, addr: int, next_: int, walk: Walk) -> int:
    """A marker is as good as installed; anything else has to be zapped."""
    return int(entry.kind is not Kind.GUARD)


def _install_ops(marker: int) -> WalkOps:
    """The callbacks that fill empty slots with the marker."""
    return WalkOps(
        pud_entry=_stop_at_huge,
        pmd_entry=_stop_at_huge,
        pte_entry=_stop_at_present,
        install_pte=lambda addr, next_, walk: marker,
        walk_lock=PGWALK_RDLOCK,
    )


def _marker(mm: AddressSpace) -> int:
    """The entry that stands for a guard."""
    return mm.tables.format.guard_entry


def _fill(mm: AddressSpace, start: int, end: int) -> bool:
    """Walk the range and fill it; whether nothing stood in the way."""
    return walk_page_range_mm(mm, start, end, _install_ops(_marker(mm))) == 0


def _fill_in_bulk(mm: AddressSpace, start: int, end: int) -> bool:
    """The same at array speed, for ranges of whole tables. Its results are those of the walk."""
    from pagewalk.sweep import install

    return install(mm, start, end, _marker(mm), passing={Kind.GUARD}) is None


def install_guards(mm: AddressSpace, start: int, end: int, zap: Callable[[int, int], None]) -> None:
    """Fill ``[start, end)`` with guard markers; what was mapped there goes.

    Args:
        mm: The address space, its ``mmap_lock`` held.
        start, end: Virtual addresses in bytes, page-aligned, inside one VMA.
        zap: Unmaps the pages of a range and leaves guard markers in place.

    Raises:
        WalkError: EINVAL in a hugetlb VMA; EAGAIN when pages came back after each of three zaps.
        OutOfFrames: No frame for a table. The markers installed so far stay.
    Source: ``madvise_guard_install``, Linux 6.18.
    """
    last = mm.tables.format.last
    fill = _fill_in_bulk if end - start >= BULK * last.entries * last.span else _fill
    for _ in range(ZAP_RETRIES):
        if fill(mm, start, end):
            return
        zap(start, end)
    raise WalkError(errno.EAGAIN, f"pages kept coming back in [{start:#x}, {end:#x}) while guards were installed")


def _pass_huge_over(entry: Entry, addr: int, next_: int, walk: Walk) -> None:
    """A huge page holds no marker: never split it."""
    if entry.is_leaf:
        walk.action = Action.CONTINUE


def _clear_marker(entry: Entry, addr: int, next_: int, walk: Walk) -> None:
    """Empty a slot that holds the marker."""
    if entry.kind is Kind.GUARD:
        entry.value = entry.level.none


REMOVE_OPS: Final = WalkOps(
    pud_entry=_pass_huge_over,
    pmd_entry=_pass_huge_over,
    pte_entry=_clear_marker,
    walk_lock=PGWALK_RDLOCK,
)


def remove_guards(vma: Vma, start: int, end: int) -> None:
    """Take the guard markers in ``[start, end)`` away, and nothing else.

    Args:
        vma: The VMA that holds the range, its address space's ``mmap_lock`` held.
        start, end: Virtual addresses in bytes, page-aligned, inside the VMA.

    Raises:
        WalkError: EINVAL, the range leaves the VMA.
    Source: ``madvise_guard_remove``, Linux 6.18.
    """
    walk_page_range_vma_mm(vma, start, end, REMOVE_OPS)
