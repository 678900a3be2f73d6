"""What a source is asked: its processes, one of them as an address space, and its roots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pagewalk.sources.opening import source as opened

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from pagewalk.formats import PagingFormat
    from pagewalk.sources.source import Source
    from pagewalk.space import ProcessSpace

__all__ = ["open_space", "processes", "roots"]


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


def roots(
    source: str | os.PathLike[str] | Source,
    *,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    registers: Mapping[str, Any] | str | None = None,
    os: str | None = None,
    source_type: str | None = None,
    formats: Iterable[str | PagingFormat] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.void]:
    """Find every process's root and the kernel's in memory alone: no symbols are needed, and no registers.

    All memory is gone through once. What looks like a top table is proved by a walk of what is below it, and by the
    kernel's part, which must map most of the memory. Known are Linux's, in the formats that ``formats`` takes.

    Args:
        source: The image's path, or a ``Source``.
        base, segments, source_type: As ``pagewalk.source``. With a wrong base nothing is found.
        registers: Those of a CPU, as ``pagewalk.open`` takes them: the format follows from them, and the row of the
            root that they name says so. None: the source's own, if it has any.
        os: The operating system whose entries stand beside the hardware's, as ``pagewalk.open``.
        formats: Formats or their names; None: what registers say, else all that are known by the looks of their roots.
        progress: Given how many bytes the pass has gone through, and how many there are.

    Returns:
        A row a root, best first. Shape (n,), structured: ``root``, ``user_root`` (PTI: the other one of the pair, else
        0), ``format``, ``levels``, ``kind`` (``process`` or ``kernel``), ``kernel`` (its number: roots of one kernel
        have the same), ``score`` (0 to 1), ``pages`` (user pages seen), ``cpu`` (whose registers name it; -1: nobody's)
        and ``reason``. Roots that lead to no user page are left out: those of programs that have ended.

    Raises:
        OSError, ImageFormatError: As ``pagewalk.source``.
        UnsupportedError: The source does not say where it has memory; a format whose roots have no looks.
        MemoryReadError: The memory says that it has bytes, and does not give them.
        ValueError, TypeError: As ``pagewalk.open``.
    """
    one = opened(source, base=base, segments=segments, source_type=source_type)
    try:
        return one.roots(registers=registers, os=os, formats=formats, progress=progress)
    finally:
        if one is not source:
            one.close()
