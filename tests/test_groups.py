"""Groups of entries that are one page: unfolded before one of them changes (``tables/groups.py``)."""

from __future__ import annotations

import pytest

import pagewalk as pw
from pagewalk.formats import FORMATS, Flag, Kind, find_format
from pagewalk.tables import Entry, PageTables
from pagewalk.tables.groups import unfold

RIGHTS = int(Flag.READ | Flag.WRITE | Flag.USER)
AGED = Flag.ACCESSED | Flag.DIRTY
GROUPS = [
    (name, level.depth, row.order)
    for name in FORMATS
    for level in find_format(name).real_levels
    for row in level.rows
    if row.kind is Kind.PRESENT and row.order
]
EVERY_GROUP = pytest.mark.parametrize(("name", "depth", "order"), GROUPS, ids=str)


class Group:
    """A group in tables of its own; one of its entries says accessed and dirty."""

    def __init__(self, name, depth, order):
        form = find_format(name)
        size = max(level.table_bytes for level in form.real_levels)
        memory = pw.Ram(16 * size)
        frames = pw.RangeAllocator((size, 16 * size), frame_size=size)
        self.tables = PageTables(memory, 0, form, allocator=frames)
        self.level = level = form.levels[depth]
        self.row = next(row for row in level.rows if row.kind is Kind.PRESENT and row.order == order)
        self.vaddr, self.paddr, self.count = 5 * level.span << order, 3 * level.span << order, 1 << order
        for at in range(self.count):
            flags = RIGHTS | int(AGED) * (at == 2)
            entry = self.entry(at)
            said = level.said(self.row, flags)
            entry.table.slots[entry.index] = level.codec.make(self.row, self.paddr + at * level.span, said)

    def entry(self, at):
        """The entry of one page, its tables grown."""
        vaddr = self.vaddr + at * self.level.span
        table = self.tables.root_table
        while table.level.depth < self.level.depth:
            entry = Entry(table, table.level.index(vaddr))
            if not entry.level.folds and entry.is_none:
                self.tables.grow(entry, vaddr)
            table = self.tables.child(entry, vaddr)
        return Entry(table, table.level.index(vaddr))

    def pages(self):
        """Where each page is, how large its page is, and what may be done to it."""
        found = []
        for at in range(self.count):
            page = self.tables.translate(self.vaddr + at * self.level.span)
            found.append((page.paddr, page.page_size, page.flags & ~(AGED | Flag.GROUPED), page.flags & AGED))
        return found


@EVERY_GROUP
class TestBeforeOneChanges:
    def test_seen_as_one_page(self, name, depth, order):
        group = Group(name, depth, order)
        span = group.level.span << order
        assert {size for _, size, *_ in group.pages()} == {span}
        rows = pw.mappings(group.tables, group.vaddr, group.vaddr + span)
        assert (rows["vaddr"][0], rows["paddr"][0], rows["size"].sum()) == (group.vaddr, group.paddr, span)
        assert set(rows["page_size"].tolist()) == {span}

    def test_the_others_stand_alone(self, name, depth, order):
        """They map what they mapped, and each says accessed and dirty if one did."""
        group = Group(name, depth, order)
        before = group.pages()
        group.entry(1).value = group.level.none
        with pytest.raises(pw.NotPresent):
            group.tables.translate(group.vaddr + group.level.span)
        group.entry(1).value = group.level.page(group.paddr + group.level.span, RIGHTS | int(AGED))
        assert group.pages() == [
            (group.paddr + at * group.level.span, group.level.span, rights, AGED)
            for at, (_, _, rights, _) in enumerate(before)
        ]

    def test_the_same_value_changes_nothing(self, name, depth, order):
        group = Group(name, depth, order)
        before = group.pages()
        group.entry(1).value = group.entry(1).value
        assert group.pages() == before

    def test_split(self, name, depth, order):
        group = Group(name, depth, order)
        if group.level.is_last:
            with pytest.raises(pw.WalkError):
                group.tables.split(group.entry(1), group.vaddr)
            return
        before = group.pages()
        group.tables.split(group.entry(1), group.vaddr + group.level.span)
        below, after = group.level.below.span, group.pages()
        sizes = [below if at == 1 else group.level.span for at in range(group.count)]
        assert [size for _, size, *_ in after] == sizes
        assert [(page[0], page[2]) for page in after] == [(page[0], page[2]) for page in before]
        end = group.tables.translate(group.vaddr + 2 * group.level.span - below)
        assert (end.paddr, end.page_size) == (group.paddr + 2 * group.level.span - below, below)


class Slots(list[int]):
    """Slots that note what is written, and may fail."""

    def __init__(self, values, fails=-1):
        super().__init__(values)
        self.written, self.fails = [], fails

    def __setitem__(self, index, value):
        if len(self.written) == self.fails:
            self.fails = -1
            raise KeyboardInterrupt
        self.written.append(value)
        super().__setitem__(index, value)


@EVERY_GROUP
class TestUnfold:
    def raw(self, name, depth, order):
        """A group's level and slots."""
        entry = Group(name, depth, order).entry(0)
        return entry.level, [entry.table.slots[at] for at in range(entry.level.entries)], entry.index

    def test_break_before_make(self, name, depth, order):
        """Every entry is empty before the first stands alone."""
        level, values, index = self.raw(name, depth, order)
        slots, count = Slots(values), 1 << order
        unfold(level, slots, index + 1)
        assert slots.written[:count] == [level.none] * count
        assert len(slots.written) == 2 * count
        assert all(level.decode(value).row.order == 0 for value in slots.written[count:])

    def test_all_or_nothing(self, name, depth, order):
        level, values, index = self.raw(name, depth, order)
        for fails in range(0, 2 << order, max(1, (2 << order) // 8)):
            slots = Slots(values, fails)
            with pytest.raises(KeyboardInterrupt):
                unfold(level, slots, index)
            assert list(slots) == values

    def test_what_is_of_no_group(self, name, depth, order):
        level, values, index = self.raw(name, depth, order)
        values[index + 1] = level.none
        slots = Slots(values)
        unfold(level, slots, index + 1)
        assert slots.written == []
