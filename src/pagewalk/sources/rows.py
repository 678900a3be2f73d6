"""The processes of a memory, as an array; and one of them, as an address space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.errors import MemoryReadError, TranslationError
from pagewalk.memory import BadAnswer
from pagewalk.sources.cost import Cost, cost_of
from pagewalk.sources.linux.find import find_kernels
from pagewalk.sources.linux.linux import Linux
from pagewalk.space import ProcessSpace
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from pagewalk.memory import Memory
    from pagewalk.sources.linux.kernel import Kernel
    from pagewalk.sources.linux.tasks import Process, Task

    Rows = npt.NDArray[np.void]

__all__ = ["PROCESS", "Kernels", "process_rows", "process_space"]

PROCESS: Final = np.dtype(
    [
        ("pid", "u4"), ("tgid", "u4"), ("threads", "u4"), ("kernel_thread", "?"), ("ended", "?"), ("listed", "?"),
        ("name", "U16"), ("root", "u8"), ("user_root", "u8"), ("resident", "u8"), ("tables", "u8"), ("task", "u8"),
    ],
    align=True,
)  # fmt: skip
"""A process, or a thread of it."""


class Kernels(NamedTuple):
    """What was found in a memory once, and is not looked for again.

    Attributes:
        found: The kernels, the best first.
        notes: What else to know of them.
    """

    found: list[Kernel]
    notes: list[str]

    @classmethod
    def of(cls, memory: Memory, vmcoreinfo: Mapping[str, str]) -> Kernels:
        """Those of a memory.

        Raises:
            UnsupportedError: There is none that can be read.
            MemoryReadError: What the memory says it has cannot be read.
        """
        notes: list[str] = []
        return cls(find_kernels(memory, vmcoreinfo, notes), notes)

    def linux(self, memory: Memory, os: str | None) -> Linux:
        """The best of them, looked at now.

        Raises:
            UnsupportedError: Its types lack what is needed; no such system.
        """
        return Linux(memory, self.found[0], os)

    def told(self, linux: Linux) -> list[str]:
        """What else to know of the kernel, and of what was read of it so far."""
        kernel = linux.kernel
        root = f"the kernel's page tables at {kernel.root:#x} were found {kernel.how}"
        return [*self.notes, linux.note, root, *linux.notes]


def process_rows(linux: Linux, *, threads: bool = False, cost: bool = False, sweep: bool = False) -> Rows:
    """All processes, dtype ``PROCESS``, by PID; ``pagewalk.processes`` has the details.

    Raises:
        MemoryReadError: The memory cannot be read any more.
    """
    listed = list(linux.processes())
    lost = list(linux.lost({process.task.address for process in listed})) if sweep else []
    known: dict[int, tuple[int, int, Cost]] = {}
    rows = [
        row
        for where, found in ((True, listed), (False, lost))
        for process in found
        for row in _rows(linux, process, known, threads=threads, cost=cost, listed=where)
    ]
    rows.sort(key=lambda row: row[:2])
    return np.array(rows, PROCESS)


def _rows(
    linux: Linux, process: Process, known: dict[int, tuple[int, int, Cost]], *, threads: bool, cost: bool, listed: bool
) -> Iterator[tuple[Any, ...]]:
    """The row of a process, or those of its threads."""
    if process.mm not in known:
        root = linux.root(process)
        known[process.mm] = root, linux.user_root(root), _cost(linux, root) if cost else Cost(0, 0)
    root, user_root, paid = known[process.mm]
    task: Task
    for task in process.threads if threads else (process.task,):
        state = task.is_kernel_thread, task.has_ended, listed
        yield task.pid, task.tgid, len(process.threads), *state, task.name, root, user_root, *paid, task.address


def _cost(linux: Linux, root: int) -> Cost:
    """What a process's page tables cost."""
    if not root:
        return Cost(0, 0)
    window = linux.paging.windows[0]._replace(root=root)
    try:
        return cost_of(PageTables(linux.memory, None, linux.paging.format, windows=[window]), window)
    except BadAnswer:
        raise
    except (TranslationError, MemoryReadError) as error:
        linux.notes.append(f"the page tables at {root:#x} cannot be measured: {error}")
        return Cost(0, 0)


def process_space(linux: Linux, pid: int, told: Callable[[Linux], list[str]]) -> ProcessSpace:
    """A process's address space; ``pagewalk.open_space`` has the details.

    Args:
        linux: The kernel.
        pid: The process.
        told: What else to know of a kernel.

    Raises:
        ProcessError, UnsupportedError, BadRoot: As ``Linux.tables``.
    """
    tables = linux.tables(pid)
    process = linux.find(pid) if pid else None
    vmas = [] if process is None else linux.vmas(process)
    space = ProcessSpace(tables, vmas, pid, "" if process is None else process.task.name)
    space.page_table_bytes = None if process is None else linux.page_table_bytes(process)
    space.notes = tuple(told(linux))
    return space
