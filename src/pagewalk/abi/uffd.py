"""userfaultfd: its ioctls and features, as far as write protection needs them.

Source: ``include/uapi/linux/userfaultfd.h``, Linux 6.18; the encoding of ioctls: ``include/uapi/asm-generic/ioctl.h``.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "API", "FEATURES", "MODE_WP", "UFFDIO_API", "UFFDIO_REGISTER", "UFFDIO_UNREGISTER", "UFFDIO_WRITEPROTECT",
    "WP_ASYNC", "WP_UNPOPULATED", "WRITEPROTECT_MODE_WP",
]  # fmt: skip

API: Final = 0xAA
"""The version of the interface, and the type of its ioctls."""
UFFDIO_API: Final = 0xC018_AA3F
UFFDIO_REGISTER: Final = 0xC020_AA00
UFFDIO_UNREGISTER: Final = 0x8010_AA01
UFFDIO_WRITEPROTECT: Final = 0xC018_AA06

MODE_WP: Final = 2
WRITEPROTECT_MODE_WP: Final = 1
FEATURES: Final = 1 | 1 << 7 | 1 << 12
"""Write protection, of shared memory and hugetlb too; SIGBUS in place of a message (PAGEFAULT_FLAG_WP, SIGBUS,
WP_HUGETLBFS_SHMEM)."""
WP_UNPOPULATED: Final = 1 << 13
WP_ASYNC: Final = 1 << 15
"""Who writes is not told of: the mark goes, and the write goes on (6.7). It takes WP_UNPOPULATED along."""
