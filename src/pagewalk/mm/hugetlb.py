"""hugetlb memory: pages of one size from a pool, promised when they are mapped."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from pagewalk import abi
from pagewalk.errors import BusError, OutOfFrames, SystemCallError
from pagewalk.formats import Flag
from pagewalk.mm.frames import PAGE
from pagewalk.vma import Mapping, VmaFlags
from pagewalk.walk.hugetlb import hugetlb_slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.mm.areas import Area
    from pagewalk.mm.fault import Access
    from pagewalk.mm.mm import Mm
    from pagewalk.tables import Entry

__all__ = ["HugeFile", "HugePages"]

DEFAULT: Final = 2 << 20


class HugeFile(Mapping):
    """The file behind a hugetlb mapping: pages that shared mappings have in common, by number."""

    def __init__(self, size: int) -> None:
        super().__init__("/anon_hugepage (deleted)", size)
        self.pages: dict[int, int] = {}


class HugePages:
    """The hugetlb side of an address space.

    Args:
        mm: The address space.
    """

    def __init__(self, mm: Mm) -> None:
        self.mm = mm

    def page_size_of(self, flags: int) -> int:
        """The page size that mmap flags ask for.

        Raises:
            SystemCallError: EINVAL, the format has no such page.
        """
        size = 1 << (flags >> abi.MAP_HUGE_SHIFT & 0x3F) if flags >> abi.MAP_HUGE_SHIFT & 0x3F else DEFAULT
        if size not in self.mm.format.page_sizes or size == PAGE:
            raise SystemCallError(errno.EINVAL, f"no huge pages of {size:#x} bytes")
        return size

    def reserve(self, area: Area, size: int) -> None:
        """Make an area hugetlb, its pages promised unless it is MAP_NORESERVE.

        Raises:
            SystemCallError: ENOMEM, the pool has not enough.
        """
        area.huge_page_size = size
        area.flags = (area.flags | VmaFlags.HUGETLB | VmaFlags.DONTEXPAND) & ~VmaFlags.ACCOUNT
        area.mapping, area.offset = HugeFile(size), 0
        area.name = area.mapping.name
        if VmaFlags.NORESERVE not in area.flags:
            try:
                self.mm.machine.reserve_hugetlb(size, area.size // size)
            except OutOfFrames as error:
                raise SystemCallError(errno.ENOMEM, str(error)) from error
            area.promised = True

    def slot(self, area: Area, vaddr: int, *, grow: bool = False) -> Entry | None:
        """The entry for the huge page at an address."""
        if not grow:
            return hugetlb_slot(self.mm.tables, vaddr, area.huge_page_size)
        (level,) = [level for level in self.mm.format.levels if level.span == area.huge_page_size and not level.folded]
        return self.mm.tables.entry_at(vaddr, level.depth, grow=True)

    def fault(self, area: Area, vaddr: int, access: Access) -> None:
        """Resolve a fault.

        Raises:
            BusError: The pool is empty.
        """
        entry = self.slot(area, vaddr, grow=True)
        assert entry is not None
        if not entry.is_none and (access != "write" or Flag.WRITE in entry.flags):
            return
        shared = VmaFlags.SHARED in area.flags
        old = entry.target
        try:
            paddr = self._shared_page(area, vaddr) if shared else self._private_page(area, old)
        except OutOfFrames as error:
            raise BusError(vaddr, access, str(error)) from error
        flags = self.mm.page_flags(area, writable=shared or access == "write" or old is None) | Flag.ACCESSED
        flags |= Flag.DIRTY if access == "write" else Flag(0)
        entry.value = self.mm.format.leaf_entry(paddr, int(flags), entry.level)

    def _shared_page(self, area: Area, vaddr: int) -> int:
        """The file's page, brought in if it was not there; held once more for this mapping."""
        file: Any = area.mapping
        index = area.offset_at(vaddr) // area.huge_page_size
        if index not in file.pages:
            file.pages[index] = self.mm.machine.take_hugetlb(area.huge_page_size, promised=area.promised, file=True)
        frames = self.mm.machine.frames
        frames.hold(frames.run(file.pages[index], area.huge_page_size))
        return int(file.pages[index])

    def _private_page(self, area: Area, old: int | None) -> int:
        """A page of one's own: a new one, the old one if nobody else has it, or a copy of it."""
        frames, size = self.mm.machine.frames, area.huge_page_size
        if old is not None and int(frames.references[old // PAGE]) == 2:  # the pool's and ours
            return old
        paddr = self.mm.machine.take_hugetlb(size, promised=area.promised and old is None)
        if old is not None:
            frames.words[paddr // PAGE : (paddr + size) // PAGE] = frames.words[old // PAGE : (old + size) // PAGE]
            self.mm.machine.drop_hugetlb(old, size)
        return paddr

    def entries(self, area: Area, start: int, end: int) -> Iterator[Entry]:
        """The entries of a range that map pages."""
        for vaddr in range(start, end, area.huge_page_size):
            entry = self.slot(area, vaddr)
            if entry is not None and entry.is_leaf:
                yield entry

    def zap(self, area: Area, start: int, end: int) -> None:
        """Take the pages of a range out; an area that stays keeps its promise."""
        for entry in self.entries(area, start, end):
            paddr = entry.target
            assert paddr is not None
            entry.value = 0
            self.mm.machine.drop_hugetlb(paddr, area.huge_page_size)
            if area.promised and VmaFlags.SHARED not in area.flags:
                self.mm.machine.reserve_hugetlb(area.huge_page_size, 1)

    def move(self, area: Area, new_start: int) -> None:
        """Move the pages of an area to a new one, and the promise with them."""
        for vaddr in range(area.start, area.end, area.huge_page_size):
            entry = self.slot(area, vaddr)
            if entry is not None and entry.is_leaf:
                there = self.slot(area, new_start + vaddr - area.start, grow=True)
                assert there is not None
                there.value, entry.value = entry.value, 0
        area.promised = False

    def gone(self, area: Area) -> None:
        """An area has been unmapped: take the promise back, and the file's pages with its last mapping."""
        file, size = area.mapping, area.huge_page_size
        assert isinstance(file, HugeFile)
        left = area.size // size
        if VmaFlags.SHARED in area.flags and not file.vmas:
            left -= len(file.pages)
            for paddr in file.pages.values():
                self.mm.machine.drop_hugetlb(paddr, size)
            file.pages.clear()
        if area.promised:
            self.mm.machine.reserve_hugetlb(size, -left)

    def inherit(self, parent: Mm, area: Area) -> None:
        """Share a parent's pages with this child; private ones lose their write right on both sides."""
        (child,) = self.mm.vmas.overlapping(area.start, area.end)
        self.mm.as_area(child).promised = False
        if VmaFlags.SHARED in area.flags:
            return
        frames = self.mm.machine.frames
        for vaddr in range(area.start, area.end, area.huge_page_size):
            entry = parent.hugetlb.slot(area, vaddr)
            if entry is None or not entry.is_leaf:
                continue
            paddr = entry.target
            assert paddr is not None
            frames.hold(frames.run(paddr, area.huge_page_size))
            flags = int(entry.flags & ~Flag.WRITE)
            entry.value = self.mm.format.leaf_entry(paddr, flags, entry.level)
            there = self.slot(area, vaddr, grow=True)
            assert there is not None
            there.value = entry.value
