"""``Mm``: a simulated address space with Linux's system calls.

Each system call checks its arguments, takes ``mmap_lock`` as the kernel does, and leaves the work to the module that
bears its name. What fails raises ``SystemCallError`` with Linux's errno and leaves Linux's partial result. To other
threads a call is one step, but for an access, which is one step a table (2 MiB). After ``exit`` every call is refused
with ESRCH.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, cast

from pagewalk import abi
from pagewalk.doors import choice, integer, not_negative, plain, refuse_pickling, words
from pagewalk.errors import OutOfFrames, SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm import access, advice, fork, mapping, move, observe, protect, uffd
from pagewalk.mm.areas import RIGHTS, Area, prepare_anon
from pagewalk.mm.files import FILE_END
from pagewalk.mm.frames import BLOCK, PAGE
from pagewalk.mm.hugetlb import HugePages
from pagewalk.mm.tables import PMD, MmTables
from pagewalk.mm.zap import release
from pagewalk.space import AddressSpace, MmapLock, VmaFlags, VmaLock
from pagewalk.walk.ranges import range_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, Literal, ParamSpec, TypeVar

    from pagewalk.formats.paging import Level
    from pagewalk.mm.files import File
    from pagewalk.mm.machine import Machine
    from pagewalk.mm.tables import Entries
    from pagewalk.space import Vma
    from pagewalk.tables import Entry, Table

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["Event", "Mm"]

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
        alive: Somebody has it, and it has not exited.
    """

    tables: MmTables
    mmap_lock: MmapLock
    alive = False

    def __init__(self, machine: Machine) -> None:
        super().__init__(MmTables(machine), mmap_lock=MmapLock(machine.lock), zero_frames=(machine.zero,))
        self.machine = machine
        self.format = machine.format
        self.memory = machine.memory
        self.task_size = self.format.halves[0][1] - PAGE
        self.mmap_base = 0x7FFF_F7FF_F000
        self.hugetlb = HugePages(self)
        self.events: deque[Event] = deque(maxlen=4096)
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
        file = None if flags & abi.MAP_ANONYMOUS else file
        return self._change(mapping.mmap, self, length, prot, flags, addr, file, offset)

    def munmap(self, addr: int, length: int) -> None:
        """Unmap a range.

        Raises:
            SystemCallError: EINVAL.
        """
        addr, length = words(addr=addr, length=length)
        self._change(mapping.munmap, self, addr, length)

    def mprotect(self, addr: int, length: int, prot: int) -> None:
        """Change the rights of a range.

        Raises:
            SystemCallError: EINVAL, EACCES; ENOMEM at a gap, what lies before it has changed.
        """
        addr, length, prot = words(addr=addr, length=length, prot=prot)
        self._change(protect.mprotect, self, addr, length, prot)

    def mremap(self, addr: int, old_length: int, new_length: int, flags: int = 0, new_addr: int = 0) -> int:
        """Shrink, grow or move a mapping; returns its address.

        Raises:
            SystemCallError: EINVAL, EFAULT, ENOMEM.
        """
        numbers = words(addr=addr, old_length=old_length, new_length=new_length, flags=flags, new_addr=new_addr)
        return self._change(move.mremap, self, *numbers)

    def mlock(self, addr: int, length: int, flags: int = 0) -> None:
        """Lock a range in memory; with MLOCK_ONFAULT only what is touched.

        Raises:
            SystemCallError: EINVAL; ENOMEM at a gap, or where a page cannot be had; EAGAIN when memory is short.
        """
        addr, length, flags = words(addr=addr, length=length, flags=flags)
        self._change(protect.mlock, self, addr, length, flags)

    def munlock(self, addr: int, length: int) -> None:
        """Unlock a range.

        Raises:
            SystemCallError: EINVAL; ENOMEM at a gap.
        """
        addr, length = words(addr=addr, length=length)
        self._change(protect.munlock, self, addr, length)

    def madvise(self, addr: int, length: int, advice_: int) -> None:
        """Give advice about a range, guard regions among them.

        Raises:
            SystemCallError: EINVAL; ENOMEM over gaps (the rest is done); EFAULT, EACCES as the advice has it.
        """
        addr, length, advice_ = words(addr=addr, length=length, advice_=advice_)
        self._lock_for(advice_)(advice.madvise, self, addr, length, advice_)

    def process_madvise(self, ranges: list[tuple[int, int]], advice_: int) -> int:
        """Give advice about several ranges, on oneself; returns the bytes advised.

        Raises:
            SystemCallError: As ``madvise``, if not even the first range could be advised.
        """
        (advice_,) = words(advice_=advice_)
        plain_ranges = [(addr, size) for addr, size in (words(addr=addr, length=size) for addr, size in ranges)]
        return self._lock_for(advice_)(advice.process_madvise, self, plain_ranges, advice_)

    def register_wp(self, addr: int, length: int) -> None:
        """Register a range with userfaultfd for write protection.

        Raises:
            SystemCallError: EINVAL; EPERM where nothing may ever be written.
            UnsupportedError: hugetlb memory.
        """
        addr, length = words(addr=addr, length=length)
        self._change(uffd.register_wp, self, addr, length)

    def writeprotect(self, addr: int, length: int, *, protect: bool, unpopulated: bool = False) -> None:
        """Write-protect the pages of a registered range, or let go of them: a write meanwhile is a SIGBUS.

        Raises:
            SystemCallError: EINVAL, ENOENT, ENOMEM.
        """
        addr, length = words(addr=addr, length=length)
        self._look(uffd.writeprotect, self, addr, length, protect=protect, unpopulated=unpopulated)

    def msync(self, addr: int, length: int, flags: int) -> None:
        """Write a range back: here, check it as Linux does.

        Raises:
            SystemCallError: EINVAL; ENOMEM over gaps; EBUSY to invalidate locked memory.
        """
        addr, length, flags = words(addr=addr, length=length, flags=flags)
        both = abi.MS_ASYNC | abi.MS_SYNC
        if flags & ~(both | abi.MS_INVALIDATE) or flags & both == both or addr % PAGE:
            raise SystemCallError(errno.EINVAL, f"msync of {addr:#x}, flags {flags:#x}")
        self._look(self.each_mapped, addr, addr + mapping.align(length), lambda area: self._refuse_busy(area, flags))

    def mincore(self, addr: int, length: int) -> bytes:
        """Which pages of a range are in memory: one byte a page, 1 or 0.

        Raises:
            SystemCallError: EINVAL; ENOMEM over gaps.
        """
        addr, length = words(addr=addr, length=length)
        if addr % PAGE:
            raise SystemCallError(errno.EINVAL, f"{addr:#x} is not page-aligned")
        return self._look(observe.mincore, self, addr, addr + mapping.align(length))

    def fork(self) -> Mm:
        """A child's address space, all of it or none.

        Raises:
            OutOfFrames: No frame for a table.
        """
        return self.machine.hand_out(self._change, fork.fork, self)

    def exit(self) -> None:
        """End the process, once those inside a call are out: everything it had goes back.

        Every later call is refused with ESRCH, but for another ``exit``, which has nothing left to do.

        Raises:
            RuntimeError: This thread holds ``mmap_lock`` for reading: it would wait for itself.
        """
        self.mmap_lock.run(lambda: self.machine.do(self._exit))

    def _exit(self) -> None:
        if self.alive:
            mapping.unmap(self, 0, self.task_size)
            self.alive = False
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
        return self._access(access.read, self, vaddr, access.reachable(self, vaddr, size))

    def write(self, vaddr: int, data: bytes) -> None:
        """Write memory as the CPU does; what lies before a refusal is written. Errors as ``read``."""
        self._access(access.write, self, integer(vaddr, "vaddr"), bytes(plain(data)))

    def execute(self, vaddr: int) -> None:
        """Fetch an instruction as the CPU does. Errors as ``read``."""
        self._access(access.execute, self, integer(vaddr, "vaddr"))

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
        start, end = vaddr // PAGE * PAGE, vaddr + size + -(vaddr + size) % PAGE
        return self._access(access.touch, self, start, end, access_)

    def kernel_read(self, vaddr: int, size: int) -> bytes:
        """Read on the process's behalf (process_vm_readv): fewer bytes where a page cannot be had.

        Raises:
            SystemCallError: EFAULT, there is not even one.
        """
        return self._look(access.kernel_copy, self, integer(vaddr, "vaddr"), not_negative(size, "size"))

    def kernel_write(self, vaddr: int, data: bytes) -> int:
        """Write on the process's behalf (process_vm_writev): the number of bytes written.

        Raises:
            SystemCallError: EFAULT, there is not even one.
        """
        data = bytes(plain(data))
        return len(self._look(access.kernel_copy, self, integer(vaddr, "vaddr"), len(data), data))

    # -- observation -------------------------------------------------------------------------------------------------

    def maps(self) -> str:
        """The text of ``/proc/PID/maps``."""
        return self._look(observe.maps, self)

    def pagemap(self, start: int, end: int) -> Entries:
        """The words of ``/proc/PID/pagemap``: shape (pages,), uint64.

        Raises:
            WalkError: EINVAL: no range of whole pages in one canonical half.
        """
        return self._look(observe.pagemap, self, *range_of(start, end, self.format))

    def scan(self, start: int, end: int) -> Any:
        """PAGEMAP_SCAN's regions: a structured array of start, end, categories. Errors as ``pagemap``."""
        return self._look(observe.scan, self, *range_of(start, end, self.format))

    def smaps(self) -> dict[str, int]:
        """Totals of ``/proc/PID/smaps``, in bytes."""
        return self._look(observe.smaps, self)

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
        self.vmas.grow_down(area, start)
        prepare_anon(self, area)
        return area

    def unmap_file(self, vma: Vma, start: int, end: int, *, private: bool = False) -> None:
        """Take a file's pages out of a range, private copies only if asked; markers stay."""
        end = -(-end // PAGE) * PAGE
        if start >= end:
            return
        for _, entries in self.tables.slices(start // PAGE * PAGE, end):
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

    def each_mapped(self, start: int, end: int, visit: Any) -> None:
        """Visit the areas of a range.

        Raises:
            SystemCallError: ENOMEM, there are gaps; the areas have been visited.
        """
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

    def _lock_for(self, advice_: int) -> Callable[..., Any]:
        """The way in that an advice needs."""
        return self._look if advice_ in advice.LEAVES_AREAS else self._change

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

    def _living(self) -> Machine:
        """The machine, if the process still runs on it.

        Raises:
            SystemCallError: ESRCH.
        """
        if not self.alive:
            raise SystemCallError(errno.ESRCH, "this process has ended: exit() was called")
        return self.machine

    def writing(self) -> AbstractContextManager[object]:
        """Hold ``mmap_lock`` for writing."""
        return self.mmap_lock.write()

    def reading(self) -> AbstractContextManager[object]:
        """Hold ``mmap_lock`` for reading."""
        return self.mmap_lock.read()
