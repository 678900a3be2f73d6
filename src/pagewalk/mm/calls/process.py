"""fork and exit: a second address space with the same areas, and the end of one."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Final

from pagewalk.errors import PagewalkError
from pagewalk.mm.calls.mapping import take_out
from pagewalk.mm.paging import hugetlb
from pagewalk.mm.paging.copying import copy_pages
from pagewalk.mm.state.area import AnonHistory
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.state.area import Area
    from pagewalk.mm.state.space import Space

__all__ = ["end", "fork"]

NOT_INHERITED: Final = VmaFlags.LOCKED | VmaFlags.LOCKONFAULT | VmaFlags.UFFD_WP | VmaFlags.UFFD_MISSING


def fork(parent: Space) -> Space:
    """See ``Mm.fork``: all or nothing."""
    child = type(parent)(parent.machine)
    child.mmap_base = parent.mmap_base
    child.limits, child.keys = parent.limits.copy(), parent.keys.copy()
    try:
        for vma in list(parent.vmas):
            area = parent.as_area(vma)
            if VmaFlags.DONTCOPY not in area.flags:
                _copy_area(parent, child, area)
    except PagewalkError:
        child.alive = True
        child.mmap_lock.run(lambda: end(child))
        raise
    parent.log("flush", 0, parent.task_size)
    return child


def end(mm: Space) -> None:
    """Give back everything that an address space has, if that was not done before."""
    if mm.alive:
        take_out(mm, [mm.as_area(vma) for vma in mm.vmas], 0, mm.task_size)
        mm.alive = False
        mm.tables.free_root()


def _copy_area(parent: Space, child: Space, area: Area) -> None:
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
        hugetlb.inherit(child, parent, area)
    elif (area.anon is not None or area.guarded) and not wiped:
        copy_pages(parent, child, area)
