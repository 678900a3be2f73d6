"""Tables that nobody should trust: the walk ends, and says what was wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from tests.property.worlds import RAM_SIZE, TABLE, World, hostile_worlds, new_world, ranges


class TestBadEntries:
    """Rule: "``bad`` upper entries ...: Malformed is raised, or collected if the walk is asked to collect."."""

    @given(hostile_worlds(), st.data())
    def test_findings_are_those_of_the_reference(self, world: World, data: st.DataObject) -> None:
        start, end = data.draw(ranges(world, 1 << 30))
        findings: list[pw.TranslationError] = []
        tables, _ = world.tables()
        ops = pw.WalkOps(pte_entry=lambda *_: None)
        assert pw.walk_page_range_novma(tables, start, end, ops, findings=findings) == 0
        bad = [(max(f.vaddr, start), f.depth) for f in world.hardware().everything(start, end) if _upper_bad(f)]
        assert [(f.vaddr, f.depth) for f in findings] == bad

    @given(hostile_worlds(), st.data())
    def test_without_findings_the_first_is_raised(self, world: World, data: st.DataObject) -> None:
        start, end = data.draw(ranges(world, 1 << 30))
        bad = [found for found in world.hardware().everything(start, end) if _upper_bad(found)]
        tables, _ = world.tables()
        ops = pw.WalkOps(pte_entry=lambda *_: None)
        if not bad:
            assert pw.walk_page_range_novma(tables, start, end, ops) == 0
            return
        with pytest.raises(pw.TranslationError) as caught:
            pw.walk_page_range_novma(tables, start, end, ops)
        kind = {"reserved": pw.ReservedBits, "outside": pw.Malformed}[bad[0].what]
        assert (type(caught.value), caught.value.depth) == (kind, bad[0].depth)
        assert caught.value.vaddr == max(bad[0].vaddr, start)
        assert caught.value.entry == bad[0].entry


def _upper_bad(found: object) -> bool:
    return getattr(found, "what", "") in ("reserved", "outside")


class TestLoops:
    """A root that points to itself: every level is the root, and the walk still ends after the last."""

    @pytest.mark.parametrize("levels", [4, 5])
    @pytest.mark.parametrize("slot", [0, 255, 256, 511])
    def test_self_reference_ends(self, levels: int, slot: int) -> None:
        world = new_world(levels)
        world.put(world.root + 8 * slot, world.root | TABLE)
        start, end = _all_of(world, slot)
        findings: list[pw.TranslationError] = []
        seen: list[int] = []
        ops = pw.WalkOps(pte_entry=lambda entry, addr, next_, walk: seen.append(entry.value))
        tables, _ = world.tables()
        pw.walk_page_range_novma(tables, start, end, ops, findings=findings)
        assert len(seen) == 512
        assert [value for value in seen if value] == [world.root | TABLE]
        assert findings == []  # a recursive slot is legal: some systems map their page tables so

    @pytest.mark.parametrize("levels", [4, 5])
    def test_two_tables_that_point_to_each_other(self, levels: int) -> None:
        world = new_world(levels)
        other = world.new_table()
        world.put(world.root, other | TABLE)
        world.put(other, world.root | TABLE)
        seen: list[int] = []
        tables, _ = world.tables()
        ops = pw.WalkOps(pte_entry=lambda entry, *_: seen.append(entry.value))
        pw.walk_page_range_novma(tables, 0, 1 << 39, ops)
        assert [value for value in seen if value] == [(other if levels == 5 else world.root) | TABLE]


def _all_of(world: World, slot: int) -> tuple[int, int]:
    """What one slot of the root covers."""
    shift = 39 if world.levels == 4 else 48
    start = slot << shift
    if slot >= 256:
        start |= (1 << 64) - (1 << (shift + 9))
    return start, start + (1 << shift)


class TestRoots:
    @pytest.mark.parametrize("root", [1, 0x1008, -4096, 1 << 52])
    def test_what_cannot_be_one_is_refused(self, root: int) -> None:
        with pytest.raises(pw.Malformed, match="flag bits"):
            pw.PageTables(pw.Ram(4096), root)

    @pytest.mark.parametrize("root", [RAM_SIZE, 0x8000_0000, (1 << 52) - 4096])
    def test_outside_the_memory_is_found(self, root: int) -> None:
        tables = pw.PageTables(pw.Ram(RAM_SIZE), root)
        findings: list[pw.TranslationError] = []
        ops = pw.WalkOps(pte_entry=lambda *_: None)
        with pytest.raises(pw.Malformed, match=f"{root:#x}"):
            pw.walk_page_range_novma(tables, 0, 4096, ops)
        assert pw.walk_page_range_novma(tables, 0, 4096, ops, findings=findings) == 0
        assert len(findings) == 1
        with pytest.raises(pw.Malformed):
            tables.translate(0)
