"""hugetlb memory: pages of one size from a pool, promised when they are mapped."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from pagewalk import abi
from pagewalk.errors import BusError, OutOfFrames, SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.frames import PAGE
from pagewalk.space import Mapping, VmaFlags
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
    """The file behind a hugetlb mapping.

    Attributes:
        pages: Pages that shared mappings have in common, by number.
        promised: Numbers of pages that the pool still owes.
    """

    def __init__(self, size: int) -> None:
        super().__init__("/anon_hugepage (deleted)", size)
        self.pages: dict[int, int] = {}
        self.promised: set[int] = set()


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
        file = HugeFile(size)
        area.mapping, area.offset = file, 0
        area.name = area.mapping.name
        if VmaFlags.NORESERVE not in area.flags:
            try:
                self.mm.machine.reserve_hugetlb(size, area.size // size)
            except OutOfFrames as error:
                raise SystemCallError(errno.ENOMEM, str(error)) from error
            area.promised, file.promised = True, set(range(area.size // size))

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
        self._resolve(area, entry, vaddr, access)

    def _resolve(self, area: Area, entry: Entry, vaddr: int, access: Access) -> None:
        """Resolve a fault at an entry."""
        if not entry.is_none and (access != "write" or Flag.WRITE in entry.flags):
            return
        shared = VmaFlags.SHARED in area.flags
        old = entry.target
        try:
            paddr = self._shared_page(area, vaddr) if shared else self._private_page(area, vaddr, old)
        except OutOfFrames as error:
            raise BusError(vaddr, access, str(error)) from error
        flags = self.mm.page_flags(area, writable=shared or access == "write" or old is None) | Flag.ACCESSED
        flags |= Flag.DIRTY if access == "write" else Flag(0)
        entry.value = self.mm.page_entry(area, paddr, int(flags), entry.level)

    def _shared_page(self, area: Area, vaddr: int) -> int:
        """The file's page, brought in if it was not there; held once more for this mapping."""
        file: Any = area.mapping
        index = area.offset_at(vaddr) // area.huge_page_size
        if index not in file.pages:
            file.pages[index] = self._take(area, index)
        frames = self.mm.machine.frames
        frames.hold(frames.run(file.pages[index], area.huge_page_size))
        return int(file.pages[index])

    def _private_page(self, area: Area, vaddr: int, old: int | None) -> int:
        """A page of one's own: a new one, the old one if nobody else has it, or a copy of it."""
        frames, size = self.mm.machine.frames, area.huge_page_size
        if old is None:
            return self._take(area, area.offset_at(vaddr) // size)
        if int(frames.references[old // PAGE]) == 2:  # the pool's and ours
            return old
        try:
            paddr = self.mm.machine.take_hugetlb(size, promised=False)
        except OutOfFrames:
            if not area.promised:
                raise
            self._take_from_children(area, vaddr, old)
            return old
        frames.words[paddr // PAGE : (paddr + size) // PAGE] = frames.words[old // PAGE : (old + size) // PAGE]
        self.mm.machine.drop_hugetlb(old, size)
        return paddr

    def _take_from_children(self, area: Area, vaddr: int, paddr: int) -> None:
        """The pool is empty, and the page was promised to this area: unmap it from those it was shared with by a fork.

        They get a SIGBUS when they touch it (``unmap_ref_private``).
        """
        assert area.mapping is not None
        size = area.huge_page_size
        page = area.offset_at(vaddr) // size * size
        for vma in area.mapping.overlapping(page, page + size):
            other = vma.mm.hugetlb.slot(vma, vma.range_of(page, page + size)[0])
            if vma is not area and other is not None and other.target == paddr:
                other.value = 0
                self.mm.machine.drop_hugetlb(paddr, size)

    def _take(self, area: Area, index: int) -> int:
        """A page of the pool, out of what was promised if this one was."""
        file: Any = area.mapping
        owed = index in file.promised and (area.promised or VmaFlags.SHARED in area.flags)
        shared = VmaFlags.SHARED in area.flags
        paddr = self.mm.machine.take_hugetlb(area.huge_page_size, promised=owed, file=shared)
        if owed:
            file.promised.remove(index)
        return paddr

    def entries(self, area: Area, start: int, end: int) -> Iterator[tuple[int, Entry]]:
        """The entries of a range that map pages, each with its address."""
        for vaddr in range(start, end, area.huge_page_size):
            entry = self.slot(area, vaddr)
            if entry is not None and entry.is_leaf:
                yield vaddr, entry

    def zap(self, area: Area, start: int, end: int) -> None:
        """Take the pages of a range out; the pool owes the owner a page of its own that came back."""
        file: Any = area.mapping
        for vaddr, entry in self.entries(area, start, end):
            paddr = entry.target
            assert paddr is not None
            entry.value = 0
            came_back = self.mm.machine.drop_hugetlb(paddr, area.huge_page_size)
            if came_back and area.promised and VmaFlags.SHARED not in area.flags:
                self.mm.machine.reserve_hugetlb(area.huge_page_size, 1)
                file.promised.add(area.offset_at(vaddr) // area.huge_page_size)

    def gone(self, area: Area) -> None:
        """An area has been unmapped: nobody is owed its pages any more; a shared file goes with its last mapping."""
        file, size = area.mapping, area.huge_page_size
        assert isinstance(file, HugeFile)
        if VmaFlags.SHARED in area.flags:
            if file.vmas:
                return
            owed = file.promised
            for paddr in file.pages.values():
                self.mm.machine.drop_hugetlb(paddr, size)
            file.pages.clear()
        else:
            own = range(area.offset // size, (area.offset + area.size) // size)
            owed = file.promised & set(own) if area.promised else set()
        self.mm.machine.reserve_hugetlb(size, -len(owed))
        file.promised = file.promised - owed

    def move(self, area: Area, new_start: int) -> None:
        """Move the pages of an area, and the promise with them.

        Raises:
            OutOfFrames: No frame for a table; nothing has moved.
        """
        found = list(self.entries(area, area.start, area.end))
        there = [self.slot(area, vaddr - area.start + new_start, grow=True) for vaddr, _ in found]
        for (_, entry), slot in zip(found, there, strict=True):
            assert slot is not None
            slot.value, entry.value = entry.value, 0

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
            there = self.slot(area, vaddr, grow=True)
            assert there is not None
            frames.hold(frames.run(paddr, area.huge_page_size))
            if entry.kind is Kind.PRESENT:
                flags = int(entry.flags & ~Flag.WRITE)
                entry.value = self.mm.page_entry(area, paddr, flags, entry.level)
            there.value = entry.value
