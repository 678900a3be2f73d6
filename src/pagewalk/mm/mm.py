"""``Mm``: a simulated address space with Linux's system calls.

Each system call checks its arguments, takes ``mmap_lock`` as the kernel does, and leaves the work to the module that
bears its name. What fails raises ``SystemCallError`` with Linux's errno and leaves Linux's partial result.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, cast

from pagewalk import abi
from pagewalk.doors import choice, integer, not_negative, plain, refuse_pickling, words
from pagewalk.errors import OutOfFrames, SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.locks import MmapLock, VmaLock
from pagewalk.mm import access, advice, fork, mapping, move, observe, protect, uffd
from pagewalk.mm.areas import RIGHTS, Area, prepare_anon
from pagewalk.mm.files import FILE_END
from pagewalk.mm.frames import BLOCK, PAGE
from pagewalk.mm.hugetlb import HugePages
from pagewalk.mm.tables import MmTables
from pagewalk.mm.zap import release
from pagewalk.space import AddressSpace
from pagewalk.vma import VmaFlags
from pagewalk.walk.ranges import range_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any, Literal

    from pagewalk.formats.paging import Level
    from pagewalk.mm.files import File
    from pagewalk.mm.machine import Machine
    from pagewalk.mm.tables import Entries
    from pagewalk.tables import Entry, Table
    from pagewalk.vma import Vma

__all__ = ["Event", "Mm"]

PMD = 3
STACK_LIMIT = 8 << 20


class Event(NamedTuple):
    """Something the kernel would have told the MMU: ``install`` (``update_mmu_cache``) or ``flush``, and where."""

    name: str
    start: int
    end: int


class Mm(AddressSpace):
    """An address space of a simulated machine.

    Args:
        machine: The machine.

    Raises:
        OutOfFrames: No frame for the top table.

    Attributes:
        tables: The page tables.
        vmas: The VMAs.
        mmap_lock: The lock that walks demand; the system calls take it themselves.
        events: The latest TLB and cache events, oldest first.
        area_lock: Held to change an area while ``mmap_lock`` is held for reading only: a first anonymous page, a stack
            that grows.
    """

    tables: MmTables

    def __init__(self, machine: Machine) -> None:
        super().__init__(MmTables(machine), mmap_lock=MmapLock(), zero_frames=(machine.zero,))
        self.machine = machine
        self.format = machine.format
        self.memory = machine.memory
        self.task_size = self.format.halves[0][1] - PAGE
        self.mmap_base = 0x7FFF_F7FF_F000
        self.hugetlb = HugePages(self)
        self.events: deque[Event] = deque(maxlen=4096)
        self.area_lock = threading.RLock()
        machine.spaces.add(self)

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "PageTables(mm.memory, mm.tables.root) can, with a copy of the RAM")

    # -- areas -------------------------------------------------------------------------------------------------------

    def mmap(
        self,
        length: int,
        prot: int,
        flags: int = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS,
        *,
        addr: int = 0,
        file: File | None = None,
        offset: int = 0,
    ) -> int:
        """Map memory; returns its address.

        Raises:
            SystemCallError: EINVAL, ENOMEM, EEXIST, EACCES; EBADF without a file or MAP_ANONYMOUS; EOVERFLOW.
        """
        length, prot, flags, addr, offset = words(length=length, prot=prot, flags=flags, addr=addr, offset=offset)
        if file is None and not flags & abi.MAP_ANONYMOUS:
            raise SystemCallError(errno.EBADF, "neither a file nor MAP_ANONYMOUS")
        if file is not None and not flags & abi.MAP_ANONYMOUS:
            self.machine.check_file(file)
            if offset + length > FILE_END:  # file_mmap_ok, 6.18
                raise SystemCallError(errno.EOVERFLOW, f"{length:#x} bytes from {offset:#x} go beyond every file")
        with self.writing():
            return mapping.mmap(self, length, prot, flags, addr, None if flags & abi.MAP_ANONYMOUS else file, offset)

    def munmap(self, addr: int, length: int) -> None:
        """Unmap a range.

        Raises:
            SystemCallError: EINVAL.
        """
        addr, length = words(addr=addr, length=length)
        with self.writing():
            mapping.munmap(self, addr, length)

    def mprotect(self, addr: int, length: int, prot: int) -> None:
        """Change the rights of a range.

        Raises:
            SystemCallError: EINVAL, EACCES; ENOMEM at a gap, what lies before it has changed.
        """
        addr, length, prot = words(addr=addr, length=length, prot=prot)
        with self.writing():
            protect.mprotect(self, addr, length, prot)

    def mremap(self, addr: int, old_length: int, new_length: int, flags: int = 0, new_addr: int = 0) -> int:
        """Shrink, grow or move a mapping; returns its address.

        Raises:
            SystemCallError: EINVAL, EFAULT, ENOMEM.
        """
        numbers = words(addr=addr, old_length=old_length, new_length=new_length, flags=flags, new_addr=new_addr)
        with self.writing():
            return move.mremap(self, *numbers)

    def mlock(self, addr: int, length: int, flags: int = 0) -> None:
        """Lock a range in memory; with MLOCK_ONFAULT only what is touched.

        Raises:
            SystemCallError: EINVAL; ENOMEM at a gap, or where a page cannot be had; EAGAIN when memory is short.
        """
        addr, length, flags = words(addr=addr, length=length, flags=flags)
        with self.writing():
            protect.mlock(self, addr, length, flags)

    def munlock(self, addr: int, length: int) -> None:
        """Unlock a range.

        Raises:
            SystemCallError: EINVAL; ENOMEM at a gap.
        """
        addr, length = words(addr=addr, length=length)
        with self.writing():
            protect.munlock(self, addr, length)

    def madvise(self, addr: int, length: int, advice_: int) -> None:
        """Give advice about a range, guard regions among them.

        Raises:
            SystemCallError: EINVAL; ENOMEM over gaps (the rest is done); EFAULT, EACCES as the advice has it.
        """
        addr, length, advice_ = words(addr=addr, length=length, advice_=advice_)
        with self._locked_for(advice_):
            advice.madvise(self, addr, length, advice_)

    def process_madvise(self, ranges: list[tuple[int, int]], advice_: int) -> int:
        """Give advice about several ranges, on oneself; returns the bytes advised.

        Raises:
            SystemCallError: As ``madvise``, if not even the first range could be advised.
        """
        (advice_,) = words(advice_=advice_)
        plain_ranges = [(addr, size) for addr, size in (words(addr=addr, length=size) for addr, size in ranges)]
        with self._locked_for(advice_):
            return advice.process_madvise(self, plain_ranges, advice_)

    def register_wp(self, addr: int, length: int) -> None:
        """Register a range with userfaultfd for write protection.

        Raises:
            SystemCallError: EINVAL; EPERM where nothing may ever be written.
            UnsupportedError: hugetlb memory.
        """
        addr, length = words(addr=addr, length=length)
        uffd.register_wp(self, addr, length)

    def writeprotect(self, addr: int, length: int, *, protect: bool, unpopulated: bool = False) -> None:
        """Write-protect the pages of a registered range, or let go of them: a write meanwhile is a SIGBUS.

        Raises:
            SystemCallError: EINVAL, ENOENT, ENOMEM.
        """
        addr, length = words(addr=addr, length=length)
        uffd.writeprotect(self, addr, length, protect=protect, unpopulated=unpopulated)

    def msync(self, addr: int, length: int, flags: int) -> None:
        """Write a range back: here, check it as Linux does.

        Raises:
            SystemCallError: EINVAL; ENOMEM over gaps; EBUSY to invalidate locked memory.
        """
        addr, length, flags = words(addr=addr, length=length, flags=flags)
        both = abi.MS_ASYNC | abi.MS_SYNC
        if flags & ~(both | abi.MS_INVALIDATE) or flags & both == both or addr % PAGE:
            raise SystemCallError(errno.EINVAL, f"msync of {addr:#x}, flags {flags:#x}")
        self._each_mapped(addr, addr + mapping.align(length), lambda area: self._refuse_busy(area, flags))

    def mincore(self, addr: int, length: int) -> bytes:
        """Which pages of a range are in memory: one byte a page, 1 or 0.

        Raises:
            SystemCallError: EINVAL; ENOMEM over gaps.
        """
        addr, length = words(addr=addr, length=length)
        if addr % PAGE:
            raise SystemCallError(errno.EINVAL, f"{addr:#x} is not page-aligned")
        end = addr + mapping.align(length)
        self._each_mapped(addr, end, lambda area: None)
        return b"".join(bytes([self._in_core(page)]) for page in range(addr, end, PAGE))

    def fork(self) -> Mm:
        """A child's address space, all of it or none.

        Raises:
            OutOfFrames: No frame for a table.
        """
        with self.writing():
            return fork.fork(self)

    def exit(self) -> None:
        """End the process: everything it had goes back."""
        with self.writing():
            mapping.unmap(self, 0, self.task_size)
            self.tables.free_root()

    # -- access ------------------------------------------------------------------------------------------------------

    def read(self, vaddr: int, size: int) -> bytes:
        """Read memory as the CPU does.

        Raises:
            SegmentationFault, BusError: With the address of the first byte that refuses.
            OutOfFrames: No frame is left.
            TypeError, ValueError: No address, no size or no bytes.
        """
        vaddr, size = integer(vaddr, "vaddr"), not_negative(size, "size")
        return access.read(self, vaddr, access.reachable(self, vaddr, size))

    def write(self, vaddr: int, data: bytes) -> None:
        """Write memory as the CPU does; what lies before a refusal is written. Errors as ``read``."""
        access.write(self, integer(vaddr, "vaddr"), bytes(plain(data)))

    def execute(self, vaddr: int) -> None:
        """Fetch an instruction as the CPU does. Errors as ``read``."""
        access.execute(self, integer(vaddr, "vaddr"))

    def touch(self, vaddr: int, size: int, access_: Literal["read", "write"] = "write") -> Entries:
        """Access a byte of every page of a range, without moving data.

        Returns:
            The physical address of each page, shape (pages,), uint64.

        Raises:
            SegmentationFault, BusError, OutOfFrames: As ``read``.
            TypeError, ValueError: No address, no size, or no such access.
        """
        vaddr, size = integer(vaddr, "vaddr"), not_negative(size, "size")
        choice(access_, "access_", ("read", "write"))
        size = access.reachable(self, vaddr, size)
        with self.reading():
            return access.touch(self, vaddr // PAGE * PAGE, vaddr + size + -(vaddr + size) % PAGE, access_)

    def kernel_read(self, vaddr: int, size: int) -> bytes:
        """Read on the process's behalf (process_vm_readv): fewer bytes where a page cannot be had.

        Raises:
            SystemCallError: EFAULT, there is not even one.
        """
        return access.kernel_copy(self, integer(vaddr, "vaddr"), not_negative(size, "size"))

    def kernel_write(self, vaddr: int, data: bytes) -> int:
        """Write on the process's behalf (process_vm_writev): the number of bytes written.

        Raises:
            SystemCallError: EFAULT, there is not even one.
        """
        data = bytes(plain(data))
        return len(access.kernel_copy(self, integer(vaddr, "vaddr"), len(data), data))

    # -- observation -------------------------------------------------------------------------------------------------

    def maps(self) -> str:
        """The text of ``/proc/PID/maps``."""
        with self.reading():
            return observe.maps(self)

    def pagemap(self, start: int, end: int) -> Entries:
        """The words of ``/proc/PID/pagemap``: shape (pages,), uint64.

        Raises:
            WalkError: EINVAL: no range of whole pages in one canonical half.
        """
        start, end = range_of(start, end, self.format)
        with self.reading():
            return observe.pagemap(self, start, end)

    def scan(self, start: int, end: int) -> Any:
        """PAGEMAP_SCAN's regions: a structured array of start, end, categories. Errors as ``pagemap``."""
        start, end = range_of(start, end, self.format)
        with self.reading():
            return observe.scan(self, start, end)

    def smaps(self) -> dict[str, int]:
        """Totals of ``/proc/PID/smaps``, in bytes."""
        with self.reading():
            return observe.smaps(self)

    # -- for the modules of mm/ --------------------------------------------------------------------------------------

    def area_at(self, addr: int) -> Area | None:
        """The area that holds an address."""
        return cast("Area | None", self.vmas.at(addr))

    @staticmethod
    def as_area(vma: Vma) -> Area:
        """A VMA of this address space, as the area that it is."""
        assert isinstance(vma, Area)
        return vma

    def new_vma_lock(self) -> VmaLock:
        """A lock for a new area."""
        assert self.mmap_lock is not None
        return VmaLock(self.mmap_lock)

    def table_lock(self, table: Table) -> threading.RLock:
        """See ``AddressSpace.table_lock``."""
        return self.tables.lock(table)

    def update_mmu_cache(self, vma: Vma, addr: int, entry: Entry) -> None:
        """See ``AddressSpace.update_mmu_cache``: noted in ``events``."""
        self.log("install", addr, addr + entry.level.span)

    def update_mmu_cache_range(self, vma: Vma, start: int, end: int) -> None:
        """The same for many entries at once."""
        self.log("install", start, end)

    def log(self, name: str, start: int, end: int) -> None:
        """Note an event."""
        self.events.append(Event(name, start, end))

    def page_flags(self, area: Area, *, writable: bool) -> Flag:
        """The rights of a page of an area; the write right only where it is given and wanted now."""
        flags = Flag.READ | Flag.USER
        flags |= Flag.EXEC if VmaFlags.EXEC in area.flags else Flag(0)
        return flags | (Flag.WRITE if writable and VmaFlags.WRITE in area.flags else Flag(0))

    def page_entry(self, area: Area, paddr: Any, flags: Any, level: Level | None = None) -> Any:
        """An entry, or many, that map a page into an area: ``leaf_entry`` with the area's protection key."""
        return self.format.leaf_entry(paddr, flags, level) | self.format.field_bits("PKEY", area.protection_key)

    def zero_entry_for(self, area: Area) -> int:
        """An entry that maps the zero page into an area."""
        flags = self.page_flags(area, writable=False) | Flag.ACCESSED | Flag.SPECIAL
        entry: int = self.page_entry(area, self.machine.zero, int(flags))
        return entry if area.flags & RIGHTS else self.format.without_rights(entry, self.format.levels[4])

    def take_frame(self, usage: Any, vaddr: int) -> int:
        """A frame for a page.

        Raises:
            OutOfFrames: There is none (carries vaddr).
        """
        try:
            return self.machine.frames.take(usage)
        except OutOfFrames as error:
            raise OutOfFrames(error.why, vaddr, 4) from None

    def check_cut(self, area: Area, addr: int) -> None:
        """Refuse to cut a hugetlb area inside a page.

        Raises:
            SystemCallError: EINVAL.
        """
        if area.huge_page_size and addr % area.huge_page_size:
            raise SystemCallError(errno.EINVAL, f"{addr:#x} lies inside a huge page of {area.huge_page_size:#x} bytes")

    def split_huge_at(self, addr: int) -> None:
        """Split the huge page that an address lies inside of, if there is one."""
        if not addr % BLOCK or (area := self.area_at(addr)) is None or area.huge_page_size:
            return
        pmd = self.tables.entry_at(addr, PMD)
        if pmd is not None and pmd.is_leaf:
            self.tables.split(pmd, addr)

    def grow_stack(self, vaddr: int) -> Area | None:
        """Let the stack above an address grow down to it, if it may (``expand_stack``)."""
        above = self.vmas.find(vaddr)
        if above is None or VmaFlags.GROWSDOWN not in above.flags:
            return None
        start = vaddr // PAGE * PAGE
        below = self.vmas.before(start)
        crowded = below is not None and below.flags & 7 and VmaFlags.GROWSDOWN not in below.flags
        if above.end - start > STACK_LIMIT or (crowded and below is not None and start - below.end < mapping.STACK_GAP):
            return None
        area = self.as_area(above)
        with self.area_lock:
            if start < area.start:
                self.vmas.grow_down(area, start)
        prepare_anon(self, area)
        return area

    def unmap_file(self, vma: Vma, start: int, end: int, *, private: bool = False) -> None:
        """Take a file's pages out of a range, private copies only if asked; markers stay."""
        end = -(-end // PAGE) * PAGE
        if start >= end:
            return
        with self.reading():
            for at, entries in self.tables.slices(start // PAGE * PAGE, end):
                pmd = self.tables.entry_at(at, PMD)
                assert pmd is not None
                with self.tables.lock(self.tables.child(pmd, at)):
                    self._unmap_file(entries, private=private)

    def _unmap_file(self, entries: Entries, *, private: bool) -> None:
        """Take a file's pages out of a table."""
        kinds = self.format.kind(entries)
        pages = (kinds == Kind.PRESENT) | (kinds == Kind.PROT_NONE)
        frames = self.format.leaf_paddr(entries, self.format.levels[4]) // PAGE
        owned = self.machine.frames.usage[frames * pages] == 2
        gone = pages & (owned | private)
        release(self, entries[gone], kinds[gone])
        entries[gone] = 0

    def _in_core(self, page: int) -> bool:
        """Whether a page is in memory: mapped, or of a file and in the page cache."""
        area = self.area_at(page)
        assert area is not None
        depth = PMD + 1
        entry = self.hugetlb.slot(area, page) if area.huge_page_size else self.tables.entry_at(page, PMD)
        if entry is not None and entry.is_table:
            entry = self.tables.entry_at(page, depth)
        if entry is not None and entry.is_present:
            return True
        pages: Any = getattr(area.mapping, "pages", {})
        return area.offset_at(page) // PAGE in pages

    def _each_mapped(self, start: int, end: int, visit: Any) -> None:
        """Visit the areas of a range.

        Raises:
            SystemCallError: ENOMEM, there are gaps; the areas have been visited.
        """
        with self.reading():
            covered = 0
            for vma in self.vmas.overlapping(start, end) if start < end else ():
                visit(vma)
                covered += min(end, vma.end) - max(start, vma.start)
        if covered != end - start:
            raise SystemCallError(errno.ENOMEM, f"[{start:#x}, {end:#x}) is not all mapped")

    @staticmethod
    def _refuse_busy(area: Area, flags: int) -> None:
        if flags & abi.MS_INVALIDATE and VmaFlags.LOCKED in area.flags:
            raise SystemCallError(errno.EBUSY, f"the mapping at {area.start:#x} is locked")

    def _locked_for(self, advice_: int) -> AbstractContextManager[None]:
        """Hold ``mmap_lock`` as an advice needs it."""
        return self.reading() if advice_ in advice.LEAVES_AREAS else self.writing()

    def writing(self) -> AbstractContextManager[None]:
        """Hold ``mmap_lock`` for writing."""
        assert self.mmap_lock is not None
        return self.mmap_lock.write()

    def reading(self) -> AbstractContextManager[None]:
        """Hold ``mmap_lock`` for reading."""
        assert self.mmap_lock is not None
        return self.mmap_lock.read()
