"""A small simulated world for tests: RAM, an allocator that counts, tables, VMAs, and a recorder of callbacks."""

from __future__ import annotations

from pagewalk.formats import Flag, find_format
from pagewalk.frames import CountingAllocator, RangeAllocator
from pagewalk.memory import Ram
from pagewalk.space import AddressSpace, Vma, VmaFlags
from pagewalk.tables import Entry, PageTables
from pagewalk.walk import WalkOps

RW = Flag.READ | Flag.WRITE | Flag.USER
K, M, G, T = 1 << 10, 1 << 20, 1 << 30, 1 << 40
PAGE = 4 * K


class World:
    """Page tables that may grow, in their own RAM."""

    def __init__(self, format_name="x86-64", ram=16 * M, fail_at=()):
        self.memory = Ram(ram)
        self.frames = CountingAllocator(RangeAllocator((PAGE, ram)), fail_at)
        self.tables = PageTables(self.memory, PAGE * 0, find_format(format_name), allocator=self.frames)
        self.space = AddressSpace(self.tables)

    @property
    def format(self):
        return self.tables.format

    def vma(self, start, end, flags=VmaFlags.READ | VmaFlags.WRITE, **rest):
        vma = Vma(start, end, flags, **rest)
        self.space.add_vma(vma)
        return vma

    def entry(self, vaddr, depth=4):
        """The entry for an address at a depth, growing the tables to it."""
        table = self.tables.root_table
        while table.level.depth < depth:
            entry = Entry(table, table.level.index(vaddr))
            if not entry.level.folds and entry.is_none:
                self.tables.grow(entry, vaddr)
            table = self.tables.child(entry, vaddr)
        return Entry(table, table.level.index(vaddr))

    def entry_as_it_is(self, vaddr, depth):
        """The entry for an address at a depth, whose tables are there."""
        table = self.tables.root_table
        while table.level.depth < depth:
            table = self.tables.child(Entry(table, table.level.index(vaddr)), vaddr)
        return Entry(table, table.level.index(vaddr))

    def put(self, vaddr, value, depth=4):
        """Set a raw entry."""
        self.entry(vaddr, depth).value = value

    def map(self, vaddr, paddr, flags=RW, depth=4):
        """Map a page of the depth's size."""
        self.put(vaddr, self.format.leaf_entry(paddr, int(flags), self.format.levels[depth]), depth)

    def leaves(self):
        """Every entry of the last step of the walk over both halves: ``{vaddr: (depth, raw)}``."""
        from pagewalk.walk import walk_page_range_novma

        found = {}

        def note(entry, addr, next_, walk):
            if not entry.is_none and not entry.is_table:
                found[addr] = (entry.level.depth, entry.value)

        ops = WalkOps(pud_entry=note, pmd_entry=note, pte_entry=note)
        for window in self.format.windows:
            walk_page_range_novma(self.tables, window.start, window.end, ops)
        return found

    def reachable(self):
        """Frames of every table that can be reached, without the root."""
        frames = set()

        def note(entry, addr, next_, walk):
            if entry.is_table:
                frames.add(entry.target)

        ops = WalkOps(p4d_entry=note, pud_entry=note, pmd_entry=note, pgd_entry=note)
        from pagewalk.walk import walk_page_range_novma

        for window in self.format.windows:
            walk_page_range_novma(self.tables, window.start, window.end, ops)
        return frames


class Recorder:
    """Callbacks that note every call as ``(name, addr, next, more)``.

    Args:
        names: Which callbacks there are.
        answers: ``{name: function(*arguments)}`` called after noting; its result is the callback's.
        lock: ``walk_lock``.
    """

    ENTRIES = ("pgd_entry", "p4d_entry", "pud_entry", "pmd_entry", "pte_entry")

    def __init__(self, *names, lock=None, **answers):
        self.calls = []
        callbacks = {name: self._callback(name, answers.get(name)) for name in {*names, *answers}}
        if lock is not None:
            callbacks["walk_lock"] = lock
        self.ops = WalkOps(**callbacks)

    def _callback(self, name, answer):
        def entry(entry, addr, next_, walk):
            self.calls.append((name, addr, next_, entry.value))
            return answer(entry, addr, next_, walk) if answer else None

        def hugetlb_entry(entry, hmask, addr, next_, walk):
            self.calls.append((name, addr, next_, hmask))
            return answer(entry, hmask, addr, next_, walk) if answer else None

        def pte_hole(addr, next_, depth, walk):
            self.calls.append((name, addr, next_, depth))
            return answer(addr, next_, depth, walk) if answer else None

        def ranged(addr, next_, walk):
            self.calls.append((name, addr, next_, None))
            return answer(addr, next_, walk) if answer else None

        def post_vma(walk):
            self.calls.append((name, walk.vma.start, walk.vma.end, None))
            return answer(walk) if answer else None

        kinds = {"hugetlb_entry": hugetlb_entry, "pte_hole": pte_hole, "post_vma": post_vma}
        return entry if name in self.ENTRIES else kinds.get(name, ranged)

    def named(self, name):
        """The calls of one callback, as ``(addr, next, more)``."""
        return [call[1:] for call in self.calls if call[0] == name]

    @property
    def names(self):
        return [call[0] for call in self.calls]
