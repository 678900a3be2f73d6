"""Files of a simulated machine: those in memory, with their page cache."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.abi.limits import F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_WRITE
from pagewalk.doors import integer, not_negative, plain, refuse_pickling, shown
from pagewalk.errors import OutOfFrames, SystemCallError
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.state import thp
from pagewalk.mm.state.accessed import mark_accessed
from pagewalk.mm.state.folios import Folios
from pagewalk.space import Mapping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagewalk.mm.hardware.frames import Frames
    from pagewalk.mm.hardware.machine import Hardware, MountPolicy
    from pagewalk.mm.hardware.swap import SwapDevice
    from pagewalk.space import VmaFlags

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
        huge: When its pages come in blocks by themselves; None: as the machine's ``shmem_thp`` says.

    Attributes:
        alive: Somebody has it; if not, its mappings alone keep it.
        pages: The frames of the page cache, by number of page.
        folios: Which of these pages are one folio.
        swapped: The slots of pages in swap, by number of page.
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
        huge: MountPolicy | None = None,
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
        self.huge = huge
        self.pages: dict[int, int] = {}
        self.folios = Folios(machine.geometry.block_pages)
        self.swapped: dict[int, int] = {}
        self.seals, self.executable = 0, True
        self._writes_folios = (machine.shmem_thp if huge is None else huge) not in ("never", "deny", "force")
        machine.files.add(self)
        machine.do(self._write, 0, contents)

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

    def bring_in(self, index: int, sizes: list[int]) -> None:
        """Bring in a page that is not there with others: as many as memory allows, the most first, or none at all.

        Args:
            index: The page.
            sizes: Pages of a folio, which is aligned to them; where one of them is there already, it is not had.
        """
        for size in sizes:
            folio = range(index - index % size, index - index % size + size)
            if any(other in self.pages or other in self.swapped for other in folio):
                continue
            try:
                paddrs = self._take(size)
            except OutOfFrames:
                continue
            self.pages.update(zip(folio, paddrs.tolist(), strict=True))
            self.folios.join(folio)
            self.pool.recency.join(paddrs)
            return

    @property
    def _policy(self) -> str:
        """When its pages come huge by themselves: ``deny`` and ``force`` stand above what a mount says."""
        overall = self.machine.shmem_thp
        return overall if self.huge is None or overall in ("deny", "force") else self.huge

    def wants_block(self, flags: VmaFlags, index: int) -> bool:
        """Whether a fault on a page brings in a whole block, of which no page is there; of what has these flags."""
        return thp.wants_block(self._policy, flags, index, self.folios.block, self.page_count)

    def _sizes_for_write(self, index: int, end: int) -> list[int]:
        """In how many pages a write up to ``end`` may bring in a page."""
        pages = max(-(-end // self.page_size), self.page_count)
        return thp.sizes_for_write(self._policy, index, self.folios.block, pages)

    def _take(self, pages: int) -> Frames:
        """Frames for a folio: those of a block are in one piece.

        Raises:
            OutOfFrames: There are none.
        """
        if pages < self.folios.block:
            return self.pool.take_many(pages, Usage.FILE)
        return self.pool.run(self.pool.take_block(Usage.FILE), pages * self.page_size)

    def is_poisoned(self, index: int) -> bool:
        """Whether a page is in the page cache, and broken; of a huge page, any part."""
        if not self.pool.lost or index not in self.pages:
            return False
        return self.pool.sound(self.pages[index], self.page_size) < self.page_size

    def hold(self, index: int) -> int:
        """As ``frame``, with one more reference, for who maps it.

        Raises:
            OutOfFrames: No frame.
        """
        frame = self.frame(index)
        self.pool.hold(frame)
        return frame

    def paddrs(self, pages: Iterable[int]) -> Frames:
        """The frames of pages that are all in the page cache. Shape (pages,), uint64."""
        return np.array([self.pages[index] for index in pages], np.uint64)

    def block_at(self, index: int) -> int | None:
        """Where the huge page is that a page is a part of; None if no folio has the whole block."""
        folio = self.folios.of(index)
        return self.pages[folio.start] if len(folio) == self.folios.block else None

    def set_dirty(self, folios: range) -> None:
        """Pages have been written, of these whole folios."""
        self.pool.set_dirty(self.paddrs(folios))

    @property
    def page_count(self) -> int:
        """How many pages it has, the last perhaps in part."""
        return -(-self.size // self.page_size)

    def has(self, addr_offset: int) -> bool:
        """Whether the page at an offset lies inside the file."""
        return addr_offset // self.page_size < self.page_count

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
            SystemCallError: EBADF: it is not open for writing; EINVAL: there is no such place in a file; EPERM, it is
                sealed; EIO, it is broken there: what lies before is written.
            OutOfFrames: No frame.
        """
        data = bytes(plain(data))
        if not self.writable:
            raise SystemCallError(errno.EBADF, f"{self.name} is not open for writing")
        offset = _offset(offset, len(data))
        if data:
            self.refuse_sealed()
            self.refuse_sealed(max(self.size, offset + len(data)))
        self.machine.do(self._write, offset, data)

    def _write(self, offset: int, data: bytes) -> None:
        at, used = 0, list[int]()
        try:
            while at < len(data):
                index, inside = divmod(offset + at, self.page_size)
                part = data[at : at + self.page_size - inside]
                if self.is_poisoned(index):
                    raise SystemCallError(errno.EIO, f"page {index} of {self.name} is poisoned")
                used += self._frame_to_write(index, offset + len(data), first=not at)
                self.pool.memory.write(self.frame(index) + inside, part)
                at += len(part)
                self.size = max(self.size, offset + at)
        finally:
            if at:
                first, last = offset // self.page_size, (offset + at - 1) // self.page_size
                self.set_dirty(range(self.folios.of(first).start, self.folios.of(last).stop))
                mark_accessed(self.machine, np.array(used, np.uint64))

    def _frame_to_write(self, index: int, end: int, *, first: bool) -> list[int]:
        """Bring in a page that a write has come to, which goes on to ``end``; returns the frames that are to be marked.

        One that is new is referenced. One that was there is used, once in a write that goes by folios, and it is not
        the first.
        """
        if index in self.pages or index in self.swapped:
            again = self._writes_folios and not first and index != self.folios.of(index).start
            return [] if again else [self.frame(index)]
        self.bring_in(index, self._sizes_for_write(index, end))
        self.pool.recency.refer(np.array([self.frame(index)], np.uint64))
        return []

    def read(self, offset: int, size: int) -> bytes:
        """Get bytes: fewer at the end of the file, and before a page that is broken, as for a system call.

        Raises:
            SystemCallError: EINVAL: there is no such place in a file; EIO, it is broken there.
        """
        size = not_negative(size, "size")
        offset = _offset(offset, size)
        return self.machine.do(self._read, offset, size)

    def _read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.size)
        parts, used = [], list[int]()
        while offset < end:
            index, inside = divmod(offset, self.page_size)
            step = min(end - offset, self.page_size - inside)
            frame = self.frame(index) if index in self.swapped else self.pages.get(index)
            sound = step if frame is None else self.pool.sound(frame + inside, step)
            if frame is not None and sound and not inside and index == self.folios.of(index).start:
                used.append(frame)
            parts.append(bytes(step) if frame is None else self.pool.memory.read(frame + inside, sound))
            offset += step
            if sound < step:
                break
        mark_accessed(self.machine, np.array(used, np.uint64))
        data = b"".join(parts)
        if not data and parts:
            raise SystemCallError(errno.EIO, f"{self.name} is broken at {offset - step:#x}")
        return data

    def let_go(self) -> None:
        """A mapping has gone: with the last one of an unlinked file, so do its pages."""
        if self.unlinked and not self.vmas:
            self.discard(0, max((*self.pages, *self.swapped), default=0) + 1)

    def discard(self, first: int, last: int) -> None:
        """Take the pages ``[first, last)``, whole folios, out of the page cache: they are holes now."""
        gone = [index for index in self.pages if first <= index < last]
        paddrs = np.array([self.pages.pop(index) for index in gone], np.uint64)
        self.folios.forget(range(first, last))
        self.pool.recency.separate(paddrs)
        self.pool.drop(paddrs)
        if self.pool.lost:
            self.pool.set_dirty(paddrs[self.pool.poisoned(paddrs)], dirty=False)
        for index in [index for index in self.swapped if first <= index < last]:
            self.machine.swap.drop(self.swapped.pop(index))

    def cut(self, first: int) -> None:
        """The file ends before a page now: it and all behind it are gone."""
        self.discard(first, FILE_END // self.page_size)

    def reclaim(self, frame: int, swap: SwapDevice) -> None:
        """Memory is wanted back: a page that was never written is a hole again, others go to swap, if any, or stay."""
        (index,) = [index for index, cached in self.pages.items() if cached == frame]
        if not self.pool.dirty(frame)[0]:
            self.discard(index, index + 1)
        elif swap.used < swap.slots:
            self.swapped[index] = swap.move_out(frame)
            del self.pages[index]
        else:
            self.pool.recency.activate(self.paddrs([index]))

    # -- large folios --------------------------------------------------------------------------------------------------

    def join(self, block: range, paddr: int) -> None:
        """Make the pages of a block one folio, in frames taken for it; its holes are zeroed. Nobody maps them now."""
        there = [index for index in block if index in self.pages]
        old = self.paddrs(there)
        self.pool.gather(old, paddr, np.array(there, np.intp) - block.start)
        run = self.pool.run(paddr, len(block) * self.page_size)
        self.pool.set_dirty(run)
        self.pages.update(zip(block, run.tolist(), strict=True))
        self.folios.join(block)
        self.pool.recency.separate(old)
        self.pool.drop(old)

    def split(self, folio: range, at: int | None = None) -> None:
        """Split a folio that nobody maps, down to a page, or into single ones; what is beyond the end is a hole now."""
        if len(folio) == self.folios.block:
            self.pool.dissolve(self.pages[folio.start])
        self.pool.recency.separate(self.paddrs(folio))
        if at is None:
            self.folios.forget(folio)
        else:
            for part in self.folios.halve(folio, at):
                self.pool.recency.join(self.paddrs(part))
        end = self.page_count
        beyond = self.folios.of(max(end, folio.start))
        self.discard(beyond.start if beyond.start >= end else beyond.stop, folio.stop)

    def zero_edges(self, offset: int, length: int) -> None:
        """Zero the parts of a range that fill no whole page."""
        end, size = offset + length, self.page_size
        first, last = -(-offset // size) * size, end // size * size
        for start, stop in ((offset, min(end, first)), (max(offset, last), end)):
            index = start // self.page_size
            frame = self.frame(index) if start < stop and index in self.swapped else self.pages.get(index)
            if start < stop and frame is not None:
                self.pool.memory.write(frame + start % self.page_size, bytes(stop - start))


def _offset(offset: int, size: int) -> int:
    """A place in a file, of so many bytes (``rw_verify_area``).

    Raises:
        TypeError: It is no integer.
        SystemCallError: EINVAL: it is negative, or beyond every file.
    """
    offset = integer(offset, "offset")
    if not 0 <= offset < FILE_END or offset + size >= FILE_END:
        raise SystemCallError(errno.EINVAL, f"no file has {size:#x} bytes at {offset:#x}")
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
