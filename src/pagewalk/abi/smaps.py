"""``/proc/PID/smaps``: the names of its lines (``fs/proc/task_mmu.c``, Linux 6.18)."""

from __future__ import annotations

from typing import Final

__all__ = ["ANON_HUGE", "COUNTED", "SHMEM_HUGE"]

ANON_HUGE: Final = "AnonHugePages"
SHMEM_HUGE: Final = "ShmemPmdMapped"
"""What transparent huge pages map, of anonymous memory and of shared."""
COUNTED: Final = (
    "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced",
    "Anonymous", "KSM", "LazyFree", ANON_HUGE, SHMEM_HUGE, "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap",
    "SwapPss", "Locked",
)  # fmt: skip
"""The lines that count bytes, in their order."""
