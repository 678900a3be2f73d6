"""Page tables to be changed, of any format, and a slow record of what they are to map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk import FlatMemory, PageTables, edit, find_format
from pagewalk.formats import Kind, PagingFormat, rights_text
from pagewalk.memory import Segment

if TYPE_CHECKING:
    from pagewalk.editing.change import Change

PAGES = 1536
"""Pages of a workbench's memory: tables lie in the first third, the rest is mapped."""
KEEP = 40
"""Pages of one stretch of virtual addresses that operations are about: more than a group has."""


class Workbench:
    """Page tables in memory whose free part holds garbage, as a real machine's does.

    Attributes:
        form: The format.
        size: Bytes of a page.
        memory: The memory, of which changes must leave everything but their plan alone.
        tables: Its page tables, empty.
        base: The first virtual address of the stretch.
        frames: Where tables may lie.
    """

    def __init__(self, name: str) -> None:
        self.form: PagingFormat = find_format(name)
        self.size = self.form.page_size
        self.table = max(level.table_bytes for level in self.form.hardware)
        unit = max(self.size, self.table)
        self.data = bytearray(b"\xa5\x5a\x01\x00" * (PAGES * unit // 4))
        self.data[:unit] = self.form.word.pack([self.form.levels[0].none]) * (unit // self.form.word.size)
        self.memory = FlatMemory([Segment(0, memoryview(self.data))])
        self.tables = PageTables(self.memory, None, self.form, windows=self.form.windows[:1])
        self.frames = [(unit, PAGES // 3 * unit)]
        self.first_frame = PAGES // 3 * unit
        self.base = 1 << (self.form.last.shift + self.form.last.index_bits + 2)

    def change(self) -> Change:
        """A change of them."""
        return edit(self.tables, frames=self.frames)

    @property
    def rights(self) -> list[str]:
        """Rights that pages of the format can have, some of them."""
        return ["rwxu", "r-xu"] if self.form.name == "ia32" else ["rwxu", "rw-u", "r-xu", "r--u"]


def said(tables: PageTables, vaddr: int) -> tuple[int, str] | str | None:
    """What an address leads to, found by one translation: frame and rights, a marker's name, or nothing."""
    *_, entry = tables.steps(vaddr)
    if entry.is_none:
        return None
    if not entry.is_leaf:
        return entry.name
    page = tables.translate(vaddr)
    assert page.paddr is not None
    return page.paddr, "----" if page.kind is Kind.PROT_NONE else rights_text(page.flags)
