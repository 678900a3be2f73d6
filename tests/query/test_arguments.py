"""What the queries take, give and refuse."""

import errno

import numpy as np
import pytest

from pagewalk.errors import Malformed, NonCanonical, ReservedBits, UnsupportedError, WalkError
from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.memory import FlatMemory, Segment
from pagewalk.query import HOLE, MAPPING, holes, mappings, translate
from pagewalk.query import PAGE as PAGE_DTYPE
from pagewalk.tables import PageTables
from tests.world import PAGE, RW, G, K, M, World

BASE = 0x4000_0000
UPPER = 0xFFFF_8000_0000_0000


@pytest.fixture
def world():
    return World()


class TestRanges:
    def test_huge_pages_are_cut_at_the_range(self, world):
        world.map(BASE, 8 * M, depth=3)
        (row,) = mappings(world.tables, BASE + 8 * K, BASE + 16 * K)
        assert row.tolist()[:4] == (BASE + 8 * K, 8 * M + 8 * K, 8 * K, 2 * M)

    def test_the_default_is_both_halves(self, world):
        world.map(0, PAGE)
        world.map((1 << 64) - PAGE, PAGE)
        assert mappings(world.tables)["vaddr"].tolist() == [0, (1 << 64) - PAGE]
        gaps = holes(world.tables)
        assert int(gaps["size"].sum()) == (1 << 48) - 2 * PAGE

    def test_an_address_space_stands_for_its_tables(self, world):
        world.map(BASE, PAGE)
        assert mappings(world.space).tolist() == mappings(world.tables).tolist()
        assert holes(world.space).tolist() == holes(world.tables).tolist()
        assert translate(world.space, [BASE])[0].tolist() == [PAGE]

    @pytest.mark.parametrize("ask", [mappings, holes])
    @pytest.mark.parametrize(("start", "end"), [(PAGE, PAGE), (2 * PAGE, PAGE), (0, 100), (1, PAGE)])
    def test_no_range(self, world, ask, start, end):
        with pytest.raises(WalkError) as caught:
            ask(world.tables, start, end)
        assert caught.value.errno == errno.EINVAL

    @pytest.mark.parametrize(
        ("start", "end"), [(1 << 47, UPPER), (0, (1 << 47) + PAGE), (UPPER - PAGE, None), (0, 1 << 65)]
    )
    def test_bounds_between_the_halves(self, world, start, end):
        with pytest.raises(NonCanonical):
            mappings(world.tables, start, end)


class TestResults:
    def test_dtypes(self, world):
        assert mappings(world.tables).dtype == MAPPING
        assert mappings(world.tables, coalesce=False).dtype == PAGE_DTYPE
        assert holes(world.tables).dtype == HOLE

    def test_rights_are_what_all_levels_grant(self, world):
        world.map(BASE, PAGE, RW | Flag.EXEC | Flag.DIRTY)
        above = world.entry(BASE, 3)
        above.value &= ~2 & (1 << 64) - 1
        (row,) = mappings(world.tables)
        assert Flag(row["flags"].item()) == Flag.READ | Flag.USER | Flag.EXEC | Flag.DIRTY

    def test_neighbours_join_only_when_alike(self, world):
        frames = [PAGE, 2 * PAGE, 4 * PAGE, 5 * PAGE]
        for at, frame in enumerate(frames):
            world.map(BASE + at * PAGE, frame, RW if at < 3 else RW | Flag.DIRTY)
        assert mappings(world.tables)["size"].tolist() == [2 * PAGE, PAGE, PAGE]

    def test_markers_join_without_frames(self, world):
        for at in range(3):
            world.put(BASE + at * PAGE, world.format.last.marked("guard"))
        (row,) = mappings(world.tables)
        assert (row["paddr"], row["size"], row["kind"]) == (NO_PADDR, 3 * PAGE, Kind.GUARD)

    def test_runs_join_across_tables_and_sizes_do_not(self, world):
        world.map(BASE, 8 * M, depth=3)
        world.map(BASE + 2 * M, 10 * M, depth=3)
        world.map(BASE + 4 * M, 12 * M)
        assert mappings(world.tables)[["size", "page_size"]].tolist() == [(4 * M, 2 * M), (PAGE, PAGE)]

    def test_a_shared_table_is_listed_under_each_address(self, world):
        world.map(BASE, PAGE)
        world.entry(BASE + G, 2).value = world.entry(BASE, 2).value
        assert mappings(world.tables)["vaddr"].tolist() == [BASE, BASE + G]

    def test_more_tables_than_a_batch_holds(self):
        world = World(ram=8 * M)
        for at in range(1100):
            world.map(BASE + at * 2 * M, at * PAGE)
        rows = mappings(world.tables)
        assert rows["paddr"].tolist() == [at * PAGE for at in range(1100)]
        paddrs, mapped = translate(world.tables, rows["vaddr"])
        assert mapped.all()
        assert (paddrs == rows["paddr"]).all()


class TestTranslateArguments:
    def test_upper_half_addresses_in_a_list(self, world):
        world.map(UPPER, PAGE)
        assert translate(world.tables, [UPPER + 7, 1])[0].tolist() == [PAGE + 7, NO_PADDR]

    def test_nothing(self, world):
        assert [len(part) for part in translate(world.tables, [])] == [0, 0]
        assert [len(part) for part in translate(world.tables, [], access="user-write")] == [0, 0]

    @pytest.mark.parametrize("wrong", ["user-wriet", "write", "", 7])
    def test_an_access_that_is_none(self, world, wrong):
        with pytest.raises(ValueError, match="access is one of 'user-read', 'user-write', 'user-execute'"):
            translate(world.tables, [BASE], access=wrong)

    @pytest.mark.parametrize("vaddrs", [np.array([1.0]), np.array([[1]]), np.array([True])])
    def test_no_addresses(self, world, vaddrs):
        with pytest.raises(TypeError):
            translate(world.tables, vaddrs)

    def test_negative(self, world):
        with pytest.raises(ValueError, match="negative"):
            translate(world.tables, np.array([-4096]))
        with pytest.raises(ValueError, match="negative"):
            translate(world.tables, [-4096])

    def test_not_canonical(self, world):
        with pytest.raises(NonCanonical) as caught:
            translate(world.tables, [0, 1 << 47])
        assert caught.value.vaddr == 1 << 47
        findings = []
        assert translate(world.tables, [0, 1 << 47], findings=findings)[1].tolist() == [False, False]
        assert [type(error) for error in findings] == [NonCanonical]


def broken(kind, world):
    """Put something wrong at BASE, and a sound page beside it."""
    world.map(BASE + 4 * M, PAGE)
    world.map(BASE, PAGE)
    if kind is ReservedBits:
        world.put(BASE + 2 * M, 1 << 13 | 0x80 | 1, depth=3)
    else:
        world.put(BASE + 2 * M, world.format.table_entry(64 * G), depth=3)


@pytest.mark.parametrize("kind", [ReservedBits, Malformed])
class TestWrongTables:
    def test_raised_as_the_scalar_walk_raises(self, world, kind):
        broken(kind, world)
        with pytest.raises(kind) as scalar:
            world.tables.translate(BASE + 2 * M)
        for ask in (mappings, holes, lambda tables: translate(tables, [BASE + 2 * M])):
            with pytest.raises(kind) as caught:
                ask(world.tables)
            same = [(error.vaddr, error.depth, error.entry, str(error)) for error in (caught.value, scalar.value)]
            assert same[0] == same[1]

    def test_collected_and_passed_over(self, world, kind):
        broken(kind, world)
        for ask in (mappings, holes):
            findings = []
            rows = ask(world.tables, findings=findings)
            assert [type(error) for error in findings] == [kind]
            assert BASE + 2 * M not in rows["vaddr"]
        assert mappings(world.tables, findings=[])["vaddr"].tolist() == [BASE, BASE + 4 * M]

    def test_translate_collects(self, world, kind):
        broken(kind, world)
        findings = []
        _, mapped = translate(world.tables, [BASE, BASE + 2 * M, BASE + 2 * M + 5, BASE + 4 * M], findings=findings)
        assert mapped.tolist() == [True, False, False, True]
        assert [(type(error), error.vaddr) for error in findings] == [(kind, BASE + 2 * M)]


class TestHostileTables:
    def test_a_root_that_points_to_itself_everywhere(self, world):
        """512**4 pages: refused at once, with their number; joined, they are pages of one frame."""
        for index in range(512):
            world.memory.write(8 * index, (0x67).to_bytes(8, "little"))
        with pytest.raises(UnsupportedError, match="68,719,476,736 entries"):
            mappings(world.tables, coalesce=False)
        assert mappings(world.tables)["size"].tolist() == [1 << 47, 1 << 47]

    def test_the_limit_is_the_callers(self, world):
        for at in range(4):
            world.map(BASE + at * 2 * M, at * PAGE)
        assert len(mappings(world.tables, limit=4)) == 4
        with pytest.raises(UnsupportedError, match="4 entries, and no more than 3"):
            mappings(world.tables, limit=3)

    def test_a_recursive_slot_is_no_fault(self, world):
        """The root's last slot points to the root: its 512 GiB show the tables, the root itself on the last page."""
        world.map(BASE, PAGE)
        world.memory.write(8 * 511, world.format.table_entry(0).to_bytes(8, "little"))
        findings = []
        rows = mappings(world.tables, findings=findings)
        assert BASE in rows["vaddr"]
        assert rows[-1].tolist()[:3] == ((1 << 64) - PAGE, 0, PAGE)
        assert findings == []

    @pytest.mark.slow
    def test_more_wrong_entries_than_are_collected(self, world):
        """200 tables of 512 entries, all of them wrong: what is good, and how many are not."""
        world.map(BASE + 300 * G, PAGE)
        for index in range(200):
            world.map(BASE + index * G, PAGE)
            pmds = world.entry(BASE + index * G, 2).target
            world.memory.write(pmds, (1 << 13 | 0x81).to_bytes(8, "little") * 512)
        for ask in (mappings, holes):
            findings = []
            rows = ask(world.tables, findings=findings)
            assert len(findings) == 65_536 + 1
            assert f"{200 * 512 - 65_536:,} more entries are malformed" in str(findings[-1])
            assert ask is holes or rows["vaddr"].tolist() == [BASE + 300 * G]

    def test_a_root_outside_the_memory(self, world):
        tables = PageTables(world.memory, 1 * G)
        with pytest.raises(Malformed):
            mappings(tables)
        findings = []
        assert not len(holes(tables, findings=findings))
        assert len(findings) == 1


class TestSegments:
    """A table may lie across two segments that touch, or in one that begins anywhere."""

    @pytest.mark.parametrize("cut", [PAGE + 8, PAGE + 100, 2 * PAGE, 5 * PAGE - 1])
    def test_cut_anywhere(self, world, cut):
        for at in range(3):
            world.map(BASE + at * G, at * PAGE)
        whole = world.memory.segments[0].data
        split = FlatMemory([Segment(0, whole[:cut]), Segment(cut, whole[cut:])])
        tables = PageTables(split, 0)
        assert mappings(tables).tolist() == mappings(world.tables).tolist()
        assert translate(tables, [BASE, BASE + G])[0].tolist() == [0, PAGE]

    def test_an_empty_memory(self):
        findings = []
        assert not len(mappings(PageTables(FlatMemory([]), 0), findings=findings))
        assert len(findings) == 1
