"""Protection keys and limits: pkey_alloc, pkey_free, pkey_mprotect, setrlimit (``mm/mprotect.c``, ``kernel/sys.c``)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pagewalk.abi.limits import PKEY_DISABLE_ACCESS, PKEY_DISABLE_WRITE, RLIM_NLIMITS
from pagewalk.errors import SystemCallError, UnsupportedError
from pagewalk.mm.calls.protect import mprotect

if TYPE_CHECKING:
    from pagewalk.mm.state.space import Space

__all__ = ["pkey_alloc", "pkey_free", "pkey_mprotect", "setrlimit", "signed"]

DISABLES: Final = PKEY_DISABLE_ACCESS | PKEY_DISABLE_WRITE


def signed(word: int) -> int:
    """A word where a system call takes an ``int`` that may be negative."""
    low = word % (1 << 32)
    return low - (low >> 31 << 32)


def pkey_alloc(mm: Space, flags: int, rights: int) -> int:
    """See ``Mm.pkey_alloc``. Without keys the CPU refuses the first one, and keeps it."""
    if flags or rights & ~DISABLES:
        raise SystemCallError(errno.EINVAL, f"pkey_alloc with flags {flags:#x}, rights {rights:#x}")
    key = mm.keys.take()
    if key is None:
        raise SystemCallError(errno.ENOSPC, "no protection key is free")
    if not mm.machine.pku:
        raise SystemCallError(errno.EINVAL, "the CPU has no protection keys: Machine(pku=True)")
    mm.keys.rights[key] = rights
    return key


def pkey_free(mm: Space, key: int) -> None:
    """See ``Mm.pkey_free``."""
    if not mm.keys.is_taken(key):
        raise SystemCallError(errno.EINVAL, f"protection key {key} is not taken")
    mm.keys.taken &= ~(1 << key)


def pkey_mprotect(mm: Space, addr: int, length: int, prot: int, key: int) -> None:
    """See ``Mm.pkey_mprotect``."""
    mprotect(mm, addr, length, prot, key)


def setrlimit(mm: Space, resource: int, soft: int) -> None:
    """See ``Mm.setrlimit``."""
    limits = mm.limits
    if resource >= RLIM_NLIMITS:
        raise SystemCallError(errno.EINVAL, f"there is no limit {resource}")
    if resource not in limits.soft:
        raise UnsupportedError(f"limit {resource} is not simulated, only RLIMIT_DATA, RLIMIT_MEMLOCK and RLIMIT_AS")
    if soft > limits.hard[resource]:
        raise SystemCallError(errno.EINVAL, f"{soft:#x} is above the hard limit, {limits.hard[resource]:#x}")
    limits.soft[resource] = soft
