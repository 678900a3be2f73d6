"""Snapshots of virtual machines: how their monitors lay memory out in files.

Source: Firecracker 1.13, ``src/vmm/src/arch/``, ``layout.rs`` of each architecture and ``arch_memory_regions`` (guest
memory is what is left of the addresses without the holes for devices); cloud-hypervisor 48,
``vmm/src/memory_manager.rs`` (``MemoryManagerSnapshotData``), ``vmm/src/lib.rs``, ``vm-migration/src/protocol.rs`` and
``hypervisor/src/arch/x86/mod.rs`` (``SpecialRegisters``).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CPUS", "FIRECRACKER", "FIRECRACKER_OLD", "MEMORY", "RANGES", "REGISTERS", "STATE"]

_GIB: Final = 1 << 30
_DEVICES: Final = (256 * _GIB, 512 * _GIB)
FIRECRACKER: Final[Mapping[int, tuple[tuple[int, int], ...]]] = MappingProxyType(
    {
        0: ((0, 3 * _GIB), (4 * _GIB, _DEVICES[0]), (_DEVICES[1], 1 << 46)),
        2 * _GIB: ((2 * _GIB, _DEVICES[0]), (_DEVICES[1], 1 << 40)),
    }
)
"""Firecracker's slots, ``(start, end)``, by the address of its first memory: that of x86-64, that of arm64."""
FIRECRACKER_OLD: Final = 0xD000_0000
"""Where the first hole of x86-64 began before Firecracker had PCI (1.13)."""

STATE: Final = "state.json"
"""cloud-hypervisor: the file that has the table of ranges, and the CPUs' registers."""
RANGES: Final = "memory-ranges"
"""cloud-hypervisor: the file with the ranges' bytes, one after the other."""
MEMORY: Final = "memory-manager"
CPUS: Final = "cpu-manager"
"""Parts of the state."""
REGISTERS: Final = ("cr0", "cr3", "cr4", "efer")
"""Those in a CPU's state that say where tables are, on x86."""
