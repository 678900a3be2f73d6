"""What ``/proc/PID`` says of an address space: its VMAs (``smaps``, ``maps``) and its pages (``pagemap``).

Source: ``Documentation/filesystems/proc.rst`` and ``admin-guide/mm/pagemap.rst``, Linux 6.18.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.doors import integer, word_array
from pagewalk.errors import ProcessError, UnsupportedError
from pagewalk.vma import Mapping, Vma, VmaFlags

if TYPE_CHECKING:
    from types import TracebackType

    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]

__all__ = ["VM_FLAG_CODES", "ProcessFiles", "kernel_sees_frames", "parse_vmas", "read_pagemap"]

PAGE: Final = 4096

VM_FLAG_CODES: Final = {
    "rd": VmaFlags.READ,
    "wr": VmaFlags.WRITE,
    "ex": VmaFlags.EXEC,
    "sh": VmaFlags.SHARED,
    "mr": VmaFlags.MAYREAD,
    "mw": VmaFlags.MAYWRITE,
    "me": VmaFlags.MAYEXEC,
    "ms": VmaFlags.MAYSHARE,
    "gd": VmaFlags.GROWSDOWN,
    "um": VmaFlags.UFFD_MISSING,
    "pf": VmaFlags.PFNMAP,
    "uw": VmaFlags.UFFD_WP,
    "lo": VmaFlags.LOCKED,
    "io": VmaFlags.IO,
    "sr": VmaFlags.SEQ_READ,
    "rr": VmaFlags.RAND_READ,
    "dc": VmaFlags.DONTCOPY,
    "de": VmaFlags.DONTEXPAND,
    "lf": VmaFlags.LOCKONFAULT,
    "ac": VmaFlags.ACCOUNT,
    "nr": VmaFlags.NORESERVE,
    "ht": VmaFlags.HUGETLB,
    "sf": VmaFlags.SYNC,
    "wf": VmaFlags.WIPEONFORK,
    "dd": VmaFlags.DONTDUMP,
    "sd": VmaFlags.SOFTDIRTY,
    "mm": VmaFlags.MIXEDMAP,
    "hg": VmaFlags.HUGEPAGE,
    "nh": VmaFlags.NOHUGEPAGE,
    "mg": VmaFlags.MERGEABLE,
}
"""The two letters of ``VmFlags`` in smaps. Codes that ``VmaFlags`` has no bit for (``bt``, ``ss``, ``gu``...) say
nothing about how a walk goes, and are left out."""

_LETTERS: Final = {
    "r": VmaFlags.READ,
    "w": VmaFlags.WRITE,
    "x": VmaFlags.EXEC,
    "s": VmaFlags.SHARED | VmaFlags.MAYSHARE,
}

_LINE: Final = re.compile(
    rb"^(?:([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) (\S+) (\d+) *([^\n]*)"
    rb"|KernelPageSize: +(\d+) kB|VmFlags:([^\n]*))$",
    re.MULTILINE,
)
_UPPER_HALF: Final = 1 << 63


def parse_vmas(text: bytes | bytearray | memoryview) -> list[Vma]:
    """The VMAs of a ``maps`` or ``smaps`` text, ascending, without those of the kernel's half (``[vsyscall]``).

    From ``maps`` alone, flags are the rights only and no VMA is known as hugetlb. The kernel lets the lock go between
    VMAs: where one grew meanwhile and overlaps the one before it, it begins where that ends.
    """
    vmas: list[Vma] = []
    mappings: dict[tuple[bytes, bytes], Mapping] = {}
    page_kb = 4
    for line in _LINE.finditer(text):
        if line[1] is not None:
            if int(line[1], 16) >= _UPPER_HALF:
                break
            _add_header(vmas, mappings, line)
        elif line[8] is not None:
            page_kb = int(line[8])
        elif vmas:
            _add_flags(vmas[-1], line[9].decode(), page_kb)
    return vmas


def _add_header(vmas: list[Vma], mappings: dict[tuple[bytes, bytes], Mapping], line: re.Match[bytes]) -> None:
    """Add the VMA of a line of ``maps``."""
    start, end, offset = int(line[1], 16), int(line[2], 16), int(line[4], 16)
    if vmas and start < vmas[-1].end:
        offset, start = offset + vmas[-1].end - start, vmas[-1].end
    if start >= end:
        return
    flags = VmaFlags(0)
    for letter in line[3].decode():
        flags |= _LETTERS.get(letter, VmaFlags(0))
    name = os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), line[7]))
    mapping = None
    if line[6] != b"0":
        mapping = mappings.setdefault((line[5], line[6]), Mapping(name))
    vmas.append(Vma(start, end, flags, offset, mapping, name))


def _add_flags(vma: Vma, codes: str, page_kb: int) -> None:
    """Replace a VMA's flags by those of its ``VmFlags`` line, which are the kernel's own."""
    vma.flags = VmaFlags(0)
    for code in codes.split():
        vma.flags |= VM_FLAG_CODES.get(code, VmaFlags(0))
    vma.huge_page_size = page_kb << 10 if VmaFlags.HUGETLB in vma.flags else 0


class ProcessFiles:
    """``smaps``, ``maps`` and ``pagemap`` of one process, opened together: they stay those of one address space.

    Args:
        pid: The process; 0 for this one.

    Raises:
        ProcessError: ESRCH: no such process, or a kernel thread. EACCES: it may not be looked at.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid or os.getpid()
        self._fds: list[int] = []
        try:
            self.smaps, self.maps, self.pagemap = (self._open(name) for name in ("smaps", "maps", "pagemap"))
        except BaseException:
            self.close()
            raise

    def _open(self, name: str) -> int:
        try:
            fd = os.open(f"/proc/{self.pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
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

    def vmas(self, *, full: bool, buffer: bytearray | None = None) -> list[Vma]:
        """The VMAs now.

        Args:
            full: From ``smaps``, with all flags, which costs a look at every page; else from ``maps``.
            buffer: Where to read the text into; it grows if it has to.

        Raises:
            ProcessError: ESRCH: there is nothing left to read.
        """
        buffer = bytearray() if buffer is None else buffer
        size = self._text(self.smaps if full else self.maps, buffer)
        with memoryview(buffer) as view, view[:size] as text:
            return parse_vmas(text)

    def _text(self, fd: int, buffer: bytearray) -> int:
        """Read a whole file into ``buffer``; its size."""
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

    def error(self, code: int) -> ProcessError:
        """What an errno from these files means, with the remedy."""
        bare = _why_bare(self.pid)  # the files of such a process are root's: EACCES would be half the truth
        if bare or code in (errno.ENOENT, errno.ESRCH):
            why = bare or "its address space is gone: it is ending, or replaced its program (look again)"
            return ProcessError(errno.ESRCH, f"process {self.pid}: {why}")
        if code in (errno.EACCES, errno.EPERM):
            why = "it belongs to somebody else, or forbids ptrace: be its user or root (CAP_SYS_PTRACE)"
            return ProcessError(errno.EACCES, f"process {self.pid} may not be looked at: {why}")
        return ProcessError(code, f"process {self.pid}: {os.strerror(code)}")


def _why_bare(pid: int) -> str:
    """Why a process has no address space; nothing if it has one, for all that can be seen."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return "there is no such process (any more): check the PID"
    state, *rest = status.rpartition(b")")[2].split()
    if int(rest[5]) & 0x20_0000:  # PF_KTHREAD
        return "a kernel thread: it has no address space of its own to look at"
    if state in (b"Z", b"X"):
        return "it has ended, and only waits for its parent: nothing is left to look at"
    return ""


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


def kernel_sees_frames() -> bool:
    """Whether this process is told frame numbers (CAP_SYS_ADMIN): asked of the kernel, with a page of our own."""
    probe = np.ones(1, np.uint64)
    page = probe.ctypes.data // PAGE * PAGE
    return bool(read_pagemap(0, page, page + PAGE)[0] & np.uint64((1 << 55) - 1))


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
