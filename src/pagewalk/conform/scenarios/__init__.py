"""Scenarios: what is done on both sides, as data; and where random ones come from (``generate``)."""

from __future__ import annotations

from pagewalk.conform.scenarios.arena import ARENA, ARENA_PAGES, At
from pagewalk.conform.scenarios.scenario import File, Scenario
from pagewalk.conform.scenarios.steps import (
    STEPS,
    ClearRefs,
    Execute,
    Exit,
    Fcntl,
    Fork,
    KernelRead,
    KernelWrite,
    Limited,
    Madvise,
    MemfdCreate,
    Mincore,
    Mlock,
    Mlockall,
    Mmap,
    Mprotect,
    Mremap,
    Mseal,
    Msync,
    Munlock,
    Munlockall,
    Munmap,
    PagemapScan,
    PkeyAlloc,
    PkeyFree,
    PkeyMprotect,
    Pool,
    Pread,
    ProcessMadvise,
    PunchHole,
    Pwrite,
    Read,
    Register,
    Step,
    Swapoff,
    Truncate,
    Unregister,
    Write,
    WriteProtect,
)

__all__ = [
    "ARENA", "ARENA_PAGES", "STEPS", "At", "ClearRefs", "Execute", "Exit", "Fcntl", "File", "Fork", "KernelRead",
    "KernelWrite",
    "Limited", "Madvise", "MemfdCreate", "Mincore", "Mlock", "Mlockall", "Mmap", "Mprotect", "Mremap", "Mseal",
    "Msync", "Munlock", "Munlockall", "Munmap", "PagemapScan", "PkeyAlloc", "PkeyFree", "PkeyMprotect", "Pool", "Pread",
    "ProcessMadvise", "PunchHole", "Pwrite", "Read", "Register", "Scenario", "Step", "Swapoff", "Truncate",
    "Unregister", "Write", "WriteProtect",
]  # fmt: skip
