"""A Linux kernel in a memory: its types, its own page tables, and the task that is the head of the list of all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from pagewalk.errors import BadRoot
from pagewalk.formats import from_registers
from pagewalk.memory import CachedMemory, is_flat
from pagewalk.sources.linux.virtual import Unreadable, Virtual
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from pagewalk.formats import KernelTables, Window
    from pagewalk.formats.registers import Paging
    from pagewalk.memory import Memory
    from pagewalk.sources.linux.btf import Btf
    from pagewalk.sources.linux.vmcoreinfo import Vmcoreinfo

__all__ = ["Idle", "Kernel", "Proof", "behind", "kernel_windows", "paging_of", "prove"]


@dataclass(frozen=True)
class Idle:
    """The first task (``init_task``), as it was found by its name.

    Attributes:
        btf: The types by which it was read.
        tables: What kernels of its architecture have in common.
        paddr: Where it is.
        vaddr: The same as the kernel has it: the task points to itself.
        node: Its own node in the list of all tasks, a virtual address.
        next: The next one.
    """

    btf: Btf
    tables: KernelTables
    paddr: int
    vaddr: int
    node: int
    next: int


@dataclass(frozen=True)
class Kernel:
    """A kernel.

    Attributes:
        idle: Its first task.
        registers: How it translates addresses; the roots in them are 0.
        root: Its own top table.
        how: How that was found, in words.
        said: What it says of itself; None: that was not found.
        ram: Bytes of the memory that it is in.
    """

    idle: Idle
    registers: str
    root: int
    how: str
    said: Vmcoreinfo | None
    ram: int

    @property
    def btf(self) -> Btf:
        """Its types."""
        return self.idle.btf

    def virtual(self, memory: Memory) -> Virtual:
        """Its memory by its addresses, as it is now."""
        paging = paging_of(self.registers)
        upper = [window for window in kernel_windows(paging, self.root) if window.holds(self.idle.vaddr)]
        return Virtual(PageTables(memory, None, paging.format, windows=upper))


def behind(memory: Memory) -> Memory:
    """A memory for many small reads of one moment: before one that has to be asked stands a cache."""
    return memory if is_flat(memory) else CachedMemory(memory)


def kernel_windows(paging: Paging, root: int) -> tuple[Window, ...]:
    """The windows of a kernel that has one root for all addresses."""
    return tuple(window._replace(root=root) for window in paging.windows)


class Proof(IntEnum):
    """What a walk says of a root."""

    NONE = 0
    """It is not the kernel's."""
    KERNEL = 1
    """The first task is where it was found, and the list of tasks leads back to it."""
    IMAGE = 2
    """And it lies in the kernel's image, as its own root does; those of processes do not."""


def prove(memory: Memory, paging: Paging, root: int, idle: Idle) -> Proof:
    """What a walk says of a root."""
    windows = [window for window in kernel_windows(paging, root) if window.holds(idle.vaddr)]
    if not windows:
        return Proof.NONE
    try:
        virtual = Virtual(PageTables(memory, None, paging.format, windows=windows))
        if virtual.paddr(idle.vaddr) != idle.paddr or virtual.word(idle.next + 8) != idle.node:
            return Proof.NONE
    except (Unreadable, BadRoot):
        return Proof.NONE
    try:
        return Proof.IMAGE if virtual.paddr(root + idle.vaddr - idle.paddr) == root else Proof.KERNEL
    except Unreadable:
        return Proof.KERNEL


@lru_cache(maxsize=64)
def paging_of(registers: str, system: str | None = None) -> Paging:
    """What a regime's registers say, with an operating system's layer."""
    return from_registers(registers, system)
