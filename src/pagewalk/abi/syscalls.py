"""System calls by number, on ``MACHINE``; those from 424 on have the same number everywhere.

Source: ``arch/x86/entry/syscalls/syscall_64.tbl``, Linux 6.18.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "MACHINE",
    "MACHINE_NAME",
    "SYS_CAPGET",
    "SYS_CAPSET",
    "SYS_CLONE",
    "SYS_FALLOCATE",
    "SYS_FCNTL",
    "SYS_MADVISE",
    "SYS_MEMFD_CREATE",
    "SYS_MINCORE",
    "SYS_MLOCK2",
    "SYS_MLOCKALL",
    "SYS_MMAP",
    "SYS_MPROTECT",
    "SYS_MREMAP",
    "SYS_MSEAL",
    "SYS_MSYNC",
    "SYS_MUNLOCK",
    "SYS_MUNLOCKALL",
    "SYS_MUNMAP",
    "SYS_PKEY_ALLOC",
    "SYS_PKEY_FREE",
    "SYS_PKEY_MPROTECT",
    "SYS_PROCESS_MADVISE",
    "SYS_PROCESS_VM_READV",
    "SYS_PROCESS_VM_WRITEV",
    "SYS_USERFAULTFD",
]  # fmt: skip

MACHINE: Final = "Linux", "x86_64"
"""The system and the machine, as ``platform`` names them."""
MACHINE_NAME: Final = "x86-64 Linux"
"""The same for people."""

SYS_MMAP: Final = 9
SYS_MPROTECT: Final = 10
SYS_MUNMAP: Final = 11
SYS_MREMAP: Final = 25
SYS_MSYNC: Final = 26
SYS_MINCORE: Final = 27
SYS_MADVISE: Final = 28
SYS_CLONE: Final = 56
SYS_FCNTL: Final = 72
SYS_CAPGET: Final = 125
SYS_CAPSET: Final = 126
SYS_MUNLOCK: Final = 150
SYS_MLOCKALL: Final = 151
SYS_MUNLOCKALL: Final = 152
SYS_FALLOCATE: Final = 285
SYS_PROCESS_VM_READV: Final = 310
SYS_PROCESS_VM_WRITEV: Final = 311
SYS_MEMFD_CREATE: Final = 319
SYS_USERFAULTFD: Final = 323
SYS_MLOCK2: Final = 325
SYS_PKEY_MPROTECT: Final = 329
SYS_PKEY_ALLOC: Final = 330
SYS_PKEY_FREE: Final = 331
SYS_PROCESS_MADVISE: Final = 440
SYS_MSEAL: Final = 462
