"""What a source is asked: its processes, and one of them as an address space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.sources.opening import source as opened

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    from pagewalk.sources.rows import ProcessSpace
    from pagewalk.sources.source import Source

__all__ = ["open_space", "processes"]


def processes(
    source: str | os.PathLike[str] | Source,
    *,
    threads: bool = False,
    cost: bool = False,
    sweep: bool = False,
    os: str | None = None,
    notes: list[str] | None = None,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    source_type: str | None = None,
) -> npt.NDArray[np.void]:
    """The processes of the Linux in a memory image or dump: no symbols and no debug information are needed.

    The kernel's own description of its types (BTF), which kernels of distributions have since 5.10, is found in the
    memory, and so is where its page tables are. Every list is checked as it is read: what is broken is told in
    ``notes``, and what can be known is in the rows.

    Args:
        source: The image's path, or a ``Source``.
        threads: A row for each thread instead of each process: ``pid`` is the thread's, ``tgid`` the process's.
        cost: Measure each process's page tables: ``resident`` and ``tables``, which are 0 otherwise. Takes about a
            millisecond a process.
        sweep: Look through all of the memory for processes that are not in the kernel's list: hidden, or lost where the
            list is broken. Their ``listed`` is false.
        os: The operating system whose entries stand in page tables; None: what the kernel says of itself.
        notes: Told what could not be known, and what was inferred, in a sentence each.
        base, segments, source_type: As ``pagewalk.source``.

    Returns:
        A structured array by PID, shape (n,): ``pid``, ``tgid``; ``threads``, how many the process has;
        ``kernel_thread``; ``ended``, a zombie; ``listed``, it is in the kernel's list; ``name``; ``root``, the physical
        address of its top page table (0: it has none); ``user_root``, that of user mode where the kernel isolates its
        page tables (else 0); ``resident``, bytes in pages that are there; ``tables``, bytes in page tables of the
        user's half; ``task``, the virtual address of its ``task_struct``. Processes that share their memory have the
        same root, and each its whole cost.

    Raises:
        UnsupportedError: No kernel is found in the memory, or one that does not say its types; no such system.
        MemoryReadError: What the memory says it has cannot be read.
        OSError, ImageFormatError, ValueError, TypeError: As ``pagewalk.source``.
    """
    one = opened(source, base=base, segments=segments, source_type=source_type)
    try:
        return one.processes(threads=threads, cost=cost, sweep=sweep, os=os, notes=notes)
    finally:
        if one is not source:
            one.close()


def open_space(
    source: str | os.PathLike[str] | Source,
    *,
    pid: int,
    os: str | None = None,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    source_type: str | None = None,
) -> ProcessSpace:
    """A process in a memory image or dump as an address space: its page tables, and its VMAs as ``maps`` shows them.

    Args:
        source: The image's path, or a ``Source``.
        pid: The process, or a thread's number; 0: the kernel, which has no VMAs.
        os: The operating system whose entries stand in page tables; None: what the kernel says of itself.
        base, segments, source_type: As ``pagewalk.source``.

    Returns:
        An ``AddressSpace`` that also has ``pid``, ``process_name`` and ``notes``.

    Raises:
        ProcessError: ESRCH: there is no such process, or it has no page tables.
        UnsupportedError: No kernel is found, or it cannot be read; no such system.
        BadRoot: Its page tables are outside the memory.
        MemoryReadError: What the memory says it has cannot be read.
        OSError, ImageFormatError, ValueError, TypeError: As ``pagewalk.source``.
    """
    one = opened(source, base=base, segments=segments, source_type=source_type)
    try:
        return one.space(pid, os=os)
    except BaseException:
        if one is not source:
            one.close()
        raise
