"""Random steps at limits and with seals, protection keys, and advice for another process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk import abi
from pagewalk.abi import limits
from pagewalk.conform.scenarios import steps as do
from pagewalk.conform.scenarios.arena import At
from pagewalk.conform.scenarios.names import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.conform.scenarios.plan import Plan

__all__ = ["LIMITS_TABLE"]

_RW = abi.PROT_READ | abi.PROT_WRITE
_FIXED = abi.MAP_FIXED | abi.MAP_ANONYMOUS
_SEALS = (
    limits.F_SEAL_SHRINK, limits.F_SEAL_GROW, limits.F_SEAL_WRITE, limits.F_SEAL_FUTURE_WRITE, limits.F_SEAL_SEAL,
    limits.F_SEAL_EXEC, limits.F_SEAL_SHRINK | limits.F_SEAL_GROW, 0, 1 << 6,
)  # fmt: skip
_REMOTE = (
    abi.MADV_COLD, abi.MADV_PAGEOUT, abi.MADV_PAGEOUT, abi.MADV_WILLNEED, abi.MADV_COLLAPSE, abi.MADV_DONTNEED,
    abi.MADV_POPULATE_WRITE, abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE,
)  # fmt: skip
"""Guards come last."""
_FLAGS = (abi.MADV_DONTFORK, abi.MADV_DONTDUMP, abi.MADV_SEQUENTIAL, abi.MADV_HUGEPAGE, abi.MADV_WIPEONFORK)


def _mmap(plan: Plan) -> do.Step:
    pages, first = plan.pages(), plan.place(1)
    flags = _FIXED | plan.choice([abi.MAP_PRIVATE, abi.MAP_PRIVATE, abi.MAP_SHARED])
    flags |= plan.choice([0, 0, abi.MAP_LOCKED, abi.MAP_NORESERVE, abi.MAP_GROWSDOWN])
    return do.Mmap(pages * PAGE, plan.choice([_RW, _RW, abi.PROT_READ]), flags, At(first), process=plan.process)


def _mremap(plan: Plan) -> do.Step:
    at, length = plan.range(named=False)
    more = PAGE * plan.draw.integer(-2, 4)
    flags = plan.choice([0, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED])
    if flags and plan.one_in(3):
        flags, more = flags | abi.MREMAP_DONTUNMAP, 0
    return do.Mremap(at, length, max(length + more, 0), flags, At(plan.place(1)), process=plan.process)


_LIMITED: tuple[Callable[[Plan], do.Step], ...] = (
    _mmap,
    _mmap,
    _mremap,
    _mremap,
    lambda plan: do.Munmap(*plan.range(named=False), process=plan.process),
    lambda plan: do.Mprotect(*plan.range(named=False), plan.choice([_RW, abi.PROT_READ]), process=plan.process),
    lambda plan: do.Mlock(*plan.range(named=False), plan.choice([0, abi.MLOCK_ONFAULT]), process=plan.process),
    lambda plan: do.Madvise(*plan.range(named=False), plan.choice(_FLAGS), process=plan.process),
    lambda plan: do.Mseal(*plan.range(named=False), process=plan.process),
    lambda plan: do.Write(At(plan.choice([398, 399, 406])), b"\xc3", process=plan.process),
)
"""What is taken with a limit in force; the last one lets a stack grow, if there is one."""


def _limited(plan: Plan) -> do.Step:
    limit = plan.choice(["as", "as", "data", "data", "memlock", "memlock", "memlock", "areas"])
    room = plan.choice([0, 0, 1, 1, 2, 3, 5, 8])
    return do.Limited(limit, room, plan.choice(_LIMITED)(plan), process=plan.process)


def _pkey(plan: Plan) -> do.Step:
    key = plan.choice([1, 1, 1, 2, 3, 0, -1, 15, 16])
    if plan.one_in(3):
        return do.PkeyAlloc(plan.choice([0, 0, 0, 0, 1]), plan.choice([0, 0, 0, 1, 2, 3, 4]), process=plan.process)
    if plan.one_in(5):
        return do.PkeyFree(key, process=plan.process)
    prot = plan.choice([_RW, _RW, abi.PROT_READ, abi.PROT_EXEC, abi.PROT_NONE])
    return do.PkeyMprotect(*plan.range(named=False), prot, key, process=plan.process)


def _seal(plan: Plan) -> do.Step:
    file = plan.choice(["a", "b", "b", "sealed"])
    if plan.one_in(6):
        return do.MemfdCreate(plan.choice([0, 2, 2, 3, 8, 16, 24]), process=plan.process)
    if plan.one_in(4):
        return do.Fcntl(file, limits.F_GET_SEALS, process=plan.process)
    flags = abi.MAP_FIXED | plan.choice([abi.MAP_SHARED, abi.MAP_SHARED, abi.MAP_PRIVATE])
    then: list[do.Step] = [
        do.Truncate(file, plan.draw.integer(0, 24) * PAGE, process=plan.process),
        do.PunchHole(file, PAGE * plan.draw.integer(0, 2), PAGE, process=plan.process),
        do.Mmap(PAGE, plan.choice([_RW, abi.PROT_READ]), flags, At(plan.place(1)), file, process=plan.process),
        do.Fcntl(file, limits.F_ADD_SEALS, plan.choice(_SEALS), process=plan.process),
    ]
    plan.queue += [plan.choice(then) for _ in range(plan.draw.integer(0, 2))]
    return do.Fcntl(file, limits.F_ADD_SEALS, plan.choice(_SEALS), process=plan.process)


def _other(plan: Plan) -> do.Step:
    """Advice for a process, mostly another one."""
    ranges = tuple(plan.range(named=False) for _ in range(plan.draw.integer(1, 3)))
    advice = plan.choice(_REMOTE if plan.guards else _REMOTE[:-2])
    return do.ProcessMadvise(ranges, advice, plan.choice(plan.processes), process=plan.process)


def _pread(plan: Plan) -> do.Step:
    """What a file holds, its holes and what is in swap too, perhaps beyond its end."""
    file = plan.choice(["a", "a", "b", "sealed"])
    offset, size = plan.draw.integer(0, 25) * PAGE - plan.choice([0, 4]), plan.choice([8, 8, 3 * PAGE])
    return do.Pread(file, max(offset, 0), size, process=plan.process)


LIMITS_TABLE: tuple[tuple[int, Callable[[Plan], do.Step]], ...] = (
    (9, _limited),
    (5, _pkey),
    (4, _seal),
    (6, _other),
    (3, _pread),
)
"""Weight and maker of each kind of step, as in ``STEP_TABLE``."""
