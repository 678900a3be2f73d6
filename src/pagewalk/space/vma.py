"""VMAs: what a process has asked for, as opposed to what its page tables hold."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import IntFlag
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import integer, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from pagewalk.space.locks import VmaLock

__all__ = ["VM_FLAG_CODES", "Mapping", "Vma", "VmaFlags", "VmaList"]

_START: Final = attrgetter("start")
_OFFSET: Final = attrgetter("offset")


class VmaFlags(IntFlag):
    """``vm_flags``, with the kernel's values (``include/linux/mm.h``, 6.18)."""

    READ = 0x1
    WRITE = 0x2
    EXEC = 0x4
    SHARED = 0x8
    MAYREAD = 0x10
    MAYWRITE = 0x20
    MAYEXEC = 0x40
    MAYSHARE = 0x80
    GROWSDOWN = 0x100
    UFFD_MISSING = 0x200
    PFNMAP = 0x400
    UFFD_WP = 0x1000
    LOCKED = 0x2000
    IO = 0x4000
    SEQ_READ = 0x8000
    RAND_READ = 0x1_0000
    DONTCOPY = 0x2_0000
    DONTEXPAND = 0x4_0000
    LOCKONFAULT = 0x8_0000
    ACCOUNT = 0x10_0000
    NORESERVE = 0x20_0000
    HUGETLB = 0x40_0000
    SYNC = 0x80_0000
    WIPEONFORK = 0x200_0000
    DONTDUMP = 0x400_0000
    SOFTDIRTY = 0x800_0000
    MIXEDMAP = 0x1000_0000
    HUGEPAGE = 0x2000_0000
    NOHUGEPAGE = 0x4000_0000
    MERGEABLE = 0x8000_0000
    PKEY_BIT0 = 0x1_0000_0000
    PKEY_BIT1 = 0x2_0000_0000
    PKEY_BIT2 = 0x4_0000_0000
    PKEY_BIT3 = 0x8_0000_0000
    DROPPABLE = 0x100_0000_0000
    SEALED = 0x400_0000_0000


VM_FLAG_CODES: Final = {
    "rd": VmaFlags.READ,
    "wr": VmaFlags.WRITE,
    "ex": VmaFlags.EXEC,
    "sh": VmaFlags.SHARED,
    "mr": VmaFlags.MAYREAD,
    "mw": VmaFlags.MAYWRITE,
    "me": VmaFlags.MAYEXEC,
    "ms": VmaFlags.MAYSHARE,
    "gd": VmaFlags.GROWSDOWN,
    "um": VmaFlags.UFFD_MISSING,
    "pf": VmaFlags.PFNMAP,
    "uw": VmaFlags.UFFD_WP,
    "lo": VmaFlags.LOCKED,
    "io": VmaFlags.IO,
    "sr": VmaFlags.SEQ_READ,
    "rr": VmaFlags.RAND_READ,
    "dc": VmaFlags.DONTCOPY,
    "de": VmaFlags.DONTEXPAND,
    "lf": VmaFlags.LOCKONFAULT,
    "ac": VmaFlags.ACCOUNT,
    "nr": VmaFlags.NORESERVE,
    "ht": VmaFlags.HUGETLB,
    "sf": VmaFlags.SYNC,
    "wf": VmaFlags.WIPEONFORK,
    "dd": VmaFlags.DONTDUMP,
    "sd": VmaFlags.SOFTDIRTY,
    "mm": VmaFlags.MIXEDMAP,
    "hg": VmaFlags.HUGEPAGE,
    "nh": VmaFlags.NOHUGEPAGE,
    "mg": VmaFlags.MERGEABLE,
    "dp": VmaFlags.DROPPABLE,
    "sl": VmaFlags.SEALED,
}
"""The two letters of ``VmFlags`` in smaps, in their order. Codes that ``VmaFlags`` has no bit for (``bt``, ``ss``,
``gu``...) say nothing about how a walk goes, and are left out."""


class Mapping:
    """A file's pages as address spaces map them (the kernel's ``struct address_space``).

    Attributes:
        name: As ``maps`` shows it.
        page_size: Bytes in a page, the unit of ``walk_page_mapping``.
        lock: Held while the VMAs that map it are gone through (``i_mmap_rwsem``); nothing is locked for a snapshot.
    """

    def __init__(self, name: str = "", page_size: int = 4096) -> None:
        self.name = name
        self.page_size = integer(page_size, "page_size")
        if self.page_size < 1:
            raise ValueError(f"a page of {self.page_size} bytes")
        self.lock: AbstractContextManager[object] = nullcontext()
        self._vmas: dict[Vma, None] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {shown(self.name)} in {len(self._vmas)} VMAs>"

    @property
    def vmas(self) -> list[Vma]:
        """The VMAs that map it, by first page."""
        return sorted(self._vmas, key=_OFFSET)

    def add(self, vma: Vma) -> None:
        """Note a VMA that maps this file."""
        self._vmas[vma] = None

    def remove(self, vma: Vma) -> None:
        """Forget a VMA."""
        del self._vmas[vma]

    def forget(self) -> None:
        """Forget every VMA."""
        self._vmas.clear()

    def overlapping(self, start: int, end: int) -> Iterator[Vma]:
        """The VMAs that map any byte of the file in ``[start, end)``, by first page."""
        start, end = integer(start, "start"), integer(end, "end")
        return (vma for vma in self.vmas if vma.offset < end and start < vma.offset + vma.size)


@dataclass(eq=False)
class Vma:
    """One virtual memory area, ``[start, end)``.

    Attributes:
        start, end: Virtual addresses in bytes, whole pages.
        flags: ``vm_flags``.
        offset: Where it begins in its file, in bytes.
        mapping: The file's pages; None for private anonymous memory.
        name: As ``maps`` shows it: a path, ``[heap]``, or nothing.
        huge_page_size: Bytes in a page of a hugetlb VMA, 0 for any other.
        mm: The address space it is in, set when it is added to one.
        lock: The per-VMA lock; None where nobody else can change it.
    """

    start: int
    end: int
    flags: VmaFlags = VmaFlags.READ | VmaFlags.WRITE
    offset: int = 0
    mapping: Mapping | None = None
    name: str = ""
    huge_page_size: int = 0
    mm: Any = field(default=None, repr=False)
    lock: VmaLock | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("start", "end", "offset", "huge_page_size"):
            setattr(self, name, integer(getattr(self, name), name))
        self.flags = VmaFlags(integer(self.flags, "flags"))
        if self.start < 0 or self.start >= self.end or (self.start | self.end) % 4096:
            raise ValueError(f"not a range of whole pages: [{self.start:#x}, {self.end:#x})")

    def __repr__(self) -> str:
        name = f" {shown(self.name)}" if self.name else ""
        return f"<{type(self).__name__} [{self.start:#x}, {self.end:#x}) {self.rights}{name}>"

    def __copy__(self) -> Vma:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """A pickled or deep copy is one of a snapshot: it has no lock."""
        return self.__dict__ | {"lock": None}

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    @property
    def protection_key(self) -> int:
        """As ``smaps`` shows it: 0 unless memory has a key of its own."""
        return int(self.flags) // VmaFlags.PKEY_BIT0 & 0xF

    def range_of(self, start: int, end: int) -> tuple[int, int]:
        """Where this VMA maps the bytes ``[start, end)`` of its file: virtual addresses, within the VMA."""
        shift = self.start - self.offset
        return max(start + shift, self.start), min(end + shift, self.end)

    @property
    def rights(self) -> str:
        """As ``maps`` shows them: ``rw-p``."""
        letters = zip("rwx", (VmaFlags.READ, VmaFlags.WRITE, VmaFlags.EXEC), strict=True)
        shared = bool(self.flags & (VmaFlags.SHARED | VmaFlags.MAYSHARE))
        return "".join(c if self.flags & f else "-" for c, f in letters) + "ps"[shared]


class VmaList:
    """VMAs in order, none overlapping; found by bisection.

    Each change is one step of the interpreter: whoever looks meanwhile, or is interrupted, finds it done or not begun.
    """

    def __init__(self) -> None:
        self._vmas: list[Vma] = []

    def __len__(self) -> int:
        return len(self._vmas)

    def __iter__(self) -> Iterator[Vma]:
        return iter(self._vmas)

    def find(self, addr: int) -> Vma | None:
        """The first VMA that ends above ``addr`` (the kernel's ``find_vma``): it may begin above it too."""
        at = bisect_right(self._vmas, addr, key=_START)
        if at and addr < self._vmas[at - 1].end:
            return self._vmas[at - 1]
        return self._vmas[at] if at < len(self._vmas) else None

    def at(self, addr: int) -> Vma | None:
        """The VMA that holds ``addr``."""
        vma = self.find(addr)
        return vma if vma is not None and vma.start <= addr else None

    def before(self, addr: int) -> Vma | None:
        """The last VMA that begins below ``addr``."""
        at = bisect_left(self._vmas, addr, key=_START)
        return self._vmas[at - 1] if at else None

    def overlapping(self, start: int, end: int) -> list[Vma]:
        """The VMAs that hold any address of ``[start, end)``."""
        first = max(bisect_right(self._vmas, start, key=_START) - 1, 0)
        last = bisect_right(self._vmas, end - 1, key=_START)
        return [vma for vma in self._vmas[first:last] if vma.end > start]

    def add(self, vma: Vma) -> None:
        """Put a VMA in.

        Raises:
            ValueError: It overlaps one that is there.
        """
        if not self._vmas or vma.start >= self._vmas[-1].end:  # they often come in order, and there may be thousands
            self._vmas.append(vma)
            return
        if there := self.overlapping(vma.start, vma.end):
            raise ValueError(f"[{vma.start:#x}, {vma.end:#x}) overlaps [{there[0].start:#x}, {there[0].end:#x})")
        self._vmas.insert(bisect_right(self._vmas, vma.start, key=_START), vma)

    def cut(self, vma: Vma, upper: Vma) -> None:
        """Let a VMA end where its upper part begins, which is put in first: no address is without one meanwhile."""
        self._vmas.insert(bisect_right(self._vmas, upper.start, key=_START), upper)
        vma.end = upper.start

    def grow_down(self, vma: Vma, start: int) -> None:
        """Let a VMA begin lower, in place: readers find it all the while.

        Raises:
            ValueError: It would overlap the one below.
        """
        if self.overlapping(start, vma.start):
            raise ValueError(f"no room for [{start:#x}, {vma.start:#x})")
        vma.offset, vma.start = vma.offset - (vma.start - start), start

    def remove(self, vma: Vma) -> None:
        """Take a VMA out.

        Raises:
            ValueError: It is not in the list.
        """
        at = bisect_left(self._vmas, vma.start, key=_START)
        if at == len(self._vmas) or self._vmas[at] is not vma:
            raise ValueError(f"[{vma.start:#x}, {vma.end:#x}) is not in the list")
        del self._vmas[at]

    def keep(self, vmas: list[Vma]) -> None:
        """Keep these VMAs only: in order, none overlapping."""
        self._vmas = vmas
