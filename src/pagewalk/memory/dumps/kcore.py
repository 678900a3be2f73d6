"""A live kernel's ``/proc/kcore``: read, since it cannot be mapped, and never the same twice."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import integer, refuse_pickling, shortened, shown
from pagewalk.errors import ImageFormatError, MemoryReadError, UnsupportedError
from pagewalk.memory.dumps.elf_headers import core_of
from pagewalk.memory.exact import BadAnswer
from pagewalk.memory.files.layout import Ranges, laid_out

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LiveCore", "is_live"]

_PROC: Final = Path("/proc")
_ENDLESS: Final = 1 << 63
"""The size of a file that has none that can be believed."""
_WHOLE: Final = 1 << 22
"""Bytes of one read: the kernel gives what it can copy at once."""


def is_live(path: Path) -> bool:
    """Whether a file is the kernel's own, and can be read only: ``/proc/kcore``. ``/proc/vmcore`` can be mapped."""
    try:
        return path.name == "kcore" and path.stat().st_dev == _PROC.stat().st_dev
    except OSError:
        return False


class LiveCore:
    """The physical memory of the machine that this runs on, as ``/proc/kcore`` has it. Only root may read it.

    Args:
        path: The file.
        writable: Must not be asked for.

    Raises:
        OSError: It cannot be opened: PermissionError says who may.
        ImageFormatError: It is no ELF core.
        UnsupportedError: It is to be written, or of a machine whose tables are not read.

    Attributes:
        extents: Where it has memory, ``[start, end)`` each.
        cpus, vmcoreinfo, missing: As ``ElfCore`` has them.
    """

    def __init__(self, path: str | os.PathLike[str] = "/proc/kcore", *, writable: bool = False) -> None:
        self.path = Path(path)
        if writable:
            raise UnsupportedError(f"{path}: the kernel lets nobody write there: open it read-only")
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            why = "only root may read it (CAP_SYS_RAWIO, and no lockdown)"
            raise PermissionError(error.errno, why, str(path)) from None
        self.closed = False
        try:
            core = core_of(self._at)
            layout = laid_out(core.claims, _ENDLESS)
        except (ImageFormatError, UnsupportedError) as error:
            self.close()
            raise type(error)(f"{path}: {error}") from None
        except BaseException:
            self.close()
            raise
        self._parts = layout.parts
        self._ranges = Ranges((start, start + size) for start, _, size in layout.parts)
        self.cpus, self.vmcoreinfo = core.notes.cpus, core.notes.vmcoreinfo
        self.missing = (*core.missing, "it changes while it is read: tables may be torn")

    def __repr__(self) -> str:
        return f"<LiveCore {self.path} {'closed' if self.closed else shortened(self.extent, 64)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise refuse_pickling(self, "it is a running machine: open it there by its path")

    @property
    def extents(self) -> Sequence[tuple[int, int]]:
        """Where it has memory."""
        joined: list[tuple[int, int]] = []
        for start, end in self._ranges.ranges:
            if joined and joined[-1][1] == start:
                start = joined.pop()[0]
            joined.append((start, end))
        return joined

    @property
    def extent(self) -> str:
        """The same, for messages."""
        return ", ".join(f"[{start:#x}, {end:#x})" for start, end in self.extents[:3]) or "nothing"

    def close(self) -> None:
        """Let go of the file."""
        if not self.closed:
            self.closed = True
            os.close(self._fd)

    def read(self, paddr: int, size: int) -> bytes:
        """Read ``size`` bytes at ``paddr``, as they are now.

        Raises:
            MemoryReadError: Not all of them are there, or the kernel refuses.
        """
        paddr, size = integer(paddr, "paddr"), integer(size, "size")
        if self.closed:
            raise BadAnswer(paddr, size, f"{shown(str(self.path))} was closed: open it again")
        found, at, end = [], paddr, paddr + size
        while at < end:
            part = next((part for part in self._parts if part[0] <= at < part[0] + part[2]), None)
            if part is None:
                raise MemoryReadError(paddr, size, f"outside the memory, which has {self.extent}")
            start, offset, length = part
            wanted = min(end, start + length) - at
            found.append(self._read(paddr, size, offset + at - start, wanted))
            at += wanted
        if size < 0:
            raise MemoryReadError(paddr, size, "a size is not negative")
        return found[0] if len(found) == 1 else b"".join(found)

    def _read(self, paddr: int, size: int, offset: int, wanted: int) -> bytes:
        """Bytes of the file, all of them."""
        try:
            data = self._at(offset, wanted)
        except OSError as error:
            raise BadAnswer(paddr, size, f"the kernel refuses: {error.strerror}") from None
        if len(data) < wanted:
            raise BadAnswer(paddr, size, f"the kernel gave {len(data):#x} bytes of {wanted:#x}")
        return data

    def _at(self, offset: int, size: int) -> bytes:
        """Bytes of the file, fewer where it ends."""
        parts: list[bytes] = []
        while size > 0:
            if offset >= _ENDLESS:
                raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW))
            part = os.pread(self._fd, min(size, _WHOLE), offset)
            if not part:
                break
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
