"""Noting that pages are used, where the kernel does that for a folio (``folio_mark_accessed``), not in an entry."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pagewalk import sweep
from pagewalk.mm.hardware.frames import Usage
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import numpy.typing as npt

    from pagewalk.mm.hardware.machine import Hardware
    from pagewalk.space import AddressSpace, Vma

    Frames = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["are_locked", "locked_folios", "mark_accessed", "whole_folios"]


def mark_accessed(
    machine: Hardware, paddrs: Frames, *, areas: Collection[Vma] = (), locked: Frames | None = None
) -> None:
    """Note that frames are used now, once each; the zero page's folio is nobody's.

    A kernel that sorts pages by generations notes it of what is not locked, and takes nothing back.
    (``lru_gen_inc_refs``, mm/swap.c.)

    Args:
        machine, paddrs: Which.
        areas: Where they are all mapped; none: who knows where.
        locked: The folios that are locked there. Those that are locked elsewhere are looked for, if that matters.
    """
    frames = machine.frames
    used = paddrs[~frames.used_as(paddrs, Usage.ZERO)]
    if machine.lru_gen:
        frames.recency.refer(used[~are_locked(machine, frames.recency.folios(used), areas=areas, locked=locked)])
    else:
        frames.recency.mark(used, partial(are_locked, machine, areas=areas, locked=locked))


def are_locked(machine: Hardware, folios: Frames, *, areas: Collection[Vma] = (), locked: Frames | None = None) -> Mask:
    """Which folios, said by their first frames, are locked in memory by anybody; areas and ``locked`` as above."""
    frames = machine.frames
    known = frames.mlocked(folios)
    if locked is not None:
        known |= np.isin(folios, locked)
    asked = ~known & ~frames.mapped_once(folios) if areas else ~known
    if asked.any():
        known |= asked & np.isin(folios, locked_folios(machine, machine.spaces, but=areas))
    return known


def locked_folios(machine: Hardware, spaces: Iterable[AddressSpace], *, but: Collection[Vma] = ()) -> Frames:
    """The folios that these address spaces map as a whole where it is locked, by their first frames.

    Args:
        machine, spaces: Which.
        but: Areas that are not looked at.
    """
    areas = [(mm, vma) for mm in spaces for vma in mm.vmas if VmaFlags.LOCKED in vma.flags and vma not in but]
    found = [whole_folios(machine, mm, vma.start, vma.end) for mm, vma in areas if not vma.huge_page_size]
    return np.concatenate([np.empty(0, np.uint64), *found])


def whole_folios(machine: Hardware, mm: AddressSpace, start: int, end: int) -> Frames:
    """The folios of which every page is mapped in a range, likewise."""
    recency = machine.frames.recency
    rows = sweep.mappings(mm.tables, start, end, coalesce=False, threads=1)
    there = rows.paddr < np.uint64(machine.frames.size)
    folios, at = np.unique(recency.folios(rows.paddr[there]), return_inverse=True)
    mapped = np.bincount(at, rows.size[there], len(folios)) // machine.geometry.page_size
    return folios[mapped == recency.pages(folios)]
