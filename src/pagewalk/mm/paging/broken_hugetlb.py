"""Memory errors in hugetlb pages: the whole page goes with the frame that breaks (``me_huge_page``, Linux 6.18)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.errors import OutOfFrames, UnsupportedError
from pagewalk.formats import Flag
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.paging import hugetlb

if TYPE_CHECKING:
    from pagewalk.mm.hardware.machine import Hardware
    from pagewalk.mm.state.area import Area
    from pagewalk.tables import Entry

__all__ = ["break_huge", "replace_huge"]


def break_huge(machine: Hardware, area: Area, vaddr: int, paddr: int) -> bool:
    """Break a frame of a huge page: no entry maps the page any more, and its pool has one less.

    A file keeps the page until it is cut off. Then its other frames are free, which the kernel leaves out of sight.

    Args:
        machine: The machine.
        area, vaddr: Where the page is mapped.
        paddr: The frame.

    Returns:
        Whether it held what is nowhere else.

    Raises:
        UnsupportedError: The pool owes all its pages: the kernel leaves the page in it then.
    """
    size, frames = area.huge_page_size, machine.frames
    head = paddr // size * size
    of_file, run = bool(frames.used_as(head, Usage.HUGETLB_FILE)[0]), frames.run(head, size)
    if not of_file and len(machine.hugetlb[size]) < machine.promised(size) + (head in machine.restoring):
        raise UnsupportedError("poisoning a huge page of a pool that owes all its pages is not simulated")
    found = _entries(area, vaddr, head)
    dirty = of_file or any(Flag.DIRTY in entry.flags for entry in found)
    frames.use(run, Usage.FILE if of_file else Usage.ANON)
    frames.poison(paddr, Usage.POISONED_FILE if of_file else Usage.POISONED)
    for entry in found:
        entry.value = machine.geometry.huge[size].poisoned(head)
        frames.drop(run)
    machine.lose_hugetlb(head, size)
    return dirty


def replace_huge(machine: Hardware, area: Area, vaddr: int, paddr: int) -> None:
    """Move a huge page to another one of its pool, which is one page smaller then. Arguments as ``break_huge``.

    Raises:
        UnsupportedError: The pool has none left over: the kernel makes one then.
    """
    size, frames = area.huge_page_size, machine.frames
    head = paddr // size * size
    of_file, run = bool(frames.used_as(head, Usage.HUGETLB_FILE)[0]), frames.run(head, size)
    found = _entries(area, vaddr, head)
    try:
        fresh = machine.take_hugetlb(size, promised=False, file=of_file)
    except OutOfFrames as error:
        raise UnsupportedError("taking a huge page away whose pool has no other left is not simulated") from error
    frames.copy_run(head, fresh, size)
    frames.poison(paddr, Usage.POISONED)
    for number, entry in enumerate(found):
        if number or of_file:
            frames.hold(frames.run(fresh, size))
        entry.value = machine.geometry.huge[size].moved(entry.value, head, fresh)
        frames.drop(run)
    if of_file:
        hugetlb.file_of(area).pages[area.offset_at(vaddr) // size] = fresh
        frames.drop(run)
    machine.lose_hugetlb(head, size)


def _entries(area: Area, vaddr: int, head: int) -> list[Entry]:
    """The entries of all address spaces that map a huge page."""
    file, size = hugetlb.file_of(area), area.huge_page_size
    offset, found = area.offset_at(vaddr) // size * size, []
    for vma in file.overlapping(offset, offset + size):
        entry = hugetlb.slot(vma.mm, vma, vma.range_of(offset, offset + size)[0])
        if entry is not None and entry.is_leaf and entry.target == head:
            found.append(entry)
    return found
