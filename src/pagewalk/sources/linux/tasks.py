"""A kernel's tasks: the list of processes, and the threads of each.

Source: ``include/linux/sched.h``, ``include/linux/sched/signal.h``, Linux 5.10 to 7.2.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.abi.processes import PF_KTHREAD
from pagewalk.formats import ROOT
from pagewalk.sources.linux.layout import Layout, offset_of
from pagewalk.sources.linux.lists import nodes_of
from pagewalk.sources.linux.virtual import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.sources.linux.kernel import Kernel
    from pagewalk.sources.linux.virtual import Virtual

__all__ = ["LAST_PID", "Process", "Task", "Tasks"]

LAST_PID: Final = 1 << 22
"""``PID_MAX_LIMIT``."""
_GONE: Final = 0x30
"""EXIT_DEAD and EXIT_ZOMBIE of ``exit_state``."""
_KERNEL_HALF: Final = 1 << 63
_NAME: Final = 16
"""TASK_COMM_LEN; a newer kernel may have more, of which as much is read."""


class Task(NamedTuple):
    """A task, as the kernel has it.

    Attributes:
        address: Its ``task_struct``, a virtual address; others likewise.
        pid, tgid: Its number, and that of its process.
        flags: ``PF_KTHREAD`` and others.
        exit_state: Not 0: it has ended.
        users: Its count of references; of a task that is free it is 0.
        mm: Its address space; 0: it has none.
        signal: What its process's threads share.
        leader: Its process's first thread.
        name: Its own.
    """

    address: int
    pid: int
    tgid: int
    flags: int
    exit_state: int
    users: int
    mm: int
    signal: int
    leader: int
    name: str

    @property
    def is_kernel_thread(self) -> bool:
        """Whether it is one of the kernel's own, which have no address space."""
        return bool(self.flags & PF_KTHREAD)

    @property
    def has_ended(self) -> bool:
        """Whether it only waits for its parent, or not even for that."""
        return bool(self.exit_state & _GONE)


class Process(NamedTuple):
    """A process: its first thread, and all threads, that one among them.

    Attributes:
        task: The first thread.
        threads: All that were found.
        mm: The address space, of whichever thread still has it; 0: there is none.
    """

    task: Task
    threads: tuple[Task, ...]
    mm: int


class Tasks:
    """The tasks of a kernel.

    Args:
        kernel: The kernel.
        memory: Its memory.
        notes: Told what is wrong with its lists.

    Raises:
        BtfError: The kernel's types lack what is needed.
    """

    def __init__(self, kernel: Kernel, memory: Virtual, notes: list[str]) -> None:
        btf, task = kernel.btf, "task_struct"
        self.notes = notes
        self._kernel, self._memory = kernel, memory
        members = ("pid", "tgid", "flags", "exit_state", "usage", "mm", "signal", "group_leader", "comm")
        self.layout = Layout(btf, task, members)
        self._tasks, self._node = (offset_of(btf, task, name) for name in ("tasks", "thread_node"))
        self._threads = Layout(btf, "signal_struct", ("nr_threads",))
        self._head = offset_of(btf, "signal_struct", "thread_head")
        self._root = Layout(btf, "mm_struct", (ROOT,))
        self.most = kernel.ram // max(btf.size(task), 64) + 1

    def task(self, address: int) -> Task:
        """The task at an address.

        Raises:
            Unreadable: It is not there.
        """
        return self.made(address, self.layout.read(self._memory, address))

    def made(self, address: int, members: list[int]) -> Task:
        """A task of its members."""
        pid, tgid, flags, exit_state, users, mm, signal, leader, name = members
        text = os.fsdecode(name.to_bytes(64, "little")[:_NAME].partition(b"\0")[0])
        return Task(address, pid, tgid, flags, exit_state, users, mm, signal, leader, text)

    def root(self, mm: int) -> int:
        """The physical address of an address space's top table.

        Raises:
            Unreadable: It is not there.
        """
        (table,) = self._root.read(self._memory, mm)
        return self._memory.paddr(table)

    def processes(self, *, threads: bool = True) -> Iterator[Process]:
        """All processes in the order of the kernel's list, which is that of their beginning."""
        head = self._kernel.idle.vaddr + self._tasks
        seen: set[int] = set()
        for node in nodes_of(self._memory, head, self.most, "tasks", self.notes):
            task = self._listed(node - self._tasks)
            if task is None:
                continue
            if not 0 < task.pid <= LAST_PID or task.pid in seen:
                what = "twice" if task.pid in seen else "out of range"
                self.notes.append(f"task {task.address:#x} has pid {task.pid}, which is {what}: it is left out")
                continue
            seen.add(task.pid)
            yield self.process(task, threads=threads)

    def process(self, task: Task, *, threads: bool = True) -> Process:
        """The process of a first thread."""
        others = tuple(self._others(task)) if threads else ()
        mm = next((one.mm for one in (task, *others) if one.mm), 0)
        return Process(task, (task, *others), 0 if task.is_kernel_thread else mm)

    def _listed(self, address: int) -> Task | None:
        """A task of the list; None if it cannot be read."""
        try:
            task = self.task(address)
        except Unreadable as error:
            self.notes.append(f"task {address:#x} cannot be read: {error}")
            return None
        if task.leader != address or task.pid != task.tgid:
            self.notes.append(f"task {address:#x} (pid {task.pid}) is in the list, and leads no process")
        if not task.mm and not task.is_kernel_thread and not task.has_ended:
            self.notes.append(f"task {address:#x} (pid {task.pid}) has no address space, and has not ended")
        return task

    def _others(self, task: Task) -> Iterator[Task]:
        """The threads of a process but for the first."""
        if task.signal < _KERNEL_HALF:
            return
        what, found = f"threads of {task.pid}", 0
        try:
            (many,) = self._threads.read(self._memory, task.signal)
        except Unreadable as error:
            self.notes.append(f"{what}: {error}")
            return
        most = min(2 * many + 16, self.most)
        for node in nodes_of(self._memory, task.signal + self._head, most, what, self.notes):
            found += 1
            if node - self._node == task.address:
                continue
            try:
                thread = self.task(node - self._node)
            except Unreadable as error:
                self.notes.append(f"{what}: {error}")
                continue
            if thread.leader != task.address or thread.tgid != task.pid:
                self.notes.append(f"{what}: task {thread.address:#x} (pid {thread.pid}) is of another process")
            yield thread
        if found != many:
            self.notes.append(f"{what}: there are {found:,}, and the kernel counts {many:,}")
