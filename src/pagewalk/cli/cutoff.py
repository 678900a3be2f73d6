"""What happens where a mapped file is cut off in the middle of a sweep: one line, and exit code 3.

The bytes that have gone are a SIGBUS in whatever reads them, NumPy's loops among it. Nothing can go on from there. A
handler of ``signal.signal`` would never run: it waits for the instruction, which fails again and again. A C function as
handler runs at once. A library may not take a signal from its program, so this is the command line's.
"""

from __future__ import annotations

import os
import signal
from typing import Any, Final

from pagewalk.errors import MemoryReadError

__all__ = ["tell_of_cut_off_files"]

_LINE: Final = b"pagewalk: SIGBUS: the image was cut off while it was being read: nothing more can be said of it\n"
_kept: list[Any] = []
"""The handler, which the C library knows by its address alone."""


def tell_of_cut_off_files() -> None:
    """From now on a SIGBUS ends this process with a line and the exit code of a read that failed. Takes its handler."""
    if _kept or not hasattr(signal, "SIGBUS"):
        return
    import ctypes

    prototype = ctypes.CFUNCTYPE(None, ctypes.c_int)
    handler = prototype(_end)
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, prototype), ctypes.c_void_p
    libc.signal(signal.SIGBUS, handler)
    _kept.append(handler)


def _end(number: int) -> None:
    """The handler: nothing but two system calls, since anything may be locked."""
    os.write(2, _LINE)
    os._exit(MemoryReadError.exit_code)
