"""The limits of a process: numbers. ``allowance`` asks them."""

from __future__ import annotations

from copy import copy
from typing import Final

from pagewalk.abi.limits import RLIM_INFINITY, RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK

__all__ = ["Limits"]

LOCK_LIMIT: Final = 8 << 20
"""Bytes that may be locked, unless it is said otherwise (MLOCK_LIMIT, 5.16)."""


class Limits:
    """A process's limits, in bytes.

    Attributes:
        soft, hard: By resource: RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK.
        ipc_lock: Whether it has CAP_IPC_LOCK, as root has: RLIMIT_MEMLOCK is nothing to it then.
        sys_admin: Whether it has CAP_SYS_ADMIN, as root has: it may have memory break.
    """

    def __init__(self) -> None:
        self.soft = {RLIMIT_AS: RLIM_INFINITY, RLIMIT_DATA: RLIM_INFINITY, RLIMIT_MEMLOCK: LOCK_LIMIT}
        self.hard = dict(self.soft)
        self.ipc_lock = self.sys_admin = True

    def copy(self) -> Limits:
        """Those of a child."""
        twin = copy(self)
        twin.soft = dict(self.soft)
        return twin
