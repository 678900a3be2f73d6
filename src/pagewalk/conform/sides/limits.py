"""Limits on this process, for one call: how much it may map or lock, or how many areas it may have."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pagewalk.abi.syscalls import SYS_CAPGET, SYS_CAPSET
from pagewalk.conform.scenarios.names import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["limit"]

_RESOURCES = {"as": resource.RLIMIT_AS, "data": resource.RLIMIT_DATA, "memlock": resource.RLIMIT_MEMLOCK}
_COUNTED = {"as": b"VmSize:", "data": b"VmData:", "memlock": b"VmLck:"}
_MOST = Path("/proc/sys/vm/max_map_count")
_CAPABILITIES = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3."""
_IPC_LOCK, _SYS_ADMIN = 14, 21
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


@contextmanager
def limit(which: str, room: int) -> Iterator[None]:
    """Leave room for so many pages, or areas, more than there are."""
    how = {"areas": _crowded, "memlock": _locking, "admin": _unprivileged}.get(which, _with_limit)
    with how(which, room):
        yield


@contextmanager
def _with_limit(which: str, room: int) -> Iterator[None]:
    before = resource.getrlimit(_RESOURCES[which])
    soft, hard = _counted(_COUNTED[which]) + room * PAGE, before[1]
    if soft > hard != resource.RLIM_INFINITY:
        raise OSError(errno.EINVAL, f"{soft:#x} is above the hard limit, {hard:#x}")
    resource.setrlimit(_RESOURCES[which], (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(_RESOURCES[which], before)


def _counted(name: bytes) -> int:
    """Bytes of this process, by a line of its status."""
    status = Path("/proc/self/status").read_bytes()
    return int(status[status.index(name) + len(name) :].split(None, 1)[0]) * 1024


@contextmanager
def _locking(which: str, room: int) -> Iterator[None]:
    """A limit on locking binds nobody who has CAP_IPC_LOCK."""
    with _with_limit(which, room), _without(_IPC_LOCK):
        yield


@contextmanager
def _unprivileged(which: str, room: int) -> Iterator[None]:
    with _without(_SYS_ADMIN):
        yield


@contextmanager
def _without(capability: int) -> Iterator[None]:
    """Do without a capability."""
    head, data = struct.pack("Ii", _CAPABILITIES, 0), ctypes.create_string_buffer(24)
    _LIBC.syscall(SYS_CAPGET, head, data)
    before = data.raw
    effective, *rest = struct.unpack("6I", before)
    _LIBC.syscall(SYS_CAPSET, head, struct.pack("6I", effective & ~(1 << capability), *rest))
    try:
        yield
    finally:
        _LIBC.syscall(SYS_CAPSET, head, before)


@contextmanager
def _crowded(which: str, room: int) -> Iterator[None]:
    """Make areas, each of a page that differs from its neighbours, until there are almost as many as there may be."""
    wanted = int(_MOST.read_text()) - room - _areas() - 1
    pairs, odd = divmod(max(wanted, 0), 2)
    size = (2 * pairs + 4) * PAGE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    filler = mmap.mmap(-1, size, flags, mmap.PROT_READ | mmap.PROT_WRITE)
    view = ctypes.c_char.from_buffer(filler)
    start, change = ctypes.addressof(view), _LIBC.mprotect
    for page in range(pairs):
        change(start + (2 * page + 1) * PAGE, PAGE, mmap.PROT_READ)
    if odd:
        change(start + size - PAGE, PAGE, mmap.PROT_READ)
    try:
        yield
    finally:
        del view
        filler.close()


def _areas() -> int:
    """How many areas this process has; vsyscall is none."""
    descriptor = os.open("/proc/self/maps", os.O_RDONLY)
    count = 0
    while part := os.read(descriptor, 1 << 16):
        count += part.count(b"\n") - part.count(b"[vsyscall]")
    os.close(descriptor)
    return count
