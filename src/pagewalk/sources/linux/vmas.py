"""The VMAs of a process in a kernel's memory.

Source: ``include/linux/mm_types.h``, ``fs/proc/task_mmu.c`` (what ``maps`` calls them), Linux 5.10 to 7.2.
"""

from __future__ import annotations

import os
from functools import lru_cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.sources.linux.layout import Layout, offset_of
from pagewalk.sources.linux.maple import Maple
from pagewalk.sources.linux.names import Names
from pagewalk.sources.linux.virtual import Unreadable
from pagewalk.space import Mapping, Vma, VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.sources.linux.btf import Btf
    from pagewalk.sources.linux.virtual import Virtual

__all__ = ["Vmas"]

_KNOWN: Final = int(reduce(or_, VmaFlags))
_LONGEST: Final = 256
"""Bytes of a name that a program gives to its memory."""
_USER_END: Final = 1 << 63
_PAGE: Final = 4096
_MORE: Final = 64
"""VMAs beyond twice what the kernel counts."""


class _Area(NamedTuple):
    """The members of a ``vm_area_struct`` that count: by their names without ``vm_``, and ``anon_name``."""

    start: int
    end: int
    flags: int
    pgoff: int
    file: int
    ops: int
    private_data: int
    mm: int
    name: int


class _Space(NamedTuple):
    """The members of an ``mm_struct`` that count."""

    map_count: int
    start_brk: int
    brk: int
    start_stack: int
    vdso: int


class Vmas:
    """The VMAs of a kernel's processes.

    Args:
        btf: The kernel's types.
        memory: Its memory.
        page_size: Bytes in its smallest page, in which it counts offsets.
        notes: Told what is wrong with what is read.

    Raises:
        BtfError: The types lack what is needed.
    """

    def __init__(self, btf: Btf, memory: Virtual, page_size: int, notes: list[str]) -> None:
        area, space = "vm_area_struct", "mm_struct"
        self._memory, self._page_size, self._notes = memory, page_size, notes
        *plain, _ = (f"vm_{name}" for name in _Area._fields)
        self._areas = Layout(btf, area, [*plain, "anon_name|"])
        members = ("map_count", "start_brk", "brk", "start_stack", "context.vdso|")
        self._spaces = Layout(btf, space, members)
        counted = "pgtables_bytes"
        self._counted = None if btf.field(space, counted) is None else Layout(btf, space, (counted,))
        self._file = Layout(btf, "file", ("f_mapping", "f_inode"))
        self._inode = Layout(btf, "inode", ("i_blkbits",))
        self._special = Layout(btf, "vm_special_mapping", ("name",))
        self._text = offset_of(btf, "anon_vma_name", "name") if btf.has("anon_vma_name") else 0
        self._shared_named = not _overlap(btf, area, "anon_name", "shared")
        self._names = Names(btf, memory)
        self._mappings: dict[int, Mapping] = {}
        tree = btf.field(space, "mm_mt")
        self._tree = None if tree is None else tree.offset
        self._maple = None if tree is None else Maple(btf, notes)
        self._list = None if tree is not None else offset_of(btf, space, "mmap")
        self._links = None if tree is not None else Layout(btf, area, ("vm_next", "vm_prev"))

    def of(self, mm: int) -> Iterator[Vma]:
        """The VMAs of an address space, ascending.

        Args:
            mm: The address of its ``mm_struct``.

        Raises:
            Unreadable: It is not there.
        """
        space = _Space(*self._spaces.read(self._memory, mm))
        last = found = 0
        for pointer, first, until in self._pointers(mm):
            try:
                area = _Area(*self._areas.read(self._memory, pointer))
            except Unreadable as error:
                self._notes.append(f"VMA {pointer:#x}: {error}")
                continue
            if why := self._doubt(area, mm, first, until, last):
                self._notes.append(f"VMA {pointer:#x} of [{area.start:#x}, {area.end:#x}) {why}: it is left out")
                continue
            if found >= 2 * space.map_count + _MORE:
                self._notes.append(f"more VMAs than the kernel counts ({space.map_count:,}): the rest is left out")
                return
            last, found = area.end, found + 1
            yield self._made(area, space)
        if found != space.map_count:
            self._notes.append(f"there are {found:,} VMAs, and the kernel counts {space.map_count:,}")

    def page_table_bytes(self, mm: int) -> int | None:
        """What the kernel counts for the page tables of an address space; None: it does not say."""
        try:
            (found,) = [None] if self._counted is None else self._counted.read(self._memory, mm)
        except Unreadable as error:
            self._notes.append(f"what page tables cost: {error}")
            return None
        return found

    @staticmethod
    def _doubt(area: _Area, mm: int, first: int, until: int, last: int) -> str:
        """Why an area cannot be one; nothing if it can."""
        if area.start >= area.end or area.end > _USER_END or (area.start | area.end) % _PAGE:
            return "is no range of whole pages"
        if (area.start, area.end - 1) != (first, until) and until:
            return f"stands in the tree for [{first:#x}, {until + 1:#x})"
        if area.start < last:
            return f"begins before the one before it ends, at {last:#x}"
        return "" if area.mm == mm else f"is of another address space, {area.mm:#x}"

    def _pointers(self, mm: int) -> Iterator[tuple[int, int, int]]:
        """The addresses of the areas, and the first and last address that the tree has for each; zeros: it has none."""
        if self._maple is not None and self._tree is not None:
            yield from self._maple.ranges(self._memory, mm + self._tree, "VMAs")
        elif self._list is not None and self._links is not None:
            yield from ((area, 0, 0) for area in self._linked(self._memory.word(mm + self._list), self._links))

    def _linked(self, area: int, links: Layout) -> Iterator[int]:
        """The areas of a list, which is broken where one does not point back."""
        last = 0
        while area:
            try:
                following, before = links.read(self._memory, area)
            except Unreadable as error:
                self._notes.append(f"the list of VMAs is broken: {error}")
                return
            if before != last:
                self._notes.append(f"the list of VMAs is broken: {area:#x} points back to {before:#x}, not {last:#x}")
                return
            yield area
            last, area = area, following

    def _made(self, area: _Area, space: _Space) -> Vma:
        """A VMA."""
        name, mapping, huge = b"", None, 0
        try:
            name = self._name(area, space)
            if area.file:
                mapping, huge = self._mapped(area, name)
        except Unreadable as error:
            self._notes.append(f"the file or name of [{area.start:#x}, {area.end:#x}): {error}")
        offset = area.pgoff * self._page_size if area.file else 0
        return Vma(area.start, area.end, _flags(area.flags & _KNOWN), offset, mapping, os.fsdecode(name), huge)

    def _mapped(self, area: _Area, name: bytes) -> tuple[Mapping, int]:
        """The file that an area maps, and bytes in its pages if they are huge ones."""
        mapping, inode = self._file.read(self._memory, area.file)
        if mapping not in self._mappings:
            self._mappings[mapping] = Mapping(os.fsdecode(name), self._page_size)
        huge = 0
        if area.flags & VmaFlags.HUGETLB:
            (bits,) = self._inode.read(self._memory, inode)
            huge = 1 << bits if _PAGE <= 1 << min(bits, 64) < _USER_END else 0
        return self._mappings[mapping], huge

    def _name(self, area: _Area, space: _Space) -> bytes:
        """What ``maps`` calls it."""
        if area.file:
            given = self._given(area) if area.flags & VmaFlags.SHARED and self._shared_named else b""
            return b"[anon_shmem:" + given + b"]" if given else self._names.of(area.file)
        if area.ops and area.private_data and (name := self._special_name(area.private_data)):
            return name
        if space.vdso and area.start == space.vdso:
            return b"[vdso]"
        if area.start <= space.brk and area.end >= space.start_brk:
            return b"[heap]"
        if area.start <= space.start_stack <= area.end:
            return b"[stack]"
        given = self._given(area)
        return b"[anon:" + given + b"]" if given else b""

    def _given(self, area: _Area) -> bytes:
        """The name that the program gave to an area; nothing: it gave none."""
        return self._memory.text(area.name + self._text, _LONGEST) if area.name and self._text else b""

    def _special_name(self, private_data: int) -> bytes:
        """The name of an area that the kernel itself put there (``vm_special_mapping``); nothing: it is none."""
        try:
            (text,) = self._special.read(self._memory, private_data)
            name = self._memory.text(text, _LONGEST)
        except Unreadable:
            return b""
        return name if name.startswith(b"[") else b""


def _overlap(btf: Btf, structure: str, one: str, other: str) -> bool:
    """Whether two members share their bytes: in 6.1 an area has a name or a place in its file's tree, never both."""
    first, second = btf.field(structure, one), btf.field(structure, other)
    if first is None or second is None:
        return True
    return first.offset < second.offset + second.size and second.offset < first.offset + first.size


@lru_cache(maxsize=1024)
def _flags(flags: int) -> VmaFlags:
    """Flags, made once: there are few different ones."""
    return VmaFlags(flags)
