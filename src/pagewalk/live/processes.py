"""Which process a number means: PIDs are those of the namespace that ``/proc`` belongs to, not always the caller's own.

Source: ``Documentation/filesystems/proc.rst`` (NSpid), ``pid_namespaces(7)``.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pagewalk.abi.processes import PF_KTHREAD
from pagewalk.errors import ProcessError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["caller", "has_ended", "is_self", "living_threads", "namespace_note", "why_bare"]


def is_self(pid: int) -> bool:
    """Whether a PID of ``/proc`` is that of this process; 0 always is."""
    return not pid or pid == _own_numbers()[0]


def caller() -> int:
    """The process that started this one, as ``/proc`` numbers it.

    Raises:
        ProcessError: ESRCH: it is in none of the namespaces that ``/proc`` shows.
    """
    try:
        status = Path("/proc/self/status").read_bytes()
    except OSError:
        status = b""
    found = re.search(rb"^PPid:\t(\d+)$", status, re.MULTILINE)
    if found is None or not int(found[1]):
        raise ProcessError(errno.ESRCH, "the process that called this one is not among those of /proc: give a PID")
    return int(found[1])


def namespace_note() -> str:
    """Whose PIDs are meant, if they are not those of this process's own namespace; else nothing."""
    own = os.getpid()
    there, inner = _own_numbers()
    if there == inner == own:
        return ""
    known = f"there this process is {there}, in its own it is {own}" if there else "this process is not in it"
    return f"PIDs are those of the PID namespace of /proc, which is another than this process's: {known}"


def _own_numbers() -> tuple[int, int]:
    """This process as ``/proc`` numbers it, in its namespace and in the process's own; zeros if it does not show it."""
    try:
        status = Path("/proc/self/status").read_bytes()
    except OSError:
        return 0, 0
    found = re.search(rb"^NSpid:((?:\t\d+)+)$", status, re.MULTILINE)
    numbers = [*map(int, found[1].split())] if found else [os.getpid()]
    return numbers[0], numbers[-1]


def _status(path: str) -> list[bytes]:
    """The fields of a ``stat`` file from the state on; none if there is no such process or thread (any more)."""
    try:
        return Path(f"{path}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def has_ended(path: str) -> bool:
    """Whether a process's first thread, or a thread, at this path in ``/proc`` is a zombie."""
    return _status(path)[:1] in ([b"Z"], [b"X"])


def living_threads(path: str) -> Iterator[str]:
    """The threads of a process that have not ended, as paths in ``/proc``."""
    try:
        threads = [str(thread) for thread in Path(f"{path}/task").iterdir()]
    except OSError:
        return
    yield from (thread for thread in threads if (state := _status(thread)) and state[0] not in (b"Z", b"X"))


def why_bare(path: str) -> str:
    """Why a process has no address space; nothing if it has one, for all that can be seen."""
    if not (status := _status(path)):
        return "there is no such process (any more): check the PID"
    if int(status[6]) & PF_KTHREAD:
        return "a kernel thread: it has no address space of its own to look at"
    if status[0] in (b"Z", b"X") and not any(living_threads(path)):
        return "it has ended, and only waits for its parent: nothing is left to look at"
    return ""
