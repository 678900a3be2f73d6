"""Contract, "Descent": which levels are gone into, folded levels, concurrent changes, raw tables, bad entries."""

import errno

import pytest

from pagewalk.errors import Malformed, ReservedBits, WalkError
from pagewalk.formats import Kind
from pagewalk.tables import PageTables
from pagewalk.walk import Action, WalkOps, walk_page_range, walk_page_range_novma
from pagewalk.walk.ranges import walk_page_range_mm
from pagewalk.walk.walker import MAX_LOOKS
from tests.world import PAGE, G, M, Recorder, World

BASE = 0x4000_0000


class Watched:
    """A memory that is not flat, and notes which entries were read."""

    def __init__(self, inner):
        self.inner = inner
        self.entries = set()

    def read(self, paddr, size):
        if size == 8:
            self.entries.add(paddr)
        return self.inner.read(paddr, size)


class TestDescendedOnlyForWork:
    """A level is descended into only when a callback for a lower level, or `install_pte`, is there."""

    def test_not_below_the_lowest_callback(self):
        world = World()
        world.map(BASE, 0x5000)
        watched = Watched(world.memory)
        tables = PageTables(watched, world.tables.root, world.format)
        pmd_table = world.entry(BASE, 3).table.paddr
        walk_page_range_novma(tables, BASE, BASE + PAGE, Recorder("pud_entry", "pte_hole").ops)
        assert pmd_table not in watched.entries
        walk_page_range_novma(tables, BASE, BASE + PAGE, Recorder("pmd_entry", "pte_hole").ops)
        assert pmd_table in watched.entries

    def test_pte_hole_alone_is_no_reason(self):
        world = World()
        world.map(BASE, 0x5000)
        recorder = Recorder("pte_hole")
        walk_page_range_novma(world.tables, BASE, BASE + 4 * M, recorder.ops)
        assert recorder.calls == []

    def test_install_pte_is_one(self):
        world = World()
        world.vma(BASE, BASE + PAGE)
        guard = world.format.last.marked("guard")
        walk_page_range_mm(world.space, BASE, BASE + PAGE, WalkOps(install_pte=lambda *_: guard))
        assert world.entry(BASE).value == guard


class TestFoldedLevels:
    """Folded levels (a 4-level format has no P4D) still get their callbacks, with the one real entry. A folded
    upper level is never "empty": emptiness is found at the lowest level of the fold, and its hole is reported
    with the real depth (0, not 1)."""

    def test_both_see_the_one_real_entry(self):
        world = World("x86-64")
        world.map(BASE, 0x5000)
        slots = []
        ops = WalkOps(
            pgd_entry=lambda entry, *_: slots.append((entry.level.name, entry.paddr, entry.value)),
            p4d_entry=lambda entry, *_: slots.append((entry.level.name, entry.paddr, entry.value)),
        )
        walk_page_range_novma(world.tables, BASE, BASE + PAGE, ops)
        (pgd, *at_pgd), (p4d, *at_p4d) = slots
        assert (pgd, p4d) == ("PGD", "P4D")
        assert at_pgd == at_p4d == [world.tables.root, world.entry(BASE, 1).value]

    def test_folded_pgd_is_never_empty(self):
        world = World("x86-64")
        recorder = Recorder("pgd_entry", "p4d_entry", "pte_hole")
        walk_page_range_novma(world.tables, BASE, BASE + PAGE, recorder.ops)
        assert recorder.calls == [("pgd_entry", BASE, BASE + PAGE, 0), ("pte_hole", BASE, BASE + PAGE, 0)]

    def test_five_levels_fold_nothing(self):
        world = World("x86-64-la57")
        recorder = Recorder("pgd_entry", "p4d_entry", "pte_hole")
        walk_page_range_novma(world.tables, BASE, BASE + PAGE, recorder.ops)
        assert recorder.calls == [("pte_hole", BASE, BASE + PAGE, 0)]
        world.entry(BASE, 1)
        recorder.calls.clear()
        walk_page_range_novma(world.tables, BASE, BASE + PAGE, recorder.ops)
        assert [call[0] for call in recorder.calls] == ["pgd_entry", "pte_hole"]
        assert recorder.calls[1][3] == 1

    def test_written_through_either(self):
        world = World("x86-64")
        world.map(BASE, 0x5000)

        def clear(entry, *_):
            entry.value = 0

        recorder = Recorder("p4d_entry", "pte_hole", pgd_entry=clear)
        walk_page_range_novma(world.tables, BASE, BASE + PAGE, recorder.ops)
        assert recorder.names == ["pgd_entry", "pte_hole"]


class TestConcurrentChange:
    """A table that vanished, or an upper entry that is not present or became huge while we looked (a concurrent
    change): AGAIN, never a stale read. Retries are bounded in our implementation; past the bound,
    WalkError(EAGAIN)."""

    def world(self):
        world = World()
        world.vma(BASE, BASE + G)
        world.map(BASE, 0x5000)
        return world

    @pytest.mark.parametrize(("name", "depth"), [("pud_entry", 2), ("pmd_entry", 3)])
    def test_vanished(self, name, depth):
        world = self.world()

        def vanish(entry, *_):
            entry.value = 0

        recorder = Recorder("pte_entry", "pte_hole", **{name: vanish})
        walk_page_range(world.space, BASE, BASE + PAGE, recorder.ops)
        assert recorder.calls[-1] == ("pte_hole", BASE, BASE + PAGE, depth)
        assert recorder.names == [name, "pte_hole"]

    def test_became_huge(self):
        world = self.world()
        huge = world.format.leaf_entry(4 * M, 7, world.format.levels[3])

        def collapse(entry, *_):
            if entry.is_table:
                entry.value = huge

        recorder = Recorder("pte_entry", pmd_entry=collapse)
        walk_page_range(world.space, BASE, BASE + PAGE, recorder.ops)
        assert recorder.names == ["pmd_entry", "pte_entry"]
        assert world.tables.translate(BASE).paddr == 4 * M

    def test_never_a_stale_read(self):
        world = self.world()
        other = world.entry(BASE + 2 * M, depth=4).table.paddr
        world.map(BASE + 2 * M, 0x9000)

        def move(entry, addr, next_, walk):
            entry.value = world.format.table_entry(other)

        targets = []
        ops = WalkOps(pmd_entry=move, pte_entry=lambda entry, *_: targets.append(entry.target))
        walk_page_range(world.space, BASE, BASE + PAGE, ops)
        assert targets == [0x9000]

    def test_bounded(self):
        world = self.world()
        odd = world.format.last.swap(1, 5)
        world.put(BASE, odd, depth=3)
        recorder = Recorder("pmd_entry", "pte_entry")
        with pytest.raises(WalkError, match=f"{BASE:#x}") as caught:
            walk_page_range(world.space, BASE, BASE + PAGE, recorder.ops)
        assert caught.value.errno == errno.EAGAIN
        assert recorder.names == ["pmd_entry"] * MAX_LOOKS

    def test_again_for_ever_is_bounded_too(self):
        world = self.world()

        def again(entry, addr, next_, walk):
            walk.action = Action.AGAIN

        with pytest.raises(WalkError) as caught:
            walk_page_range(world.space, BASE, BASE + PAGE, WalkOps(pmd_entry=again))
        assert caught.value.errno == errno.EAGAIN


class TestWithoutVmas:
    """Without VMAs (`no_vma`): huge and not-present upper entries are given to their callback and not descended
    into."""

    @pytest.mark.parametrize(("name", "depth"), [("pud_entry", 2), ("pmd_entry", 3)])
    def test_huge(self, name, depth):
        world = World()
        world.map(BASE, 0, depth=depth)
        before = world.leaves()
        recorder = Recorder(name, "pte_entry", "pte_hole")
        walk_page_range_novma(world.tables, BASE, BASE + PAGE, recorder.ops)
        assert recorder.names == [name]
        assert world.leaves() == before

    def test_not_present(self):
        world = World()
        world.put(BASE, world.format.last.swap(25, 512), depth=3)
        recorder = Recorder("pmd_entry", "pte_entry", "pte_hole")
        walk_page_range_novma(world.tables, BASE, BASE + PAGE, recorder.ops)
        assert recorder.names == ["pmd_entry"]


class TestBadEntries:
    """`bad` upper entries (reserved bits, a table outside memory): the kernel clears them; we never destroy
    evidence: Malformed is raised, or collected if the walk is asked to collect."""

    OUTSIDE = 0x0000_1234_5000_0067
    RESERVED = 0x0000_0000_0060_2087 | 1 << 14

    @pytest.fixture(params=["outside", "reserved", "pml4-ps"])
    def bad(self, request):
        world = World()
        world.map(BASE, 0x5000)
        if request.param == "outside":
            world.put(BASE + 2 * M, self.OUTSIDE, depth=3)
            return world, BASE + 2 * M, 3, self.OUTSIDE, Malformed
        if request.param == "reserved":
            world.put(BASE + 2 * M, self.RESERVED, depth=3)
            return world, BASE + 2 * M, 3, self.RESERVED, ReservedBits
        world.put(1 << 39, 0x1087, depth=1)
        return world, 1 << 39, 0, 0x1087, ReservedBits

    def test_raised_with_where_and_what(self, bad):
        world, vaddr, depth, value, error = bad
        with pytest.raises(error, match=f"{vaddr:#x}") as caught:
            walk_page_range_novma(world.tables, BASE, (1 << 39) + PAGE, Recorder("pte_entry").ops)
        assert (caught.value.vaddr, caught.value.depth, caught.value.entry) == (vaddr, depth, value)

    def test_collected(self, bad):
        world, vaddr, depth, value, error = bad
        findings = []
        recorder = Recorder("pmd_entry", "pte_entry")
        end = (1 << 39) + PAGE
        assert walk_page_range_novma(world.tables, BASE, end, recorder.ops, findings=findings) == 0
        (finding,) = findings
        assert type(finding) is error
        assert (finding.vaddr, finding.depth, finding.entry) == (vaddr, depth, value)
        assert len(recorder.named("pte_entry")) == 512
        assert vaddr not in [addr for addr, *_ in recorder.named("pmd_entry")]

    def test_evidence_stays(self, bad):
        world, vaddr, depth, value, _ = bad
        walk_page_range_novma(world.tables, BASE, (1 << 39) + PAGE, Recorder("pte_entry").ops, findings=[])
        assert world.entry(vaddr, max(depth, 1)).value == value

    def test_root_outside_memory(self):
        world = World()
        world.tables.root = 1 << 40
        with pytest.raises(Malformed, match="0x10000000000"):
            walk_page_range_novma(world.tables, BASE, BASE + PAGE, Recorder("pte_entry").ops)

    def test_a_table_that_is_its_own_ancestor_is_followed(self):
        world = World()
        root = world.tables.root
        world.tables.root_table.slots[0] = world.format.table_entry(root)
        findings, seen = [], []
        ops = WalkOps(pte_entry=lambda entry, *_: seen.append(entry.kind))
        walk_page_range_novma(world.tables, 0, 2 * M, ops, findings=findings)
        assert seen == [Kind.PRESENT] + [Kind.NONE] * 511
        assert findings == []
