"""``madvise`` and ``process_madvise``, as the kernel has them: for what Python's ``mmap.madvise`` cannot say.

Source: ``include/uapi/asm-generic/mman-common.h``, Linux 6.18.
"""

from __future__ import annotations

import ctypes
import os
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Advice", "madvise", "process_madvise"]

_SYS_PROCESS_MADVISE: Final = 440  # the same number on every architecture
_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.syscall.restype = ctypes.c_long


class Advice(IntEnum):
    """``MADV_*``, with the kernel's values."""

    NORMAL = 0
    RANDOM = 1
    SEQUENTIAL = 2
    WILLNEED = 3
    DONTNEED = 4
    FREE = 8
    REMOVE = 9
    DONTFORK = 10
    DOFORK = 11
    MERGEABLE = 12
    UNMERGEABLE = 13
    HUGEPAGE = 14
    NOHUGEPAGE = 15
    DONTDUMP = 16
    DODUMP = 17
    WIPEONFORK = 18
    KEEPONFORK = 19
    COLD = 20
    PAGEOUT = 21
    POPULATE_READ = 22
    POPULATE_WRITE = 23
    DONTNEED_LOCKED = 24
    COLLAPSE = 25
    """Linux 6.1."""
    GUARD_INSTALL = 102
    """Linux 6.13; file-backed, shared and read-only mappings since 6.15."""
    GUARD_REMOVE = 103


class _Iovec(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def madvise(addr: int, length: int, advice: int) -> None:
    """Advise on a range of this process. Changes the process's memory.

    Args:
        addr: Virtual address in bytes, page-aligned.
        length: Bytes.
        advice: ``Advice``, or a number that it does not have yet.

    Raises:
        OSError: As ``madvise(2)``: EINVAL also for an advice that this kernel does not know.
    """
    if _libc.madvise(addr, length, int(advice)):
        raise _error(f"madvise({addr:#x}, {length:#x}, {_name(advice)})")


def process_madvise(pidfd: int, ranges: Sequence[tuple[int, int]], advice: int) -> int:
    """Advise on ranges of a process. Changes that process's memory.

    Args:
        pidfd: As ``os.pidfd_open`` gives it.
        ranges: ``(address, length)`` in bytes.
        advice: ``Advice``. On another process the kernel takes only COLD, PAGEOUT, WILLNEED and COLLAPSE.

    Returns:
        Bytes advised: fewer than asked for if a later range was refused.

    Raises:
        OSError: As ``process_madvise(2)``, for the first range.
    """
    vector = (_Iovec * len(ranges))(*(_Iovec(*range_) for range_ in ranges))
    count = ctypes.c_size_t(len(ranges))
    done = _libc.syscall(_SYS_PROCESS_MADVISE, pidfd, vector, count, ctypes.c_int(advice), ctypes.c_uint(0))
    if done < 0:
        raise _error(f"process_madvise({len(ranges)} ranges, {_name(advice)})")
    return int(done)


def _name(advice: int) -> str:
    """An advice's name, for messages."""
    return f"MADV_{Advice(advice).name}" if advice in {*Advice} else str(int(advice))


def _error(call: str) -> OSError:
    """What went wrong in the call just made."""
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}")
