"""The state of a simulated address space: its areas, its tables, what the MMU was told."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pagewalk.abi.uffd import WP_ASYNC
from pagewalk.errors import OutOfFrames, SystemCallError
from pagewalk.formats import Flag
from pagewalk.mm.hardware.cpu import Keys
from pagewalk.mm.state.area import RIGHTS, Area
from pagewalk.mm.state.limits import Limits
from pagewalk.mm.state.tables import MmTables
from pagewalk.space import AddressSpace, MmapLock, VmaFlags, VmaLock

if TYPE_CHECKING:
    import threading
    from contextlib import AbstractContextManager

    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.hardware.frames import Usage
    from pagewalk.mm.hardware.machine import Hardware
    from pagewalk.space import Vma
    from pagewalk.tables import Entry, Table

__all__ = ["Event", "Space"]


class Event(NamedTuple):
    """Something the kernel would have told the MMU: ``install`` (``update_mmu_cache``) or ``flush``, and where."""

    name: str
    start: int
    end: int


class Space(AddressSpace):
    """What the calls and the page faults of an address space work on.

    Args:
        machine: The machine.

    Raises:
        OutOfFrames: No frame for the top table.

    Attributes:
        machine: The hardware that it shares with others.
        geometry: The sizes that follow from the format.
        tables: The page tables.
        vmas: The areas.
        mmap_lock: The lock that walks demand; the system calls take it themselves.
        task_size, mmap_base: The end of what can be mapped, and of what is unasked.
        default_flags: What new areas have besides (mlockall with MCL_FUTURE); a child begins without.
        uffd_features: What its userfaultfd was asked for, by the first who registered; None: it has none.
        limits: What it may map and lock.
        keys: Its protection keys.
        events: The latest TLB and cache events, oldest first.
        alive: Somebody has it, and it has not exited.
    """

    tables: MmTables
    mmap_lock: MmapLock
    alive = False

    def __init__(self, machine: Hardware) -> None:
        super().__init__(MmTables(machine), mmap_lock=MmapLock(machine.lock), zero_frames=(machine.zero,))
        self.machine = machine
        self.format = machine.format
        self.geometry = machine.geometry
        self.memory = machine.memory
        self.task_size = self.geometry.task_size
        self.mmap_base = self.geometry.mmap_base
        self.default_flags = VmaFlags(0)
        self.uffd_features: int | None = None
        self.limits = Limits()
        self.keys = Keys(machine.pku)
        self.events: deque[Event] = deque(maxlen=4096)
        machine.spaces.add(self)

    # -- areas and locks ---------------------------------------------------------------------------------------------

    def area_at(self, addr: int) -> Area | None:
        """The area that holds an address."""
        return cast("Area | None", self.vmas.at(addr))

    def protects_later(self, area: Vma) -> bool:
        """Whether userfaultfd write-protects an area asynchronously (``userfaultfd_wp_async``)."""
        return VmaFlags.UFFD_WP in area.flags and bool((self.uffd_features or 0) & WP_ASYNC)

    def tracks(self, area: Vma) -> bool:
        """Whether pages of an area are to become soft-dirty when they are written (``vma_soft_dirty_enabled``)."""
        return self.machine.soft_dirty and VmaFlags.SOFTDIRTY not in area.flags

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

    def writing(self) -> AbstractContextManager[object]:
        """Hold ``mmap_lock`` for writing."""
        return self.mmap_lock.write()

    def reading(self) -> AbstractContextManager[object]:
        """Hold ``mmap_lock`` for reading."""
        return self.mmap_lock.read()

    # -- telling -----------------------------------------------------------------------------------------------------

    def update_mmu_cache(self, vma: Vma, addr: int, entry: Entry) -> None:
        """See ``AddressSpace.update_mmu_cache``: noted in ``events``."""
        self.log("install", addr, addr + entry.level.span)

    def update_mmu_cache_range(self, vma: Vma, start: int, end: int) -> None:
        """The same for many entries at once."""
        self.log("install", start, end)

    def log(self, name: str, start: int, end: int) -> None:
        """Note an event."""
        self.events.append(Event(name, start, end))

    # -- entries -----------------------------------------------------------------------------------------------------

    def page_flags(self, area: Area, *, writable: bool) -> Flag:
        """The rights of a page of an area; the write right only where it is given and wanted now."""
        flags = Flag.READ | Flag.USER
        flags |= Flag.EXEC if VmaFlags.EXEC in area.flags else Flag(0)
        return flags | (Flag.WRITE if writable and VmaFlags.WRITE in area.flags else Flag(0))

    def page_entry(self, area: Area, paddr: Any, flags: Any, level: LevelEntries | None = None) -> Any:
        """An entry, or many, that map a page into an area, with the area's protection key."""
        return (level or self.geometry.last).page(paddr, flags, key=area.protection_key)

    def block_entry(self, area: Area, paddr: int, flags: Flag) -> int:
        """An entry that maps a huge page of a block into an area."""
        return int(self.page_entry(area, paddr, int(flags), self.geometry.upper))

    def zero_entry_for(self, area: Area) -> int:
        """An entry that maps the zero page into an area."""
        flags = self.page_flags(area, writable=False) | Flag.ACCESSED | Flag.SPECIAL
        entry: int = self.page_entry(area, self.machine.zero, int(flags))
        return entry if area.flags & RIGHTS else self.geometry.last.without_rights(entry)

    def take_frame(self, usage: Usage, vaddr: int) -> int:
        """A frame for a page.

        Raises:
            OutOfFrames: There is none (carries vaddr).
        """
        try:
            return self.machine.frames.take(usage)
        except OutOfFrames as error:
            raise OutOfFrames(error.why, vaddr, self.geometry.last.depth) from None

    def fetch_swapped(self, slot: int, vaddr: int) -> int:
        """The frame of a page in swap, which is in the swap cache then.

        Raises:
            OutOfFrames: There is none (carries vaddr).
        """
        try:
            return self.machine.swap.fetch(slot)
        except OutOfFrames as error:
            raise OutOfFrames(error.why, vaddr, self.geometry.last.depth) from None

    # -- cutting -----------------------------------------------------------------------------------------------------

    def check_cut(self, area: Area, addr: int) -> None:
        """Refuse to cut a hugetlb area inside a page.

        Raises:
            SystemCallError: EINVAL.
        """
        if area.huge_page_size and addr % area.huge_page_size:
            raise SystemCallError(errno.EINVAL, f"{addr:#x} lies inside a huge page of {area.huge_page_size:#x} bytes")

    def split_huge_at(self, addr: int) -> None:
        """Split the huge page that an address lies inside of, if there is one."""
        if not addr % self.geometry.block_size or (area := self.area_at(addr)) is None or area.huge_page_size:
            return
        upper = self.tables.upper_at(addr)
        if upper is not None and upper.is_leaf:
            self.tables.split(upper, addr)
