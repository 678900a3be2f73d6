"""What a scenario runs against: one simulated or real process, and what came of a step on it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from pagewalk.abi import MAP_ANONYMOUS, MAP_PRIVATE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pagewalk.conform.scenarios.arena import At

__all__ = ["DEFAULT_MAP", "Calls", "FaultError", "Outcome", "Target", "pattern"]

DEFAULT_MAP = MAP_PRIVATE | MAP_ANONYMOUS


class FaultError(Exception):
    """A signal that a CPU access raised; a target may raise ``SegmentationFault`` or ``BusError`` instead.

    Attributes:
        signo: SIGSEGV or SIGBUS.
        vaddr: ``si_addr``, the address in bytes.
        code: ``si_code``.
    """

    def __init__(self, signo: int, vaddr: int, code: int) -> None:
        super().__init__(f"signal {signo} (code {code}) at {vaddr:#x}")
        self.signo = signo
        self.vaddr = vaddr
        self.code = code


class Calls(Protocol):
    """What is asked of a process's memory.

    A system call that fails raises ``OSError``; a CPU access raises ``FaultError`` or a ``MemoryFault``.
    """

    def mmap(
        self, length: int, prot: int, flags: int = DEFAULT_MAP, *, addr: int = 0, file: Any = None, offset: int = 0
    ) -> int:
        """``mmap(2)``."""

    def munmap(self, addr: int, length: int) -> Any:
        """``munmap(2)``."""

    def mprotect(self, addr: int, length: int, prot: int) -> Any:
        """``mprotect(2)``."""

    def mremap(self, addr: int, old_length: int, new_length: int, flags: int = 0, new_addr: int = 0) -> int:
        """``mremap(2)``."""

    def mlock(self, addr: int, length: int, flags: int = 0) -> Any:
        """``mlock2(2)``."""

    def munlock(self, addr: int, length: int) -> Any:
        """``munlock(2)``."""

    def mseal(self, addr: int, length: int, flags: int = 0) -> Any:
        """``mseal(2)``."""

    def mlockall(self, flags: int) -> Any:
        """``mlockall(2)``."""

    def munlockall(self) -> Any:
        """``munlockall(2)``."""

    def msync(self, addr: int, length: int, flags: int) -> Any:
        """``msync(2)``."""

    def mincore(self, addr: int, length: int) -> bytes:
        """``mincore(2)``: a byte a page."""

    def madvise(self, addr: int, length: int, advice: int) -> Any:
        """``madvise(2)``."""

    def process_madvise(self, ranges: Sequence[tuple[int, int]], advice: int, whom: Any = None) -> int:
        """``process_madvise(2)``, on oneself or whom the ``Family`` knows: the bytes advised."""

    def limited(self, limit: str, room: int, call: Callable[[], Any]) -> Any:
        """Do something with a limit in force, see ``Limited``."""

    def pkey_alloc(self, flags: int, rights: int) -> int:
        """``pkey_alloc(2)``."""

    def pkey_free(self, key: int) -> Any:
        """``pkey_free(2)``."""

    def pkey_mprotect(self, addr: int, length: int, prot: int, key: int) -> Any:
        """``pkey_mprotect(2)``."""

    def memfd_create(self, flags: int) -> int:
        """``memfd_create(2)`` and F_GET_SEALS: the seals of a new file, which is closed again."""

    def fcntl(self, file: Any, command: int, argument: int) -> int:
        """``fcntl(2)``."""

    def clear_refs(self, value: int) -> Any:
        """Write a number to ``/proc/PID/clear_refs``."""

    def register_wp(self, addr: int, length: int, unpopulated: bool = False, later: bool = False) -> Any:
        """UFFDIO_REGISTER for write protection, by a userfaultfd that the process opens the first time."""

    def uffdio_unregister(self, addr: int, length: int) -> Any:
        """UFFDIO_UNREGISTER."""

    def writeprotect(self, addr: int, length: int, protect: bool) -> Any:
        """UFFDIO_WRITEPROTECT."""

    def pagemap_scan(
        self,
        start: int,
        end: int,
        flags: int,
        max_pages: int,
        inverted: int,
        mask: int,
        anyof: int,
        returns: int,
        vector: int,
    ) -> tuple[int, list[tuple[int, int, int]]]:
        """PAGEMAP_SCAN: where it ended, and regions of start, end, categories."""

    def read(self, addr: int, size: int) -> bytes:
        """Read as the CPU does, in ascending order."""

    def write(self, addr: int, data: bytes) -> Any:
        """Write as the CPU does, in ascending order."""

    def execute(self, addr: int) -> Any:
        """Fetch one instruction as the CPU does."""

    def kernel_read(self, addr: int, size: int) -> bytes:
        """``process_vm_readv(2)`` on oneself; fewer bytes when only the first pages can be had."""

    def kernel_write(self, addr: int, data: bytes) -> int:
        """``process_vm_writev(2)`` on oneself: the bytes written."""

    def maps(self) -> str:
        """The text of ``/proc/PID/maps``."""

    def pages(self, start: int, end: int) -> tuple[Any, Any]:
        """``/proc/PID/pagemap`` (uint64, one a page), ``PAGEMAP_SCAN`` (rows of start, end, categories, all uint64)."""

    def smaps(self, end: int) -> Any:
        """``/proc/PID/smaps`` of what begins below an address: the text, or rows with the model's names."""

    def pool(self) -> bytes:
        """The hugetlb pages of 2 MiB that are free, and those that are promised, counted from the start; as text."""

    def swapoff(self) -> Any:
        """``swapoff(2)`` of the campaign's swap file, and ``swapon(2)`` again."""

    def file(self, name: str, data: bytes, kind: str, *, writable: bool = True) -> Any:
        """A new file to map, open for writing or only for reading.

        ``kind``: see ``File`` in a scenario. A memfd of huge pages is as long, but empty.
        """

    def pread(self, file: Any, offset: int, size: int) -> bytes:
        """``pread(2)``."""

    def pwrite(self, file: Any, offset: int, data: bytes) -> int:
        """``pwrite(2)``."""

    def punch_hole(self, file: Any, offset: int, length: int) -> Any:
        """``fallocate(2)`` with PUNCH_HOLE and KEEP_SIZE, in bytes."""

    def truncate(self, file: Any, size: int) -> Any:
        """``ftruncate(2)``, in bytes."""


class Target(Calls, Protocol):
    """A process that can also fork and end."""

    def fork(self) -> Target:
        """The child."""

    def exit(self) -> Any:
        """Let go of everything."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step.

    Attributes:
        value: What the call returned: None, a number, bytes, or a symbolic address.
        errno: Of the ``OSError``.
        signo, addr, code: Of the signal: its number, where, ``si_code``.
        skipped: Why the step was not taken: what it names was never made. The same on both sides.
        trouble: How the target itself broke.
    """

    value: int | bytes | At | None = None
    errno: int = 0
    signo: int = 0
    addr: int | At = 0
    code: int = 0
    skipped: str = ""
    trouble: str = ""

    def __str__(self) -> str:
        import errno as names
        import signal

        if self.trouble or self.skipped:
            return self.trouble or f"skipped: {self.skipped}"
        if self.signo:
            where = hex(self.addr) if isinstance(self.addr, int) else self.addr
            return f"{signal.Signals(self.signo).name} at {where} (si_code {self.code})"
        return names.errorcode.get(self.errno, str(self.errno)) if self.errno else f"returned {_short(self.value)}"


def _short(value: Any) -> str:
    if not isinstance(value, bytes) or len(value) <= 32:
        return repr(value)
    return f"{len(value)} bytes: {value[:24].hex(' ')} ... (crc {zlib.crc32(value):#x})"


@lru_cache(maxsize=64)
def pattern(name: str, size: int) -> bytes:
    """What a test file holds: 8-byte words, the first byte ``ret``, then the file's name and the word's number."""
    tag = sum(name.encode()) & 0xFF
    return b"".join(bytes((0xC3, tag)) + number.to_bytes(6, "little") for number in range((size + 7) // 8))[:size]
