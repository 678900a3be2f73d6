"""``madvise`` and ``process_madvise``, as the kernel has them: for what Python's ``mmap.madvise`` cannot say.

Source: ``include/uapi/asm-generic/mman-common.h``, Linux 6.18.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pagewalk import abi
from pagewalk.abi.syscalls import SYS_PROCESS_MADVISE
from pagewalk.doors import integer
from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["madvise", "process_madvise"]


@lru_cache(maxsize=1)
def _libc() -> Any:
    """The C library.

    Raises:
        UnsupportedError: It is not Linux's.
    """
    if sys.platform != "linux":
        raise UnsupportedError(f"madvise is Linux's: this is {sys.platform}")
    library = ctypes.CDLL(None, use_errno=True)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    library.syscall.restype = ctypes.c_long
    return library


class _Iovec(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def madvise(addr: int, length: int, advice: int) -> None:
    """Advise on a range of this process. Changes the process's memory.

    Args:
        addr: Virtual address in bytes, page-aligned.
        length: Bytes.
        advice: ``MADV_*``, such as ``pagewalk.MADV_GUARD_INSTALL``.

    Raises:
        OSError: As ``madvise(2)``: EINVAL also for an advice that this kernel does not know.
        TypeError: No integers.
    """
    addr, length, advice = _plain(addr, "addr"), _plain(length, "length"), _plain(advice, "advice", 31)
    if _libc().madvise(addr, length, advice):
        raise _error(f"madvise({addr:#x}, {length:#x}, {_name(advice)})")


def process_madvise(pidfd: int, ranges: Sequence[tuple[int, int]], advice: int) -> int:
    """Advise on ranges of a process. Changes that process's memory.

    Args:
        pidfd: As ``os.pidfd_open`` gives it.
        ranges: ``(address, length)`` in bytes.
        advice: ``MADV_*``. On another process the kernel takes only COLD, PAGEOUT, WILLNEED and COLLAPSE.

    Returns:
        Bytes advised: fewer than asked for if a later range was refused.

    Raises:
        OSError: As ``process_madvise(2)``, for the first range.
        TypeError: No integers.
    """
    pidfd, advice = integer(pidfd, "pidfd"), _plain(advice, "advice", 31)
    if pidfd >> 31 not in (0, -1):
        raise OSError(errno.EBADF, f"process_madvise: no file descriptor is {pidfd:#x}")
    ranges = [(_plain(addr, "addr"), _plain(length, "length")) for addr, length in ranges]
    vector = (_Iovec * len(ranges))(*(_Iovec(*range_) for range_ in ranges))
    count = ctypes.c_size_t(len(ranges))
    done = _libc().syscall(SYS_PROCESS_MADVISE, pidfd, vector, count, ctypes.c_int(advice), ctypes.c_uint(0))
    if done < 0:
        raise _error(f"process_madvise({len(ranges)} ranges, {_name(advice)})")
    return int(done)


def _plain(value: Any, what: str, bits: int = 64) -> int:
    """A number that C's type holds: ctypes would cut it off.

    Raises:
        OSError: EINVAL: it does not.
        TypeError: It is no integer.
    """
    value = integer(value, what)
    if value >> bits:
        raise OSError(errno.EINVAL, f"{what} is {value:#x}, which is no number of {bits} bits")
    return value


def _name(advice: int) -> str:
    """An advice's name, for messages."""
    names = (name for name in abi.__all__ if name.startswith("MADV_") and getattr(abi, name) == advice)
    return next(names, str(int(advice)))


def _error(call: str) -> OSError:
    """What went wrong in the call just made."""
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}")
