"""Accesses by the simulated CPU, and by the kernel on the process's behalf: a table of pages at a time.

A range is brought in block by block (2 MiB, one table). In each, entries that already allow the access only get their
accessed and dirty bits; empty entries of plain anonymous memory are filled together; anything else takes a page fault
of its own, in order of address, so that what happened before a refused access is what Linux would have done.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk import abi
from pagewalk.errors import MemoryFault, OutOfFrames, SegmentationFault, SystemCallError
from pagewalk.formats import Flag
from pagewalk.mm.areas import prepare_anon
from pagewalk.mm.fault import find_area, handle, unshare
from pagewalk.mm.frames import BLOCK, PAGE, Usage
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.mm.areas import Area
    from pagewalk.mm.fault import Access
    from pagewalk.mm.mm import Mm
    from pagewalk.mm.tables import Entries
    from pagewalk.tables import Entry

    Move = Callable[[int, Entries], object]

__all__ = ["execute", "kernel_copy", "populate", "reachable", "read", "touch", "write"]

PMD: Final = 3
FAR: Final = 1 << 30
"""An access of more bytes is looked at before it is made."""
NEEDS: Final = {"read": Flag.READ, "write": Flag.WRITE, "execute": Flag.READ}  # what is present can be read


def touch(mm: Mm, start: int, end: int, access: Access, move: Move | None = None) -> Entries:
    """Access one byte of every page in ``[start, end)``, whole pages, as the CPU would.

    Args:
        mm: The address space.
        start, end: Virtual addresses.
        access: What for.
        move: Called with runs of pages, in order: the number of the first, and their physical addresses, while their
            table is locked, so that nobody takes the pages away.

    Returns:
        The physical address of each page, shape (n,), uint64.

    Raises:
        SegmentationFault, BusError: A page refuses; the pages before it have been accessed.
        OutOfFrames: No frame is left; likewise.
    """
    paddrs = np.empty((end - start) // PAGE, np.uint64)
    addr = start
    while addr < end:
        addr = mm.machine.do(_step, mm, addr, end, access, paddrs, start, move)
    return paddrs


def reachable(mm: Mm, vaddr: int, size: int) -> int:
    """A size that ends a page behind what is mapped in one piece from ``vaddr`` on, where it is said to go further.

    The access is refused there. It is not to ask for memory that nobody has, to note down what it never reaches.
    """
    if size <= FAR:
        return size
    end = vaddr
    with mm.reading():
        while end < vaddr + size and (area := mm.area_at(end)) is not None:
            end = area.end
    return min(size, end // PAGE * PAGE + PAGE - vaddr)


def _step(mm: Mm, addr: int, end: int, access: Access, paddrs: Entries, start: int, move: Move | None) -> int:
    """Access what lies in one table and one area; returns where that ends."""
    area = find_area(mm, addr, access)
    stop = min(end, area.end, addr // BLOCK * BLOCK + BLOCK)
    at = (addr - start) // PAGE
    part = paddrs[at : at + (stop - addr) // PAGE]
    _block(mm, area, addr, stop, access, part, partial(move, at, part) if move else _stay)
    return stop


def _stay() -> None:
    """No data is moved."""


def _block(mm: Mm, area: Area, start: int, end: int, access: Access, paddrs: Entries, move: Any) -> None:
    """Access the pages of one block, all of one area; ``move`` is called when all of them are there."""
    while True:
        if area.huge_page_size:
            entry = mm.hugetlb.slot(area, start)
        else:
            entry = mm.tables.entry_at(start, PMD, grow=True)
            assert entry is not None
        if entry is not None and entry.is_leaf and NEEDS[access] in entry.flags:
            with mm.tables.lock(entry.table):
                if not entry.is_leaf or NEEDS[access] not in entry.flags:
                    continue
                _mark(mm, entry, access)
                inside, base = start & entry.level.span - 1, np.uint64(entry.target or 0)
                paddrs[:] = base + np.arange(inside, inside + end - start, PAGE, dtype=np.uint64)
                move()
                return
        if entry is None or not entry.is_table:
            handle(mm, start, access)
            continue
        table = mm.tables.child(entry, start)
        with mm.tables.lock(table):
            entries = mm.tables.slice(entry, start, end).entries
            first = _sweep(mm, area, start, entries, access)
            if first is None:
                paddrs[:] = mm.format.leaf_paddr(entries, mm.format.levels[4])
                move()
                return
        handle(mm, start + first * PAGE, access)


def _mark(mm: Mm, entry: Entry, access: Access) -> None:
    """Set the accessed and dirty bits, as the hardware does."""
    entry.value |= _marks(mm, access)


def _marks(mm: Mm, access: Access) -> int:
    return mm.format.state_bits(int(Flag.ACCESSED | Flag.DIRTY if access == "write" else Flag.ACCESSED))


def _sweep(mm: Mm, area: Area, start: int, entries: Entries, access: Access) -> int | None:
    """Do what can be done together in a run of entries.

    Returns:
        The first entry that needs a fault of its own, None if all are done.
    """
    form = mm.format
    there = form.is_valid(entries) & (form.leaf_flags(entries) & int(NEEDS[access]) != 0)
    fill = form.is_none(entries) & (area.is_anonymous and not area.flags & VmaFlags.UFFD_WP)
    others = np.flatnonzero(~there & ~fill)
    stop = int(others[0]) if others.size else len(entries)
    entries[:stop][there[:stop]] |= np.uint64(_marks(mm, access))
    holes = np.flatnonzero(fill[:stop])
    if holes.size:
        _fill(mm, area, start, entries, holes, access)
    return stop if others.size else None


def _fill(mm: Mm, area: Area, start: int, entries: Entries, holes: Any, access: Access) -> None:
    """Fill empty entries of anonymous memory: with the zero page for reading, with pages of their own for writing."""
    if access != "write":
        entries[holes] = np.uint64(mm.zero_entry_for(area))
    else:
        prepare_anon(mm, area)
        frames = mm.machine.frames.take_up_to(len(holes), Usage.ANON)
        count = len(frames)
        flags = int(mm.page_flags(area, writable=True) | Flag.ACCESSED | Flag.DIRTY)
        entries[holes[:count]] = mm.page_entry(area, frames, np.full(count, flags, np.uint64))
        if count < len(holes):
            raise OutOfFrames(f"no frame is free of {len(mm.machine.frames)}", start + int(holes[count]) * PAGE, 4)
    mm.log("install", start, start + len(entries) * PAGE)


def read(mm: Mm, vaddr: int, size: int) -> bytes:
    """Read bytes as the CPU would.

    Raises:
        SegmentationFault, BusError: At the first page that refuses.
    """
    if size <= 0:
        return b""
    first, last = vaddr // PAGE * PAGE, -(-(vaddr + size) // PAGE) * PAGE
    words, parts = mm.machine.frames.words, []
    try:
        touch(mm, first, last, "read", lambda _, paddrs: parts.append(words[paddrs // np.uint64(PAGE)].tobytes()))
    except MemoryFault as error:
        raise _from_first_byte(error, vaddr) from None
    data = b"".join(parts)
    return data[vaddr - first : vaddr - first + size]


def write(mm: Mm, vaddr: int, data: bytes) -> None:
    """Write bytes as the CPU would: those below a page that refuses are written.

    Raises:
        SegmentationFault, BusError: At the first page that refuses.
    """
    if not data:
        return
    first, last = vaddr // PAGE * PAGE, -(-(vaddr + len(data)) // PAGE) * PAGE

    def store(at: int, paddrs: Entries) -> None:
        begin = max(first + at * PAGE - vaddr, 0)
        _store(mm, vaddr + begin, data[begin : first + (at + len(paddrs)) * PAGE - vaddr], paddrs)

    try:
        touch(mm, first, last, "write", store)
    except (MemoryFault, OutOfFrames) as error:
        refused = error.vaddr // PAGE * PAGE if error.vaddr is not None else first
        if refused > vaddr:
            touch(mm, first, refused, "write", store)
        raise _from_first_byte(error, vaddr) if isinstance(error, MemoryFault) else error from None


def execute(mm: Mm, vaddr: int) -> None:
    """Fetch an instruction as the CPU does: the page is brought in first, then its right is looked at.

    Raises:
        SegmentationFault, BusError: The page refuses.
    """
    page = vaddr // PAGE * PAGE
    with mm.reading():
        try:
            touch(mm, page, page + PAGE, "execute")
        except MemoryFault as error:
            raise _from_first_byte(error, vaddr) from None
    area = mm.area_at(vaddr)
    if area is None or VmaFlags.EXEC not in area.flags:
        raise SegmentationFault(vaddr, "execute", "the mapping does not allow it", abi.SEGV_ACCERR)


def _from_first_byte(error: MemoryFault, vaddr: int) -> MemoryFault:
    """A fault told with the address of the first byte that was wanted, not of its page."""
    return type(error)(max(error.vaddr, vaddr), error.access, error.why, error.code)


def _store(mm: Mm, vaddr: int, data: bytes, paddrs: Entries) -> None:
    """Put bytes into pages."""
    inside = vaddr % PAGE
    at = 0
    for paddr in paddrs.tolist():
        part = data[at : at + PAGE - inside]
        mm.memory.write(paddr + inside, part)
        at, inside = at + len(part), 0


def populate(mm: Mm, start: int, end: int, access: Access) -> None:
    """Fault a range in for a system call.

    Raises:
        SystemCallError: EFAULT where a fault would be fatal, ENOMEM where memory is short.
    """
    try:
        touch(mm, start, end, access)
    except MemoryFault as error:
        raise SystemCallError(errno.EFAULT, str(error)) from error
    except OutOfFrames as error:
        raise SystemCallError(errno.ENOMEM, str(error)) from error


def _note_dirty(mm: Mm, vaddr: int) -> None:
    """The page at an address was written on the process's behalf: its folio is known to be dirty, as ``unpin`` says."""
    frames, entry = mm.machine.frames, mm.tables.entry_at(vaddr, PMD)
    if entry is not None and entry.is_table:
        entry = mm.tables.entry_at(vaddr, PMD + 1)
    paddr = None if entry is None else entry.target
    if paddr is not None:
        large = frames.is_large(paddr)
        frames.set_dirty(frames.run(paddr // BLOCK * BLOCK, BLOCK) if large else paddr)


def kernel_copy(mm: Mm, vaddr: int, size: int, data: bytes | None = None) -> bytes:
    """Access memory on the process's behalf, as process_vm_readv and process_vm_writev do.

    Args:
        mm: The address space.
        vaddr: The address.
        size: Bytes.
        data: What to write; None to read.

    Returns:
        The bytes read or written: fewer than asked for, if a page further on cannot be had.

    Raises:
        SystemCallError: EFAULT, not even the first byte could be had.
    """
    access: Access = "read" if data is None else "write"
    right = VmaFlags.READ if data is None else VmaFlags.WRITE
    done: list[bytes] = []
    at, end = vaddr, vaddr + size
    while at < end:
        area = mm.area_at(at)
        step = min(end, at // PAGE * PAGE + PAGE) - at
        if area is None or not area.flags & right or area.flags & (VmaFlags.IO | VmaFlags.PFNMAP):
            break
        try:
            if data is None:
                read(mm, at, 1)
                unshare(mm, at)
                done.append(read(mm, at, step))
            else:
                write(mm, at, data[at - vaddr : at - vaddr + step])
                _note_dirty(mm, at)
                done.append(data[at - vaddr : at - vaddr + step])
        except (MemoryFault, OutOfFrames):
            break
        at += step
    if not done and size:
        raise SystemCallError(errno.EFAULT, f"cannot {access} {vaddr:#x} on the process's behalf")
    return b"".join(done)
