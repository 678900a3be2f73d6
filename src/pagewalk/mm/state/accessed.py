"""Noting that pages are used, where the kernel does that for a folio (``folio_mark_accessed``), not in an entry."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pagewalk import sweep
from pagewalk.mm.hardware.frames import Usage
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from pagewalk.mm.hardware.machine import Hardware
    from pagewalk.space import AddressSpace

    Frames = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["locked_in", "mark_accessed", "whole_folios"]


def mark_accessed(machine: Hardware, paddrs: Frames) -> None:
    """Note that frames are used now, once each; the zero page's folio is nobody's."""
    frames = machine.frames
    frames.recency.mark(paddrs[~frames.used_as(paddrs, Usage.ZERO)], partial(_locked, machine))


def _locked(machine: Hardware, paddrs: Frames) -> Mask:
    """Which frames' folios are locked in memory."""
    return machine.frames.mlocked(paddrs) | locked_in(machine, machine.spaces, paddrs)


def locked_in(machine: Hardware, spaces: Iterable[AddressSpace], paddrs: Frames) -> Mask:
    """Which frames are of folios that these address spaces map as a whole where it is locked: a bool a frame."""
    wanted = machine.frames.recency.folios(paddrs)
    locked = np.zeros(len(paddrs), bool)
    for mm in spaces:
        for vma in mm.vmas:
            if VmaFlags.LOCKED in vma.flags and not vma.huge_page_size:
                locked |= np.isin(wanted, whole_folios(machine, mm, vma.start, vma.end))
    return locked


def whole_folios(machine: Hardware, mm: AddressSpace, start: int, end: int) -> Frames:
    """The folios of which every page is mapped in a range: the address of the first frame of each."""
    recency = machine.frames.recency
    rows = sweep.mappings(mm.tables, start, end, coalesce=False, threads=1)
    there = rows.paddr < np.uint64(machine.frames.size)
    folios, at = np.unique(recency.folios(rows.paddr[there]), return_inverse=True)
    mapped = np.bincount(at, rows.size[there], len(folios)) // machine.geometry.page_size
    return folios[mapped == recency.pages(folios)]
