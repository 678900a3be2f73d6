"""A Linux in a memory, as it is now: its processes, their page tables, and their VMAs."""

from __future__ import annotations

import errno
from functools import cached_property
from typing import TYPE_CHECKING

from pagewalk.doors import printable
from pagewalk.errors import ProcessError, UnsupportedError
from pagewalk.memory import read_each
from pagewalk.sources.linux.btf import BtfError
from pagewalk.sources.linux.kernel import behind, kernel_windows, paging_of
from pagewalk.sources.linux.lost import lost_tasks
from pagewalk.sources.linux.system import release_of, system_of
from pagewalk.sources.linux.tasks import Tasks
from pagewalk.sources.linux.virtual import Unreadable
from pagewalk.sources.linux.vmas import Vmas
from pagewalk.sources.whose import contradiction
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.formats import Level, Window
    from pagewalk.formats.registers import Paging
    from pagewalk.memory import Memory
    from pagewalk.sources.linux.kernel import Kernel
    from pagewalk.sources.linux.tasks import Process
    from pagewalk.space import Vma

__all__ = ["Linux"]

KERNEL: int = 0
"""The PID of the first task, which stands for the kernel itself."""


class Linux:
    """A kernel, looked at now: what it keeps of its memory is of this moment.

    Args:
        source: The memory that it is in.
        kernel: The kernel.
        os: Whose entries stand in page tables; None: what the kernel says of itself.

    Raises:
        UnsupportedError: Its types lack what is needed; no such system.

    Attributes:
        notes: What could not be known, or is doubtful, in a sentence each.
        source: The memory that it is in.
        memory: The same as it was when it was read first.
        paging: How it translates addresses, and its entries.
    """

    def __init__(self, source: Memory, kernel: Kernel, os: str | None = None) -> None:
        self.notes: list[str] = []
        self.kernel = kernel
        self.source = source
        self.memory = behind(source)
        self._virtual = kernel.virtual(self.memory)
        try:
            self._tasks = Tasks(kernel, self._virtual, self.notes)
        except BtfError as error:
            raise _odd(error) from None
        self._system = None if os is not None else system_of(kernel, self._virtual)
        self.paging: Paging = paging_of(kernel.registers, os if self._system is None else self._system.name)

    @property
    def note(self) -> str:
        """Which Linux it is, and as whose its entries are read."""
        if self._system is not None:
            return self._system.note
        release = release_of(self.kernel, self._virtual)
        known = printable(release) or "of no known release"
        return contradiction(release, self.paging.format) or f"the kernel is {known}"

    # -- processes ---------------------------------------------------------------------------------------------------

    def processes(self, *, threads: bool = True) -> Iterator[Process]:
        """All processes, in the order of the kernel's list."""
        return self._tasks.processes(threads=threads)

    def lost(self, listed: set[int]) -> Iterator[Process]:
        """Processes that are in memory and not in the list.

        Args:
            listed: The addresses of the first threads that are in it.

        Raises:
            MemoryReadError: The memory cannot be read any more.
        """
        for task in lost_tasks(self.source, self.kernel, self._virtual, self._tasks, listed, self.notes):
            yield self._tasks.process(task)

    def find(self, pid: int) -> Process:
        """The process of a PID, or of a thread's.

        Raises:
            ProcessError: ESRCH: there is none.
        """
        for process in self.processes(threads=False):
            if process.task.pid == pid:
                return self._tasks.process(process.task)
        for process in self.processes():
            if any(thread.pid == pid for thread in process.threads):
                return process
        raise ProcessError(errno.ESRCH, f"there is no process {pid} in this memory: pagewalk ps lists those there are")

    def root(self, process: Process) -> int:
        """The top table of a process; 0: it has none, or that cannot be read."""
        if not process.mm:
            return 0
        try:
            return self._tasks.root(process.mm)
        except Unreadable as error:
            self.notes.append(f"process {process.task.pid}: {error}")
            return 0

    def user_root(self, root: int) -> int:
        """The top table that the CPU has in user mode, where the kernel isolates its own; 0: there is none.

        That one has the same tables in the user's half: no two others do.
        """
        window, apart = self.paging.windows[0], self.kernel.idle.tables.user_root
        level = self.paging.format.head_of(window)
        if not apart or not root or root & apart:
            return 0
        mine, other = read_each(self.memory, [root, root + apart], level.table_bytes)
        if mine is None or other is None:
            return 0
        tables, others = (_tables_of(level, data) for data in (mine, other))
        return root + apart if any(tables) and tables == others else 0

    # -- one of them -------------------------------------------------------------------------------------------------

    def tables(self, pid: int) -> PageTables:
        """The page tables of a process: its own, and the kernel's. PID 0: the kernel's alone.

        Raises:
            ProcessError: ESRCH: there is no such process, or it has none: it is a kernel thread, or has ended.
            UnsupportedError: They cannot be read.
            BadRoot: They are outside the memory.
        """
        windows = kernel_windows(self.paging, self.kernel.root) if pid == KERNEL else self._windows(self.find(pid))
        return PageTables(self.source, None, self.paging.format, windows=windows)

    def windows(self, root: int) -> tuple[Window, ...]:
        """The windows of a process with a root: those whose register has it are its own, the rest are the kernel's."""
        registers, user = self.paging.registers, self.user_root(root)
        own = (root if name == registers[0] else self.kernel.root for name in registers)
        first, *others = (window._replace(root=at) for window, at in zip(self.paging.windows, own, strict=True))
        return first._replace(root=user or root), *others

    def _windows(self, process: Process) -> tuple[Window, ...]:
        """The windows of a process."""
        if why := why_bare(process):
            raise ProcessError(errno.ESRCH, f"process {process.task.pid} {why}")
        if not (root := self.root(process)):
            raise UnsupportedError(f"the page tables of process {process.task.pid} cannot be found: {self.notes[-1]}")
        return self.windows(root)

    def vmas(self, process: Process) -> list[Vma]:
        """The VMAs of a process, ascending.

        Raises:
            UnsupportedError: The kernel's types lack what is needed.
        """
        try:
            return list(self._vmas.of(process.mm)) if process.mm else []
        except BtfError as error:
            raise _odd(error) from None
        except Unreadable as error:
            self.notes.append(f"the VMAs of process {process.task.pid} cannot be read: {error}")
            return []

    def page_table_bytes(self, process: Process) -> int | None:
        """What the kernel counts for the page tables of a process (VmPTE); None: it does not say.

        Raises:
            UnsupportedError: The kernel's types lack what is needed.
        """
        try:
            return self._vmas.page_table_bytes(process.mm) if process.mm else None
        except BtfError as error:
            raise _odd(error) from None

    @cached_property
    def _vmas(self) -> Vmas:
        return Vmas(self.kernel.btf, self._virtual, self.paging.format.page_size, self.notes)


def _tables_of(level: Level, data: bytes) -> list[int]:
    """The table that each entry points to; of one that points to none, the entry."""
    return [int(level.frame(word)) if level.is_table(word) else word for word in level.word.unpack(data)]


def why_bare(process: Process) -> str:
    """Why a process has no page tables; nothing if it has some."""
    if process.mm:
        return ""
    if process.task.is_kernel_thread:
        return "is a kernel thread: it has no page tables of its own; those of PID 0 are the kernel's"
    return "has ended, and only waits for its parent: it has no page tables any more"


def _odd(error: BtfError) -> UnsupportedError:
    """What to say of types that lack something."""
    return UnsupportedError(f"this kernel's types are others than those of Linux 5.10 to 7.3: {error}")
