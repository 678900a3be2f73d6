"""Fakes that lead to a program's real tables: by a directory of their own, at whatever level."""

from __future__ import annotations

import numpy as np
import pytest

from pagewalk.formats import Flag, find_format
from pagewalk.frames import RangeAllocator
from pagewalk.memory import Ram
from pagewalk.sources import Source
from pagewalk.tables import Entry, PageTables

SIZE = 8 << 20
PROGRAMS = 3
_PAGE = Flag.READ | Flag.WRITE | Flag.USER


class Slab:
    """Memory with programs whose roots lie side by side in slots of a page, and frames to plant fakes in.

    Args:
        name: A format whose top tables are smaller than a page.
    """

    def __init__(self, name: str) -> None:
        self.form = find_format(name)
        self.memory = Ram(SIZE)
        self.words = np.frombuffer(self.memory.segments[0].data, np.uint64)
        self.slot, self.table = (self.form.levels[at].table_bytes for at in (0, -1))
        self.frames = RangeAllocator((self.table, SIZE), frame_size=self.table)
        page = self.frames.allocate()
        self.roots = [page + (2 * number + 1) * self.slot for number in range(PROGRAMS)]
        for root in self.roots:
            self._map(root)

    def _map(self, root: int) -> None:
        """A few pages near the bottom, and a stack near the top of 47 bits."""
        tables = PageTables(self.memory, root, self.form, allocator=self.frames)
        for vaddr in (1 << 22, (1 << 47) - (1 << 30)):
            table = tables.root_table
            while not table.level.is_last:
                entry = Entry(table, table.level.index(vaddr))
                if entry.is_none:
                    tables.grow(entry, vaddr)
                table = tables.child(entry, vaddr)
            for slot in range(8):
                table.slots[table.level.index(vaddr) + slot] = table.level.page(SIZE // 2 + slot * self.table, _PAGE)

    def path(self, root: int, vaddr: int) -> list[int]:
        """The entries on the way to an address, the root's first; of tables."""
        tables = PageTables(self.memory, root, self.form)
        table, found = tables.root_table, []
        while not table.level.is_last:
            entry = Entry(table, table.level.index(vaddr))
            found.append(int(entry.value))
            table = tables.child(entry, vaddr)
        return found

    def plant(self, root: int, depth: int, slot: int) -> int:
        """A fake root in a slot of a page of its own, whose directories lead to a program's tables from a level on.

        Args:
            root: The program's.
            depth: How many directories are the fake's own.
            slot: Which one.
        """
        vaddr = 1 << 22
        entry = self.path(root, vaddr)[depth]
        for level in reversed(self.form.levels[1 : depth + 1]):
            directory = self.frames.allocate()
            self.words[directory // 8 + level.index(vaddr)] = entry
            entry = self.form.levels[0].table(directory)
        fake = self.frames.allocate() + slot * self.slot
        self.words[fake // 8] = entry
        return fake


@pytest.fixture(params=["arm64-4k-lpa2", "arm64-16k-lpa2"])
def slab(request):
    return Slab(request.param)


def found(slab):
    rows = Source("memory", "raw", slab.memory).roots(formats=[slab.form.name])
    return sorted(rows["root"].tolist())


def test_programs_in_slots_are_found(slab):
    assert found(slab) == slab.roots


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_leads_to_anothers_tables_is_no_root(slab, depth):
    """No two programs have a table of the last level in common, so it is a fake's; a slab's slots stand together."""
    slab.plant(slab.roots[1], depth, slot=5)
    assert found(slab) == slab.roots


def test_of_two_alone_the_one_with_more_tables_is_the_root(slab):
    """Here nothing lies beside either: a fake leads to a part of what the root has."""
    slab.words[np.array(slab.roots[1:]) // 8] = 0
    fake = slab.plant(slab.roots[0], 1, slot=0)
    assert fake not in found(slab)
    assert found(slab) == slab.roots[:1]
