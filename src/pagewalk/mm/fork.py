"""fork: a second address space with the same areas, sharing pages until one of the two writes."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.errors import PagewalkError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.areas import AnonHistory
from pagewalk.mm.frames import BLOCK
from pagewalk.mm.uffd import unprotected
from pagewalk.space import VmaFlags
from pagewalk.walk import WalkOps, walk_page_range_novma

if TYPE_CHECKING:
    from pagewalk.mm.areas import Area
    from pagewalk.mm.mm import Mm
    from pagewalk.tables import Entry

__all__ = ["fork"]

PMD: Final = 3
NOT_INHERITED: Final = VmaFlags.LOCKED | VmaFlags.LOCKONFAULT | VmaFlags.UFFD_WP | VmaFlags.UFFD_MISSING


def fork(parent: Mm) -> Mm:
    """See ``Mm.fork``: all or nothing."""
    child = type(parent)(parent.machine)
    child.mmap_base = parent.mmap_base
    try:
        for vma in list(parent.vmas):
            area = parent.as_area(vma)
            if VmaFlags.DONTCOPY not in area.flags:
                _copy_area(parent, child, area)
    except PagewalkError:
        child.alive = True
        child.exit()
        raise
    parent.log("flush", 0, parent.task_size)
    return child


def _copy_area(parent: Mm, child: Mm, area: Area) -> None:
    """Give the child one area, and the pages it cannot get by a fault of its own."""
    twin = copy(area)
    twin.mm, twin.lock = None, child.new_vma_lock()
    twin.flags &= ~NOT_INHERITED
    wiped = VmaFlags.WIPEONFORK in area.flags
    if wiped or area.anon is None:
        twin.anon, twin.chain = None, 0
    else:
        twin.anon, twin.chain = AnonHistory(), area.chain + 1
    child.add_vma(twin)
    if area.huge_page_size:
        child.hugetlb.inherit(parent, area)
    elif (area.anon is not None or area.guarded) and not wiped:
        _copy_pages(parent, child, area)


def _copy_pages(parent: Mm, child: Mm, area: Area) -> None:
    """Copy entries, a table at a time; private pages lose their write right on both sides (``copy_page_range``)."""
    private = VmaFlags.SHARED not in area.flags

    def at_pmd(pmd: Entry, addr: int, next_: int, walk: Any) -> None:
        if pmd.is_leaf and next_ - addr < BLOCK:
            parent.tables.split(pmd, addr)
        if pmd.is_leaf:
            _copy_huge(parent, child, pmd, addr)
        elif pmd.is_table:
            child.tables.entry_at(addr, PMD + 1, grow=True)  # for an empty table too, as Linux does
            source = parent.tables.slice(pmd, addr, next_).entries
            if not source.any():
                return
            there = child.tables.entry_at(addr, PMD)
            assert there is not None
            child.tables.slice(there, addr, next_).entries[:] = _shared_entries(parent, source, private=private)

    walk_page_range_novma(parent.tables, area.start, area.end, WalkOps(pmd_entry=at_pmd))


def _shared_entries(parent: Mm, source: Any, *, private: bool) -> Any:
    """Hold what entries name once more, and make them copy-on-write; returns the child's entries."""
    form, frames = parent.format, parent.machine.frames
    kinds = form.kind(source)
    pages = (kinds == Kind.PRESENT) | (kinds == Kind.PROT_NONE)
    own = pages & (form.flags(source) & int(Flag.SPECIAL) == 0)
    paddrs = form.leaf_paddr(source[own], form.levels[4])
    frames.hold(paddrs)
    frames.set_exclusive(paddrs, exclusive=False)
    for entry in source[kinds == Kind.SWAP]:
        parent.machine.swap.hold(int(form.software.swap_slot(entry)[1]))
    if private:
        present = kinds == Kind.PRESENT
        source[present] &= np.uint64(_without(form, Flag.WRITE))
    copies = source.copy()
    copies[kinds == Kind.PRESENT] &= np.uint64((1 << 64) - 1 - form.state_bits(int(Flag.ACCESSED)))
    return unprotected(parent, copies)


def _without(form: Any, flag: Flag) -> int:
    """A mask that takes a right away."""
    (row,) = [row for row in form.rights if row.flag is flag]
    return (1 << 64) - 1 - (1 << row.bit)


def _copy_huge(parent: Mm, child: Mm, pmd: Entry, addr: int) -> None:
    """Share one huge page with the child."""
    there = child.tables.entry_at(addr, PMD, grow=True)
    assert there is not None
    child.tables.deposit()
    if pmd.target == parent.machine.huge_zero:
        there.value = pmd.value
        parent.machine.take_huge_zero()
        return
    paddr = pmd.target
    assert paddr is not None
    run = parent.machine.frames.run(paddr, BLOCK)
    parent.machine.frames.hold(run)
    parent.machine.frames.set_exclusive(run, exclusive=False)
    if pmd.kind is Kind.PRESENT:
        pmd.value &= _without(parent.format, Flag.WRITE)
    there.value = pmd.value & (1 << 64) - 1 - parent.format.state_bits(int(Flag.ACCESSED | Flag.UFFD_WP))
