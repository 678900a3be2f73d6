"""Which locks a walk checks, as a table. Nothing here waits: a lock that is not held is an error."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pagewalk.errors import WalkError
from pagewalk.walk.ops import WalkLock

if TYPE_CHECKING:
    from pagewalk.space import AddressSpace, Vma

__all__ = ["check_mm_lock", "check_vma_lock"]

MM_FOR_READING = frozenset({WalkLock.PGWALK_RDLOCK})
MM_FOR_WRITING = frozenset({WalkLock.PGWALK_WRLOCK, WalkLock.PGWALK_WRLOCK_VERIFY})
VMA_FOR_WRITING = frozenset({WalkLock.PGWALK_WRLOCK_VERIFY})
VMA_FOR_READING = frozenset({WalkLock.PGWALK_VMA_RDLOCK_VERIFY})


def check_mm_lock(mm: AddressSpace, demand: WalkLock) -> None:
    """Check the ``mmap_lock`` (the kernel's ``process_mm_walk_lock``). A snapshot has none to hold.

    Raises:
        WalkError: EINVAL, the lock is not held as demanded.
    """
    lock = mm.mmap_lock
    if lock is None:
        return
    if demand in MM_FOR_READING and not lock.held:
        raise WalkError(errno.EINVAL, f"{demand.name} walks with mmap_lock held: `with mm.mmap_lock.read():`")
    if demand in MM_FOR_WRITING and not lock.held_for_writing:
        raise WalkError(
            errno.EINVAL, f"{demand.name} walks with mmap_lock held for writing: `with mm.mmap_lock.write():`"
        )


def check_vma_lock(vma: Vma, demand: WalkLock) -> None:
    """Check a VMA's lock, or take it for PGWALK_WRLOCK (the kernel's ``process_vma_walk_lock``).

    Raises:
        WalkError: EINVAL, the lock is not held as demanded.
    """
    lock = vma.lock
    if lock is None:
        return
    if demand is WalkLock.PGWALK_WRLOCK:
        lock.start_write()
    elif demand in VMA_FOR_WRITING and not lock.held_for_writing:
        raise WalkError(
            errno.EINVAL,
            f"{demand.name}: VMA at {vma.start:#x} is not write-locked: `vma.lock.start_write()`",
        )
    elif demand in VMA_FOR_READING and not lock.held:
        raise WalkError(errno.EINVAL, f"{demand.name}: VMA at {vma.start:#x} is not locked: `with vma.lock.read():`")
