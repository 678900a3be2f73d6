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

__all__ = ["locked_in", "mark_accessed"]


def mark_accessed(machine: Hardware, paddrs: Frames) -> None:
    """Note that frames are used now, once each; the zero page's folio is nobody's."""
    frames = machine.frames
    frames.recency.mark(paddrs[~frames.used_as(paddrs, Usage.ZERO)], partial(_locked, machine))


def _locked(machine: Hardware, paddrs: Frames) -> Mask:
    """Which frames' folios are locked in memory."""
    return machine.frames.mlocked(paddrs) | locked_in(machine, machine.spaces, paddrs)


def locked_in(machine: Hardware, spaces: Iterable[AddressSpace], paddrs: Frames) -> Mask:
    """Which frames are of folios that some of these address spaces map where it is locked: a bool a frame."""
    folios_of = machine.frames.recency.folios
    wanted, locked = folios_of(paddrs), np.zeros(len(paddrs), bool)
    for mm in spaces:
        for vma in mm.vmas:
            if VmaFlags.LOCKED in vma.flags and not vma.huge_page_size:
                rows = sweep.mappings(mm.tables, vma.start, vma.end, coalesce=False, threads=1)
                there = rows.paddr[rows.paddr < np.uint64(machine.frames.size)]
                locked |= np.isin(wanted, folios_of(there))
    return locked
