"""Address spaces: VMAs over page tables, and the locks that a walk over both may demand."""

from __future__ import annotations

from pagewalk.space.locks import MmapLock, VmaLock
from pagewalk.space.process import ProcessSpace
from pagewalk.space.space import AddressSpace
from pagewalk.space.vma import VM_FLAG_CODES, Mapping, Vma, VmaFlags, VmaList

__all__ = [
    "VM_FLAG_CODES",
    "AddressSpace",
    "Mapping",
    "MmapLock",
    "ProcessSpace",
    "Vma",
    "VmaFlags",
    "VmaList",
    "VmaLock",
]
