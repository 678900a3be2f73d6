"""The walk over an address space against the reference: VMAs, gaps, hugetlb, splits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from tests.property.recorder import ENTRIES_AND_HOLES, recording_ops
from tests.property.worlds import World, ranges, worlds
from tests.reference import Area, Call, flatten

CALLBACKS = (*ENTRIES_AND_HOLES, "test_walk", "pre_vma", "post_vma", "hugetlb_entry")


@st.composite
def areas(draw: st.DrawFn, world: World) -> list[Area]:
    """VMAs apart from one another: plain, VM_PFNMAP, hugetlb of both sizes."""
    kinds = st.sampled_from([(False, 0), (False, 0), (True, 0), (False, 1 << 21), (False, 1 << 30)])
    found: list[Area] = []
    for _ in range(draw(st.integers(1, 4))):
        start, end = draw(ranges(world, draw(st.sampled_from([1 << 14, 1 << 22, 1 << 31]))))
        if all(end <= area.start or area.end <= start for area in found):
            found.append(Area(start, end, *draw(kinds)))
    return found


def vma_of(area: Area) -> pw.Vma:
    flags = pw.VmaFlags.READ | (pw.VmaFlags.PFNMAP if area.pfnmap else pw.VmaFlags(0))
    flags |= pw.VmaFlags.HUGETLB if area.huge else pw.VmaFlags(0)
    return pw.Vma(area.start, area.end, flags, huge_page_size=area.huge)


class TestAddressSpace:
    """The table of callbacks, over an address space: VMAs, holes of depth -1, hugetlb, and what is split."""

    @given(worlds(absent=False), st.sets(st.sampled_from(CALLBACKS)), st.data())
    def test_equals_the_reference(self, world: World, chosen: set[str], data: st.DataObject) -> None:
        vmas = data.draw(areas(world))
        start, end = data.draw(ranges(world, 1 << 40))
        unwanted = data.draw(st.sets(st.sampled_from([area.start for area in vmas])))
        contract = world.contract(frozenset(chosen), vmas=vmas, skip=unwanted.__contains__)
        contract.walk(start, end)
        tables, allocator = world.tables()
        calls: list[Call] = []
        space = pw.AddressSpace(tables, map(vma_of, vmas))
        ops = recording_ops(frozenset(chosen), calls, skip=unwanted.__contains__)
        assert pw.walk_page_range(space, start, end, ops) == 0
        assert calls == contract.calls
        assert len(allocator.outstanding) == contract.allocated
        assert list(flatten(world.model(), world.levels)) == list(flatten(contract.root, world.levels))
