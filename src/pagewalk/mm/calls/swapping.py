"""swapon and swapoff: the machine's swap device comes and goes (``mm/swapfile.c``, Linux 6.18)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import numpy as np

from pagewalk.errors import OutOfFrames, SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.hardware.swap import SwapDevice
from pagewalk.mm.state.area import RIGHTS
from pagewalk.mm.state.files import File
from pagewalk.mm.state.space import Space

if TYPE_CHECKING:
    from pagewalk.mm.hardware.machine import Hardware
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.tables import Entries

__all__ = ["swapoff", "swapon"]


def swapon(machine: Hardware, size: int) -> None:
    """See ``Machine.swapon``."""
    if machine.swap.slots:
        raise SystemCallError(errno.EBUSY, f"the machine has swap, {machine.swap.slots} slots: swapoff() first")
    machine.swap = SwapDevice(size, machine.frames, machine.geometry.last.most_swap_slots)


def swapoff(machine: Hardware) -> None:
    """See ``Machine.swapoff``."""
    if not machine.swap.slots:
        raise SystemCallError(errno.EINVAL, "the machine has no swap")
    try:
        for mm in [mm for mm in machine.spaces if isinstance(mm, Space) and mm.alive]:
            _bring_in(mm)
        for file in [file for file in machine.files if isinstance(file, File)]:
            for index in list(file.swapped):
                file.frame(index)
    except OutOfFrames as error:
        raise SystemCallError(errno.ENOMEM, str(error)) from error
    for paddr in list(machine.swap.cached.values()):
        machine.swap.let_go(paddr)
    machine.swap = SwapDevice(0, machine.frames, machine.geometry.last.most_swap_slots)


def _bring_in(mm: Space) -> None:
    """Map what an address space has in swap."""
    last = mm.geometry.last
    for vma in mm.vmas:
        if not vma.huge_page_size:
            for _, entries in mm.tables.slices(vma.start, vma.end):
                for at in np.flatnonzero(last.kind(entries) == Kind.SWAP).tolist():
                    _unuse(mm, mm.as_area(vma), entries, at)


def _unuse(mm: Space, area: Area, entries: Entries, at: int) -> None:
    """Map one page, as nobody had touched it: neither accessed nor to be written at once (``unuse_pte``)."""
    last, swap, frames = mm.geometry.last, mm.machine.swap, mm.machine.frames
    entry = int(entries[at])
    slot, flags = int(last.swap_slot(entry)[1]), Flag(last.flags(entry))
    paddr = swap.fetch(slot)
    frames.hold(paddr)
    frames.set_exclusive(paddr, exclusive=Flag.EXCLUSIVE in flags)
    kept = mm.page_flags(area, writable=False) | flags & (Flag.UFFD_WP | Flag.SOFT_DIRTY)
    page = mm.page_entry(area, paddr, int(kept))
    entries[at] = page if area.flags & RIGHTS else last.without_rights(page)
    swap.drop(slot)
    swap.let_go(paddr)
