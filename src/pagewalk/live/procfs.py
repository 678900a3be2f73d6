"""What ``/proc`` gives of a process's address space: the texts of its VMAs (``smaps``, ``maps``), and ``pagemap``.

Source: ``Documentation/filesystems/proc.rst`` and ``admin-guide/mm/pagemap.rst``, Linux 6.18.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.doors import integer, word_array
from pagewalk.errors import ProcessError, UnsupportedError
from pagewalk.live.kernel import PAGE
from pagewalk.live.processes import has_ended, is_self, living_threads, namespace_note, why_bare

if TYPE_CHECKING:
    from types import TracebackType

    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]

__all__ = ["ProcessFiles", "check_page_size", "read_pagemap"]


class ProcessFiles:
    """``smaps``, ``maps`` and ``pagemap`` of one process, opened together: they stay those of one address space.

    The process itself is ``/proc/self``. One whose first thread has ended is looked at through another thread.

    Args:
        pid: The process, as ``/proc`` numbers it; 0 for this one.

    Attributes:
        own: It is this process.

    Raises:
        ProcessError: ESRCH: no such process, or a kernel thread. EACCES: it may not be looked at.
    """

    def __init__(self, pid: int) -> None:
        self.own = is_self(pid)
        self.pid = pid or os.getpid()
        self._root = "/proc/self" if self.own else f"/proc/{pid}"
        self._fds: list[int] = []
        try:
            path = next(living_threads(self._root), self._root) if has_ended(self._root) else self._root
            self._path = path
            names = ("smaps", "maps", "pagemap")
            self.smaps, self.maps, self.pagemap = (self._open(f"{path}/{name}") for name in names)
        except BaseException:
            self.close()
            raise

    def _open(self, path: str) -> int:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self.error(error.errno or errno.EIO) from None
        self._fds.append(fd)
        return fd

    def __enter__(self) -> ProcessFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        while self._fds:
            os.close(self._fds.pop())

    def text(self, fd: int, buffer: bytearray) -> int:
        """Read ``smaps`` or ``maps``, whole.

        Args:
            fd: Which.
            buffer: Where to; it grows if it has to.

        Returns:
            Bytes read.

        Raises:
            ProcessError: ESRCH: there is nothing left to read.
        """
        at = 0
        while True:
            if len(buffer) - at < 2 * PAGE:
                buffer.extend(bytes(len(buffer) + 16 * PAGE))
            with memoryview(buffer) as view, view[at:] as rest:
                count = self._read(fd, rest, at)
            if not count:
                break
            at += count
        if not at:
            raise self.error(errno.ESRCH)
        return at

    def page_table_bytes(self) -> int | None:
        """What the kernel counts for page tables (VmPTE): all but the top one. None if it does not say (any more)."""
        try:
            status = Path(f"{self._path}/status").read_bytes()
        except OSError:
            return None
        found = re.search(rb"^VmPTE:\s*(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) << 10 if found else None

    def resident(self) -> int:
        """How many bytes of the process are in memory, about; 0 if that is not told."""
        try:
            return int(Path(f"{self._path}/statm").read_bytes().split()[1]) * PAGE
        except (OSError, IndexError):
            return 0

    def pages(self, start: int, into: Words) -> None:
        """Read pagemap entries, from the page at ``start`` on, straight into an array.

        Raises:
            ProcessError: ESRCH: the process ended meanwhile.
        """
        view = into.data.cast("B")
        at, offset = 0, start // PAGE * 8
        while at < len(view):
            count = self._read(self.pagemap, view[at:], offset + at)
            if not count:
                raise self.error(errno.ESRCH)
            at += count

    def _read(self, fd: int, into: memoryview, offset: int) -> int:
        try:
            return os.preadv(fd, [into], offset)
        except OSError as error:
            raise self.error(error.errno or errno.EIO) from None

    @property
    def goes_on(self) -> bool:
        """Whether another thread is left to look through, though the first has ended."""
        return has_ended(self._root) and any(living_threads(self._root))

    def error(self, code: int) -> ProcessError:
        """What an errno from these files means, with the remedy."""
        whose = f" ({note})" if (note := namespace_note()) else ""
        bare = why_bare(self._root)  # the files of such a process are root's: EACCES would be half the truth
        if bare or code in (errno.ENOENT, errno.ESRCH):
            why = bare or "its address space is gone: it is ending, or replaced its program (look again)"
            return ProcessError(errno.ESRCH, f"process {self.pid}: {why}{whose}")
        if code in (errno.EACCES, errno.EPERM):
            why = "it belongs to somebody else, or forbids ptrace: be its user or root (CAP_SYS_PTRACE)"
            return ProcessError(errno.EACCES, f"process {self.pid} may not be looked at: {why}{whose}")
        return ProcessError(code, f"process {self.pid}: {os.strerror(code)}{whose}")


def read_pagemap(pid: int, starts: Any, ends: Any) -> Words:
    """The pagemap entries of ranges, one after the other.

    Args:
        pid: The process; 0 for this one.
        starts, ends: Virtual addresses in bytes, whole pages, half-open. Scalars, or shape (n,), uint64.

    Returns:
        One entry a page, uint64. Frame numbers and swap slots read 0 without CAP_SYS_ADMIN.

    Raises:
        ProcessError: As ``ProcessFiles``.
        TypeError, ValueError: No integers, or no ranges of whole pages.
    """
    pid, starts, ends = integer(pid, "pid"), _bounds(starts, "a start"), _bounds(ends, "an end")
    if len(starts) != len(ends) or (starts > ends).any() or ((starts | ends) % np.uint64(PAGE)).any():
        raise ValueError("not ranges of whole pages: each needs a start, and an end that is not below it")
    bounds = np.concatenate([[0], np.cumsum((ends - starts) // np.uint64(PAGE))]).astype(int).tolist()
    try:
        out = np.empty(bounds[-1], np.uint64)
    except MemoryError:
        raise ValueError(f"{bounds[-1]:,} pages are too many to be read at once") from None
    with ProcessFiles(pid) as files:
        for start, low, high in zip(starts.tolist(), bounds, bounds[1:], strict=False):
            files.pages(start, out[low:high])
    return out


def _bounds(values: Any, what: str) -> Words:
    """One address, or many."""
    words: Words = word_array([integer(values, what)] if np.ndim(values) == 0 else values, what)
    return words


def check_page_size() -> None:
    """Refuse a machine that a capture cannot describe.

    Raises:
        UnsupportedError: It does not run Linux, or its pages are not 4096 bytes.
    """
    try:
        import fcntl  # noqa: F401 - PAGEMAP_SCAN is an ioctl
    except ImportError:
        raise UnsupportedError("a live process is looked at through Linux's /proc: this is not Linux") from None
    if sys.platform != "linux":
        raise UnsupportedError(f"a live process is looked at through Linux's /proc: this is {sys.platform}")
    if (size := os.sysconf("SC_PAGE_SIZE")) != PAGE:
        raise UnsupportedError(f"capturing needs a kernel with 4096-byte pages, this one has {size}")
