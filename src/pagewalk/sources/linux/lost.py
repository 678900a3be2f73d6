"""Tasks that no list has: found by a pass over memory for what only a process's first thread says, its own address.

A task of the list tells how far virtual addresses are from physical ones where tasks lie (the *direct map*: one number
for all of memory). Then a word that holds the address at which it would stand, were it the member ``group_leader`` of a
task, is such a member.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from pagewalk.memory import blocks_of
from pagewalk.sources.linux.layout import offset_of
from pagewalk.sources.linux.tasks import LAST_PID
from pagewalk.sources.linux.virtual import ENDS, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.memory import Memory
    from pagewalk.sources.linux.kernel import Kernel
    from pagewalk.sources.linux.tasks import Task, Tasks
    from pagewalk.sources.linux.virtual import Virtual

__all__ = ["lost_tasks"]

_KERNEL_HALF: Final = 1 << 63
_DEAD: Final = 0x10
"""EXIT_DEAD."""
_BLOCK: Final = 2 << 20


def lost_tasks(
    source: Memory, kernel: Kernel, memory: Virtual, tasks: Tasks, listed: set[int], notes: list[str]
) -> Iterator[Task]:
    """First threads that are not in the list.

    Args:
        source: The memory that is gone through.
        kernel: The kernel.
        memory: Its memory, by its addresses.
        tasks: Its tasks.
        listed: The addresses of those in the list.
        notes: Told how many were passed over, because they have ended or are free.
    """
    leader = offset_of(kernel.btf, "task_struct", "group_leader")
    distance = _direct_map(kernel, memory)
    if distance is None:
        notes.append("no task of the list can be read: others cannot be looked for")
        return
    ended = 0
    for address in islice(_candidates(source, leader, distance), tasks.most):
        try:
            task = tasks.task(address)
        except Unreadable:
            continue
        if address in listed or not _is_leader(task):
            continue
        if not task.users or task.exit_state & _DEAD:
            ended += 1
            continue
        yield task
    if ended:
        notes.append(f"{ended:,} tasks that have ended are still in memory; they are not shown")


def _direct_map(kernel: Kernel, memory: Virtual) -> int | None:
    """How far the virtual address of the list's first task is from its physical one."""
    task = kernel.idle.next - (kernel.idle.node - kernel.idle.vaddr)
    try:
        return task - memory.paddr(task)
    except Unreadable:
        return None


def _candidates(source: Memory, leader: int, distance: int) -> Iterator[int]:
    """Where a task would be whose member points to itself."""
    steps = np.arange(_BLOCK // 8, dtype=np.uint64) * np.uint64(8)
    for paddr, block in blocks_of(source, _BLOCK):
        skipped = -paddr % 8
        many = max(len(block) - skipped, 0) // 8
        if not many:
            continue
        words = np.frombuffer(block, "<u8", many, skipped)
        first = (paddr + skipped + distance - leader) % ENDS
        at = np.flatnonzero(words - steps[:many] == np.uint64(first))
        yield from (first + 8 * place for place in at.tolist())


def _is_leader(task: Task) -> bool:
    """Whether what is there can be a process's first thread."""
    return task.pid == task.tgid and 0 < task.pid <= LAST_PID and task.signal >= _KERNEL_HALF and bool(task.name)
