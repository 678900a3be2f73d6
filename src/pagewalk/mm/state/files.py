"""Files of a simulated machine: those in memory, with their page cache."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from pagewalk.abi.limits import F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_WRITE
from pagewalk.doors import integer, not_negative, plain, refuse_pickling, shown
from pagewalk.errors import SystemCallError
from pagewalk.mm.hardware.frames import Usage
from pagewalk.space import Mapping

if TYPE_CHECKING:
    from pagewalk.mm.hardware.machine import Hardware
    from pagewalk.mm.hardware.swap import SwapDevice

__all__ = ["FILE_END", "File", "check_file"]

FILE_END: Final = 1 << 63
"""Beyond every file."""


class File(Mapping):
    """A file in memory. A page that was never written is a hole, filled with a zeroed page when it is touched.

    Args:
        machine: The machine.
        name: As ``maps`` shows it.
        size: Bytes; beyond the last page an access is a SIGBUS.
        contents: What it begins with.
        writable: Whether shared mappings of it may be writable.
        readable: Whether it may be mapped at all.
        unlinked: It goes with its last mapping, as shared anonymous memory does.

    Attributes:
        alive: Somebody has it; if not, its mappings alone keep it.
        pages: The frames in the page cache, by the page's number.
        swapped: The slots of pages in swap, likewise.
        seals: F_SEAL_* that were added to it.
        executable: Whether it may be executed, as far as sealing asks.
    """

    alive = False

    def __init__(
        self,
        machine: Hardware,
        name: str,
        size: int,
        contents: bytes = b"",
        *,
        writable: bool = True,
        readable: bool = True,
        unlinked: bool = False,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a file's name is a str, not {shown(name)}")
        super().__init__(name, machine.geometry.page_size)
        self.machine = machine
        self.pool = machine.frames
        self.lock = machine.lock
        contents = bytes(plain(contents))
        self.size = max(not_negative(size, "size"), len(contents))
        if self.size >= FILE_END:
            raise SystemCallError(errno.EFBIG, f"no file has {self.size:#x} bytes")
        self.writable = writable
        self.readable = readable
        self.unlinked = unlinked
        self.pages: dict[int, int] = {}
        self.swapped: dict[int, int] = {}
        self.seals, self.executable = 0, True
        machine.files.add(self)
        self.write(0, contents)

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "its pages are the machine's: hand on what it holds, file.read(0, file.size)")

    def frame(self, index: int) -> int:
        """The frame of a page, brought into the page cache; the cache holds one reference.

        Raises:
            OutOfFrames: No frame.
        """
        if index in self.swapped:
            self.pages[index] = self.machine.swap.move_in(self.swapped[index])
            self.machine.swap.drop(self.swapped.pop(index))
        if index not in self.pages:
            self.pages[index] = self.pool.take(Usage.FILE)
        return self.pages[index]

    def hold(self, index: int) -> int:
        """As ``frame``, with one more reference, for who maps it.

        Raises:
            OutOfFrames: No frame.
        """
        frame = self.frame(index)
        self.pool.hold(frame)
        return frame

    def hold_cached(self, index: int) -> int | None:
        """The frame of a page that is in the page cache, with one more reference; None if it is not."""
        return self.hold(index) if index in self.pages else None

    def has(self, addr_offset: int) -> bool:
        """Whether the page at an offset lies inside the file."""
        return addr_offset // self.page_size < -(-self.size // self.page_size)

    def refuse_sealed(self, size: int | None = None) -> None:
        """Refuse to change what a file holds, or what size it has, if it is sealed.

        Raises:
            SystemCallError: EPERM.
        """
        if size is None:
            refused = self.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
        else:
            refused = self.seals & (F_SEAL_SHRINK * (size < self.size) | F_SEAL_GROW * (size > self.size))
        if refused:
            raise SystemCallError(errno.EPERM, f"{self.name} is sealed, {self.seals:#x}")

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes in; the file grows with them, as for a system call.

        Raises:
            SystemCallError: EINVAL, EFBIG: there is no such place in a file; EPERM, it is sealed.
            OutOfFrames: No frame.
        """
        offset, data = _offset(offset), bytes(plain(data))
        if offset + len(data) >= FILE_END:
            raise SystemCallError(errno.EFBIG, f"{len(data)} bytes at {offset:#x} go beyond every file")
        if data:
            self.refuse_sealed()
            self.refuse_sealed(max(self.size, offset + len(data)))
        self.machine.do(self._write, offset, data)

    def _write(self, offset: int, data: bytes) -> None:
        self.size = max(self.size, offset + len(data))
        at = 0
        while at < len(data):
            index, inside = divmod(offset + at, self.page_size)
            part = data[at : at + self.page_size - inside]
            frame = self.frame(index)
            self.pool.memory.write(frame + inside, part)
            self.pool.set_dirty(frame)
            at += len(part)

    def read(self, offset: int, size: int) -> bytes:
        """Get bytes: fewer at the end of the file, as for a system call.

        Raises:
            SystemCallError: EINVAL: there is no such place in a file.
        """
        offset, size = _offset(offset), not_negative(size, "size")
        return self.machine.do(self._read, offset, size)

    def _read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.size)
        parts = []
        while offset < end:
            index, inside = divmod(offset, self.page_size)
            step = min(end - offset, self.page_size - inside)
            frame = self.frame(index) if index in self.swapped else self.pages.get(index)
            parts.append(bytes(step) if frame is None else self.pool.memory.read(frame + inside, step))
            offset += step
        return b"".join(parts)

    def let_go(self) -> None:
        """A mapping has gone: with the last one of an unlinked file, so do its pages."""
        if self.unlinked and not self.vmas:
            self.discard(0, max((*self.pages, *self.swapped), default=0) + 1)

    def discard(self, first: int, last: int) -> None:
        """Take the pages ``[first, last)`` out of the page cache: they are holes now."""
        for index in [index for index in self.pages if first <= index < last]:
            self.pool.drop(self.pages.pop(index))
        for index in [index for index in self.swapped if first <= index < last]:
            self.machine.swap.drop(self.swapped.pop(index))

    def cut(self, first: int) -> None:
        """The file ends before a page now: it and all behind it are gone."""
        self.discard(first, FILE_END // self.page_size)

    def reclaim(self, frame: int, swap: SwapDevice) -> None:
        """Memory is wanted back: a page that was never written is a hole again, others go to swap, if any."""
        (index,) = [index for index, cached in self.pages.items() if cached == frame]
        if not self.pool.dirty(frame)[0]:
            self.discard(index, index + 1)
        elif swap.used < swap.slots:
            self.swapped[index] = swap.move_out(frame)
            del self.pages[index]

    def zero_edges(self, offset: int, length: int) -> None:
        """Zero the parts of a range that fill no whole page."""
        end, size = offset + length, self.page_size
        first, last = -(-offset // size) * size, end // size * size
        for start, stop in ((offset, min(end, first)), (max(offset, last), end)):
            index = start // self.page_size
            frame = self.frame(index) if start < stop and index in self.swapped else self.pages.get(index)
            if start < stop and frame is not None:
                self.pool.memory.write(frame + start % self.page_size, bytes(stop - start))


def _offset(offset: int) -> int:
    """A place in a file.

    Raises:
        TypeError: It is no integer.
        SystemCallError: EINVAL: it is negative, or beyond every file.
    """
    offset = integer(offset, "offset")
    if not 0 <= offset < FILE_END:
        raise SystemCallError(errno.EINVAL, f"no file has an offset of {offset:#x}")
    return offset


def check_file(machine: Hardware, file: File) -> None:
    """Refuse what is no file of a machine.

    Raises:
        TypeError: It is no file.
        SystemCallError: EINVAL: it is another machine's, whose frames are not here.
    """
    if not isinstance(file, File):
        raise TypeError(f"a file is needed, as machine.file() gives it, not {shown(file)}")
    if file.pool is not machine.frames:
        raise SystemCallError(errno.EINVAL, f"{shown(file.name)} is a file of another machine")
