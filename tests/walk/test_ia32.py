"""32-bit x86: two levels of 4-byte entries, or PAE with its root of 32 bytes: walked, grown, split, installed into."""

from __future__ import annotations

import errno

import pytest

import pagewalk as pw
from pagewalk.formats import Flag, Kind, find_format
from pagewalk.memory import Segment
from pagewalk.walk import SKIP, WalkOps, walk_page_range, walk_page_range_novma
from pagewalk.walk.ranges import walk_page_range_mm
from tests.world import PAGE, RW, G, M, Recorder, World

BASE = 0x4000_0000
END = 1 << 32
HUGE = {"ia32": 4 * M, "pae": 2 * M}
both = pytest.mark.parametrize("name", ["ia32", "pae"])


@both
class TestShape:
    def test_levels(self, name):
        form = find_format(name)
        assert [level.table_bytes for level in form.real_levels] == {"ia32": [4096] * 2, "pae": [32, 4096, 4096]}[name]
        assert form.page_sizes == (PAGE, HUGE[name])
        assert [level.real_depth for level in form.levels] == {"ia32": [0, 0, 0, 0, 4], "pae": [0, 0, 0, 3, 4]}[name]

    def test_the_walk_sees_five_levels(self, name):
        """Folded levels show the entry of the level above once more."""
        world = World(name)
        world.map(BASE, 0x5000)
        recorder = Recorder(*Recorder.ENTRIES)
        walk_page_range_novma(world.tables, BASE, BASE + PAGE, recorder.ops)
        assert recorder.names == ["pgd_entry", "p4d_entry", "pud_entry", "pmd_entry", "pte_entry"]
        assert len({value for _, _, _, value in recorder.calls}) == len(world.format.real_levels)

    def test_the_last_page_there_is(self, name):
        world = World(name)
        world.map(END - PAGE, 0x7000)
        assert world.leaves() == {END - PAGE: (4, world.entry(END - PAGE).value)}
        rows = pw.mappings(world.tables)
        assert (rows["vaddr"].tolist(), rows["paddr"].tolist()) == ([END - PAGE], [0x7000])
        with pytest.raises(pw.NonCanonical, match=f"{name} has addresses below 0x100000000"):
            world.tables.translate(END)


@both
class TestGrow:
    def test_linked_with_every_right(self, name):
        world = World(name)
        world.map(BASE, 0x5000)
        entries = list(world.tables.steps(BASE))
        assert [entry.is_table for entry in entries] == [True] * (len(entries) - 1) + [False]
        assert world.frames.outstanding == world.reachable()
        assert world.tables.translate(BASE).flags & Flag.rights() == RW | Flag.EXEC * (name == "ia32")

    def test_a_table_above_what_entries_name(self, name):
        """4 GiB for entries of 4 bytes, which had been cut off; the frame is given back."""
        world = World(name)
        high = pw.RangeAllocator((4 * G, 4 * G + PAGE))
        memory = pw.FlatMemory([Segment(0, memoryview(bytearray(PAGE))), Segment(4 * G, memoryview(bytearray(PAGE)))])
        tables = pw.PageTables(memory, 0, world.format, allocator=high)
        entry = next(tables.steps(BASE))
        if name == "pae":
            tables.grow(entry, BASE)
            assert entry.target == 4 * G
            return
        with pytest.raises(ValueError, match="0x100000000 is no address of a table that PGD entries can name"):
            tables.grow(entry, BASE)
        assert entry.is_none
        assert not high.in_use


@both
class TestSplit:
    @pytest.mark.parametrize("shut", [False, True])
    def test_every_page_is_where_it_was(self, name, shut):
        world, size = World(name), HUGE[name]
        upper = world.format.levels[3]
        value = upper.page(2 * size, int(RW | Flag.DIRTY), memory=4)
        world.put(BASE, upper.without_rights(value) if shut else value, depth=3)
        before = [pw.translate(world.tables, range(BASE, BASE + size, PAGE)), world.tables.translate(BASE)]
        entry = world.entry_as_it_is(BASE, 3)
        world.tables.split(entry, BASE)
        paddrs, _ = pw.translate(world.tables, range(BASE, BASE + size, PAGE))
        assert paddrs.tolist() == before[0][0].tolist() == list(range(2 * size, 3 * size, PAGE))
        after = world.tables.translate(BASE)
        assert (after.kind, after.flags, after.page_size) == (before[1].kind, before[1].flags, PAGE)
        assert after.entry.level.decode(after.entry.value).memory == 4

    def test_on_the_way_of_a_walk(self, name):
        world = World(name)
        world.vma(BASE, BASE + HUGE[name])
        world.map(BASE, 2 * HUGE[name], depth=3)
        recorder = Recorder("pte_entry")
        walk_page_range(world.space, BASE + PAGE, BASE + 2 * PAGE, recorder.ops)
        assert [addr for addr, _, _ in recorder.named("pte_entry")] == [BASE + PAGE]
        assert world.tables.translate(BASE).page_size == PAGE


def test_a_page_above_4_gib_cannot_be_split():
    """PSE-36: entries of 4 KiB pages have no room for its address."""
    world = World("ia32")
    world.put(BASE, 0x0040_20E7, depth=3)
    entry = world.entry_as_it_is(BASE, 3)
    assert world.tables.translate(BASE).paddr == 0x1_0040_0000
    with pytest.raises(pw.WalkError, match="its frame at 0x100400000 is none that PTE entries can name") as caught:
        world.tables.split(entry, BASE)
    assert caught.value.errno == errno.EINVAL
    assert (entry.value, world.frames.outstanding) == (0x0040_20E7, set())


@both
class TestInstall:
    def test_tables_are_made_and_entries_set(self, name):
        world = World(name)
        world.vma(BASE, BASE + 8 * M)
        guard = world.format.last.marked("guard")
        ops = WalkOps(install_pte=lambda addr, *_: guard if addr % (2 * PAGE) else SKIP)
        walk_page_range_mm(world.space, BASE, BASE + 8 * M, ops)
        found = world.leaves()
        assert set(found) == set(range(BASE + PAGE, BASE + 8 * M, 2 * PAGE))
        assert set(found.values()) == {(4, guard)}
        assert world.frames.outstanding == world.reachable()

    @pytest.mark.parametrize("at", range(1, 4))
    def test_without_a_frame(self, name, at):
        """OutOfFrames says where; what was linked stays, and nothing is lost."""
        world = World(name, fail_at=[at])
        world.vma(BASE, BASE + 12 * M)
        with pytest.raises(pw.OutOfFrames) as caught:
            walk_page_range_mm(world.space, BASE, BASE + 12 * M, WalkOps(install_pte=lambda *_: 0x5067))
        last_level = at - 1 if name == "ia32" else max(at - 2, 0)
        assert caught.value.vaddr == BASE + last_level * HUGE[name]
        assert caught.value.depth == (0 if name == "ia32" or at == 1 else 3)
        assert world.frames.outstanding == world.reachable()

    def test_protnone_pages_are_there(self, name):
        world = World(name)
        world.put(BASE, world.format.last.without_rights(world.format.leaf_entry(0x5000, int(RW))))
        page = world.tables.translate(BASE)
        assert (page.kind, page.paddr) == (Kind.PROT_NONE, 0x5000)
        with pytest.raises(pw.NotPresent):
            world.tables.translate(BASE, hardware=True)
