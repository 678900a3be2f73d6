"""A Linux kernel in a memory: its types, its own page tables, and the task that is the head of the list of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pagewalk.formats import from_registers
from pagewalk.sources.linux.layout import offset_of
from pagewalk.sources.linux.virtual import Unreadable, Virtual
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from pagewalk.formats import KernelTables, Window
    from pagewalk.formats.registers import Paging
    from pagewalk.memory import Memory
    from pagewalk.sources.linux.btf import Btf
    from pagewalk.sources.linux.vmcoreinfo import Vmcoreinfo

__all__ = ["Idle", "Kernel", "kernel_windows", "paging_of", "proves"]


@dataclass(frozen=True)
class Idle:
    """The first task (``init_task``), as it was found by its name.

    Attributes:
        btf: The types by which it was read.
        tables: What kernels of its architecture have in common.
        paddr: Where it is.
        vaddr: The same as the kernel has it: the task points to itself.
        next: The next node in the list of all tasks.
    """

    btf: Btf
    tables: KernelTables
    paddr: int
    vaddr: int
    next: int


@dataclass(frozen=True)
class Kernel:
    """A kernel.

    Attributes:
        memory: Where it is.
        idle: Its first task.
        paging: How it translates addresses; the roots in it are 0.
        root: Its own top table.
        how: How that was found, in words.
        said: What it says of itself; None: that was not found.
    """

    memory: Memory
    idle: Idle
    paging: Paging
    root: int
    how: str
    said: Vmcoreinfo | None

    @property
    def btf(self) -> Btf:
        """Its types."""
        return self.idle.btf

    def tables(self) -> PageTables:
        """Its own page tables."""
        return PageTables(self.memory, None, self.paging.format, windows=kernel_windows(self.paging, self.root))

    def virtual(self) -> Virtual:
        """Its memory by its addresses, as it is now."""
        upper = [window for window in kernel_windows(self.paging, self.root) if window.holds(self.idle.vaddr)]
        return Virtual(PageTables(self.memory, None, self.paging.format, windows=upper))


def kernel_windows(paging: Paging, root: int) -> tuple[Window, ...]:
    """The windows of a kernel that has one root for all addresses."""
    return tuple(window._replace(root=root) for window in paging.windows)


def proves(memory: Memory, paging: Paging, root: int, idle: Idle) -> bool:
    """Whether a root is a kernel's: the first task is where it was found, and the list of tasks leads back to it."""
    windows = [window for window in kernel_windows(paging, root) if window.holds(idle.vaddr)]
    if not windows:
        return False
    try:
        virtual = Virtual(PageTables(memory, None, paging.format, windows=windows))
        node = idle.vaddr + offset_of(idle.btf, "task_struct", "tasks")
        return virtual.paddr(idle.vaddr) == idle.paddr and virtual.word(idle.next + 8) == node
    except Unreadable:
        return False


def paging_of(registers: dict[str, int], system: str | None = None) -> Paging:
    """What a regime's registers say, with an operating system's layer."""
    return from_registers(registers, system)
