"""What can go wrong, as one tree.

    PagewalkError                          exit 1
      MemoryReadError                      exit 3   outside the memory, short file, hole in the dump
        PageNotInDump                      exit 3   a page that the dump leaves out, though the machine had it
        MemoryWriteError                   exit 3   the same for a write, or the source is read-only
      TranslationError                     exit 4   an address that does not translate
        NotPresent                                  an entry on the way is empty or not present
        NonCanonical                                not an address of this format
        ReservedBits                                an entry sets a bit that must be zero
        Malformed                                   a table outside the memory
          BadRoot                                   a root that cannot be one
      WalkError (OSError)                  exit 5   EINVAL, EAGAIN, or what a callback asked for with -errno
      OutOfFrames (OSError)                exit 6   ENOMEM: no frame for a page table
      ImageFormatError (ValueError)        exit 7   not the format it claims, truncated, hostile
        LayoutError                                 a layout that contradicts itself, or is none
      UnsupportedError                     exit 8   a feature this kernel, format or source does not have
      ProcessError (OSError)               exit 9   a live process that is gone, or may not be looked at
      SystemCallError (OSError)            exit 11  a simulated system call that failed, with Linux's errno
      MemoryFault                          exit 12  an access that a CPU refuses: simulated, or asked for
        SegmentationFault                           SIGSEGV: no mapping, no right, a guard
        BusError                                    SIGBUS: beyond the end of a file, a poisoned page
      EditError                            exit 13  a change of page tables that cannot be made, or not any more
        AlreadyMapped                               something stands where something is to be installed
        NeedsSplit                                  a page reaches out of the range that is to be changed
        Conflict                                    the memory is not any more what the change was planned on

Every message carries the addresses in hex and, where there is one, the remedy. ``exit_code`` is what the command line
exits with; a usage error exits with 2, any other ``OSError`` (no such file, disk full) with 10, Ctrl-C with 130.
"""

from __future__ import annotations

import errno
import os
from typing import Any, ClassVar, Literal

from pagewalk import abi

__all__ = [
    "AlreadyMapped",
    "BadRoot",
    "BusError",
    "Conflict",
    "EditError",
    "ImageFormatError",
    "LayoutError",
    "Malformed",
    "MemoryFault",
    "MemoryReadError",
    "MemoryWriteError",
    "NeedsSplit",
    "NonCanonical",
    "NotPresent",
    "OutOfFrames",
    "PageNotInDump",
    "PagewalkError",
    "ProcessError",
    "ReservedBits",
    "SegmentationFault",
    "SystemCallError",
    "TranslationError",
    "UnsupportedError",
    "WalkError",
]


class PagewalkError(Exception):
    """Root of everything pagewalk raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, whatever its constructor takes: errors come back from worker processes."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[PagewalkError], args: tuple[Any, ...], attributes: dict[str, Any]) -> PagewalkError:
    """An error that was pickled or copied."""
    error = kind.__new__(kind)
    if isinstance(error, OSError):
        OSError.__init__(error, *args)  # takes errno and strerror from them
    else:
        Exception.__init__(error, *args)
    error.__dict__.update(attributes)
    return error


class MemoryReadError(PagewalkError):
    """Bytes that are not there: outside the memory, past the end of a short file, a hole in a dump."""

    exit_code = 3
    _verb: ClassVar[str] = "read"

    def __init__(self, paddr: int, size: int, why: str = "outside the memory") -> None:
        super().__init__(f"cannot {self._verb} {size} bytes at physical {paddr:#x}: {why}")
        self.paddr = paddr
        self.size = size


class PageNotInDump(MemoryReadError):
    """A page that the machine had and the dump leaves out: its maker excluded it, or the dump is incomplete."""


class MemoryWriteError(MemoryReadError):
    """Bytes that cannot be written: not there, or the source was opened read-only."""

    _verb = "write"


class TranslationError(PagewalkError):
    """A virtual address that does not translate.

    Attributes:
        vaddr: The address, or the first address that the entry covers.
        depth: Where it ended, as the kernel's ``pte_hole`` counts: 0 PGD .. 4 PTE, -1 unknown.
        entry: The raw entry that ended it (0 where there is none).
    """

    exit_code = 4

    def __init__(self, vaddr: int, depth: int, entry: int, why: str) -> None:
        super().__init__(f"{vaddr:#x}: {why}")
        self.vaddr = vaddr
        self.depth = depth
        self.entry = entry


class NotPresent(TranslationError):
    """An entry on the way is empty, or holds something other than a page."""


class NonCanonical(TranslationError):
    """The address is not one of this format."""


class ReservedBits(TranslationError):
    """A present entry sets bits the manual reserves."""


class Malformed(TranslationError):
    """A table that cannot be one: outside the memory, or misaligned."""


class BadRoot(Malformed):
    """A root that cannot be a top table: misaligned, too wide, or outside the memory. Every address fails."""

    def __init__(self, root: int, why: str) -> None:
        super().__init__(0, 0, root, why)
        self.args = (f"the root {root:#x} {why}",)


class _Errno(PagewalkError, OSError):
    """An error with an errno, as a system call would give it."""

    def __init__(self, code: int, why: str) -> None:
        name = f"{errno.errorcode.get(code, code)}: "
        OSError.__init__(self, code, name + why.removeprefix(name))

    def __str__(self) -> str:
        return str(self.strerror)


class WalkError(_Errno):
    """The walk refused, or a callback returned a negative number."""

    exit_code = 5

    def __init__(self, code: int, why: str = "") -> None:
        super().__init__(code, why or os.strerror(code))


class OutOfFrames(_Errno):
    """No physical frame is left for a page table (ENOMEM).

    Attributes:
        vaddr: The address whose table was asked for, None if the allocator was called directly.
        depth: The depth of the entry that was to hold it, None likewise.
    """

    exit_code = 6

    def __init__(self, why: str, vaddr: int | None = None, depth: int | None = None) -> None:
        where = "" if vaddr is None else f" (for a table below depth {depth} at {vaddr:#x})"
        super().__init__(errno.ENOMEM, why + where)
        self.why = why
        self.vaddr = vaddr
        self.depth = depth


class ImageFormatError(PagewalkError, ValueError):
    """A file that is not what it claims: wrong format, truncated, hostile."""

    exit_code = 7


class LayoutError(ImageFormatError):
    """A layout of page tables that is none: regions that overlap or are misaligned, a file that says it wrongly."""


class UnsupportedError(PagewalkError):
    """A feature that this kernel, format or source does not have; the message says which, and since when."""

    exit_code = 8


class ProcessError(_Errno):
    """A live process that is gone (ESRCH) or may not be looked at (EACCES)."""

    exit_code = 9


class SystemCallError(_Errno):
    """A simulated system call that failed; ``errno`` is what Linux would give."""

    exit_code = 11

    def __init__(self, code: int, why: str = "") -> None:
        super().__init__(code, why or os.strerror(code))


class MemoryFault(PagewalkError):
    """An access that the simulated CPU refuses, as a signal would tell it.

    Attributes:
        vaddr: The address.
        access: What was tried there.
        code: The signal's ``si_code``.
    """

    exit_code = 12
    _signal: ClassVar[str] = "fault"
    _code: ClassVar[int] = 0

    def __init__(
        self, vaddr: int, access: Literal["read", "write", "execute"], why: str, code: int | None = None
    ) -> None:
        super().__init__(f"{self._signal}: cannot {access} {vaddr:#x}: {why}")
        self.why = why
        self.vaddr = vaddr
        self.access = access
        self.code = self._code if code is None else code

    @property
    def si_addr(self) -> int:
        """The address that the signal tells: 0 where the CPU does not say it (x86, not canonical)."""
        return 0 if self.code == abi.SI_KERNEL else self.vaddr


class SegmentationFault(MemoryFault):
    """SIGSEGV: nothing is mapped there, the right is missing, a guard stands there, or a protection key forbids it."""

    _signal = "SIGSEGV"
    _code = abi.SEGV_MAPERR


class BusError(MemoryFault):
    """SIGBUS: beyond the end of the file, or a poisoned page."""

    _signal = "SIGBUS"
    _code = abi.BUS_ADRERR


class EditError(PagewalkError):
    """A change of page tables that cannot be made.

    Attributes:
        vaddr: The first virtual address that it is about; None if it is about none.
    """

    exit_code = 13

    def __init__(self, why: str, vaddr: int | None = None) -> None:
        super().__init__(why if vaddr is None else f"{vaddr:#x}: {why}")
        self.vaddr = vaddr


class AlreadyMapped(EditError):
    """Something stands in an entry that must be empty."""


class NeedsSplit(EditError):
    """A page is larger than the part of it that is to be changed."""


class Conflict(EditError):
    """The memory has changed since the change was planned, or since it was committed."""
