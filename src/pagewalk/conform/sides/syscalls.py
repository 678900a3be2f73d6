"""The process this runs in, as a ``Target``: every call goes straight to the kernel, by number (x86-64)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import tempfile
from fcntl import ioctl
from typing import TYPE_CHECKING

from pagewalk.abi import MADV_PAGEOUT, uffd
from pagewalk.abi.limits import F_GET_SEALS, MFD_ALLOW_SEALING, MFD_HUGE_2MB, MFD_HUGETLB
from pagewalk.abi.pagemap import PAGE_REGION, PAGEMAP_SCAN, PM_SCAN_ARG, PageIs
from pagewalk.abi.processes import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from pagewalk.abi.syscalls import (
    SYS_FALLOCATE,
    SYS_FCNTL,
    SYS_MADVISE,
    SYS_MEMFD_CREATE,
    SYS_MINCORE,
    SYS_MLOCK2,
    SYS_MLOCKALL,
    SYS_MMAP,
    SYS_MPROTECT,
    SYS_MREMAP,
    SYS_MSEAL,
    SYS_MSYNC,
    SYS_MUNLOCK,
    SYS_MUNLOCKALL,
    SYS_MUNMAP,
    SYS_PKEY_ALLOC,
    SYS_PKEY_FREE,
    SYS_PKEY_MPROTECT,
    SYS_PROCESS_MADVISE,
    SYS_PROCESS_VM_READV,
    SYS_PROCESS_VM_WRITEV,
    SYS_USERFAULTFD,
)
from pagewalk.conform.scenarios.names import PAGE
from pagewalk.conform.scenarios.target import DEFAULT_MAP
from pagewalk.conform.sides import limits
from pagewalk.conform.sides.aside import flush
from pagewalk.conform.sides.probe import Probe
from pagewalk.conform.sides.smaps import starts_above
from pagewalk.conform.sides.swap import Quiet, off_and_on, own_swap_is_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["ThisProcess"]

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_LIBC.syscall.argtypes = [ctypes.c_ulong] * 7

_POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB"
_SCAN_ROWS = 8192
_ROW = 8 * len(PAGE_REGION)
_ARGUMENT = f"{len(PM_SCAN_ARG)}Q"
_MINCORE_LIMIT = 1 << 20
MNT_DETACH = 2


def _call(number: int, *args: int) -> int:
    result = int(_LIBC.syscall(number, *args, *(0,) * (6 - len(args))))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class ThisProcess:
    """See ``Calls``. ``pages`` gives the kernel's bytes, undecoded."""

    def __init__(self) -> None:
        self._probe = Probe()
        self.read, self.write, self.execute = self._probe.read, self._probe.write, self._probe.execute
        self._rows = ctypes.create_string_buffer(_SCAN_ROWS * _ROW)
        self._maps, self._pagemap, self._smaps, self._uffd = -1, -1, -1, -1
        self._pool = 0, 0
        self._quiet: Quiet | None = None
        self.reopen()

    def reopen(self) -> None:
        """Look at this process, after a fork, instead of at the parent."""
        for fd in (self._maps, self._pagemap, self._smaps, self._uffd):
            if fd >= 0:
                os.close(fd)
        self._uffd = -1  # the parent's: it would protect the parent's memory
        self._maps = os.open("/proc/self/maps", os.O_RDONLY)
        self._pagemap = os.open("/proc/self/pagemap", os.O_RDONLY)
        self._smaps = os.open("/proc/self/smaps", os.O_RDONLY)

    def mmap(
        self,
        length: int,
        prot: int,
        flags: int = DEFAULT_MAP,
        *,
        addr: int = 0,
        file: int | None = None,
        offset: int = 0,
    ) -> int:
        """See ``Calls``."""
        return _call(SYS_MMAP, addr, length, prot, flags, -1 if file is None else file, offset)

    def munmap(self, addr: int, length: int) -> None:
        """See ``Calls``."""
        _call(SYS_MUNMAP, addr, length)

    def mprotect(self, addr: int, length: int, prot: int) -> None:
        """See ``Calls``."""
        _call(SYS_MPROTECT, addr, length, prot)

    def mremap(self, addr: int, old_length: int, new_length: int, flags: int = 0, new_addr: int = 0) -> int:
        """See ``Calls``."""
        return _call(SYS_MREMAP, addr, old_length, new_length, flags, new_addr)

    def mlock(self, addr: int, length: int, flags: int = 0) -> None:
        """See ``Calls``."""
        _call(SYS_MLOCK2, addr, length, flags)

    def munlock(self, addr: int, length: int) -> None:
        """See ``Calls``."""
        _call(SYS_MUNLOCK, addr, length)

    def mseal(self, addr: int, length: int, flags: int = 0) -> None:
        """See ``Calls``."""
        _call(SYS_MSEAL, addr, length, flags)

    def mlockall(self, flags: int) -> None:
        """See ``Calls``."""
        _call(SYS_MLOCKALL, flags)

    def munlockall(self) -> None:
        """See ``Calls``."""
        _call(SYS_MUNLOCKALL)

    def msync(self, addr: int, length: int, flags: int) -> None:
        """See ``Calls``."""
        _call(SYS_MSYNC, addr, length, flags)

    def mincore(self, addr: int, length: int) -> bytes:
        """See ``Calls``."""
        pages = -(-length // PAGE)
        into = ctypes.create_string_buffer(min(pages, _MINCORE_LIMIT))
        _call(SYS_MINCORE, addr, length, ctypes.addressof(into))
        return bytes(byte & 1 for byte in into.raw)

    def madvise(self, addr: int, length: int, advice: int) -> None:
        """See ``Calls``."""
        try:
            self._probe.call(SYS_MADVISE, addr, length, advice)
        finally:
            self._settle(advice)

    def _settle(self, advice: int) -> None:
        """Let what was paged out be written."""
        if self._quiet is not None and advice == MADV_PAGEOUT:
            self._quiet.wait()

    def process_madvise(self, ranges: Sequence[tuple[int, int]], advice: int, whom: int | None = None) -> int:
        """See ``Calls``."""
        vector = b"".join(struct.pack("QQ", *item) for item in ranges)
        pidfd = os.pidfd_open(os.getpid() if whom is None else whom)
        try:
            return self._probe.call(SYS_PROCESS_MADVISE, pidfd, _address(vector), len(ranges), advice)
        finally:
            os.close(pidfd)
            self._settle(advice)

    def limited(self, limit: str, room: int, call: Callable[[], Any]) -> Any:
        """See ``Calls``."""
        with limits.limit(limit, room):
            return call()

    def pkey_alloc(self, flags: int, rights: int) -> int:
        """See ``Calls``."""
        return _call(SYS_PKEY_ALLOC, flags, rights)

    def pkey_free(self, key: int) -> None:
        """See ``Calls``."""
        _call(SYS_PKEY_FREE, key)

    def pkey_mprotect(self, addr: int, length: int, prot: int, key: int) -> None:
        """See ``Calls``."""
        _call(SYS_PKEY_MPROTECT, addr, length, prot, key)

    def memfd_create(self, flags: int) -> int:
        """See ``Calls``."""
        name = ctypes.create_string_buffer(b"memfd")
        fd = _call(SYS_MEMFD_CREATE, ctypes.addressof(name), flags)
        try:
            return _call(SYS_FCNTL, fd, F_GET_SEALS, 0)
        finally:
            os.close(fd)

    def fcntl(self, file: int, command: int, argument: int) -> int:
        """See ``Calls``."""
        return _call(SYS_FCNTL, file, command, argument)

    def clear_refs(self, value: int) -> None:
        """See ``Calls``."""
        fd = os.open("/proc/self/clear_refs", os.O_WRONLY)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)
            flush()

    def register_wp(self, addr: int, length: int, unpopulated: bool = False, later: bool = False) -> None:
        """See ``Calls``."""
        if self._uffd < 0:
            self._uffd = _call(SYS_USERFAULTFD, os.O_CLOEXEC)
            features = uffd.FEATURES | uffd.WP_UNPOPULATED * unpopulated | uffd.WP_ASYNC * later
            ioctl(self._uffd, uffd.UFFDIO_API, bytearray(struct.pack("3Q", uffd.API, features, 0)), True)
        ioctl(self._uffd, uffd.UFFDIO_REGISTER, bytearray(struct.pack("4Q", addr, length, uffd.MODE_WP, 0)), True)

    def uffdio_unregister(self, addr: int, length: int) -> None:
        """See ``Calls``."""
        ioctl(self._told(), uffd.UFFDIO_UNREGISTER, struct.pack("2Q", addr, length))

    def writeprotect(self, addr: int, length: int, protect: bool) -> None:
        """See ``Calls``."""
        mode = uffd.WRITEPROTECT_MODE_WP * protect
        ioctl(self._told(), uffd.UFFDIO_WRITEPROTECT, bytearray(struct.pack("3Q", addr, length, mode)), True)

    def _told(self) -> int:
        """The userfaultfd, if there is one."""
        if self._uffd < 0:
            raise OSError(errno.EBADF, "nothing was registered with userfaultfd")
        return self._uffd

    def kernel_read(self, addr: int, size: int) -> bytes:
        """See ``Calls``."""
        into = ctypes.create_string_buffer(size)
        count = self._vm(SYS_PROCESS_VM_READV, ctypes.addressof(into), addr, size)
        return into.raw[:count]

    def kernel_write(self, addr: int, data: bytes) -> int:
        """See ``Calls``."""
        return self._vm(SYS_PROCESS_VM_WRITEV, _address(data), addr, len(data))

    def _vm(self, number: int, local: int, remote: int, size: int) -> int:
        here, there = struct.pack("QQ", local, size), struct.pack("QQ", remote, size)
        return _call(number, os.getpid(), _address(here), 1, _address(there), 1, 0)

    def maps(self, below: int = 1 << 64) -> str:
        """The lines that begin below an address, and perhaps some more."""
        parts, at = [], 0
        while part := os.pread(self._maps, 1 << 16, at):
            parts.append(part)
            at += len(part)
            if int(part[part.rfind(b"\n", 0, -1) + 1 :].partition(b"-")[0], 16) >= below:
                break
        return b"".join(parts).decode()

    def smaps(self, end: int) -> bytes:
        """See ``Calls``: the text, and perhaps some of what begins above."""
        text = b""
        os.lseek(self._smaps, 0, os.SEEK_SET)
        while part := os.read(self._smaps, PAGE):
            text += part
            if starts_above(text, end):
                break
        return text

    def pages(self, start: int, end: int) -> tuple[bytes, bytes]:
        """See ``Calls``."""
        words = os.pread(self._pagemap, (end - start) // PAGE * 8, start // PAGE * 8)
        rows = ctypes.addressof(self._rows)
        wanted = (0, 0, PageIs.PRESENT | PageIs.SWAPPED, PageIs.every())
        argument = struct.pack(_ARGUMENT, struct.calcsize(_ARGUMENT), 0, start, end, 0, rows, _SCAN_ROWS, 0, *wanted)
        count = ioctl(self._pagemap, PAGEMAP_SCAN, bytearray(argument), True)
        return words, ctypes.string_at(rows, _ROW * count)

    def pool(self) -> bytes:
        """See ``Calls``."""
        (free, promised), (free_before, promised_before) = _pool(), self._pool
        return b"%+d free, %+d promised" % (free - free_before, promised - promised_before)

    def swapoff(self) -> None:
        """See ``Calls``."""
        off_and_on()

    def begin(self) -> None:
        """Count the pool's pages from here on; know whether a campaign has switched swap on."""
        self._pool = _pool()
        self._quiet = (self._quiet or Quiet()) if own_swap_is_on() else None

    def pagemap_scan(
        self,
        start: int,
        end: int,
        flags: int,
        max_pages: int,
        inverted: int,
        mask: int,
        anyof: int,
        returns: int,
        vector: int,
    ) -> tuple[int, list[tuple[int, int, int]]]:
        """See ``Calls``."""
        rows = ctypes.create_string_buffer(_ROW * max(vector, 1))
        where = ctypes.addressof(rows) if vector else 0
        wanted = where, vector, max_pages, inverted, mask, anyof, returns
        argument = bytearray(struct.pack(_ARGUMENT, struct.calcsize(_ARGUMENT), flags, start, end, 0, *wanted))
        count = ioctl(self._pagemap, PAGEMAP_SCAN, argument, True)
        ended = struct.unpack(_ARGUMENT, argument)[PM_SCAN_ARG.index("walk_end")]
        return ended, [struct.unpack_from("3Q", rows.raw, _ROW * number) for number in range(count)]

    def file(self, name: str, data: bytes, kind: str, *, writable: bool = True) -> int:
        """See ``Calls``."""
        if kind == "hugetlb":
            fd = os.memfd_create(name, MFD_HUGETLB | MFD_HUGE_2MB | MFD_ALLOW_SEALING)
            os.ftruncate(fd, len(data))
        else:
            fd = os.memfd_create(name, MFD_ALLOW_SEALING) if kind == "memfd" else _made(name, kind)
            os.write(fd, data)
        if writable:
            return fd
        readable = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        os.close(fd)
        return readable

    def pread(self, file: int, offset: int, size: int) -> bytes:
        """See ``Calls``."""
        return os.pread(file, size, offset)

    def pwrite(self, file: int, offset: int, data: bytes) -> int:
        """See ``Calls``."""
        return os.pwrite(file, data, offset)

    def punch_hole(self, file: int, offset: int, length: int) -> None:
        """See ``Calls``."""
        _call(SYS_FALLOCATE, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)

    def truncate(self, file: int, size: int) -> None:
        """See ``Calls``."""
        os.ftruncate(file, size)


def _pool() -> tuple[int, int]:
    """Free and promised hugetlb pages, the latter as a signed number, as the kernel counts; none without a pool."""
    try:
        fds = [os.open(f"{_POOL}/{name}_hugepages", os.O_RDONLY) for name in ("free", "resv")]
    except FileNotFoundError:
        return 0, 0
    free, promised = (int(os.read(fd, 32)) for fd in fds)
    for fd in fds:
        os.close(fd)
    return free, promised - (promised >> 63 << 64)


def _address(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _made(name: str, kind: str) -> int:
    """A file that has lost its name, but not in ``maps``: on disk, or of a tmpfs mounted with an option (``huge=``).

    The mount is gone as soon as nobody has the file.
    """
    with tempfile.TemporaryDirectory(prefix="pagewalk-") as folder:
        if kind == "disk":
            return _created(folder, name)
        _mounted(_LIBC.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, kind.encode()))
        try:
            return _created(folder, name)
        finally:
            _mounted(_LIBC.umount2(folder.encode(), MNT_DETACH))


def _created(folder: str, name: str) -> int:
    return os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT)  # noqa: PTH118 (pathlib is slow to import)


def _mounted(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
