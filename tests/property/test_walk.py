"""The walk over raw tables against the reference."""

from __future__ import annotations

from itertools import chain, combinations, pairwise, product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.walk.ranges import walk_page_range_novma_mm
from tests.property.entries import GUARD
from tests.property.recorder import ENTRIES_AND_HOLES, recording_ops
from tests.property.worlds import World, new_world, worlds_and_ranges

if TYPE_CHECKING:
    from tests.reference import Call

EVERY_SUBSET = [
    frozenset(names)
    for names in chain.from_iterable(combinations(ENTRIES_AND_HOLES, n) for n in range(len(ENTRIES_AND_HOLES) + 1))
]


def novma_calls(world: World, start: int, end: int, present: frozenset[str]) -> list[Call]:
    calls: list[Call] = []
    tables, _ = world.tables()
    assert pw.walk_page_range_novma(tables, start, end, recording_ops(present, calls)) == 0
    return calls


class TestCallbackSequence:
    """Every callback optional: "A level is descended into only when a callback for a lower level ... is there."."""

    @given(worlds_and_ranges(), st.lists(st.sampled_from(EVERY_SUBSET), min_size=6, max_size=6))
    def test_equals_the_reference(self, drawn: tuple[World, int, int], subsets: list[frozenset[str]]) -> None:
        world, start, end = drawn
        for present in subsets:
            wanted = world.contract(present).walk(start, end)
            assert novma_calls(world, start, end, present) == wanted, sorted(present)

    @pytest.mark.slow
    @pytest.mark.parametrize("levels", [4, 5])
    def test_equals_the_reference_for_every_subset_of_callbacks(self, levels: int) -> None:
        world = one_of_each(levels)
        for present, (start, end) in product(EVERY_SUBSET, [(0, 1 << 40), (0x1000, 0x5000), world.half_of(1 << 63)]):
            wanted = world.contract(present).walk(start, end)
            assert novma_calls(world, start, end, present) == wanted, sorted(present)


def one_of_each(levels: int) -> World:
    """Tables with something of every kind at every level."""
    world = new_world(levels)
    top = (1 << 64) - (1 << 21)
    for vaddr, depth, raw in [
        (0x0000_1000, 4, 0x1067),
        (0x0000_3000, 4, GUARD),
        (0x0020_0000, 3, 0x2000E7),
        (0x0040_0000, 3, 0xC800_0000_0000_0000),
        (0x8000_0000, 2, 0x4000_00E7),
        (0xC000_0000, 2, 0xC800_0000_0000_0000),
        (top + 0x1000, 4, 0x40),
    ]:
        slot = world.slot(vaddr, depth)
        assert slot is not None
        world.put(slot, raw)
    return world


class TestTiling:
    """``pte_entry``: "for every entry of the lowest level, empty ones too"; ``pte_hole``: "for every hole"."""

    @given(worlds_and_ranges())
    def test_entries_pages_and_holes_tile_the_range(self, drawn: tuple[World, int, int]) -> None:
        world, start, end = drawn
        pieces: list[tuple[int, int]] = []

        def page(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
            if not entry.is_table and entry.value & ~0x60:
                pieces.append((addr, next_))

        def last(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
            pieces.append((addr, next_))

        def hole(addr: int, next_: int, depth: int, walk: pw.Walk) -> None:
            pieces.append((addr, next_))

        ops = pw.WalkOps(p4d_entry=page, pud_entry=page, pmd_entry=page, pte_entry=last, pte_hole=hole)
        if world.levels == 5:
            ops = pw.WalkOps(
                pgd_entry=page, p4d_entry=page, pud_entry=page, pmd_entry=page, pte_entry=last, pte_hole=hole
            )
        tables, _ = world.tables()
        pw.walk_page_range_novma(tables, start, end, ops)
        assert pieces[0][0] == start
        assert pieces[-1][1] == end
        assert all(before[1] == after[0] for before, after in pairwise(pieces))


class TestLookingNeverWrites:
    """Rule: "Without VMAs: huge and not-present upper entries are given to their callback and not descended into."."""

    @given(worlds_and_ranges())
    def test_memory_is_as_it_was(self, drawn: tuple[World, int, int]) -> None:
        world, start, end = drawn
        before = world.snapshot()
        novma_calls(world, start, end, frozenset(ENTRIES_AND_HOLES))
        assert world.snapshot() == before


class Stop(Exception):
    """A callback's own exception."""


class TestAbort:
    """Rule: "a positive int ends the walk and is returned to the caller; a raised exception ... propagates"."""

    @given(worlds_and_ranges(), st.data())
    def test_ends_at_the_call_that_said_so(self, drawn: tuple[World, int, int], data: st.DataObject) -> None:
        world, start, end = drawn
        whole = world.contract(frozenset(ENTRIES_AND_HOLES)).walk(start, end)
        at = data.draw(st.integers(0, len(whole) - 1))
        answer = data.draw(st.sampled_from([7, -11, Stop("here")]))
        calls: list[Call] = []
        tables, _ = world.tables()
        ops = _answering(recording_ops(frozenset(ENTRIES_AND_HOLES), calls), calls, at, answer)
        walk = pw.Walk(tables, ops)
        outcome = _outcome(lambda: walk_page_range_novma_mm(tables, start, end, ops, walk=walk))
        assert calls == whole[: at + 1]
        assert walk.addr == whole[at].addr
        wanted: dict[Any, Any] = {7: 7, -11: ("WalkError", 11)}
        assert outcome == (answer if isinstance(answer, Stop) else wanted[answer])


def _answering(ops: pw.WalkOps, calls: list[Call], at: int, answer: Any) -> pw.WalkOps:
    """The same ops, whose call number ``at`` gives this answer."""

    def wrapped(callback: Any) -> Any:
        def call(*args: Any) -> Any:
            callback(*args)
            if len(calls) - 1 != at:
                return None
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    return pw.WalkOps(**{name: wrapped(getattr(ops, name)) for name in ENTRIES_AND_HOLES})


def _outcome(action: Any) -> Any:
    try:
        return action()
    except Stop as error:
        return error
    except pw.WalkError as error:
        return type(error).__name__, error.errno
