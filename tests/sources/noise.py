"""Memory that is full of what could be mistaken for page tables, and a small machine with real ones in it."""

from __future__ import annotations

import numpy as np

from pagewalk.formats import Flag, find_format
from pagewalk.frames import RangeAllocator
from pagewalk.memory import Ram
from pagewalk.tables import Entry, PageTables

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
        for at in range(0, size, PAGE):
            table = tables.root_table if vaddr < self.form.windows[0].end else tables.top(tables.windows[-1])
            while not table.level.is_last:
                entry = Entry(table, table.level.index(vaddr + at))
                if not entry.level.folds and entry.is_none:
                    tables.grow(entry, vaddr + at)
                table = tables.child(entry, vaddr + at)
            table.slots[table.level.index(vaddr + at)] = table.level.page(paddr + at, flags)

    def _noise(self, pages: range) -> None:
        """Random words, counters, pointers, and tables that point anywhere: of every word, and at the ends alone."""
        for page in pages:
            row, kind = self.words[page], page % KINDS
            frames = self.random.integers(0, SIZE // PAGE, len(row)).astype(np.uint64) * np.uint64(PAGE)
            table = self.form.levels[0].table(0)
            entries = np.array([self.form.levels[0].table(int(one)) for one in frames], np.uint64)
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
                row[::16] = entries[::16] | np.uint64(table)
