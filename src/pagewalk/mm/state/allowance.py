"""What a process may still map and lock under its limits (``may_expand_vm``, ``mlock_future_ok``, Linux 6.18)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pagewalk.abi.limits import RLIM_INFINITY, RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK
from pagewalk.errors import SystemCallError
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.mm.state.space import Space

__all__ = ["check_areas", "check_lock", "check_may_lock", "check_size", "fits", "mapped", "may_lock"]


def is_data(flags: VmaFlags) -> bool:
    """Whether an area is the process's data (``is_data_mapping``): private, writable, no stack."""
    return flags & (VmaFlags.WRITE | VmaFlags.SHARED | VmaFlags.GROWSDOWN) == VmaFlags.WRITE


COUNTED: Final[dict[int, Callable[[VmaFlags], bool]]] = {
    RLIMIT_AS: lambda flags: True,
    RLIMIT_DATA: is_data,
    RLIMIT_MEMLOCK: lambda flags: VmaFlags.LOCKED in flags,
}
"""Which areas count towards a limit."""


def mapped(mm: Space, resource: int) -> int:
    """Bytes that count towards a limit."""
    return sum(vma.size for vma in mm.vmas if COUNTED[resource](vma.flags))


def fits(mm: Space, flags: VmaFlags, more: int, less: int = 0) -> bool:
    """Whether so many bytes more of an area may be mapped, once ``less`` are gone."""
    soft = mm.limits.soft
    for resource, counts in ((RLIMIT_AS, True), (RLIMIT_DATA, is_data(flags))):
        limit = soft[resource]
        if counts and limit != RLIM_INFINITY and mapped(mm, resource) + more - less > _whole(mm, limit):
            hidden = resource == RLIMIT_DATA and not limit  # Valgrind sets it to 0
            if not hidden or mapped(mm, resource) + more - less > _whole(mm, mm.limits.hard[resource]):
                return False
    return True


def _whole(mm: Space, limit: int) -> int:
    """A limit in whole pages, in bytes."""
    return limit // mm.geometry.page_size * mm.geometry.page_size


def check_size(mm: Space, flags: VmaFlags, more: int, less: int = 0) -> None:
    """Refuse what would go beyond RLIMIT_AS or RLIMIT_DATA.

    Raises:
        SystemCallError: ENOMEM.
    """
    if not fits(mm, flags, more, less):
        raise SystemCallError(errno.ENOMEM, f"{more:#x} bytes more go beyond RLIMIT_AS or RLIMIT_DATA: setrlimit()")


def check_may_lock(mm: Space) -> None:
    """Refuse a process that may not lock anything (``can_do_mlock``).

    Raises:
        SystemCallError: EPERM.
    """
    if not mm.limits.ipc_lock and not mm.limits.soft[RLIMIT_MEMLOCK]:
        raise SystemCallError(errno.EPERM, "RLIMIT_MEMLOCK is 0, and CAP_IPC_LOCK is not had")


def may_lock(mm: Space, locked: int) -> bool:
    """Whether so many bytes may be locked altogether."""
    return mm.limits.ipc_lock or locked <= _whole(mm, mm.limits.soft[RLIMIT_MEMLOCK])


def check_lock(mm: Space, flags: VmaFlags, more: int) -> None:
    """Refuse to map so many bytes more that would be locked (``mlock_future_ok``).

    Raises:
        SystemCallError: EAGAIN.
    """
    if VmaFlags.LOCKED in flags and not may_lock(mm, mapped(mm, RLIMIT_MEMLOCK) + more):
        raise SystemCallError(errno.EAGAIN, f"{more:#x} locked bytes more go beyond RLIMIT_MEMLOCK: setrlimit()")


def check_areas(mm: Space, room: int = 0) -> None:
    """Refuse to make one area more than there may be, or if there is not so much room.

    Raises:
        SystemCallError: ENOMEM.
    """
    most = mm.machine.max_map_count
    if len(mm.vmas) + room >= most:
        raise SystemCallError(errno.ENOMEM, f"there are {len(mm.vmas)} mappings, {most} may be: raise max_map_count")
