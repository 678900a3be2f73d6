"""Limits of a process, seals of a file, protection keys: what the calls about them take.

Source: ``include/uapi/asm-generic/resource.h``, ``include/uapi/linux/fcntl.h``, ``memfd.h``,
``include/uapi/asm-generic/mman-common.h``, Linux 6.18.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "F_ADD_SEALS", "F_GET_SEALS", "F_SEAL_EXEC", "F_SEAL_FUTURE_WRITE", "F_SEAL_GROW", "F_SEAL_SEAL", "F_SEAL_SHRINK",
    "F_SEAL_WRITE", "MFD_ALLOW_SEALING", "MFD_CLOEXEC", "MFD_EXEC", "MFD_HUGETLB", "MFD_HUGE_2MB", "MFD_NOEXEC_SEAL",
    "PKEY_DISABLE_ACCESS", "PKEY_DISABLE_WRITE", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_MEMLOCK", "RLIM_INFINITY",
    "RLIM_NLIMITS",
]  # fmt: skip

RLIMIT_DATA: Final = 2
RLIMIT_MEMLOCK: Final = 8
RLIMIT_AS: Final = 9
RLIM_NLIMITS: Final = 16
RLIM_INFINITY: Final = (1 << 64) - 1

MFD_CLOEXEC: Final = 0x1
MFD_ALLOW_SEALING: Final = 0x2
MFD_HUGETLB: Final = 0x4
MFD_NOEXEC_SEAL: Final = 0x8
MFD_EXEC: Final = 0x10
MFD_HUGE_2MB: Final = 21 << 26

F_ADD_SEALS: Final = 1033
F_GET_SEALS: Final = 1034
F_SEAL_SEAL: Final = 0x1
F_SEAL_SHRINK: Final = 0x2
F_SEAL_GROW: Final = 0x4
F_SEAL_WRITE: Final = 0x8
F_SEAL_FUTURE_WRITE: Final = 0x10
F_SEAL_EXEC: Final = 0x20

PKEY_DISABLE_ACCESS: Final = 0x1
PKEY_DISABLE_WRITE: Final = 0x2
