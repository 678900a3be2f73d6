"""Changing page tables: what ``grow`` and ``split`` refuse, nothing allocated and nothing changed."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.formats import FORMATS as ALL
from pagewalk.formats import find_format
from tests.property.entries import ANY
from tests.world import PAGE, RW, G, M, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.tables import Entry

BASE = 0x4000_0000
FORMATS = pytest.mark.parametrize("name", ["x86-64", "x86-64-la57"])


def refused(world: World, change: Callable[[Entry, int], None], entry: Entry) -> str:
    """Try a change: it is refused, and that is all that happens."""
    before, frames = world.memory.read(0, 16 * M), sorted(world.frames.outstanding)
    with pytest.raises(pw.WalkError) as caught:
        change(entry, BASE)
    assert caught.value.errno == errno.EINVAL
    assert (world.memory.read(0, 16 * M), sorted(world.frames.outstanding)) == (before, frames)
    assert hex(entry.value) in str(caught.value)
    return str(caught.value)


@FORMATS
class TestGrow:
    """A table is linked under an empty entry, and nowhere else."""

    @pytest.mark.parametrize("depth", [2, 3])
    def test_not_over_a_huge_page(self, name: str, depth: int) -> None:
        world = World(name)
        world.map(BASE, 2 * G, depth=depth)
        assert "split a page" in refused(world, world.tables.grow, world.entry(BASE, depth))
        assert world.tables.translate(BASE).paddr == 2 * G

    def test_not_over_a_table(self, name: str) -> None:
        """Its pages would be gone, and its frame lost."""
        world = World(name)
        world.map(BASE, PAGE)
        for entry in list(world.tables.steps(BASE))[:-1]:
            refused(world, world.tables.grow, entry)
        assert world.tables.translate(BASE).paddr == PAGE

    def test_not_over_a_marker(self, name: str) -> None:
        world = World(name)
        world.put(BASE, world.format.last.marked("guard"), depth=3)
        refused(world, world.tables.grow, world.entry(BASE, 3))

    def test_not_below_the_last_level(self, name: str) -> None:
        world = World(name)
        assert "no table goes below" in refused(world, world.tables.grow, world.entry(BASE, 4))

    def test_not_by_other_tables(self, name: str) -> None:
        """The frame would be theirs, and named in our memory."""
        world, other = World(name), World(name)
        assert "belongs to other tables" in refused(world, other.tables.grow, world.entry(BASE, 3))
        assert not other.frames.outstanding

    def test_by_tables_of_the_same_memory(self, name: str) -> None:
        """As where a walk has another root."""
        world = World(name)
        again = pw.PageTables(world.memory, 0, name, allocator=world.frames)
        entry = world.entry(BASE, 3)
        again.grow(entry, BASE)
        assert entry.is_table

    def test_an_entry_with_stray_bits_is_empty(self, name: str) -> None:
        """Accessed and dirty alone are no content (``pte_none``)."""
        world = World(name)
        world.put(BASE, 0x60, depth=3)
        world.tables.grow(world.entry(BASE, 3), BASE)
        assert world.entry(BASE, 3).is_table


@FORMATS
class TestSplit:
    """What is split is a page above the last level, or one on its way elsewhere."""

    @pytest.mark.parametrize("depth", [0, 1, 2, 3])
    def test_not_an_empty_entry(self, name: str, depth: int) -> None:
        world = World(name)
        assert "no page" in refused(world, world.tables.split, world.entry(BASE, depth))

    @pytest.mark.parametrize("depth", [0, 1, 2, 3])
    def test_not_a_table(self, name: str, depth: int) -> None:
        world = World(name)
        world.map(BASE, PAGE)
        refused(world, world.tables.split, world.entry(BASE, depth))

    def test_not_a_page_of_the_last_level(self, name: str) -> None:
        world = World(name)
        world.map(BASE, PAGE)
        refused(world, world.tables.split, world.entry(BASE, 4))

    def test_not_by_other_tables(self, name: str) -> None:
        world, other = World(name), World(name)
        world.map(BASE, 2 * M, depth=3)
        refused(world, other.tables.split, world.entry(BASE, 3))
        assert not other.frames.outstanding

    def test_the_machine_neither(self, name: str) -> None:
        """A simulated machine's tables split into a table that was set aside: there must be one."""
        mm = pw.Machine(4 * M, name).mm()
        at = mm.mmap(PAGE, 3)
        mm.write(at, b"x")
        for entry in mm.tables.steps(at):
            with pytest.raises(pw.WalkError):
                mm.tables.split(entry, at)
        mm.exit()


@settings(deadline=None)
@given(st.sampled_from(["x86-64", "x86-64-la57"]), st.sampled_from([2, 3, 4]), ANY)
def test_no_change_loses_what_is_there(name: str, depth: int, raw: int) -> None:
    """Whatever an entry holds: it is refused, or everything below it translates as before."""
    world = World(name, ram=1 * M)
    world.map(BASE + 2 * G, PAGE, RW)
    world.put(BASE, raw, depth)
    entry, before = world.entry_as_it_is(BASE, depth), world.memory.read(0, 1 * M)
    empty, span, wrong = entry.is_none, entry.level.span, entry.level.wrong(raw)
    page = world.tables.translate(BASE) if entry.is_leaf and not wrong else None
    for change in (world.tables.grow, world.tables.split):
        try:
            change(entry, BASE)
        except pw.WalkError:
            assert world.memory.read(0, 1 * M) == before
            continue
        assert entry.is_table
        assert empty or page is not None or not entry.level.is_valid(raw) or wrong
        if page is not None and page.paddr is not None:
            below = world.tables.translate(BASE + span // 2)
            assert (below.paddr, below.page_size < span) == (page.paddr + span // 2, True)
        return
    assert not empty or depth == 4


class TestEntryValue:
    """An entry holds 64 bits."""

    @pytest.mark.parametrize("value", [-1, 1 << 64])
    def test_no_more(self, value: int) -> None:
        entry = World().entry(BASE)
        with pytest.raises(ValueError, match="64 bits"):
            entry.value = value

    def test_not_in_a_memory_without_write(self) -> None:
        class Rom:
            def read(self, paddr: int, size: int) -> bytes:
                return bytes(size)

        entry = next(iter(pw.PageTables(Rom(), 0).steps(0)))
        with pytest.raises(pw.MemoryWriteError):
            entry.value = 1


@pytest.mark.parametrize("name", ALL)
def test_a_new_table_is_empty_whatever_was_there(name: str) -> None:
    """Under an entry that a folded level shows once more, too."""
    form = find_format(name)
    memory = pw.Ram(1 * M)
    memory.write(0, b"\xa5" * (1 * M))
    root = form.levels[0]
    size = max(level.table_bytes for level in form.levels)
    memory.write(0, root.word.pack([root.none] * root.entries))
    tables = pw.PageTables(memory, 0, form, allocator=pw.RangeAllocator((size, 1 * M)))
    entry = pw.Entry(tables.root_table, 0)
    tables.grow(entry, 0)
    below = root.beneath
    assert below is not None
    assert memory.read(int(entry.target or 0), below.table_bytes) == below.word.pack([below.none] * below.entries)
