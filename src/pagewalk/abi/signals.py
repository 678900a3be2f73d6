"""Why a signal came (``si_code``), how a handler is installed (``sa_flags``), and the errno that Python does not name.

Source: ``include/uapi/asm-generic/siginfo.h``, ``arch/x86/include/uapi/asm/signal.h``,
``include/uapi/asm-generic/errno.h``, Linux 6.18.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BUS_ADRERR",
    "BUS_MCEERR_AR",
    "EHWPOISON",
    "SA_NODEFER",
    "SA_SIGINFO",
    "SEGV_ACCERR",
    "SEGV_MAPERR",
    "SEGV_PKUERR",
    "SI_KERNEL",
]

SI_KERNEL: Final = 0x80
SEGV_MAPERR: Final = 1
SEGV_ACCERR: Final = 2
SEGV_PKUERR: Final = 4
BUS_ADRERR: Final = 2
BUS_MCEERR_AR: Final = 4

EHWPOISON: Final = 133
"""A page is poisoned."""

SA_SIGINFO: Final = 0x4
SA_NODEFER: Final = 0x4000_0000
