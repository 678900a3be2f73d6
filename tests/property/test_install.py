"""Walks that install, and what is left when one is cut short at any point."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.walk.ranges import walk_page_range_mm, walk_page_range_novma_mm, walk_page_range_vma_mm
from tests.property.entries import GUARD
from tests.property.recorder import recording_ops
from tests.property.worlds import World, ranges, worlds
from tests.reference import Area, Call, Contract, NoFrame, flatten

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore:install_pte in a walk without VMAs:RuntimeWarning")

WHERE = ["raw tables", "address space", "one VMA"]
CALLBACKS = [frozenset[str](), frozenset({"pte_entry"}), frozenset({"pgd_entry", "pmd_entry", "pte_hole"})]


class Refused(Exception):
    """What an ``install_pte`` of ours raises."""


class Watched(pw.AddressSpace):
    """An address space that notes what its ``update_mmu_cache`` hook is told."""

    def __init__(self, tables: pw.PageTables, vma: pw.Vma) -> None:
        super().__init__(tables, [vma])
        self.told: list[tuple[int, int]] = []

    def update_mmu_cache(self, vma: pw.Vma, addr: int, entry: pw.Entry) -> None:
        self.told.append((addr, entry.value))


class Run:
    """One installing walk over a world, beside the reference's."""

    def __init__(self, world: World, where: str, present: frozenset[str], fail_at: tuple[int, ...] = ()) -> None:
        self.world, self.where, self.present = world, where, present
        self.tables, self.allocator = world.tables(fail_at)
        self.calls: list[Call] = []
        self.walk: pw.Walk | None = None
        self.space: Watched | None = None

    def go(self, start: int, end: int, install: Callable[[int], Any]) -> int:
        ops = recording_ops(self.present, self.calls, install=install)
        if self.where == "raw tables":
            self.walk = pw.Walk(self.tables, ops)
            return walk_page_range_novma_mm(self.tables, start, end, ops, walk=self.walk)
        vma = pw.Vma(start, end)
        self.space = Watched(self.tables, vma)
        self.walk = pw.Walk(self.tables, ops, mm=self.space)
        if self.where == "one VMA":
            return walk_page_range_vma_mm(vma, start, end, ops, walk=self.walk)
        return walk_page_range_mm(self.space, start, end, ops, walk=self.walk)

    def contract(self, start: int, end: int, install: Callable[[int], int | None], **options: Any) -> Contract:
        vmas = None if self.where == "raw tables" else [Area(start, end)]
        return self.world.contract(self.present, install=install, vmas=vmas, **options)

    def contents(self) -> list[tuple[int, int, int]]:
        return list(flatten(self.world.model(), self.world.levels))

    def assert_no_frame_leaks(self) -> None:
        """Rule: "no frame leaks, every table is linked or freed"."""
        assert self.allocator.outstanding <= reachable(self.world)

    def assert_progress(self, contract: Contract) -> None:
        """Rule: "``walk.addr`` and ``walk.installed`` say how far it got"."""
        assert self.walk is not None
        assert self.calls == contract.calls
        assert (self.walk.installed, self.walk.tables_allocated) == (contract.installed, contract.allocated)
        if self.space is not None:
            assert len(self.space.told) == contract.installed
        self.assert_no_frame_leaks()


def reachable(world: World) -> set[int]:
    """Every table that the root leads to."""
    found: set[int] = set()

    def visit(paddr: int, depth: int) -> None:
        found.add(paddr)
        for slot in range(paddr, paddr + 4096, 8):
            entry = world.word(slot) or 0
            if depth < 4 and entry & 1 and not (depth in (2, 3) and entry & 0x80):
                visit(entry & 0x000F_FFFF_FFFF_F000, 2 if world.levels == 4 and depth == 0 else depth + 1)

    visit(world.root, 0)
    return found


def value_of(addr: int) -> int | None:
    """What is installed at an address: a marker or a page, and now and then nothing."""
    page = addr >> 12
    return None if page % 7 == 3 else GUARD if page % 2 else (page & 0xFFFF) << 12 | 0x67


@st.composite
def cases(draw: st.DrawFn, pages: int) -> tuple[Run, int, int]:
    where, present = draw(st.sampled_from(WHERE)), draw(st.sampled_from(CALLBACKS))
    world = draw(worlds(absent=where == "raw tables", pages=5))
    return Run(world, where, present), *draw(ranges(world, pages << 12))


class TestInstall:
    """Rule: "At the PTE level: empty, ``install_pte`` is called and its value is set ... Existing: ``pte_entry``"."""

    @given(cases(1100))
    def test_equals_the_reference(self, case: tuple[Run, int, int]) -> None:
        run, start, end = case
        contract = run.contract(start, end, value_of)
        contract.walk(start, end)
        assert run.go(start, end, value_of) == 0
        assert run.walk is not None
        assert run.walk.addr == end
        run.assert_progress(contract)
        assert run.contents() == list(flatten(contract.root, run.world.levels))

    @given(cases(64))
    def test_again_changes_nothing(self, case: tuple[Run, int, int]) -> None:
        run, start, end = case
        run.go(start, end, value_of)
        before = run.world.snapshot()
        again = Run(run.world, run.where, run.present)
        assert again.go(start, end, lambda addr: None) == 0
        assert run.world.snapshot() == before


class TestNoFrame:
    """Rule: "when ... a table cannot be allocated (ENOMEM), the walk ends there. What was installed stays"."""

    @given(cases(1100))
    def test_at_every_allocation(self, case: tuple[Run, int, int]) -> None:
        first, start, end = case
        world, empty = first.world, first.world.snapshot()
        first.go(start, end, value_of)
        undisturbed = first.contents()
        for fails in range(1, first.allocator.calls + 1):
            world.restore(empty)
            run = Run(world, first.where, first.present, (fails,))
            contract = run.contract(start, end, value_of, frames=fails - 1)
            with pytest.raises(NoFrame) as wanted:
                contract.walk(start, end)
            with pytest.raises(pw.OutOfFrames) as caught:
                run.go(start, end, value_of)
            assert run.walk is not None
            assert caught.value.errno == errno.ENOMEM
            assert caught.value.vaddr == run.walk.addr == wanted.value.args[0]
            run.assert_progress(contract)
            assert run.contents() == list(flatten(contract.root, world.levels))
            assert run.go(start, end, value_of) == 0
            assert run.contents() == undisturbed
            run.assert_no_frame_leaks()


class TestRefusal:
    """Rule: "when ``install_pte`` fails ... nothing is half-written ... the caller decides"."""

    @given(cases(20), st.sampled_from([Refused("no"), -errno.EAGAIN, 0, 0x60, 1 << 64, "seven"]))
    def test_at_every_position(self, case: tuple[Run, int, int], answer: Any) -> None:
        first, start, end = case
        world, empty = first.world, first.world.snapshot()
        first.go(start, end, value_of)
        undisturbed = first.contents()
        asked = [call.addr for call in first.calls if call.name == "install_pte"]
        for refused in asked:
            world.restore(empty)
            run = Run(world, first.where, first.present)
            with pytest.raises((Refused, pw.WalkError, ValueError, TypeError)) as caught:
                run.go(start, end, partial(refusing, refused, answer))
            assert caught.type is error_of(answer)
            assert run.walk is not None
            done = [addr for addr in asked if addr < refused and value_of(addr) is not None]
            assert (run.walk.addr, run.walk.installed) == (refused, len(done))
            assert [call.addr for call in run.calls if call.name == "install_pte"] == asked[: asked.index(refused) + 1]
            run.assert_no_frame_leaks()
            assert run.go(start, end, value_of) == 0
            assert run.contents() == undisturbed
            run.assert_no_frame_leaks()


def refusing(refused: int, answer: Any, addr: int) -> Any:
    """``value_of``, but for one address."""
    if addr != refused:
        return value_of(addr)
    if isinstance(answer, Exception):
        raise answer
    return answer


def error_of(answer: Any) -> type[Exception]:
    if isinstance(answer, Exception):
        return type(answer)
    if isinstance(answer, str):
        return TypeError
    return pw.WalkError if answer < 0 else ValueError
