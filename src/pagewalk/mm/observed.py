"""What an address space shows of itself, and the way in that every call on it takes.

The files of ``/proc/PID`` that are about memory, ``mincore``, and what PAGEMAP_SCAN tells.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pagewalk.abi.pagemap import PageIs
from pagewalk.doors import integer, words
from pagewalk.errors import SystemCallError
from pagewalk.mm.calls import clear_refs, observe, scan, smaps
from pagewalk.mm.state.space import Space
from pagewalk.walk.ranges import range_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    from pagewalk.mm.calls.smaps import SmapsRow
    from pagewalk.mm.hardware.machine import Hardware
    from pagewalk.mm.state.tables import Entries

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["Observed"]


class Observed(Space):
    """An address space that can be looked at. Arguments and errors as ``Space``."""

    def maps(self) -> str:
        """The text of ``/proc/PID/maps``."""
        return self._look(observe.maps, self)

    def pagemap(self, start: int, end: int) -> Entries:
        """The words of ``/proc/PID/pagemap``: shape (pages,), uint64.

        Raises:
            WalkError: EINVAL: no range of whole pages in one canonical half.
        """
        return self._look(observe.pagemap, self, *range_of(start, end, self.tables))

    def scan(self, start: int, end: int) -> Any:
        """PAGEMAP_SCAN's regions: a structured array of start, end, categories. Errors as ``pagemap``."""
        return self._look(observe.scan, self, *range_of(start, end, self.tables))

    def pagemap_scan(
        self,
        start: int,
        end: int,
        flags: int = 0,
        max_pages: int = 0,
        inverted: int = 0,
        mask: int = 0,
        anyof: int = 0,
        returns: int = PageIs.every(),
        vector: int = 64,
    ) -> tuple[int, list[tuple[int, int, int]]]:
        """The ioctl PAGEMAP_SCAN, with its arguments: ``scan`` asks it for everything.

        Args:
            start, end: The range, in bytes.
            flags: ``PM_SCAN_*``.
            max_pages: End when so many pages are found; 0: never.
            inverted: ``PageIs`` categories that count where they are not.
            mask: Those that a page must be of.
            anyof: Those of which it must be of one; 0: of none in particular.
            returns: Those that are told.
            vector: How many regions there is room for.

        Returns:
            Where the scan ended, and regions: start, end, categories.

        Raises:
            SystemCallError: EINVAL; EFAULT beyond user memory; EPERM, userfaultfd protects nothing asynchronously here.
        """
        named = {"flags": flags, "max_pages": max_pages, "inverted": inverted, "mask": mask, "anyof": anyof}
        start, end, *more = words(start=start, end=end, **named, returns=returns, vector=vector)
        return self._look(scan.pagemap_scan, self, start, end, scan.Request(*more))

    def smaps(self) -> dict[str, int]:
        """Totals of ``/proc/PID/smaps``, in bytes, and how much is under guards (Guard), which the kernel hides."""
        return self._look(smaps.smaps, self)

    def smaps_by_vma(self) -> list[SmapsRow]:
        """``/proc/PID/smaps``: a row a VMA, with every line's value in bytes."""
        return self._look(smaps.smaps_by_vma, self)

    def mincore(self, addr: int, length: int) -> bytes:
        """Which pages of a range are in memory: one byte a page, 1 or 0.

        Raises:
            SystemCallError: EINVAL; ENOMEM over gaps.
        """
        addr, length = words(addr=addr, length=length)
        if addr % self.geometry.page_size:
            raise SystemCallError(errno.EINVAL, f"{addr:#x} is not page-aligned")
        if addr + length > self.task_size:
            raise SystemCallError(errno.ENOMEM, f"{length:#x} bytes at {addr:#x} reach out of user memory")
        return self._look(observe.mincore, self, addr, addr + self.geometry.page_end(length))

    def clear_refs(self, number: int) -> None:
        """Write a number to ``/proc/PID/clear_refs``.

        Args:
            number: 1, 2, 3: pages, those without a file, those of files, are not accessed any more; 4: nothing is
                soft-dirty any more, until it is written, on a machine that tells (``Machine(soft_dirty=True)``); 5:
                the peak of what was resident, which nothing here tells, begins anew.

        Raises:
            SystemCallError: EINVAL, another number; ERANGE, one of more than 32 bits.
        """
        self._change(clear_refs.clear_refs, self, integer(number, "number"))

    # -- locks ---------------------------------------------------------------------------------------------------------

    def _change(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do what changes areas: with ``mmap_lock`` held for writing, as one step."""
        return self.mmap_lock.run(lambda: self._living().do(call, *args, **kwargs))

    def _look(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do what leaves areas as they are: with ``mmap_lock`` held for reading, as one step."""
        return self.mmap_lock.run_reading(lambda: self._living().do(call, *args, **kwargs))

    def _access(self, access_: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Access memory: with ``mmap_lock`` held for reading, a step a table."""

        def work() -> R:
            self._living()
            return access_(*args, **kwargs)

        return self.mmap_lock.run_reading(work)

    def _living(self) -> Hardware:
        """The machine, if the process still runs on it.

        Raises:
            SystemCallError: ESRCH.
        """
        if not self.alive:
            raise SystemCallError(errno.ESRCH, "this process has ended: exit() was called")
        return self.machine
