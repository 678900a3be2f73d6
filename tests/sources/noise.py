"""Memory that is full of what could be mistaken for page tables, and a small machine with real ones in it."""

from __future__ import annotations

import numpy as np

from pagewalk.formats import Flag, find_format
from pagewalk.frames import RangeAllocator
from pagewalk.memory import Ram
from pagewalk.tables import Entry, PageTables, Table

SIZE = 32 << 20
PAGE = 4096
KINDS = 6
_KERNEL = Flag.READ | Flag.WRITE
_USER = _KERNEL | Flag.USER | Flag.EXEC


class Machine:
    """Memory with a kernel's root and those of programs, as Linux has them, and noise wherever nothing else is.

    Args:
        name: A format in which one top table translates all windows.
        seed: Of the noise.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.form = find_format(name)
        self.memory = Ram(SIZE)
        self.random = np.random.default_rng(seed)
        self.words = np.frombuffer(self.memory.segments[0].data, np.uint64).reshape(-1, PAGE // 8)
        self._noise(range(SIZE // PAGE // 2, SIZE // PAGE))
        self.frames = RangeAllocator((PAGE, SIZE // 2))
        self.kernel = self._root()
        upper = self.form.windows[-1]
        self._map(self.kernel, upper.start, 0, SIZE, _KERNEL)
        self._map(self.kernel, upper.end - (1 << 30), 0, SIZE // 2, _KERNEL)  # its image
        self.users = [self._program() for _ in range(8)]

    def _root(self) -> int:
        return self.frames.allocate()

    def _program(self) -> int:
        """A program: its own tables, and the kernel's part of the kernel's."""
        root = self._root()
        head = self.form.head_of(self.form.windows[-1]).entries
        self.words[root // PAGE, -head:] = self.words[self.kernel // PAGE, -head:]
        for at in (1 << 22, (1 << 30) * 7):
            self._map(root, at, SIZE // 4, 16 * PAGE, _USER)
        return root

    def _map(self, root: int, vaddr: int, paddr: int, size: int, flags: Flag) -> None:
        tables = PageTables(self.memory, root, self.form, allocator=self.frames)
        last = self.form.levels[-1]
        for at in range(0, size, PAGE):
            slot = last.index(vaddr + at)
            if not slot or not at:
                table = self._last_table(tables, vaddr + at)
            table.slots[slot] = last.page(paddr + at, flags)

    def _last_table(self, tables: PageTables, vaddr: int) -> Table:
        """The table of the last level for an address; those above it that are missing are made."""
        table = tables.root_table if vaddr < self.form.windows[0].end else tables.top(tables.windows[-1])
        while not table.level.is_last:
            entry = Entry(table, table.level.index(vaddr))
            if not entry.level.folds and entry.is_none:
                tables.grow(entry, vaddr)
            table = tables.child(entry, vaddr)
        return table

    def _noise(self, pages: range) -> None:
        """Random words, counters, pointers, and tables that point anywhere: of every word, and at the ends alone."""
        top = self.form.levels[0]
        tables = np.array([top.table(paddr) for paddr in range(0, SIZE, PAGE)], np.uint64)
        for page in pages:
            row, kind = self.words[page], page % KINDS
            numbers = self.random.integers(0, SIZE // PAGE, len(row))
            frames, entries = numbers.astype(np.uint64) * np.uint64(PAGE), tables[numbers]
            if kind == 0:
                row[:] = self.random.integers(0, 1 << 63, len(row), np.uint64)
            elif kind == 1:
                row[:] = np.arange(len(row), dtype=np.uint64) * np.uint64(3)
            elif kind == 2:
                row[:] = frames + np.uint64(0xFFFF_8880_0000_0000)
            elif kind == 3:
                row[:] = entries
            elif kind == 4:
                row[[0, 1, -2, -1]] = entries[:4]
            else:
                row[::16] = entries[::16]
