"""Files of huge pages: hugetlbfs, a memfd with MFD_HUGETLB, and what stands behind anonymous hugetlb memory."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pagewalk.errors import SystemCallError
from pagewalk.mm.state.files import File

if TYPE_CHECKING:
    from pagewalk.mm.hardware.machine import Hardware

__all__ = ["HugeFile"]


class HugeFile(File):
    """A file of huge pages, which come from a pool.

    Args:
        machine, name, size, writable, readable, unlinked: See ``File``.
        page_size: Bytes in a page.

    Attributes:
        promised: Numbers of the pages that the pool owes to shared mappings: those that are not in ``pages`` yet.
        kept: How many mappings are being made in the place of its own; it lives as long.
    """

    def __init__(
        self,
        machine: Hardware,
        name: str,
        size: int,
        page_size: int,
        *,
        writable: bool = True,
        readable: bool = True,
        unlinked: bool = False,
    ) -> None:
        super().__init__(machine, name, size, writable=writable, readable=readable, unlinked=unlinked)
        self.page_size = page_size
        self.promised: set[int] = set()
        self.kept = 0

    def _write(self, offset: int, data: bytes) -> None:
        """Refuse to write as a system call does: such a file is only mapped.

        Raises:
            SystemCallError: EINVAL.
        """
        if data:
            raise SystemCallError(errno.EINVAL, f"{self.name} is a file of huge pages: map it to write to it")

    def reserve(self, first: int, last: int) -> None:
        """Promise the pages ``[first, last)`` that are not there, nor promised.

        Raises:
            OutOfFrames: The pool has not enough.
        """
        new = set(range(first, last)) - self.promised - self.pages.keys()
        self.machine.reserve_hugetlb(self.page_size, len(new))
        self.promised |= new

    def frame(self, index: int) -> int:
        """The physical address of a page, taken from the pool if it was not there.

        Raises:
            OutOfFrames: The pool is empty, but for what it owes to others.
        """
        if index not in self.pages:
            promised = index in self.promised
            self.pages[index] = self.machine.take_hugetlb(self.page_size, promised=promised, file=True)
            self.promised.discard(index)
        return self.pages[index]

    def hold(self, index: int) -> int:
        """As ``frame``, with one more reference, for who maps it; errors likewise."""
        paddr = self.frame(index)
        self.pool.hold(self.pool.run(paddr, self.page_size))
        return paddr

    def let_go(self) -> None:
        """A mapping has gone, or one in the place of another is made: with the last, an unlinked file is gone."""
        if self.unlinked and not self.vmas and not self.kept:
            self.cut(0)

    def discard(self, first: int, last: int) -> None:
        """Give the pages ``[first, last)`` back to the pool; what was promised and is not there stays so."""
        for index in [index for index in self.pages if first <= index < last]:
            self.machine.drop_hugetlb(self.pages.pop(index), self.page_size)

    def cut(self, first: int) -> None:
        """See ``File.cut``: nothing is promised there any more."""
        super().cut(first)
        owed = {index for index in self.promised if index >= first}
        self.machine.reserve_hugetlb(self.page_size, -len(owed))
        self.promised -= owed
