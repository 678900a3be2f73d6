"""Splitting a huge page: nothing but the size changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.walk.ranges import walk_page_range_mm
from tests.property.entries import leaf, migration, prot_none
from tests.property.worlds import World, addresses, new_world
from tests.reference import SHIFT_OF, split

HUGE = [(3, leaf), (2, leaf), (3, prot_none), (2, prot_none), (3, migration)]


@st.composite
def pages(draw: st.DrawFn) -> tuple[World, int, int, int]:
    """A world with one huge page: at which address and depth, and its raw entry."""
    depth, kind = draw(st.sampled_from(HUGE))
    world = new_world(draw(st.sampled_from([4, 5])))
    shift = SHIFT_OF[world.levels][depth]
    vaddr = draw(addresses(world.levels)) & -(1 << shift)
    if kind is not leaf:
        vaddr &= world.half_of(0)[1] - 1  # the kernel's half has no such pages
    raw = draw(kind(shift))
    slot = world.slot(vaddr, depth)
    assert slot is not None
    world.put(slot, raw)
    return world, vaddr, depth, raw


def entry_at(tables: pw.PageTables, vaddr: int) -> pw.Entry:
    *_, entry = tables.steps(vaddr)
    return entry


def probes(vaddr: int, span: int) -> list[int]:
    """Addresses in a huge page: its ends, and a few between."""
    return [vaddr + at * span // 512 + 0x123 for at in (0, 1, 2, 255, 256, 510, 511)]


def facts(tables: pw.PageTables, vaddr: int) -> tuple[object, ...]:
    """Everything a page says of an address but its size."""
    entry = entry_at(tables, vaddr)
    target = entry.target
    frame = None if target is None else target + (vaddr & (entry.level.span - 1) & -4096)
    bits = entry.value & 0x7FF0_0000_0000_0E7F | entry.value & 1 << 63 | entry.value & 0x100
    return (frame, entry.kind, entry.flags, bits if entry.is_present else 0)


class TestSplit:
    """Rule: "same frames, same permissions, same accessed/dirty/soft-dirty bits"."""

    @given(pages())
    def test_preserves_every_translation(self, case: tuple[World, int, int, int]) -> None:
        world, vaddr, depth, _ = case
        tables, _ = world.tables()
        span = 1 << SHIFT_OF[world.levels][depth]
        before = [facts(tables, at) for at in probes(vaddr, span)]
        tables.split(entry_at(tables, vaddr), vaddr)
        assert [facts(tables, at) for at in probes(vaddr, span)] == before
        assert all(entry_at(tables, at).level.depth == depth + 1 for at in probes(vaddr, span))

    @given(pages())
    def test_hardware_sees_the_same(self, case: tuple[World, int, int, int]) -> None:
        world, vaddr, depth, _ = case
        tables, _ = world.tables()
        looks = [world.hardware().look(at) for at in probes(vaddr, 1 << SHIFT_OF[world.levels][depth])]
        tables.split(entry_at(tables, vaddr), vaddr)
        for at, old in zip(probes(vaddr, old_span(world, depth)), looks, strict=True):
            new = world.hardware().look(at)
            assert new.what == old.what
            assert (new.write, new.user, new.execute) == (old.write, old.user, old.execute)
            if new.what == "leaf":
                assert new.paddr + (at & (new.size - 1)) == old.paddr + (at & (old.size - 1))

    @given(pages())
    def test_raw_entries_equal_the_reference(self, case: tuple[World, int, int, int]) -> None:
        world, vaddr, depth, raw = case
        tables, _ = world.tables()
        tables.split(entry_at(tables, vaddr), vaddr)
        slot = world.slot(vaddr, depth + 1)
        assert slot is not None
        table = split(raw, depth)
        assert [world.word(slot + 8 * at) for at in range(512)] == [table[at] for at in range(512)]

    @given(pages(), st.integers(0, 511))
    def test_a_walk_for_one_page_splits_to_the_last_level(self, case: tuple[World, int, int, int], at: int) -> None:
        world, vaddr, depth, _ = case
        tables, allocator = world.tables()
        span = 1 << SHIFT_OF[world.levels][depth]
        addr = vaddr + at * (span // 512)
        before = facts(tables, addr)
        space = pw.AddressSpace(tables, [pw.Vma(addr, addr + 4096)])
        seen: list[int] = []
        ops = pw.WalkOps(pte_entry=lambda entry, addr, next_, walk: seen.append(addr))
        pw.walk_page_range(space, addr, addr + 4096, ops)
        assert seen == [addr]
        assert len(allocator.outstanding) == 4 - depth
        assert facts(tables, addr) == before


def old_span(world: World, depth: int) -> int:
    return 1 << SHIFT_OF[world.levels][depth]


class TestOnlyInstalling:
    """Rule: "A walk that *only* installs does not split a present huge page: it has no hole in it."."""

    @given(pages())
    def test_leaves_a_page_whole(self, case: tuple[World, int, int, int]) -> None:
        world, vaddr, _, raw = case
        tables, allocator = world.tables()
        space = pw.AddressSpace(tables, [pw.Vma(vaddr, vaddr + 4096)])
        ops = pw.WalkOps(install_pte=lambda addr, next_, walk: pytest.fail("there is no hole"))
        walk_page_range_mm(space, vaddr, vaddr + 4096, ops)
        assert len(allocator.outstanding) == (0 if raw & 0x101 else 1)
