"""Accesses by the simulated CPU, and by the kernel on the process's behalf: bytes in, bytes out."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pagewalk import abi
from pagewalk.errors import MemoryFault, OutOfFrames, SegmentationFault, SystemCallError
from pagewalk.mm.paging.pins import PINNED_TOGETHER, pinned
from pagewalk.mm.paging.touch import touch
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.state.space import Space
    from pagewalk.mm.state.tables import Entries

__all__ = ["execute", "kernel_copy", "reachable", "read", "write"]

FAR: Final = 1 << 30
"""An access of more bytes is looked at before it is made."""


def reachable(mm: Space, vaddr: int, size: int) -> int:
    """A size that ends a page behind what is mapped in one piece from ``vaddr`` on, where it is said to go further.

    The access is refused there. It is not to ask for memory that nobody has, to note down what it never reaches.
    """
    if size <= FAR:
        return size
    end = vaddr
    with mm.reading():
        while end < vaddr + size and (area := mm.area_at(end)) is not None:
            end = area.end
    return min(size, mm.geometry.page_start(end) + mm.geometry.page_size - vaddr)


def read(mm: Space, vaddr: int, size: int) -> bytes:
    """Read bytes as the CPU would.

    Raises:
        SegmentationFault, BusError: At the first page that refuses.
    """
    if size <= 0:
        return b""
    first, last = mm.geometry.page_start(vaddr), mm.geometry.page_end(vaddr + size)
    frames, parts = mm.machine.frames, list[bytes]()
    try:
        touch(mm, first, last, "read", lambda _, paddrs: parts.append(frames.bytes_of(paddrs)))
    except MemoryFault as error:
        raise _from_first_byte(error, vaddr) from None
    data = b"".join(parts)
    return data[vaddr - first : vaddr - first + size]


def write(mm: Space, vaddr: int, data: bytes) -> None:
    """Write bytes as the CPU would: those below a page that refuses are written.

    Raises:
        SegmentationFault, BusError: At the first page that refuses.
    """
    if not data:
        return
    first, last = mm.geometry.page_start(vaddr), mm.geometry.page_end(vaddr + len(data))
    size = mm.geometry.page_size

    def store(at: int, paddrs: Entries) -> None:
        begin = max(first + at * size - vaddr, 0)
        _store(mm, vaddr + begin, data[begin : first + (at + len(paddrs)) * size - vaddr], paddrs)

    try:
        touch(mm, first, last, "write", store)
    except (MemoryFault, OutOfFrames) as error:
        refused = mm.geometry.page_start(error.vaddr) if error.vaddr is not None else first
        if refused > vaddr:
            touch(mm, first, refused, "write", store)
        raise _from_first_byte(error, vaddr) if isinstance(error, MemoryFault) else error from None


def execute(mm: Space, vaddr: int) -> None:
    """Fetch an instruction as the CPU does: the page is brought in first, then its right is looked at.

    Raises:
        SegmentationFault, BusError: The page refuses.
    """
    page = mm.geometry.page_start(vaddr)
    with mm.reading():
        try:
            touch(mm, page, page + mm.geometry.page_size, "execute")
        except MemoryFault as error:
            raise _from_first_byte(error, vaddr) from None
    area = mm.area_at(vaddr)
    if area is None or VmaFlags.EXEC not in area.flags:
        raise SegmentationFault(vaddr, "execute", "the mapping does not allow it", abi.SEGV_ACCERR)


def _from_first_byte(error: MemoryFault, vaddr: int) -> MemoryFault:
    """A fault told with the address of the first byte that was wanted, not of its page."""
    return type(error)(max(error.vaddr, vaddr), error.access, error.why, error.code)


def _store(mm: Space, vaddr: int, data: bytes, paddrs: Entries) -> None:
    """Put bytes into pages."""
    size = mm.geometry.page_size
    inside = vaddr % size
    at = 0
    for paddr in paddrs.tolist():
        part = data[at : at + size - inside]
        mm.memory.write(paddr + inside, part)
        at, inside = at + len(part), 0


def kernel_copy(mm: Space, vaddr: int, size: int, data: bytes | None = None) -> bytes:
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
    done: list[bytes] = []
    at, end, together = vaddr, vaddr + size, PINNED_TOGETHER * mm.geometry.page_size
    while at < end:
        stop = min(end, mm.geometry.page_start(at) + together)
        part = mm.machine.do(_copy_pinned, mm, at, stop - at, None if data is None else data[at - vaddr : stop - vaddr])
        done.append(part)
        at += len(part)
        if at < stop:
            break
    if at == vaddr < end:
        access = "read" if data is None else "write"
        raise SystemCallError(errno.EFAULT, f"cannot {access} {vaddr:#x} on the process's behalf")
    return b"".join(done)


def _copy_pinned(mm: Space, vaddr: int, size: int, data: bytes | None) -> bytes:
    """Read, or write data, as far as pages can be pinned."""
    first, last = mm.geometry.page_start(vaddr), mm.geometry.page_end(vaddr + size)
    inside = vaddr - first
    with pinned(mm, first, last, "read" if data is None else "write") as paddrs:
        if data is None:
            return mm.machine.frames.bytes_of(paddrs)[inside : inside + size]
        _store(mm, vaddr, data, paddrs)
        return data[: max(len(paddrs) * mm.geometry.page_size - inside, 0)]
