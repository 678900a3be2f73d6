"""Tables built from leaves hold these leaves, and nothing else, in exactly as many tables as it takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagewalk import Flag, OutOfFrames, find_format
from pagewalk.live.build import build
from pagewalk.query import holes, mappings
from pagewalk.sweep.build import Leaves

BASE = 1 << 50
RIGHTS = int(Flag.READ | Flag.USER)


def page_numbers(form, depth):
    """Numbers of huge or small pages of both halves, close together and far apart."""
    top = 2 * form.windows[0].end // form.levels[depth].span
    near = st.integers(0, 600).map(lambda at: at * 3 % top)
    return st.sets(st.one_of(near, st.integers(0, top - 1), st.integers(0, 600).map(lambda at: top - 1 - at)))


@st.composite
def worlds(draw):
    """A format, and leaves by depth that do not overlap: large pages win."""
    form = find_format(draw(st.sampled_from(["x86-64", "x86-64-la57"])))
    taken, leaves = [], {}
    for depth in (2, 3, 4):
        span = form.levels[depth].span
        numbers = draw(page_numbers(form, depth).filter(lambda chosen: len(chosen) < 50))
        free = sorted(
            {number * span for number in numbers}
            - {number * span for number in numbers if any(low <= number * span < high for low, high in taken)}
        )
        taken += [(vaddr, vaddr + span) for vaddr in free]
        leaves[depth] = [(canonical(form, vaddr), at * span) for at, vaddr in enumerate(free)]
    return form, leaves


def canonical(form, vaddr):
    """The address with its top bits repeated."""
    half = form.windows[0].end
    return vaddr | (1 << 64) - half if vaddr >= half else vaddr


def in_parts(vaddrs, entries):
    """Leaves in two parts, or in one, or in none."""
    half = len(vaddrs) // 2
    parts = [Leaves(vaddrs[some], entries[some]) for some in (slice(0, half), slice(half, None))]
    return [part for part in parts if len(part.vaddrs)]


def built(form, leaves, spare=0):
    arrays = {}
    for depth, pages in leaves.items():
        vaddrs = np.array([vaddr for vaddr, _ in pages], np.uint64)
        frames = np.array([frame for _, frame in pages], np.uint64)
        arrays[depth] = in_parts(vaddrs, form.leaf_entry(frames, np.full(len(pages), RIGHTS, np.uint64), form.levels[depth]))  # fmt: skip  # noqa: E501
    return build(form, arrays, base=BASE, spare=spare)


class TestBuild:
    @settings(deadline=None)
    @given(worlds())
    def test_what_goes_in_is_what_is_there(self, world):
        form, leaves = world
        rows = mappings(built(form, leaves), coalesce=False)
        found = {(int(r["vaddr"]), int(r["paddr"]), int(r["page_size"]), int(r["flags"])) for r in rows}
        expected = {(v, p, form.levels[depth].span, RIGHTS) for depth, pages in leaves.items() for v, p in pages}
        assert found == expected
        assert len(rows) == len(expected)

    @settings(deadline=None)
    @given(worlds())
    def test_the_number_of_tables_is_exact(self, world):
        form, leaves = world
        tables = built(form, leaves)
        keys = {(0, 0)}
        for depth, pages in leaves.items():
            for level in form.real_levels[1:]:
                if level.depth <= depth:
                    shift = level.shift + level.index_bits
                    keys |= {(level.depth, (vaddr & 2 * form.windows[0].end - 1) >> shift) for vaddr, _ in pages}
        (segment,) = tables.memory.segments
        assert len(segment.data) == len(keys) * form.page_size
        assert segment.start == BASE == tables.root

    def test_nothing_is_one_empty_table(self):
        tables = built(find_format("x86-64"), {})
        assert not len(mappings(tables))
        assert holes(tables)["size"].sum() == 1 << 48

    def test_spare_frames_are_free_and_counted(self):
        tables = built(find_format("x86-64"), {3: [(0x200000, 0x40000000)]}, spare=1)
        assert tables.allocator.allocate() == BASE + 3 * 4096
        with pytest.raises(OutOfFrames):
            tables.allocator.allocate()
        assert len(tables.memory.segments[0].data) == 4 * 4096
